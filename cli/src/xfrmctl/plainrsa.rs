//! `xfrmctl plainrsa-gen`: RSA keys without certificates, as racoon's plainrsa-gen(8) made them.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use openssl::bn::BigNum;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::exit_code::Exit;
use crate::pki::load;
use crate::pki::plain::{private_text, public_text};

/// A new key pair.
///
/// # Errors
/// An exponent that no key can have; OpenSSL's.
pub fn generate(bits: u32, exponent: u32) -> Result<Zeroizing<String>, Failure> {
    if exponent < 3 || exponent.is_multiple_of(2) {
        return Err(Failure::new(Exit::Usage, format!("{exponent} is no public exponent: an odd number from 3 on")));
    }
    let key = BigNum::from_u32(exponent).and_then(|exponent| Rsa::generate_with_e(bits, &exponent));
    key.map(|key| private_text(&key)).map_err(|error| Failure::new(Exit::NotSo, error.to_string()))
}

/// The key in a PEM file: a private one whole, of a public one the entry.
///
/// # Errors
/// The file cannot be read, or holds no RSA key.
pub fn convert(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let refuse = |text: String| Failure::new(Exit::NotSo, text);
    let public = load::read_public("key", path).map_err(|error| refuse(error.to_string()))?;
    let public = Zeroizing::new(public);
    if let Ok(key) = PKey::public_key_from_pem(&public).and_then(|key| key.rsa()) {
        return Ok(Zeroizing::new(public_text(key.n(), key.e()) + "\n"));
    }
    let pem = load::read_private("private key", path).map_err(|error| refuse(error.to_string()))?;
    // An encrypted key is refused: without a callback OpenSSL would ask on the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).and_then(|key| key.rsa());
    key.map(|key| private_text(&key))
        .map_err(|_| refuse(format!("{}: no RSA key in PEM form, or one with a passphrase", path.display())))
}

/// Writes a new file that nobody else may read.
///
/// # Errors
/// It exists, or cannot be written.
pub fn save(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::new(Exit::NotSo, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use policy::plain_rsa::{Purpose, parse};

    use super::*;

    #[test]
    fn made_and_converted_keys_are_read_and_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = generate(1024, 3).unwrap();
        let file = parse("k", made.as_bytes(), Purpose::Private);
        assert!(!file.is_refused() && file.entries[0].public.exponent == [3], "{}", file.render());
        save(&at("private"), &made).unwrap();
        assert_eq!(at("private").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(save(&at("private"), &made).unwrap_err().to_string().contains("exists"));
        for even in [1, 4] {
            assert!(generate(1024, even).is_err());
        }
        let key = Rsa::generate(2048).unwrap();
        save(&at("key.pem"), &String::from_utf8(key.private_key_to_pem().unwrap()).unwrap()).unwrap();
        save(&at("pub.pem"), &String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()).unwrap();
        let private = parse("k", convert(&at("key.pem")).unwrap().as_bytes(), Purpose::Private);
        let public = parse("k", convert(&at("pub.pem")).unwrap().as_bytes(), Purpose::Public);
        assert_eq!(private.entries[0].public, public.entries[0].public);
        assert!(convert(&at("private")).unwrap_err().to_string().contains("no RSA key in PEM form"));
        assert!(convert(&at("nothing")).unwrap_err().to_string().contains("does not exist"));
    }
}
