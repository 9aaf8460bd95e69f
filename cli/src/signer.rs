//! Holds a private key, RSA or on a curve, and signs HASH_I or HASH_R with it: the answer to the core's `Sign`.

use std::fmt;

use ike::crypto::provider::{EcCurve, PublicKey, RsaPublicKey};
use openssl::bn::BigNum;
use openssl::ec::{EcKey, EcKeyRef};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa, RsaPrivateKeyBuilder};
use policy::model::rsa_key::{RsaNumbers, RsaSecrets};
use thiserror::Error;

use crate::pki::leaf::ec_public_key;
use crate::provider::curve_nid;

/// Sizes of modulus that are accepted, in bits: what [`ike::crypto::signature`] accepts from a peer.
const BITS: std::ops::RangeInclusive<i32> = 1024..=8192;

/// A private key.
pub struct Signer {
    key: Key,
}

enum Key {
    Rsa(Rsa<Private>),
    Ec(EcKey<Private>, EcCurve),
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
    #[error("private key is neither RSA nor on one of the curves P-256, P-384 and P-521")]
    Kind,
    /// Its modulus is too small or too large.
    #[error("private key of {0} bits; 1024 to 8192 are accepted, 2048 or more recommended")]
    Size(i32),
    /// Its numbers do not fit together.
    #[error("private key is damaged: its numbers do not fit together")]
    Damaged,
    /// Its numbers cannot be those of a key.
    #[error("private key is damaged: {0}")]
    Numbers(ErrorStack),
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
        match key.id() {
            Id::RSA => Self::rsa(key.rsa().map_err(|_| SignerError::Kind)?),
            Id::EC => Self::ec(key.ec_key().map_err(|_| SignerError::Kind)?),
            _ => Err(SignerError::Kind),
        }
    }

    /// From the numbers of an RSA key.
    ///
    /// # Errors
    /// [`SignerError`] if they do not fit together, or the modulus is too small or too large.
    pub fn from_numbers(public: &RsaNumbers, secrets: &RsaSecrets) -> Result<Self, SignerError> {
        let key = build(public, secrets).map_err(SignerError::Numbers)?;
        if secrets.factors.is_some() {
            return Self::rsa(key);
        }
        // OpenSSL checks keys by their factors; without them a signature tells.
        let bits = key.n().num_bits();
        if !BITS.contains(&bits) {
            return Err(SignerError::Size(bits));
        }
        if fits(&key) { Ok(Self { key: Key::Rsa(key) }) } else { Err(SignerError::Damaged) }
    }

    fn ec(key: EcKey<Private>) -> Result<Self, SignerError> {
        let curve = EcCurve::ALL.into_iter().find(|curve| key.group().curve_name() == Some(curve_nid(*curve)));
        let curve = curve.ok_or(SignerError::Kind)?;
        key.check_key().map_err(|_| SignerError::Damaged)?;
        Ok(Self { key: Key::Ec(key, curve) })
    }

    fn rsa(key: Rsa<Private>) -> Result<Self, SignerError> {
        let bits = key.n().num_bits();
        if !BITS.contains(&bits) {
            return Err(SignerError::Size(bits));
        }
        if !key.check_key().unwrap_or(false) {
            return Err(SignerError::Damaged);
        }
        Ok(Self { key: Key::Rsa(key) })
    }

    /// The public half, to be compared with the certificate's.
    ///
    /// # Errors
    /// [`SignerError::Damaged`] for a point that has no coordinates.
    pub fn public_key(&self) -> Result<PublicKey, SignerError> {
        match &self.key {
            Key::Rsa(key) => Ok(RsaPublicKey { modulus: key.n().to_vec(), exponent: key.e().to_vec() }.into()),
            Key::Ec(key, curve) => {
                let key = ec_public_key(key.group(), key.public_key(), *curve);
                key.map(PublicKey::Ec).map_err(|_| SignerError::Damaged)
            }
        }
    }

    /// Signs HASH_I or HASH_R as they are, without hashing them again. RSA: PKCS#1 v1.5 padding, no DigestInfo (RFC 2409
    /// §5.1), blinded. ECDSA: r and s, each as long as the curve's field (RFC 4754 §7).
    ///
    /// # Errors
    /// [`SignerError::Sign`] if the octets do not fit the modulus or OpenSSL fails.
    pub fn sign_unprefixed(&self, octets: &[u8]) -> Result<Vec<u8>, SignerError> {
        match &self.key {
            Key::Rsa(key) => sign_rsa(key, octets),
            Key::Ec(key, curve) => sign_ecdsa(key, *curve, octets),
        }
        .map_err(SignerError::Sign)
    }

    /// The size of the key, in bits.
    pub fn bits(&self) -> i32 {
        match &self.key {
            Key::Rsa(key) => key.n().num_bits(),
            Key::Ec(key, _) => i32::try_from(key.group().degree()).unwrap_or(i32::MAX),
        }
    }
}

fn build(public: &RsaNumbers, secrets: &RsaSecrets) -> Result<Rsa<Private>, ErrorStack> {
    let secret = |octets: &[u8]| {
        let mut number = BigNum::new_secure()?;
        number.copy_from_slice(octets)?;
        Ok::<_, ErrorStack>(number)
    };
    let (n, e) = (BigNum::from_slice(&public.modulus)?, BigNum::from_slice(&public.exponent)?);
    let builder = RsaPrivateKeyBuilder::new(n, e, secret(secrets.private_exponent.expose())?)?;
    let Some([p, q, dp, dq, coefficient]) = &secrets.factors else { return Ok(builder.build()) };
    let builder = builder.set_factors(secret(p.expose())?, secret(q.expose())?)?;
    let (dp, dq, coefficient) = (secret(dp.expose())?, secret(dq.expose())?, secret(coefficient.expose())?);
    Ok(builder.set_crt_params(dp, dq, coefficient)?.build())
}

/// Does the public half undo what the private one does?
fn fits(key: &Rsa<Private>) -> bool {
    const PROBE: [u8; 20] = [0x5a; 20];
    let Ok(signature) = sign_rsa(key, &PROBE) else { return false };
    let mut recovered = vec![0; key.size() as usize];
    let read = key.public_decrypt(&signature, &mut recovered, Padding::PKCS1);
    read.is_ok_and(|octets| recovered.get(..octets) == Some(PROBE.as_slice()))
}

fn sign_rsa(key: &Rsa<Private>, octets: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let mut signature = vec![0; key.size() as usize];
    let written = key.private_encrypt(octets, &mut signature, Padding::PKCS1)?;
    signature.truncate(written);
    Ok(signature)
}

fn sign_ecdsa(key: &EcKeyRef<Private>, curve: EcCurve, digest: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let signature = EcdsaSig::sign(digest, key)?;
    let length = i32::try_from(curve.octets()).unwrap_or(i32::MAX);
    Ok([signature.r().to_vec_padded(length)?, signature.s().to_vec_padded(length)?].concat())
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} bits)", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use ike::crypto::signature::{SignatureError, verify_by};
    use openssl::ec::EcGroup;
    use openssl::nid::Nid;
    use openssl::symm::Cipher;
    use policy::model::algorithm::AuthMethod;

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
                let key = signer.public_key().unwrap();
                let verified = |method| verify_by(&OpensslProvider::new(), method, &key, &signature, hash);
                assert_eq!(verified(AuthMethod::RsaSignature), Ok(()));
                assert_eq!(verified(AuthMethod::EcdsaP256), Err(SignatureError::WrongKey("ecdsa256")));
            }
            assert!(matches!(signer.sign_unprefixed(&[0; 246]), Err(SignerError::Sign(_))));
            assert_eq!(format!("{signer:?}"), "Signer(2048 bits)");
        }
    }

    fn ec(name: Nid) -> PKey<Private> {
        let group = EcGroup::from_curve_name(name).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    /// RFC 4754: over the hash as it is, both halves at full length however short the numbers are.
    #[test]
    fn signs_on_each_curve_what_the_core_verifies() {
        let provider = OpensslProvider::new();
        for curve in EcCurve::ALL {
            let key = ec(curve_nid(curve));
            let method = curve.method();
            let hash = vec![7; method.signature_hash().unwrap().facts().output];
            for pem in [key.private_key_to_pem_pkcs8().unwrap(), key.ec_key().unwrap().private_key_to_pem().unwrap()] {
                let signer = Signer::from_pem(&pem).unwrap();
                let public = signer.public_key().unwrap();
                for _ in 0..50 {
                    let signature = signer.sign_unprefixed(&hash).unwrap();
                    assert_eq!(signature.len(), 2 * curve.octets());
                    assert_eq!(verify_by(&provider, method, &public, &signature, &hash), Ok(()));
                    let mut other = hash.clone();
                    other[0] ^= 1;
                    let refused = verify_by(&provider, method, &public, &signature, &other);
                    assert_eq!(refused, Err(SignatureError::Mismatch));
                    let short = verify_by(&provider, method, &public, &signature[1..], &hash);
                    assert!(matches!(short, Err(SignatureError::Length { .. })));
                }
                for octet in [0, 0xff] {
                    let nonsense = vec![octet; 2 * curve.octets()];
                    let refused = verify_by(&provider, method, &public, &nonsense, &hash);
                    assert!(matches!(refused, Err(SignatureError::Crypto(_))), "{refused:?}");
                }
            }
        }
    }

    fn numbers(key: &Rsa<Private>, factors: bool) -> (RsaNumbers, RsaSecrets) {
        let part = |number: Option<&openssl::bn::BigNumRef>| number.unwrap().to_vec().into();
        let public = RsaNumbers { modulus: key.n().to_vec(), exponent: key.e().to_vec() };
        let all = || [part(key.p()), part(key.q()), part(key.dmp1()), part(key.dmq1()), part(key.iqmp())];
        (public, RsaSecrets { private_exponent: key.d().to_vec().into(), factors: factors.then(all) })
    }

    #[test]
    fn a_key_of_numbers_signs_with_and_without_its_factors() {
        let (key, other) = (Rsa::generate(2048).unwrap(), Rsa::generate(2048).unwrap());
        for factors in [true, false] {
            let (public, mut secrets) = numbers(&key, factors);
            let signer = Signer::from_numbers(&public, &secrets).unwrap();
            let signature = signer.sign_unprefixed(&[7; 32]).unwrap();
            let known = signer.public_key().unwrap();
            let method = AuthMethod::RsaSignature;
            assert_eq!(verify_by(&OpensslProvider::new(), method, &known, &signature, &[7; 32]), Ok(()));
            secrets.private_exponent = other.d().to_vec().into();
            let refused = Signer::from_numbers(&public, &secrets).map(|_| ());
            assert!(matches!(refused, Err(SignerError::Damaged)), "{factors}: {refused:?}");
        }
        let (public, mut secrets) = numbers(&key, true);
        if let Some(factors) = &mut secrets.factors {
            factors.swap(0, 2);
        }
        assert!(Signer::from_numbers(&public, &secrets).is_err());
        let (public, secrets) = numbers(&Rsa::generate(512).unwrap(), false);
        assert!(matches!(Signer::from_numbers(&public, &secrets), Err(SignerError::Size(512))));
        let (public, _) = numbers(&key, false);
        let zero = RsaSecrets { private_exponent: Vec::new().into(), factors: None };
        assert!(Signer::from_numbers(&public, &zero).is_err());
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        let encrypted = rsa(1024).private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        assert!(matches!(Signer::from_pem(&encrypted), Err(SignerError::Encrypted)));
        let koblitz = ec(Nid::SECP256K1).private_key_to_pem_pkcs8().unwrap();
        assert!(matches!(Signer::from_pem(&koblitz), Err(SignerError::Kind)));
        let small = rsa(512).private_key_to_pem_pkcs8().unwrap();
        assert!(matches!(Signer::from_pem(&small), Err(SignerError::Size(512))));
        for text in [b"".as_slice(), b"hello", &rsa(1024).public_key_to_pem().unwrap()] {
            assert!(matches!(Signer::from_pem(text), Err(SignerError::NotPem(_))));
        }
    }
}
