//! XAuth as client: gives user and password, hears how it ended.

use policy::model::secret::Secret;

use super::xauth_server::GENERIC;
use crate::wire::attribute::Attribute;
use crate::wire::config_payload::{empty, number, octets, value};
use crate::wire::number::ConfigAttribute;

/// A password that was asked for this often was refused before.
pub(crate) const MOST_REQUESTS: u8 = 2;

/// Octets of a server's message that are shown.
const LONGEST_MESSAGE: usize = 512;

/// The answer to what a server asks; else what of it cannot be answered.
pub(crate) fn answer(asked: &[Attribute], user: &str, password: &Secret) -> Result<Vec<Attribute>, String> {
    let mut reply = Vec::new();
    for attribute in asked {
        let kind = ConfigAttribute(attribute.kind);
        match kind {
            ConfigAttribute::XAUTH_TYPE if attribute.as_number() == Some(u64::from(GENERIC)) => {
                reply.push(number(kind, GENERIC));
            }
            ConfigAttribute::XAUTH_TYPE => {
                let number = attribute.as_number().unwrap_or_default();
                return Err(format!("the server asks for a login of type {number}; xfrmd has user and password only"));
            }
            ConfigAttribute::XAUTH_USER_NAME => reply.push(octets(kind, user.as_bytes())),
            ConfigAttribute::XAUTH_USER_PASSWORD | ConfigAttribute::XAUTH_PASSCODE => {
                reply.push(octets(kind, password.expose()));
            }
            ConfigAttribute::XAUTH_DOMAIN => reply.push(empty(kind)),
            ConfigAttribute::XAUTH_CHALLENGE | ConfigAttribute::XAUTH_NEXT_PIN | ConfigAttribute::XAUTH_ANSWER => {
                return Err(format!("the server asks for {kind}, which xfrmd cannot answer"));
            }
            _ => {}
        }
    }
    Ok(reply)
}

/// What tells the server that there is no answer.
pub(crate) fn give_up() -> Vec<Attribute> {
    vec![number(ConfigAttribute::XAUTH_STATUS, 0)]
}

/// The server's words for the user, safe to print.
pub(crate) fn messages(attributes: &[Attribute]) -> Vec<String> {
    let of_kind = attributes.iter().filter(|one| one.kind == ConfigAttribute::XAUTH_MESSAGE.0);
    of_kind.map(|one| printable(&value(one), LONGEST_MESSAGE)).collect()
}

/// Text of a peer's as it may stand in a log line.
pub(crate) fn printable(octets: &[u8], most: usize) -> String {
    let octets = octets.get(..octets.len().min(most)).unwrap_or_default();
    String::from_utf8_lossy(octets).escape_debug().collect()
}

/// How the login ended, if the server says so.
pub(crate) fn status(attributes: &[Attribute]) -> Option<bool> {
    let status = attributes.iter().find(|one| one.kind == ConfigAttribute::XAUTH_STATUS.0)?;
    Some(status.as_number() == Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered_and_nothing_else() {
        let password = Secret::new(b"secret".to_vec());
        let asked = [
            number(ConfigAttribute::XAUTH_TYPE, 0),
            octets(ConfigAttribute::XAUTH_MESSAGE, *b"hello\n\x1b[2Jworld"),
            empty(ConfigAttribute::XAUTH_USER_NAME),
            empty(ConfigAttribute::XAUTH_USER_PASSWORD),
            empty(ConfigAttribute(20_000)),
        ];
        let reply = answer(&asked, "carol", &password).unwrap();
        assert_eq!(reply.len(), 3);
        assert_eq!(value(&reply[2]), b"secret");
        assert_eq!(messages(&asked), ["hello\\n\\u{1b}[2Jworld"]);
        assert!(answer(&[number(ConfigAttribute::XAUTH_TYPE, 1)], "carol", &password).is_err());
        assert!(answer(&[empty(ConfigAttribute::XAUTH_CHALLENGE)], "carol", &password).is_err());
        assert_eq!(status(&[number(ConfigAttribute::XAUTH_STATUS, 1)]), Some(true));
        assert_eq!(status(&[number(ConfigAttribute::XAUTH_STATUS, 0)]), Some(false));
        assert_eq!(status(&asked), None);
    }
}
