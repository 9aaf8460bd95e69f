//! Keylime's signed notices, wherever they come in: checked, handed to the loop, answered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssl::x509::X509;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{Arrival, Common, Notified};
use crate::logging;
use crate::pki::load;
use crate::report::RevocationReport;
use crate::revocation::issuer::{Issuer, issuer_among};
use crate::revocation::keylime::message::{self, MessageError, Notice, NotifierKey};
use crate::revocation::revoke::KnownIssuer;

/// What came of a notice.
#[derive(Debug)]
pub enum Outcome {
    /// The certificate is revoked.
    Revoked(Box<RevocationReport>),
    /// Another kind of message: nothing to do.
    Nothing(String),
}

/// Why it came to nothing.
#[derive(Debug, Error)]
pub enum NoticeError {
    /// It is not keylime's, or says nothing.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The certificate that signs cannot be read.
    #[error("{0}")]
    Notifier(String),
    /// The daemon could not do it.
    #[error("{0}")]
    Undone(String),
}

/// Whose notices count. The file is read for each notice: keylime's payload folder is deleted and made again.
#[derive(Clone, Debug)]
pub struct Notifier {
    certificate: PathBuf,
    known: Arc<Vec<KnownIssuer>>,
}

impl Notifier {
    /// The certificate's file, and the CAs it can be of.
    pub fn new(certificate: PathBuf, known: Vec<KnownIssuer>) -> Self {
        Self { certificate, known: Arc::new(known) }
    }

    /// The key, and the CA whose serials the notices mean.
    fn read(&self) -> Result<(NotifierKey, Option<Issuer>), NoticeError> {
        let unusable = |error: String| NoticeError::Notifier(error);
        let octets = load::read_public("notifier's certificate", &self.certificate)
            .map_err(|error| unusable(error.to_string()))?;
        let key = NotifierKey::from_certificate(&octets)?;
        let certificate = X509::from_pem(&octets).or_else(|_| X509::from_der(&octets));
        let candidates = self.known.iter().filter_map(|known| known.certificate.as_ref());
        let issuer = certificate.ok().and_then(|certificate| issuer_among(&certificate, candidates));
        Ok((key, issuer))
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.certificate
    }

    /// Can it be used now?
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        self.read().map(|_| ()).map_err(|error| error.to_string())
    }
}

/// Checks a notice and has it carried out.
///
/// # Errors
/// [`NoticeError`].
pub async fn take(octets: &[u8], source: &str, notifier: &Notifier, common: &Common) -> Result<Outcome, NoticeError> {
    let (key, issuer) = notifier.read()?;
    let revocation = match message::open(octets, &key)? {
        Notice::Revocation(revocation) => revocation,
        Notice::Other { kind } => return Ok(Outcome::Nothing(kind)),
    };
    let (reply, answer) = oneshot::channel();
    let notified = Notified { revocation, issuer, source: source.to_owned(), reply };
    let gone = || NoticeError::Undone("the daemon is going down".to_owned());
    common.arrivals.send(Arrival::Notice(Box::new(notified))).await.map_err(|_| gone())?;
    let report = answer.await.map_err(|_| gone())?.map_err(NoticeError::Undone)?;
    common.fetch_soon();
    Ok(Outcome::Revoked(Box::new(report)))
}

/// Says what a source brought that counts for nothing; strangers may send much of it.
pub fn complain(limit: &mut logging::limit::RateLimit, source: &str, error: &NoticeError) {
    if limit.admit(crate::daemon::clock::boottime()) {
        logging::warning(format_args!("revocation: a notice by {source} is refused: {error}"));
    }
}

#[cfg(test)]
mod tests;
