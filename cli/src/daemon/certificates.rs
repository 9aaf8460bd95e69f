//! Peers' certificates that were found good, for `racoonctl get-cert`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ike::event::question::{CertificateId, PeerCertificate};

/// Certificates that are kept; the ones that came first go first.
const MOST: usize = 10_000;

/// What was shown, by what revocation is keyed on.
#[derive(Debug, Default)]
pub struct Certificates {
    known: BTreeMap<CertificateId, Arc<PeerCertificate>>,
    order: VecDeque<CertificateId>,
}

impl Certificates {
    /// Keeps one that was found good.
    pub fn keep(&mut self, certificate: &Arc<PeerCertificate>) {
        let Some(id) = certificate.chain.first() else { return };
        if self.known.insert(id.clone(), Arc::clone(certificate)).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Its DER.
    pub fn find(&self, id: &CertificateId) -> Option<&[u8]> {
        self.known.get(id).map(|certificate| certificate.der.as_slice()).filter(|der| !der.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use ike::crypto::provider::{PublicKey, RsaPublicKey};

    use super::*;

    fn shown(serial: u32, der: &[u8]) -> Arc<PeerCertificate> {
        let id = CertificateId { issuer_key: [1; 32], serial: serial.to_be_bytes().to_vec() };
        Arc::new(PeerCertificate {
            public_key: PublicKey::Rsa(RsaPublicKey { modulus: vec![1], exponent: vec![3] }),
            chain: vec![id],
            subject: String::new(),
            issuer: String::new(),
            not_after: 0,
            der: der.to_vec(),
            warnings: Vec::new(),
        })
    }

    #[test]
    fn the_last_ones_are_known() {
        let mut all = Certificates::default();
        let count = u32::try_from(MOST).unwrap() + 5;
        for serial in 0..count {
            all.keep(&shown(serial, b"der"));
        }
        let find = |serial: u32| all.find(&shown(serial, b"").chain[0]);
        assert_eq!((find(4), find(5), find(count - 1)), (None, Some(&b"der"[..]), Some(&b"der"[..])));
    }
}
