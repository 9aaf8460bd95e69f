//! Revocation while no daemon lives: the deny list for its next life, the journal and the kernel for now.

use std::collections::HashMap;
use std::path::Path;

use ike::event::question::CertificateId;
use ike::event::sa::{SaDirection, SaName};
use xfrm::batch::Refusal;
use xfrm::socket::Connection;

use crate::report::identity_text;
use crate::revocation::deletion::{self, Fate, Requests};
use crate::revocation::issuer::{Issuer, issuers_of_serial};
use crate::revocation::journal::JournalError;
use crate::revocation::journal::reader::JournalReader;
use crate::revocation::revoke::{CutError, CutSa, Cutter};

/// Finds SAs in the journal of a dead daemon.
#[derive(Debug)]
pub struct JournalCutter {
    /// `None`: no daemon ran since the machine started, so nothing is there to be cut.
    journal: Result<Option<JournalReader>, CutError>,
}

impl JournalCutter {
    /// Opens the journal. One that cannot be read is told when SAs are to be cut: that is no reason not to deny.
    pub fn open(path: &Path) -> Self {
        let journal = match JournalReader::open(path) {
            Ok(journal) => Ok(Some(journal)),
            Err(JournalError::Missing(_)) => Ok(None),
            Err(error) => Err(of_journal(&error)),
        };
        Self { journal }
    }

    /// Reads of the journal's file so far.
    #[cfg(test)]
    pub(crate) fn reads(&self) -> u64 {
        self.journal.as_ref().ok().and_then(Option::as_ref).map_or(0, JournalReader::reads)
    }

    /// Deletes the SAs of the certificates.
    ///
    /// # Errors
    /// In words, with what was deleted all the same.
    pub(crate) fn cut_in(
        &mut self,
        certificates: &[CertificateId],
        kernel: &mut dyn Requests,
    ) -> Result<Vec<CutSa>, CutError> {
        let sas = self.find(certificates)?;
        let names: Vec<SaName> = sas.iter().map(|sa| sa.name).collect();
        let (mut done, mut refused) = (Vec::with_capacity(sas.len()), None);
        for (sa, fate) in sas.into_iter().zip(deletion::delete(kernel, &names)) {
            match fate {
                Fate::Deleted => done.push(sa),
                Fate::Missing => {}
                Fate::Refused(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            None => Ok(done),
            Some(refusal) => Err(CutError { done, ..of_kernel(&refusal) }),
        }
    }

    /// The SAs of the certificates, outbound ones first, each once.
    fn find(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        let mut found: HashMap<SaName, CutSa> = HashMap::new();
        let Some(journal) = self.journal.as_mut().map_err(|error| error.clone())? else { return Ok(Vec::new()) };
        for certificate in certificates {
            for record in journal.find(certificate).map_err(|error| of_journal(&error))? {
                let entry = record.entry;
                let peer = identity_text(&entry.owner.identity);
                for (name, direction) in
                    [(entry.outbound, SaDirection::Outbound), (entry.inbound, SaDirection::Inbound)]
                {
                    found.insert(name, CutSa { name, direction, peer: peer.clone() });
                }
            }
        }
        let mut sas: Vec<CutSa> = found.into_values().collect();
        sas.sort_by_key(|sa| (sa.direction != SaDirection::Outbound, sa.name));
        Ok(sas)
    }
}

impl Cutter for JournalCutter {
    fn live_issuers(&mut self, serial: &[u8]) -> Result<Vec<Issuer>, CutError> {
        let journal = self.journal.as_mut().map_err(|error| error.clone())?;
        issuers_of_serial(serial, journal.as_mut(), None).map_err(|error| of_journal(&error))
    }

    fn cut(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        if self.find(certificates)?.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = Connection::open().map_err(|refusal| of_kernel(&refusal))?;
        self.cut_in(certificates, &mut connection)
    }
}

fn of_journal(error: &JournalError) -> CutError {
    let denied = matches!(error, JournalError::Io { error, .. }
        if error.kind() == std::io::ErrorKind::PermissionDenied);
    CutError { text: error.to_string(), denied, done: Vec::new() }
}

fn of_kernel(refusal: &Refusal) -> CutError {
    CutError { text: refusal.to_string(), denied: refusal.errno == libc::EPERM, done: Vec::new() }
}
