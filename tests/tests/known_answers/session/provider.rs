//! Hands out what was recorded in place of fresh random octets and public values.

use std::collections::VecDeque;
use std::sync::Mutex;

use cli::provider::OpensslProvider;
use ike::crypto::provider::{CryptoError, DhPair, EcPublicKey, Provider, RsaPublicKey};
use ike::wire::number::PayloadType;
use policy::model::algorithm::Group;
use policy::model::secret::Secret;
use tests::sim::random::Random;

use super::{Session, Side};

/// Length of the nonces in all recordings.
pub const NONCE: usize = 32;

pub struct Recorded {
    state: Mutex<State>,
    /// The peer's public values with the secret that each gave; those of renewals are not known.
    secrets: Vec<(Vec<u8>, Secret)>,
    openssl: OpensslProvider,
}

struct State {
    cookie: Option<[u8; 8]>,
    nonces: VecDeque<Vec<u8>>,
    publics: VecDeque<Vec<u8>>,
    random: Random,
}

impl Recorded {
    /// For our endpoint as this side of the session.
    pub fn new(session: &Session, ours: Side) -> Self {
        let cookie = if ours == Side::Initiator { session.cookies.0 } else { session.cookies.1 };
        let theirs = session.bodies(ours.other(), PayloadType::KE);
        let known = [session.gxy.clone(), session.quick_gxy.clone()];
        Self {
            state: Mutex::new(State {
                cookie: Some(cookie.0),
                nonces: session.bodies(ours, PayloadType::NONCE).into(),
                publics: session.bodies(ours, PayloadType::KE).into(),
                random: Random::new(1),
            }),
            secrets: theirs.into_iter().zip(known).filter(|(_, secret)| !secret.is_empty()).collect(),
            openssl: OpensslProvider::new(),
        }
    }

    /// Recorded values that nobody asked for.
    pub fn left(&self) -> usize {
        let state = self.state.lock().unwrap();
        usize::from(state.cookie.is_some()) + state.nonces.len() + state.publics.len()
    }
}

impl Provider for Recorded {
    fn random(&self, out: &mut [u8]) {
        let mut state = self.state.lock().unwrap();
        let recorded = match out.len() {
            NONCE => state.nonces.pop_front(),
            8 => state.cookie.take().map(|cookie| cookie.to_vec()),
            _ => None,
        };
        match recorded {
            Some(recorded) => out.copy_from_slice(&recorded),
            None => out.iter_mut().for_each(|octet| *octet = state.random.bits() as u8),
        }
    }

    fn dh_generate(&self, _: Group) -> Result<DhPair, CryptoError> {
        let public = self.state.lock().unwrap().publics.pop_front().expect("one more public value than recorded");
        Ok(DhPair { secret: Secret::new(public.clone()), public })
    }

    fn dh_agree(&self, _: Group, _: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        let known = self.secrets.iter().find(|(public, _)| public == peer_public);
        // The recordings have no secret of a renewal; what its keys are is not looked at.
        Ok(known.map_or_else(|| Secret::new(vec![7; peer_public.len()]), |(_, secret)| secret.clone()))
    }

    fn ecdsa_verify(&self, key: &EcPublicKey, digest: &[u8], r: &[u8], s: &[u8]) -> Result<bool, CryptoError> {
        self.openssl.ecdsa_verify(key, digest, r, s)
    }

    fn rsa_public(&self, key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.openssl.rsa_public(key, input)
    }
}
