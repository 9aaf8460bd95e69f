//! What the public-key operations of one tunnel take by themselves, done by OpenSSL: no responder can be cheaper without
//! better arithmetic. For main mode with signatures and quick mode with PFS that is twice g^x and twice y^x in modp2048,
//! one signature made, one verified, and a chain of one certificate checked against its CA.

use std::hint::black_box;
use std::time::Instant;

use cli::signer::Signer;
use ike::crypto::group;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, BigNumContext};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::stack::Stack;
use openssl::x509::extension::BasicConstraints;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509, X509NameBuilder, X509StoreContext};
use policy::model::algorithm::Group;

/// Times each operation is done.
const TIMES: u32 = 50;

/// Microseconds of each operation, and of all that one tunnel needs.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Floor {
    /// g^x with an exponent of 256 bits, in constant time.
    pub generate_us: f64,
    /// y^x of the same kind.
    pub agree_us: f64,
    /// A signature with an RSA key of 2048 bits.
    pub sign_us: f64,
    /// Its verification.
    pub verify_us: f64,
    /// Parsing a certificate and checking it against its CA.
    pub chain_us: f64,
    /// Two of the first two, one of the others.
    pub floor_us: f64,
}

/// Measures.
///
/// # Errors
/// In OpenSSL's words.
pub fn measure() -> Result<Floor, String> {
    measured().map_err(|error| error.to_string())
}

fn measured() -> Result<Floor, ErrorStack> {
    let prime = BigNum::from_slice(group::prime(Group::Modp2048))?;
    let generator = BigNum::from_slice(&[group::GENERATOR])?;
    let exponent = exponent()?;
    let mut public = BigNum::new_secure()?;
    let mut context = BigNumContext::new_secure()?;
    public.mod_exp(&generator, &exponent, &prime, &mut context)?;
    let mut result = BigNum::new_secure()?;
    let generate_us = time(|| result.mod_exp(&generator, &exponent, &prime, &mut context))?;
    let agree_us = time(|| result.mod_exp(&public, &exponent, &prime, &mut context))?;

    let key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let signer = Signer::from_pem(&key.private_key_to_pem_pkcs8()?).map_err(|_| ErrorStack::get())?;
    let signature = signer.sign_unprefixed(&[7; 32]).map_err(|_| ErrorStack::get())?;
    let sign_us = time(|| signer.sign_unprefixed(&[7; 32]).map_err(|_| ErrorStack::get()))?;
    let public = Rsa::from_public_components(key.rsa()?.n().to_owned()?, key.rsa()?.e().to_owned()?)?;
    let mut opened = vec![0; 256];
    let verify_us = time(|| public.public_decrypt(&signature, &mut opened, Padding::NONE))?;

    let (store, leaf) = chain(&key)?;
    let chain_us = time(|| check(&store, &leaf))?;
    let floor_us = 2.0 * (generate_us + agree_us) + sign_us + verify_us + chain_us;
    Ok(Floor { generate_us, agree_us, sign_us, verify_us, chain_us, floor_us })
}

/// Microseconds of one of [`TIMES`], after one that is not counted.
fn time<T>(mut act: impl FnMut() -> Result<T, ErrorStack>) -> Result<f64, ErrorStack> {
    black_box(act()?);
    let start = Instant::now();
    for _ in 0..TIMES {
        black_box(act()?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
}

fn exponent() -> Result<BigNum, ErrorStack> {
    let mut octets = vec![0; group::exponent_octets(Group::Modp2048)];
    openssl::rand::rand_bytes(&mut octets)?;
    if let Some(first) = octets.first_mut() {
        *first |= 0x80;
    }
    let mut exponent = BigNum::new_secure()?;
    exponent.copy_from_slice(&octets)?;
    exponent.set_const_time();
    Ok(exponent)
}

/// A CA that is trusted, and the DER of a certificate it signed.
fn chain(key: &PKey<Private>) -> Result<(X509Store, Vec<u8>), ErrorStack> {
    let authority_key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let authority = certificate("authority", &authority_key, None)?;
    let leaf = certificate("leaf", key, Some((&authority, &authority_key)))?.to_der()?;
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(authority)?;
    Ok((store.build(), leaf))
}

fn certificate(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> Result<X509, ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let number = BigNum::from_u32(1)?.to_asn1_integer()?;
    builder.set_serial_number(&number)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(issuer.map_or(&*subject, |(certificate, _)| certificate.subject_name()))?;
    builder.set_pubkey(key)?;
    let (before, after) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(30)?);
    builder.set_not_before(&before)?;
    builder.set_not_after(&after)?;
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    }
    builder.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256())?;
    Ok(builder.build())
}

fn check(store: &X509Store, leaf: &[u8]) -> Result<bool, ErrorStack> {
    let leaf = X509::from_der(leaf)?;
    let others = Stack::new()?;
    X509StoreContext::new()?.init(store, &leaf, &others, |context| context.verify_cert())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_that_is_measured_is_accepted() {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let (store, leaf) = chain(&key).unwrap();
        assert!(check(&store, &leaf).unwrap());
    }
}
