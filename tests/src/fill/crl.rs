//! A CRL of many entries (RFC 5280 §5.1), in DER.

use ike::identity::der;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::X509;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
/// sha256WithRSAEncryption.
const RSA_SHA256: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];

/// The list of this CA with `count` serials from `first` on, of the `day`-th of January 2026: a later day replaces an earlier.
///
/// # Errors
/// OpenSSL's.
pub fn der(ca: &X509, key: &PKey<Private>, count: u32, first: u32, day: u8) -> Result<Vec<u8>, ErrorStack> {
    let wrap = |tag: u8, value: &[u8]| {
        let mut out = Vec::new();
        der::write(&mut out, tag, value);
        out
    };
    let time = |text: &str| wrap(UTC_TIME, text.as_bytes());
    let this_update = time(&format!("2601{day:02}000000Z"));
    let mut entries = Vec::with_capacity(40 * usize::try_from(count).unwrap_or_default());
    for number in 0..count {
        let serial = wrap(INTEGER, &(first + number).to_be_bytes());
        entries.extend(wrap(SEQUENCE, &[serial, this_update.clone()].concat()));
    }
    let body = [
        wrap(INTEGER, &[1]),
        RSA_SHA256.to_vec(),
        ca.subject_name().to_der()?,
        this_update,
        time("440101000000Z"),
        wrap(SEQUENCE, &entries),
    ];
    let body = wrap(SEQUENCE, &body.concat());
    let mut signer = Signer::new(MessageDigest::sha256(), key)?;
    let signature = [vec![0], signer.sign_oneshot_to_vec(&body)?].concat();
    Ok(wrap(SEQUENCE, &[body, RSA_SHA256.to_vec(), wrap(BIT_STRING, &signature)].concat()))
}

#[cfg(test)]
mod tests {
    use openssl::bn::BigNum;
    use openssl::rsa::Rsa;
    use openssl::x509::{CrlStatus, X509Builder, X509Crl, X509NameBuilder};

    use super::*;

    #[test]
    fn it_is_a_list_of_its_issuer() {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "ca").unwrap();
        let mut ca = X509Builder::new().unwrap();
        ca.set_subject_name(&name.build()).unwrap();
        let crl = X509Crl::from_der(&der(&ca.build(), &key, 1000, 0x1000_0000, 3).unwrap()).unwrap();
        assert!(crl.verify(&key).unwrap());
        assert_eq!(crl.get_revoked().unwrap().len(), 1000);
        let listed = |number: u32| {
            let number = BigNum::from_u32(number).unwrap().to_asn1_integer().unwrap();
            matches!(crl.get_by_serial(&number), CrlStatus::Revoked(_))
        };
        assert!(listed(0x1000_0000) && listed(0x1000_0000 + 999) && !listed(0x1000_0000 + 1000));
    }
}
