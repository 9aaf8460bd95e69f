//! Is this the password behind a crypt(3) hash?
//!
//! SHA-crypt (`$5$`, `$6$`: `openssl passwd -6`, `mkpasswd -m sha512crypt`) is checked by a library of our own kind; every
//! other method, yescrypt and bcrypt among them, by the system's libcrypt, which is opened when it is first needed.

use policy::model::secret::Secret;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use subtle::ConstantTimeEq;

use super::foreign;

/// Does the password make the hash?
///
/// # Errors
/// A hash that nobody here can check.
pub fn matches(password: &Secret, hash: &str) -> Result<bool, String> {
    if !is_hash(hash) {
        return Err("the account has no password, or is locked".to_owned());
    }
    if hash.starts_with("$5$") || hash.starts_with("$6$") {
        return Ok(ShaCrypt::default().verify_password(password.expose(), hash).is_ok());
    }
    let made = foreign::crypt(password.expose(), hash)?;
    Ok(made.as_bytes().ct_eq(hash.as_bytes()).into())
}

/// Locked accounts have `!` or `*` in place of a hash; what is empty would let anybody in, and a short one is DES.
fn is_hash(hash: &str) -> bool {
    hash.starts_with('$') && hash.len() > 12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(password: &str, hash: &str) -> Result<bool, String> {
        matches(&Secret::new(password.into()), hash)
    }

    #[test]
    fn hashes_of_the_usual_tools() {
        // As `openssl passwd -5` and `-6` make them.
        let five = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let six =
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert_eq!(is("Hello world!", five), Ok(true));
        assert_eq!(is("Hello world!", six), Ok(true));
        assert_eq!(is("Hello world", six), Ok(false));
        assert_eq!(is("", six), Ok(false));
    }

    #[test]
    fn locked_and_empty_accounts_let_nobody_in() {
        for hash in ["", "!", "*", "!!", "x", "!$6$saltstring$abc", "ab01FAX.bQRSU"] {
            assert!(is("", hash).is_err(), "{hash}");
        }
    }

    #[test]
    fn other_methods_are_the_systems() {
        // bcrypt of "U*U", from the tests of its author.
        let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert_eq!(is("U*U", hash), Ok(true));
        assert_eq!(is("U*U*", hash), Ok(false));
        assert!(is("a\0b", hash).is_err(), "a NUL would end the password early");
        assert!(is("x", "$unknown$abcdefghijk").is_err());
    }
}
