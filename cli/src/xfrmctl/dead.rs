//! Revocation while no daemon lives: the deny list for its next life, the journal and the kernel for now.

use std::collections::HashMap;
use std::path::Path;

use ike::event::question::CertificateId;
use ike::event::sa::{SaDirection, SaName};
use xfrm::batch::Refusal;
use xfrm::request::Request;
use xfrm::socket::Connection;

use crate::daemon::lower;
use crate::report::identity_text;
use crate::revocation::issuer::{Issuer, issuers_of_serial};
use crate::revocation::journal::JournalError;
use crate::revocation::journal::reader::JournalReader;
use crate::revocation::revoke::{CutError, CutSa, Cutter};

/// Finds SAs in the journal of a dead daemon.
#[derive(Debug)]
pub struct JournalCutter {
    /// `None`: no daemon ran since the machine started, so nothing is there to be cut.
    journal: Option<JournalReader>,
}

impl JournalCutter {
    /// Opens the journal.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        match JournalReader::open(path) {
            Ok(journal) => Ok(Self { journal: Some(journal) }),
            Err(JournalError::Missing(_)) => Ok(Self { journal: None }),
            Err(error) => Err(error),
        }
    }

    /// The SAs of the certificates, outbound ones first, each once.
    fn find(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, JournalError> {
        let mut found: HashMap<SaName, CutSa> = HashMap::new();
        let Some(journal) = &mut self.journal else { return Ok(Vec::new()) };
        for certificate in certificates {
            for record in journal.find(certificate)? {
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
        issuers_of_serial(serial, self.journal.as_mut(), None).map_err(|error| of_journal(&error))
    }

    fn cut(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        let sas = self.find(certificates).map_err(|error| of_journal(&error))?;
        if sas.is_empty() {
            return Ok(sas);
        }
        let requests: Vec<Request> =
            sas.iter().map(|sa| Request::DeleteSa { name: lower::to_kernel(sa.name), mark: None }).collect();
        let mut connection = Connection::open().map_err(|refusal| of_kernel(&refusal))?;
        let mut deleted = Vec::with_capacity(sas.len());
        for (sa, answer) in sas.into_iter().zip(connection.execute(&requests)) {
            match answer {
                Ok(_) => deleted.push(sa),
                // Expired, or deleted by hand.
                Err(refusal) if refusal.errno == libc::ESRCH => {}
                Err(refusal) => return Err(of_kernel(&refusal)),
            }
        }
        Ok(deleted)
    }
}

fn of_journal(error: &JournalError) -> CutError {
    let denied = matches!(error, JournalError::Io { error, .. }
        if error.kind() == std::io::ErrorKind::PermissionDenied);
    CutError { text: error.to_string(), denied }
}

fn of_kernel(refusal: &Refusal) -> CutError {
    CutError { text: refusal.to_string(), denied: refusal.errno == libc::EPERM }
}
