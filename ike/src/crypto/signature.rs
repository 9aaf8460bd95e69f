//! Signatures of phase 1. RSA (RFC 2409 §5.1): PKCS#1 v1.5 padding around the bare HASH, no DigestInfo. ECDSA (RFC 4754): two
//! numbers of fixed length over the HASH, which is not hashed again.
//!
//! Nothing is parsed out of the recovered octets: what a right signature must recover is written down whole and compared
//! (RFC 8017 §8.2.2), so there is no length or structure in it that a forger could choose (ATTACKS A-17).

use policy::model::algorithm::AuthMethod;
use thiserror::Error;

use super::backend::equal;
use super::provider::{CryptoError, EcCurve, EcPublicKey, Provider, PublicKey, RsaPublicKey};

/// Octets of padding that must stand between the marks (RFC 8017 §9.2).
const MIN_PADDING: usize = 8;

/// Why a signature was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// Its length is not the one that the key gives.
    #[error("signature of {octets} octets, not {modulus} as the key has it")]
    Length {
        /// Of the signature.
        octets: usize,
        /// Of the modulus, or of the two halves of ECDSA.
        modulus: usize,
    },
    /// The certificate has a key of another kind.
    #[error("the certificate's key is not one of {0}")]
    WrongKey(&'static str),
    /// The modulus is too small for what was signed.
    #[error("modulus of {modulus} octets cannot hold a signature over {octets}")]
    KeyTooSmall {
        /// Of what was signed.
        octets: usize,
        /// Of the modulus.
        modulus: usize,
    },
    /// The key or the number was refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// It was not made by this key over these octets.
    #[error("signature does not verify")]
    Mismatch,
}

/// Was `signature` made over `octets` by the owner of `key`, with this method?
///
/// # Errors
/// As [`verify`]; [`SignatureError::WrongKey`] if the method signs with keys of another kind.
pub fn verify_by(
    provider: &dyn Provider,
    method: AuthMethod,
    key: &PublicKey,
    signature: &[u8],
    octets: &[u8],
) -> Result<(), SignatureError> {
    match (EcCurve::of(method), key) {
        (None, PublicKey::Rsa(key)) => verify(provider, key, signature, octets),
        (Some(curve), PublicKey::Ec(key)) if key.curve == curve => verify_ecdsa(provider, key, signature, octets),
        _ => Err(SignatureError::WrongKey(method.racoon_name())),
    }
}

/// r and s, each as long as the curve's field (RFC 4754 §7).
fn verify_ecdsa(
    provider: &dyn Provider,
    key: &EcPublicKey,
    signature: &[u8],
    octets: &[u8],
) -> Result<(), SignatureError> {
    let half = key.curve.octets();
    let wrong = SignatureError::Length { octets: signature.len(), modulus: 2 * half };
    let (r, s) = signature.split_at_checked(half).filter(|(_, s)| s.len() == half).ok_or(wrong)?;
    if provider.ecdsa_verify(key, octets, r, s)? { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Was `signature` made over `octets` (HASH_I or HASH_R) by the owner of `key`?
///
/// # Errors
/// [`SignatureError`] if not, or if the key is unfit.
pub fn verify(
    provider: &dyn Provider,
    key: &RsaPublicKey,
    signature: &[u8],
    octets: &[u8],
) -> Result<(), SignatureError> {
    let modulus = key.modulus.len();
    if signature.len() != modulus {
        return Err(SignatureError::Length { octets: signature.len(), modulus });
    }
    let expected = encoded_message(modulus, octets)?;
    let recovered = provider.rsa_public(key, signature)?;
    if equal(&expected, &recovered) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// 00 01 FF .. FF 00 | octets, as long as the modulus.
fn encoded_message(modulus: usize, octets: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let padding = modulus
        .checked_sub(octets.len() + 3)
        .filter(|&padding| padding >= MIN_PADDING)
        .ok_or(SignatureError::KeyTooSmall { octets: octets.len(), modulus })?;
    Ok([&[0, 1], vec![0xff; padding].as_slice(), &[0], octets].concat())
}

/// Refuses what the public operation must not be asked: keys unfit by the limits of
/// [`Provider::rsa_public`], and numbers not below the modulus (ATTACKS ).
///
/// # Errors
/// [`CryptoError::Rsa`] with the reason.
pub fn check_rsa_input(key: &RsaPublicKey, input: &[u8]) -> Result<(), CryptoError> {
    let RsaPublicKey { modulus, exponent } = key;
    let refuse = |reason| Err(CryptoError::Rsa(reason));
    let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
        return refuse("no modulus");
    };
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    match exponent.as_slice() {
        _ if *first == 0 => refuse("modulus begins with a zero octet"),
        _ if !(1024..=8192).contains(&bits) => refuse("modulus is not of 1024 to 8192 bits"),
        _ if last % 2 == 0 => refuse("modulus is even"),
        [] | [0, ..] => refuse("exponent is empty or begins with a zero octet"),
        [1] => refuse("exponent is below 3"),
        [.., last] if last % 2 == 0 => refuse("exponent is even"),
        // 2^33 itself is even, so an odd exponent of five octets is above it unless it begins with 1.
        [first, _, _, _, _] if *first > 1 => refuse("exponent is above 2^33"),
        [_, _, _, _, _, _, ..] => refuse("exponent is above 2^33"),
        _ if input.len() != modulus.len() => refuse("number is not as long as the modulus"),
        _ if input >= modulus.as_slice() => refuse("number is not below the modulus"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use policy::model::algorithm::Group;
    use policy::model::secret::Secret;

    use super::super::provider::DhPair;
    use super::*;

    /// Recovers what the test wants.
    struct Recovers(Vec<u8>);

    impl Provider for Recovers {
        fn random(&self, out: &mut [u8]) {
            out.fill(4);
        }

        fn dh_generate(&self, _: Group) -> Result<DhPair, CryptoError> {
            Err(CryptoError::Library("not in this test".into()))
        }

        fn dh_agree(&self, _: Group, _: &Secret, _: &[u8]) -> Result<Secret, CryptoError> {
            Err(CryptoError::Library("not in this test".into()))
        }

        fn rsa_public(&self, _: &RsaPublicKey, _: &[u8]) -> Result<Vec<u8>, CryptoError> {
            Ok(self.0.clone())
        }
    }

    fn key() -> RsaPublicKey {
        RsaPublicKey { modulus: [vec![0x80], vec![1; 255]].concat(), exponent: vec![1, 0, 1] }
    }

    fn outcome(recovered: Vec<u8>, hash: &[u8]) -> Result<(), SignatureError> {
        verify(&Recovers(recovered), &key(), &[2; 256], hash)
    }

    #[test]
    fn only_the_one_encoding_passes() {
        const HASH: [u8; 32] = [0x11; 32];
        let encode = |padding: usize, tail: &[u8]| [&[0, 1], vec![0xff; padding].as_slice(), &[0], tail].concat();
        assert_eq!(outcome(encode(221, &HASH), &HASH), Ok(()));
        // DigestInfo of SHA-256 (RFC 8017 §9.2 note 1): right for certificates, wrong here.
        let info = [
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
            0x20,
        ];
        let right = encode(221, &HASH);
        let changed = |at: usize, value: u8| {
            let mut octets = right.clone();
            octets[at] = value;
            octets
        };
        let variants = [
            ("shorter hash", encode(222, &HASH[..31])),
            ("longer hash", encode(220, &[&HASH[..], &[0x11]].concat())),
            ("empty hash", encode(253, &[])),
            ("trailing octets", encode(8, &[&HASH[..], &[0; 213]].concat())),
            ("DigestInfo", encode(202, &[&info[..], &HASH].concat())),
            ("padding of 7", [&[0, 1][..], &[0xff; 7], &[0], &[0; 214], &HASH].concat()),
            ("zero inside the padding", changed(100, 0)),
            ("other octet inside the padding", changed(100, 0xfe)),
            ("block type 2", changed(1, 2)),
            ("block type 0", changed(1, 0)),
            ("first octet", changed(0, 1)),
            ("no separator", changed(223, 0xff)),
            ("other hash", changed(255, 0)),
            ("one octet less", right[1..].to_vec()),
            ("one octet more", [&right[..], &[0]].concat()),
            ("all zero", vec![0; 256]),
            ("nothing", vec![]),
        ];
        for (what, recovered) in variants {
            assert_eq!(outcome(recovered, &HASH), Err(SignatureError::Mismatch), "{what}");
        }
    }

    #[test]
    fn length_of_the_signature_is_the_modulus_s() {
        for octets in [0, 1, 255, 257, 512] {
            let refused = verify(&Recovers(vec![]), &key(), &vec![0; octets], &[1; 32]);
            assert_eq!(refused, Err(SignatureError::Length { octets, modulus: 256 }));
        }
        let refused = verify(&Recovers(vec![]), &key(), &[0; 256], &[1; 246]);
        assert_eq!(refused, Err(SignatureError::KeyTooSmall { octets: 246, modulus: 256 }));
        assert_eq!(outcome([&[0, 1][..], &[0xff; 8], &[0], &[1; 245]].concat(), &[1; 245]), Ok(()));
    }

    #[test]
    fn unfit_keys_and_numbers_are_refused() {
        let check = |modulus: Vec<u8>, exponent: &[u8], input: Vec<u8>| {
            check_rsa_input(&RsaPublicKey { modulus, exponent: exponent.to_vec() }, &input)
        };
        let good = key().modulus;
        assert_eq!(check(good.clone(), &[1, 0, 1], vec![2; 256]), Ok(()));
        assert_eq!(check(good.clone(), &[3], vec![2; 256]), Ok(()));
        assert_eq!(check(good.clone(), &[1, 0xff, 0xff, 0xff, 0xff], vec![2; 256]), Ok(()));
        for exponent in
            [&[][..], &[0], &[1], &[2], &[0, 3], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 1], &[0xff; 256]]
        {
            assert!(matches!(check(good.clone(), exponent, vec![2; 256]), Err(CryptoError::Rsa(_))), "{exponent:?}");
        }
        for modulus in [vec![], vec![0], vec![0xff; 127], vec![0xff; 1025], vec![0; 256], vec![0xfe; 256]] {
            let input = vec![0; modulus.len()];
            assert!(matches!(check(modulus, &[3], input), Err(CryptoError::Rsa(_))));
        }
        assert!(check([vec![0x7f], vec![1; 127]].concat(), &[3], vec![0; 128]).is_err(), "1023 bits");
        for input in [good.clone(), vec![0xff; 256], vec![1; 255], vec![0; 257], vec![]] {
            assert!(check(good.clone(), &[3], input).is_err());
        }
    }
}
