//! From octets that should be CRLs to CRLs in use, wherever the octets came from.

use std::sync::Arc;

use ike::report::Level;

use super::Common;
use crate::daemon::clock;
use crate::logging;
use crate::revocation::crl::store::{InUse, Offered, Origin};
use crate::revocation::crl::{self, CrlError, Parsed};

/// What a source is called in messages.
pub const KIND: &str = "CRL";

/// What came of it.
#[derive(Debug, Default)]
pub struct Taken {
    /// New ones in use.
    pub accepted: Vec<Arc<InUse>>,
    /// Is there anything that was not there before?
    pub is_new: bool,
    /// All that was read, whether it is used or not.
    pub read: Parsed,
}

impl Taken {
    /// One that had waited.
    pub fn of(entry: Arc<InUse>) -> Self {
        Self { accepted: vec![entry], is_new: true, read: Parsed::default() }
    }
}

/// Takes in the CRLs of a file or an answer. Blocks: not on the loop.
pub fn take(octets: &[u8], origin: &Origin, common: &Common) -> Taken {
    let name = origin.to_string();
    let mut taken = Taken::default();
    // keylime's old CAs publish an empty file where they have no CRL.
    if octets.is_empty() {
        common.health.good(KIND, &name);
        return taken;
    }
    let crls = match crl::read_all(octets) {
        Ok(crls) => crls,
        Err(error) => {
            common.health.bad(KIND, &name, &format!("{error}; what was known before stays in use"));
            return taken;
        }
    };
    let mut problem = None;
    for crl in crls {
        taken.read.0.push(crl.openssl());
        let (issuer, entries) = (crl.issuer_name.clone(), crl.entries);
        match common.crls.offer(crl, origin.clone(), clock::now().wall) {
            Offered::Accepted(entry) => {
                taken.is_new = true;
                let text = format!("CRL of {issuer} from {name} is in use: {entries} certificates are listed");
                logging::log(Level::Info, None, text);
                taken.accepted.push(entry);
            }
            Offered::Known | Offered::Waiting => {}
            Offered::Refused(error) => {
                if matches!(error, CrlError::Rollback { .. }) {
                    logging::error(format_args!("ALARM: CRL of {issuer} from {name} was rolled back: {error}"));
                }
                problem = Some(format!("CRL of {issuer}: {error}"));
            }
        }
    }
    match problem {
        Some(why) => common.health.bad(KIND, &name, &why),
        None => common.health.good(KIND, &name),
    }
    taken
}

/// Tells the loop, then the disk: the cut comes first.
pub async fn tell(taken: Taken, common: &Common) {
    for entry in taken.accepted {
        if common.arrivals.send(super::Arrival::Crl(Arc::clone(&entry))).await.is_err() {
            return;
        }
        keep(entry, common).await;
    }
}

/// Puts an accepted CRL on the disk.
pub async fn keep(entry: Arc<InUse>, common: &Common) {
    let crls = Arc::clone(&common.crls);
    let kept = tokio::task::spawn_blocking(move || crls.keep(&entry)).await;
    if let Ok(Err(error)) = kept {
        logging::warning(format_args!("revocation: the CRL in use is not kept on the disk: {error}"));
    }
}
