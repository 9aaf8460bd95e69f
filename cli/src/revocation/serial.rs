//! Serial numbers as people write them and as they are compared: octets of an unsigned integer, big endian, without
//! leading zeros. Their length is not limited to what machine words or RFC 5280 §4.1.2.2 hold.

use openssl::bn::BigNum;
use thiserror::Error;

/// Longest text that is read: far beyond the 20 octets of RFC 5280.
const MAX_TEXT: usize = 1024;

/// Why a text is no serial number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SerialError {
    /// Neither decimal digits nor 0x and hex digits.
    #[error("\"{0}\" is no serial number: write decimal digits, 0x and hex digits, or pairs of hex digits with colons")]
    Malformed(String),
    /// Hex digits that do not say so: others of the kind could be read as decimal.
    #[error("\"{0}\" could be a serial number in hex: write 0x{0}")]
    BareHex(String),
    /// Too long.
    #[error("serial number of more than {MAX_TEXT} characters")]
    TooLong,
}

/// Reads decimal digits, `0x` and hex digits, or pairs of hex digits with colons between them, as `openssl x509` prints long ones.
/// A minus in front is for certificates whose serial is negative: they are known by their octets (-5 is `0xfb`).
///
/// # Errors
/// [`SerialError`] for anything else.
pub fn parse(text: &str) -> Result<Vec<u8>, SerialError> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(SerialError::TooLong);
    }
    let malformed = || SerialError::Malformed(text.to_owned());
    if let Some(rest) = text.strip_prefix('-') {
        return if rest.starts_with('-') {
            Err(malformed())
        } else {
            parse(rest).map(negated).map_err(|_| malformed())
        };
    }
    let is_hex = |digits: &str| digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    let octets = text.split(':');
    let with_colons = text.contains(':') && octets.clone().all(|pair| pair.len() == 2 && is_hex(pair));
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).or(with_colons.then_some(text));
    let number = match hex {
        Some(hex) => {
            let digits = hex.replace(':', "");
            if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
                return Err(malformed());
            }
            BigNum::from_hex_str(&digits)
        }
        None => {
            if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
                let is_bare = !text.is_empty() && is_hex(text);
                return Err(if is_bare { SerialError::BareHex(text.to_owned()) } else { malformed() });
            }
            BigNum::from_dec_str(text)
        }
    };
    number.map(|number| number.to_vec()).map_err(|_| malformed())
}

/// The octets of the negative of this number, as DER has them: two's complement, as few as will do.
fn negated(mut octets: Vec<u8>) -> Vec<u8> {
    let mut carry = true;
    for octet in octets.iter_mut().rev() {
        let (sum, over) = (!*octet).overflowing_add(u8::from(carry));
        (*octet, carry) = (sum, over);
    }
    if octets.first().is_some_and(|first| first & 0x80 == 0) {
        octets.insert(0, 0xff);
    }
    octets
}

/// The serial in decimal, as listings show it.
pub fn to_decimal(serial: &[u8]) -> String {
    BigNum::from_slice(serial)
        .and_then(|number| number.to_dec_str().map(|text| text.to_string()))
        .unwrap_or_else(|_| to_hex(serial))
}

/// `octets` in lower-case hex, two digits each.
pub fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Octets of hexadecimal digits; `None` if it is anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Contents octets of a DER INTEGER as they are compared.
///
/// Serial numbers are positive (RFC 5280 §4.1.2.2), but some CAs forget the zero octet in front of a set top bit; read
/// as unsigned, the number they meant and the number they wrote are the same (ATTACKS C-11).
pub fn from_der_contents(contents: &[u8]) -> Vec<u8> {
    contents.iter().copied().skip_while(|&octet| octet == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_both_ways() {
        let long = "1461501637330902918203684832716283019655932542975"; // 2^160 - 1
        assert_eq!(parse(long).unwrap(), vec![0xff; 20]);
        assert_eq!(to_decimal(&[0xff; 20]), long);
        assert_eq!(parse("0x00:80"), Ok(vec![0x80]));
        assert_eq!(parse("0X0080"), Ok(vec![0x80]));
        assert_eq!(parse("0128"), Ok(vec![0x80]));
        assert_eq!(parse("0"), Ok(vec![]));
        assert_eq!(to_decimal(&[]), "0");
        assert_eq!(parse(&to_decimal(&[1, 2, 3, 4, 5, 6, 7, 8, 9])), Ok(vec![1, 2, 3, 4, 5, 6, 7, 8, 9]));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "0x", "-", "--5", "-x", "0xzz", "1 2", "٣", "1:2", "01:", ":01", "01::02"] {
            assert_eq!(parse(text), Err(SerialError::Malformed(text.to_owned())), "{text:?}");
        }
        assert_eq!(parse(&"9".repeat(1025)), Err(SerialError::TooLong));
        assert_eq!(parse("12a"), Err(SerialError::BareHex("12a".to_owned())));
    }

    #[test]
    fn as_openssl_prints_them() {
        assert_eq!(parse("00:a0:B1:c2"), Ok(vec![0xa0, 0xb1, 0xc2]));
        assert_eq!(parse("11:22"), Ok(vec![0x11, 0x22]));
        for (text, octets) in
            [("-5", vec![0xfb]), ("-0x80", vec![0x80]), ("-129", vec![0xff, 0x7f]), ("-05", vec![0xfb])]
        {
            assert_eq!(parse(text), Ok(octets), "{text}");
        }
        assert_eq!(parse("-256"), Ok(vec![0xff, 0x00]));
        assert_eq!(parse("-0"), parse("0"));
    }

    #[test]
    fn leading_zeros_do_not_count() {
        assert_eq!(from_der_contents(&[0, 0x80]), from_der_contents(&[0x80]));
        assert_eq!(from_der_contents(&[0]), Vec::<u8>::new());
    }
}
