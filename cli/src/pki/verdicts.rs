//! Verdicts that still hold: a peer that comes back with the same certificates costs a hash and a look at a few files.
//!
//! A verdict holds as long as every certificate and CRL it rested on is in its validity, the deny list is as it was, and
//! every file that was looked at is what it was (also: is still not there). Only good verdicts are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ike::event::question::{JudgeRequest, PeerCertificate};
use sha2::{Digest, Sha256};

use super::trust::Consulted;
use crate::revocation::stamp::Stamp;

/// Verdicts kept at most.
const MAX_VERDICTS: usize = 4096;
/// Seconds after which a verdict is reached anew in any case.
const MAX_AGE: u64 = 3600;

/// From when to when a verdict may hold, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    from: u64,
    until: u64,
}

impl Validity {
    /// From `wall` on.
    pub(super) fn from(wall: u64) -> Self {
        Self { from: wall, until: wall.saturating_add(MAX_AGE) }
    }

    /// Not beyond `end`.
    pub(super) fn ends_by(&mut self, end: u64) {
        self.until = self.until.min(end);
    }
}

#[derive(Debug)]
struct Verdict {
    generation: u64,
    validity: Validity,
    consulted: Consulted,
    certificate: Arc<PeerCertificate>,
}

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    known: Mutex<HashMap<[u8; 32], Verdict>>,
}

impl Verdicts {
    /// Everything the answer depends on that comes with the question.
    pub(super) fn question(request: &JudgeRequest) -> [u8; 32] {
        let remote = &request.remote.remote;
        let mut hash = Sha256::new();
        let mut part = |octets: &[u8]| {
            hash.update((octets.len() as u64).to_be_bytes());
            hash.update(octets);
        };
        part(format!("{:?}", request.identity).as_bytes());
        part(format!("{:?} {:?}", remote.ca_file, remote.peers_certfile).as_bytes());
        part(&[u8::from(remote.verify_cert), u8::from(remote.verify_identifier), remote.crl as u8]);
        part(&(request.certificates.len() as u64).to_be_bytes());
        for certificate in request.certificates.iter().chain(&request.pkcs7) {
            part(certificate);
        }
        hash.finalize().into()
    }

    /// A verdict that still holds.
    pub(super) fn find(&self, question: &[u8; 32], generation: u64, wall: u64) -> Option<Arc<PeerCertificate>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = known.get(question)?;
        let holds = verdict.generation == generation
            && (verdict.validity.from..=verdict.validity.until).contains(&wall)
            && verdict.consulted.iter().all(|(path, stamp)| Stamp::of(path).unwrap_or(None) == *stamp);
        if holds {
            return Some(Arc::clone(&verdict.certificate));
        }
        known.remove(question);
        None
    }

    /// Keeps a verdict; a full cache is emptied first, which costs each peer one more verification.
    pub(super) fn remember(
        &self,
        question: [u8; 32],
        generation: u64,
        validity: Validity,
        consulted: Consulted,
        certificate: Arc<PeerCertificate>,
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_VERDICTS {
            known.clear();
        }
        known.insert(question, Verdict { generation, validity, consulted, certificate });
    }
}
