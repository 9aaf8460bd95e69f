//! XAuth as server: asks for user and password, tells how it ended (draft-beaulieu-ike-xauth-02 §3).

use policy::model::secret::Secret;

use super::session::Credentials;
use crate::wire::attribute::Attribute;
use crate::wire::config_payload::{empty, number, value};
use crate::wire::number::ConfigAttribute;

/// The kind of login that every client has: a user and a password.
pub(crate) const GENERIC: u16 = 0;

/// Octets of a user's name.
const LONGEST_USER: usize = 255;
/// Octets of a password.
const LONGEST_PASSWORD: usize = 1024;

/// What is asked.
pub(crate) fn request() -> Vec<Attribute> {
    vec![
        number(ConfigAttribute::XAUTH_TYPE, GENERIC),
        empty(ConfigAttribute::XAUTH_USER_NAME),
        empty(ConfigAttribute::XAUTH_USER_PASSWORD),
    ]
}

/// How it ended.
pub(crate) fn status(good: bool) -> Vec<Attribute> {
    vec![number(ConfigAttribute::XAUTH_STATUS, u16::from(good))]
}

/// What the client answers; else why that is no login.
pub(crate) fn credentials(attributes: &[Attribute]) -> Result<Credentials, &'static str> {
    let find = |kind: ConfigAttribute| attributes.iter().find(|one| one.kind == kind.0);
    if find(ConfigAttribute::XAUTH_STATUS).is_some() {
        return Err("the client gives up");
    }
    if find(ConfigAttribute::XAUTH_TYPE).is_some_and(|one| one.as_number() != Some(u64::from(GENERIC))) {
        return Err("the client answers with another kind of login than was asked for");
    }
    let user = find(ConfigAttribute::XAUTH_USER_NAME).map(value).unwrap_or_default();
    let password = find(ConfigAttribute::XAUTH_USER_PASSWORD).or_else(|| find(ConfigAttribute::XAUTH_PASSCODE));
    let Some(password) = password.map(|one| Secret::new(value(one))) else { return Err("no password was given") };
    // Clients in C count the end of a string.
    let user = user.strip_suffix(&[0]).unwrap_or(&user);
    let is_sane = |user: &str| !user.is_empty() && user.len() <= LONGEST_USER && !user.chars().any(char::is_control);
    match std::str::from_utf8(user) {
        Ok(user) if is_sane(user) && password.len() <= LONGEST_PASSWORD => {
            Ok(Credentials { user: user.to_owned(), password })
        }
        _ => Err("user or password is empty, too long or not text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::config_payload::octets;

    #[test]
    fn answers_of_clients() {
        let user = || octets(ConfigAttribute::XAUTH_USER_NAME, *b"carol");
        let password = || octets(ConfigAttribute::XAUTH_USER_PASSWORD, *b"4iChxLT3");
        let good = credentials(&[user(), password()]).unwrap();
        assert_eq!((good.user.as_str(), good.password.expose()), ("carol", b"4iChxLT3".as_slice()));
        assert!(credentials(&[user()]).is_err());
        assert!(credentials(&[user(), password(), number(ConfigAttribute::XAUTH_STATUS, 1)]).is_err(), "A-45");
        assert!(credentials(&[number(ConfigAttribute::XAUTH_TYPE, 1), user(), password()]).is_err());
        assert!(credentials(&[octets(ConfigAttribute::XAUTH_USER_NAME, *b"a\nb"), password()]).is_err());
        assert!(credentials(&[octets(ConfigAttribute::XAUTH_USER_NAME, vec![b'a'; 256]), password()]).is_err());
    }
}
