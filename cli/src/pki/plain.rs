//! RSA keys without certificates: those of peers as the core needs them, and a key of ours as text (racoon's plainrsa-gen).

use std::fmt::Write as _;
use std::path::Path;

use ike::config::RawKey;
use ike::crypto::provider::{PublicKey, RsaPublicKey};
use openssl::bn::{BigNum, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::{Rsa, RsaRef};
use openssl::sha::sha256;
use policy::model::rsa_key::{KeyScope, RsaNumbers};
use policy::plain_rsa::{self, Purpose};
use zeroize::Zeroizing;

use super::load::{self, LoadError};

/// The public keys of a file (`peers_certfile plain_rsa`).
///
/// # Errors
/// [`LoadError`] naming the file, the place in it, and what is wrong there.
pub(super) fn peers(path: &Path, warnings: &mut Vec<String>) -> Result<Vec<(KeyScope, RawKey)>, LoadError> {
    let file = load::rsa_keys(path, Purpose::Public, warnings)?;
    let library = |error| LoadError::Library { path: path.to_owned(), error };
    let keys = file.entries.into_iter().map(|entry| {
        let line = file.sources.locate(entry.span).line;
        let name = format!("{}:{line} (SHA256:{})", path.display(), fingerprint(&entry.public)?);
        let RsaNumbers { modulus, exponent } = entry.public;
        let key = PublicKey::Rsa(RsaPublicKey { modulus, exponent });
        Ok((entry.scope, RawKey { key, name }))
    });
    keys.collect::<Result<_, ErrorStack>>().map_err(library)
}

/// SHA-256 of the SubjectPublicKeyInfo, in hexadecimal: `openssl pkey -pubin -outform DER | sha256sum` gives the same.
///
/// # Errors
/// OpenSSL's.
pub fn fingerprint(key: &RsaNumbers) -> Result<String, ErrorStack> {
    let (n, e) = (BigNum::from_slice(&key.modulus)?, BigNum::from_slice(&key.exponent)?);
    let der = Rsa::from_public_components(n, e)?.public_key_to_der()?;
    Ok(sha256(&der).iter().map(|octet| format!("{octet:02x}")).collect())
}

/// The entry of a public key: what peers are given.
pub fn public_text(modulus: &BigNumRef, exponent: &BigNumRef) -> String {
    let key = RsaNumbers { modulus: modulus.to_vec(), exponent: exponent.to_vec() };
    format!(": PUB {}", plain_rsa::to_text(&key))
}

/// The file of a private key, with the public entry as a comment.
pub fn private_text(key: &RsaRef<Private>) -> Zeroizing<String> {
    let fields = [
        ("Modulus", Some(key.n())),
        ("PublicExponent", Some(key.e())),
        ("PrivateExponent", Some(key.d())),
        ("Prime1", key.p()),
        ("Prime2", key.q()),
        ("Exponent1", key.dmp1()),
        ("Exponent2", key.dmq1()),
        ("Coefficient", key.iqmp()),
    ];
    // As long as it can get, so that no copy of the numbers stays behind where it grew.
    let mut out = Zeroizing::new(String::with_capacity(1024 + 24 * key.size() as usize));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# {}\n: RSA\t{{\n\t# RSA {} bits", public_text(key.n(), key.e()), key.n().num_bits());
    for (name, number) in fields {
        if let Some(number) = number {
            let _ = write!(out, "\t{name}: 0x");
            for octet in Zeroizing::new(number.to_vec()).iter() {
                let _ = write!(out, "{octet:02x}");
            }
            let _ = writeln!(out);
        }
    }
    let _ = writeln!(out, "  }}");
    out
}

#[cfg(test)]
mod tests {
    use policy::plain_rsa::parse;

    use super::*;
    use crate::signer::Signer;

    #[test]
    fn what_is_written_is_what_is_read() {
        let key = Rsa::generate(2048).unwrap();
        let text = private_text(&key);
        let file = parse("k", text.as_bytes(), Purpose::Private);
        assert_eq!(file.render(), "");
        let entry = &file.entries[0];
        let signer = Signer::from_numbers(&entry.public, entry.secrets.as_ref().unwrap()).unwrap();
        let public = parse("k", public_text(key.n(), key.e()).as_bytes(), Purpose::Public);
        assert_eq!(public.entries[0].public, entry.public);
        let RsaNumbers { modulus, exponent } = entry.public.clone();
        assert_eq!(signer.public_key().unwrap(), PublicKey::Rsa(RsaPublicKey { modulus, exponent }));
        assert_eq!(text.lines().next().unwrap(), format!("# {}", public_text(key.n(), key.e())));
    }
}
