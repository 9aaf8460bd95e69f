//! Holds a private RSA key and signs HASH_I or HASH_R with it: the answer to the core's `Sign`.

use std::fmt;

use ike::crypto::provider::RsaPublicKey;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa};
use thiserror::Error;

/// Sizes of modulus that are accepted, in bits: what [`ike::crypto::signature`] accepts from a peer.
const BITS: std::ops::RangeInclusive<i32> = 1024..=8192;

/// A private RSA key.
pub struct Signer {
    key: Rsa<Private>,
}

/// Why a key cannot be used, or could not sign.
#[derive(Debug, Error)]
pub enum SignerError {
    /// It asks for a passphrase, and nobody is there to give one.
    #[error("private key is encrypted; store it without a passphrase (openssl pkey -in KEY -out NEW), mode 0600")]
    Encrypted,
    /// No private key was found in the text.
    #[error("no private key in PEM form: {0}")]
    NotPem(ErrorStack),
    /// A key of another kind.
    #[error("private key is not RSA; only RSA signatures are supported")]
    NotRsa,
    /// Its modulus is too small or too large.
    #[error("private key of {0} bits; 1024 to 8192 are accepted, 2048 or more recommended")]
    Size(i32),
    /// Its numbers do not fit together.
    #[error("private key is damaged: its numbers do not fit together")]
    Damaged,
    /// OpenSSL failed to sign.
    #[error("signing failed: {0}")]
    Sign(ErrorStack),
}

impl Signer {
    /// From PEM, PKCS#1 or PKCS#8.
    ///
    /// # Errors
    /// [`SignerError`] if there is no usable, unencrypted RSA key in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        let mut asked = false;
        // Without a callback OpenSSL would ask on the terminal.
        let loaded = PKey::private_key_from_pem_callback(pem, |_| {
            asked = true;
            Ok(0)
        });
        let key = match loaded {
            Ok(key) => key,
            Err(_) if asked => return Err(SignerError::Encrypted),
            Err(error) => return Err(SignerError::NotPem(error)),
        };
        if key.id() != Id::RSA {
            return Err(SignerError::NotRsa);
        }
        let key = key.rsa().map_err(|_| SignerError::NotRsa)?;
        let bits = key.n().num_bits();
        if !BITS.contains(&bits) {
            return Err(SignerError::Size(bits));
        }
        if !key.check_key().unwrap_or(false) {
            return Err(SignerError::Damaged);
        }
        Ok(Self { key })
    }

    /// The public half, to be compared with the certificate's.
    pub fn public_key(&self) -> RsaPublicKey {
        RsaPublicKey { modulus: self.key.n().to_vec(), exponent: self.key.e().to_vec() }
    }

    /// Signs `octets` as they are: PKCS#1 v1.5 padding, no DigestInfo (RFC 2409 §5.1). The operation is blinded.
    ///
    /// # Errors
    /// [`SignerError::Sign`] if the octets do not fit the modulus or OpenSSL fails.
    pub fn sign_unprefixed(&self, octets: &[u8]) -> Result<Vec<u8>, SignerError> {
        let mut signature = vec![0; self.key.size() as usize];
        let written = self.key.private_encrypt(octets, &mut signature, Padding::PKCS1).map_err(SignerError::Sign)?;
        signature.truncate(written);
        Ok(signature)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} bits)", self.key.n().num_bits())
    }
}

#[cfg(test)]
mod tests {
    use ike::crypto::signature::verify;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::symm::Cipher;

    use super::*;
    use crate::provider::OpensslProvider;

    fn rsa(bits: u32) -> PKey<Private> {
        PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
    }

    #[test]
    fn signs_what_the_core_verifies_in_both_forms_of_pem() {
        let key = rsa(2048);
        for pem in [key.private_key_to_pem_pkcs8().unwrap(), key.rsa().unwrap().private_key_to_pem().unwrap()] {
            let signer = Signer::from_pem(&pem).unwrap();
            for hash in [[1; 16].as_slice(), &[2; 20], &[3; 64]] {
                let signature = signer.sign_unprefixed(hash).unwrap();
                assert_eq!(signature.len(), 256);
                assert_eq!(verify(&OpensslProvider::new(), &signer.public_key(), &signature, hash), Ok(()));
            }
            assert!(matches!(signer.sign_unprefixed(&[0; 246]), Err(SignerError::Sign(_))));
            assert_eq!(format!("{signer:?}"), "Signer(2048 bits)");
        }
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        let encrypted = rsa(1024).private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        assert!(matches!(Signer::from_pem(&encrypted), Err(SignerError::Encrypted)));
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let ec = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
        assert!(matches!(Signer::from_pem(&ec.private_key_to_pem_pkcs8().unwrap()), Err(SignerError::NotRsa)));
        let small = rsa(512).private_key_to_pem_pkcs8().unwrap();
        assert!(matches!(Signer::from_pem(&small), Err(SignerError::Size(512))));
        for text in [b"".as_slice(), b"hello", &rsa(1024).public_key_to_pem().unwrap()] {
            assert!(matches!(Signer::from_pem(text), Err(SignerError::NotPem(_))));
        }
    }
}
