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
    #[error("\"{0}\" is no serial number: write decimal digits, or 0x and hex digits")]
    Malformed(String),
    /// Too long.
    #[error("serial number of more than {MAX_TEXT} characters")]
    TooLong,
}

/// Reads decimal digits, or `0x` and hex digits (colons between octets allowed, as `openssl x509` prints them).
///
/// # Errors
/// [`SerialError`] for anything else.
pub fn parse(text: &str) -> Result<Vec<u8>, SerialError> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(SerialError::TooLong);
    }
    let malformed = || SerialError::Malformed(text.to_owned());
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => {
            let digits = hex.replace(':', "");
            if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
                return Err(malformed());
            }
            BigNum::from_hex_str(&digits)
        }
        None => {
            if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
                return Err(malformed());
            }
            BigNum::from_dec_str(text)
        }
    };
    number.map(|number| number.to_vec()).map_err(|_| malformed())
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
        for text in ["", "0x", "-5", "12a", "0xzz", "1 2", "٣"] {
            assert_eq!(parse(text), Err(SerialError::Malformed(text.to_owned())), "{text:?}");
        }
        assert_eq!(parse(&"9".repeat(1025)), Err(SerialError::TooLong));
    }

    #[test]
    fn leading_zeros_do_not_count() {
        assert_eq!(from_der_contents(&[0, 0x80]), from_der_contents(&[0x80]));
        assert_eq!(from_der_contents(&[0]), Vec::<u8>::new());
    }
}
