//! The notice: JSON within JSON, signed over the inner text.
//!
//! ```text
//! {"msg": "{\"type\": \"revocation\", \"meta_data\": \"{\\\"cert_serial\\\": 7, …}\", …}", "signature": "BASE64"}
//! ```
//!
//! The signature is RSA-PSS with SHA-256, MGF1 with SHA-256 and the longest salt, over the octets of `msg`. Up to keylime
//! 5.0 the inner text had an object `metadata` where later ones have the text `meta_data`. A notice bears no number and no
//! usable time: a replayed one is valid again, so acting on it twice must do no more than acting once.

use openssl::base64;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use openssl::x509::X509;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::revocation::serial::{self, SerialError};

/// Longest notice that is read, in octets. Real ones have one or two thousand.
pub const MAX_NOTICE: usize = 256 * 1024;

/// SHA-256 and the two octets that PSS puts around salt and digest (RFC 8017 §9.1.1).
const DIGEST_AND_MARKS: i32 = 34;

/// Why a notice is refused.
#[derive(Debug, Error)]
pub enum MessageError {
    /// Nobody sends such.
    #[error("a notice of {0} octets is not read (at most {MAX_NOTICE})")]
    TooLong(usize),
    /// No JSON, or not an object.
    #[error("{what} is no JSON object: {why}")]
    NotJson {
        /// Which of the layers.
        what: &'static str,
        /// The parser's words.
        why: String,
    },
    /// Something is not there, or of another kind.
    #[error("{0}")]
    Field(&'static str),
    /// The serial number.
    #[error("cert_serial: {0}")]
    Serial(#[from] SerialError),
    /// No signature at all: `"none"` and `""` are what keylime sends when it was told not to sign.
    #[error("the notice is not signed")]
    Unsigned,
    /// A signature that is not the notifier's.
    #[error("the signature is not the notifier's")]
    Signature,
    /// The notifier's certificate.
    #[error("the notifier's certificate: {0}")]
    Certificate(String),
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Revoke this certificate of the CA.
    Revocation(Revocation),
    /// Something else happened (`comm_error`: the agent cannot be reached), signed the same way: nothing to do.
    Other {
        /// The type, bounded and printable.
        kind: String,
    },
}

/// A certificate to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Serial number, big endian, no leading zero octet.
    pub serial: Vec<u8>,
    /// The subject as keylime wrote it, bounded and printable.
    pub subject: Option<String>,
    /// The agent's UUID, bounded and printable.
    pub agent: Option<String>,
    /// When it happened, in keylime's words.
    pub event_time: Option<String>,
}

/// The one key that may sign.
#[derive(Debug)]
pub struct NotifierKey(PKey<Public>);

impl NotifierKey {
    /// From `RevocationNotifier-cert.crt`, PEM or DER. An agent's own certificate of the same CA is not the notifier's.
    ///
    /// # Errors
    /// [`MessageError::Certificate`].
    pub fn from_certificate(octets: &[u8]) -> Result<Self, MessageError> {
        let words = |error: openssl::error::ErrorStack| MessageError::Certificate(error.to_string());
        let certificate = X509::from_pem(octets).or_else(|_| X509::from_der(octets)).map_err(words)?;
        let key = certificate.public_key().map_err(words)?;
        if key.rsa().is_err() {
            return Err(MessageError::Certificate("its key is not RSA".to_owned()));
        }
        Ok(Self(key))
    }

    fn verify(&self, octets: &[u8], signature: &[u8]) -> Result<bool, openssl::error::ErrorStack> {
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.0)?;
        verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
        verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
        // To a verifier OpenSSL's "maximum" means any length, so the length is told: what the digest and two marks leave.
        let longest = i32::try_from(self.0.size()).unwrap_or(i32::MAX).saturating_sub(DIGEST_AND_MARKS);
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(longest))?;
        verifier.update(octets)?;
        verifier.verify(signature)
    }
}

/// Reads a signed notice, as it comes over the network.
///
/// # Errors
/// [`MessageError`]; nothing of the inner text is looked at before its signature was found good.
pub fn open(octets: &[u8], key: &NotifierKey) -> Result<Notice, MessageError> {
    let outer = object("the notice", bounded(octets)?)?;
    let text = outer.get("msg").and_then(Value::as_str).ok_or(MessageError::Field("the notice has no text `msg`"))?;
    let signature = match outer.get("signature") {
        None | Some(Value::Null) => return Err(MessageError::Unsigned),
        Some(value) => value.as_str().ok_or(MessageError::Field("`signature` is not a text"))?,
    };
    if signature.is_empty() || signature == "none" {
        return Err(MessageError::Unsigned);
    }
    let signature = base64::decode_block(signature.trim()).map_err(|_| MessageError::Signature)?;
    // A key that OpenSSL cannot use with this signature has not made it.
    if !key.verify(text.as_bytes(), &signature).unwrap_or(false) {
        return Err(MessageError::Signature);
    }
    read(text.as_bytes())
}

/// Reads the inner text alone: what keylime's agent hands to an action after it has checked the signature itself.
///
/// # Errors
/// [`MessageError`].
pub fn read(octets: &[u8]) -> Result<Notice, MessageError> {
    let inner = object("the message", bounded(octets)?)?;
    let kind = inner.get("type").and_then(Value::as_str).ok_or(MessageError::Field("the message has no `type`"))?;
    if kind != "revocation" {
        return Ok(Notice::Other { kind: printable(kind) });
    }
    let details = details(&inner)?;
    let serial = details.get("cert_serial").ok_or(MessageError::Field("the message names no `cert_serial`"))?;
    let word = |from: &Map<String, Value>, name: &str| from.get(name).and_then(Value::as_str).map(printable);
    Ok(Notice::Revocation(Revocation {
        serial: number(serial)?,
        subject: word(&details, "subject"),
        agent: word(&inner, "agent_id"),
        event_time: word(&inner, "event_time"),
    }))
}

fn bounded(octets: &[u8]) -> Result<&[u8], MessageError> {
    if octets.len() > MAX_NOTICE { Err(MessageError::TooLong(octets.len())) } else { Ok(octets) }
}

fn object(what: &'static str, octets: &[u8]) -> Result<Map<String, Value>, MessageError> {
    match serde_json::from_slice(octets) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(MessageError::NotJson { what, why: "it is another kind of value".to_owned() }),
        Err(error) => Err(MessageError::NotJson { what, why: error.to_string() }),
    }
}

/// `meta_data`, a text or an object, or the old `metadata`.
fn details(inner: &Map<String, Value>) -> Result<Map<String, Value>, MessageError> {
    match inner.get("meta_data").or_else(|| inner.get("metadata")) {
        Some(Value::String(text)) => object("meta_data", text.as_bytes()),
        Some(Value::Object(map)) => Ok(map.clone()),
        _ => Err(MessageError::Field("the message has no `meta_data`")),
    }
}

/// An integer of any size, or its decimal digits as a text. Never through a machine word: serials have 160 bits.
fn number(value: &Value) -> Result<Vec<u8>, MessageError> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(MessageError::Field("`cert_serial` is neither a number nor a text")),
    };
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(MessageError::Field("`cert_serial` is not a whole, positive number in decimal digits"));
    }
    Ok(serial::parse(&text)?)
}

/// For log lines: what a stranger wrote, without what a terminal would obey, and not too much of it.
fn printable(text: &str) -> String {
    text.chars().filter(|ch| !ch.is_control()).take(200).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::pkey::Private;
    use openssl::rsa::Rsa;
    use openssl::sign::Signer;

    use super::*;

    fn certificate(key: &PKey<Private>) -> Vec<u8> {
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build().to_pem().unwrap()
    }

    fn pair() -> (PKey<Private>, NotifierKey) {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let public = NotifierKey::from_certificate(&certificate(&key)).unwrap();
        (key, public)
    }

    pub(crate) fn signed(key: &PKey<Private>, text: &str, salt: RsaPssSaltlen) -> Vec<u8> {
        let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        signer.set_rsa_pss_saltlen(salt).unwrap();
        signer.update(text.as_bytes()).unwrap();
        let signature = base64::encode_block(&signer.sign_to_vec().unwrap());
        serde_json::to_vec(&serde_json::json!({ "msg": text, "signature": signature })).unwrap()
    }

    pub(crate) fn inner(serial: &str) -> String {
        let details = format!(r#"{{"cert_serial": {serial}, "subject": "/CN=agent"}}"#);
        serde_json::json!({
            "type": "revocation", "ip": "127.0.0.1", "agent_id": "d432fbb3", "port": 9002, "tpm_policy": "{}",
            "meta_data": details, "event_time": "Tue Nov 24 10:00:00 2026",
        })
        .to_string()
    }

    fn serial_of(notice: Notice) -> String {
        match notice {
            Notice::Revocation(revocation) => serial::to_decimal(&revocation.serial),
            Notice::Other { kind } => panic!("a {kind} is no revocation"),
        }
    }

    #[test]
    fn a_signed_notice_gives_its_serial_whatever_its_size() {
        let (key, public) = pair();
        for serial in ["7", "18446744073709551617", "1234567890123456789012345678901234567890123456789"] {
            let octets = signed(&key, &inner(serial), RsaPssSaltlen::MAXIMUM_LENGTH);
            assert_eq!(serial_of(open(&octets, &public).unwrap()), serial);
            // A replay is as good as the first one: acting twice must not do more.
            assert_eq!(serial_of(open(&octets, &public).unwrap()), serial);
        }
    }

    #[test]
    fn other_forms_of_the_inner_text_are_read() {
        assert_eq!(serial_of(read(br#"{"type":"revocation","metadata":{"cert_serial":9}}"#).unwrap()), "9");
        assert_eq!(serial_of(read(br#"{"type":"revocation","meta_data":{"cert_serial":"10"}}"#).unwrap()), "10");
        let other = read(br#"{"type":"comm_error","meta_data":"{\"cert_serial\": 3}"}"#).unwrap();
        assert_eq!(other, Notice::Other { kind: "comm_error".to_owned() });
    }

    #[test]
    fn forgeries_are_refused() {
        let (key, public) = pair();
        let (stranger, _) = pair();
        let good = signed(&key, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
        let refused = |octets: &[u8]| open(octets, &public).unwrap_err();
        let wrong = signed(&stranger, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
        assert!(matches!(refused(&wrong), MessageError::Signature));
        let changed =
            String::from_utf8(good.clone()).unwrap().replace(r#"cert_serial\\\": 7"#, r#"cert_serial\\\": 8"#);
        assert_ne!(changed.as_bytes(), good);
        assert!(matches!(refused(changed.as_bytes()), MessageError::Signature));
        for unsigned in [r#"{"msg":"{}","signature":"none"}"#, r#"{"msg":"{}","signature":""}"#, r#"{"msg":"{}"}"#] {
            assert!(matches!(refused(unsigned.as_bytes()), MessageError::Unsigned), "{unsigned}");
        }
        let short_salt = signed(&key, &inner("7"), RsaPssSaltlen::custom(32));
        assert!(matches!(refused(&short_salt), MessageError::Signature));
    }

    #[test]
    fn what_is_no_notice_is_said_and_nothing_panics() {
        let (key, public) = pair();
        let good = signed(&key, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
        for length in 0..good.len() {
            open(good.get(..length).unwrap(), &public).unwrap_err();
        }
        for octets in [&b"[]"[..], b"\"x\"", b"{}", b"{\"msg\":7}", b"{\"msg\":\"x\",\"signature\":7}", b"\xff\xfe"] {
            open(octets, &public).unwrap_err();
        }
        open(&vec![b' '; MAX_NOTICE + 1], &public).unwrap_err();
        for text in [
            r#"{"type":"revocation"}"#,
            r#"{"type":"revocation","meta_data":"{}"}"#,
            r#"{"type":"revocation","meta_data":"not json"}"#,
            r#"{"type":"revocation","meta_data":{"cert_serial":-1}}"#,
            r#"{"type":"revocation","meta_data":{"cert_serial":1.5}}"#,
            r#"{"type":"revocation","meta_data":{"cert_serial":1e3}}"#,
            r#"{"type":"revocation","meta_data":{"cert_serial":true}}"#,
            r#"{"type":"revocation","meta_data":{"cert_serial":"0x7; rm"}}"#,
        ] {
            read(text.as_bytes()).unwrap_err();
        }
    }
}
