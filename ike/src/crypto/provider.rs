//! What the core needs of a public-key library and a random source, given to it at construction.
//!
//! Private RSA keys are not here: signing is an output answered by an input.

use policy::model::algorithm::{AuthMethod, Group};
use policy::model::secret::Secret;
use thiserror::Error;

/// An RSA public key, both numbers big endian without leading zero octets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RsaPublicKey {
    /// Modulus.
    pub modulus: Vec<u8>,
    /// Public exponent.
    pub exponent: Vec<u8>,
}

impl std::fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RsaPublicKey({} bits)", self.modulus.len() * 8)
    }
}

/// A curve that phase 1 has a method of signing for (RFC 4754 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcCurve {
    /// ECDSA-256.
    P256,
    /// ECDSA-384.
    P384,
    /// ECDSA-521.
    P521,
}

impl EcCurve {
    /// Every curve.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The curve that a method signs on.
    pub fn of(method: AuthMethod) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.method() == method)
    }

    /// The method that signs on it.
    pub const fn method(self) -> AuthMethod {
        match self {
            Self::P256 => AuthMethod::EcdsaP256,
            Self::P384 => AuthMethod::EcdsaP384,
            Self::P521 => AuthMethod::EcdsaP521,
        }
    }

    /// Octets of a coordinate, and of either half of a signature (RFC 4754 §7).
    pub const fn octets(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A public key on a curve, both coordinates as long as [`EcCurve::octets`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EcPublicKey {
    /// The curve.
    pub curve: EcCurve,
    /// First coordinate.
    pub x: Vec<u8>,
    /// Second coordinate.
    pub y: Vec<u8>,
}

impl std::fmt::Debug for EcPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EcPublicKey({:?})", self.curve)
    }
}

/// The public key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// RSA.
    Rsa(RsaPublicKey),
    /// A point on a curve.
    Ec(EcPublicKey),
}

impl From<RsaPublicKey> for PublicKey {
    fn from(key: RsaPublicKey) -> Self {
        Self::Rsa(key)
    }
}

/// A fresh Diffie-Hellman pair.
#[derive(Debug)]
pub struct DhPair {
    /// The exponent, or a curve's scalar.
    pub secret: Secret,
    /// g^x mod p, left-padded to the group's length; of a curve both coordinates of the point (RFC 5903 §7).
    pub public: Vec<u8>,
}

/// What a primitive refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// A public value outside 2..=p-2, a point not on the curve, or the wrong length.
    #[error("Diffie-Hellman public value of {octets} octets is no legal one of {group:?}")]
    PublicValue {
        /// The group.
        group: Group,
        /// Length of the value.
        octets: usize,
    },
    /// An RSA key too small, too large or malformed; or a signature not as long as the modulus or not below it.
    #[error("RSA: {0}")]
    Rsa(&'static str),
    /// A key that is no point of its curve, or a signature whose numbers are out of range.
    #[error("ECDSA: {0}")]
    Ecdsa(&'static str),
    /// The library failed.
    #[error("{0}")]
    Library(String),
}

/// Random octets and public-key operations.
pub trait Provider: Send + Sync {
    /// Fills `out` with random octets.
    fn random(&self, out: &mut [u8]);

    /// Makes a fresh pair.
    ///
    /// # Errors
    /// [`CryptoError::Library`] if the library fails.
    fn dh_generate(&self, group: Group) -> Result<DhPair, CryptoError>;

    /// The shared secret, left-padded to the group's length (RFC 2409 §5: fixed-length values); of a curve the first
    /// coordinate alone (RFC 5903 §9).
    ///
    /// # Errors
    /// [`CryptoError::PublicValue`] before any work, if `peer_public` is not exactly as long as the group's prime or not
    /// in 2..=p-2 (RFC 2412 §E, ATTACKS A-25), or no point of the curve but infinity.
    fn dh_agree(&self, group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError>;

    /// The RSA public operation `input^e mod n`, exactly as long as the modulus: the encoded message of a signature.
    ///
    /// # Errors
    /// [`CryptoError::Rsa`] if `input` is not exactly as long as the modulus, not below it, or the key is unfit
    /// (modulus outside 1024..=8192 bits, exponent even, below 3 or above 2^33).
    fn rsa_public(&self, key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Is (`r`, `s`) an ECDSA signature over `digest`, which is not hashed again, by the owner of `key`?
    ///
    /// # Errors
    /// [`CryptoError::Ecdsa`] for a key that is no point of its curve or numbers out of range;
    /// [`CryptoError::Library`] from a provider without ECDSA.
    fn ecdsa_verify(&self, key: &EcPublicKey, digest: &[u8], r: &[u8], s: &[u8]) -> Result<bool, CryptoError> {
        let _ = (digest, r, s);
        Err(CryptoError::Library(format!("ECDSA on {:?} is not in this build", key.curve)))
    }
}
