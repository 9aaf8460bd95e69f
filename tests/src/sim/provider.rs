//! Public-key arithmetic small enough for thousands of handshakes: not secure, but with every property the exchanges
//! rely on (both sides get the same secret, a signature verifies with its own key only, lengths are the real ones).

use std::sync::Mutex;

use ike::crypto::provider::{CryptoError, DhPair, Provider, RsaPublicKey};
use policy::model::algorithm::Group;
use policy::model::secret::Secret;

use super::random::Random;

/// 2^61 - 1, a prime.
const PRIME: u128 = (1 << 61) - 1;

/// Octets of the toy keys' moduli.
const MODULUS: usize = 128;

/// The toy.
pub struct ToyProvider(Mutex<Random>);

impl ToyProvider {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Random::new(seed)))
    }

    fn bits(&self) -> u64 {
        self.0.lock().expect("no panic while the lock is held").bits()
    }
}

fn power(base: u128, mut exponent: u64) -> u128 {
    let (mut result, mut base) = (1, base % PRIME);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % PRIME;
        }
        base = base * base % PRIME;
        exponent >>= 1;
    }
    result
}

fn padded(number: u128, group: Group) -> Vec<u8> {
    let mut octets = vec![0; group.octets()];
    let at = octets.len() - 16;
    octets[at..].copy_from_slice(&number.to_be_bytes());
    octets
}

impl Provider for ToyProvider {
    fn random(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let octets = self.bits().to_be_bytes();
            chunk.copy_from_slice(&octets[..chunk.len()]);
        }
    }

    fn dh_generate(&self, group: Group) -> Result<DhPair, CryptoError> {
        let exponent = (self.bits() >> 4) | 2;
        let public = padded(power(3, exponent), group);
        Ok(DhPair { secret: Secret::new(exponent.to_be_bytes().to_vec()), public })
    }

    fn dh_agree(&self, group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        let refused = CryptoError::PublicValue { group, octets: peer_public.len() };
        if peer_public.len() != group.octets() {
            return Err(refused);
        }
        let (high, low) = peer_public.split_at(peer_public.len() - 16);
        let value = u128::from_be_bytes(low.try_into().expect("sixteen octets"));
        if high.iter().any(|octet| *octet != 0) || !(2..PRIME - 1).contains(&value) {
            return Err(refused);
        }
        let exponent = u64::from_be_bytes(secret.expose().try_into().expect("our own secret"));
        Ok(Secret::new(padded(power(value, exponent), group)))
    }

    fn rsa_public(&self, key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if input.len() != key.modulus.len() {
            return Err(CryptoError::Rsa("signature is not as long as the modulus"));
        }
        Ok(input.iter().zip(&key.modulus).map(|(one, other)| one ^ other).collect())
    }
}

/// A toy key: signing and the public operation are the same exclusive or.
pub fn toy_key(name: u8) -> RsaPublicKey {
    let mut random = Random::new(u64::from(name) + 77);
    RsaPublicKey { modulus: (0..MODULUS).map(|_| random.bits() as u8 | 1).collect(), exponent: vec![1, 0, 1] }
}

/// Signs: EM = 00 01 FF..FF 00 | octets, then the toy's private operation.
pub fn toy_sign(key: &RsaPublicKey, octets: &[u8]) -> Vec<u8> {
    let mut message = [0xff; MODULUS];
    let at = MODULUS - octets.len();
    message[0] = 0;
    message[1] = 1;
    message[at - 1] = 0;
    message[at..].copy_from_slice(octets);
    message.iter().zip(&key.modulus).map(|(one, other)| one ^ other).collect()
}
