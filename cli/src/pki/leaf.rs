//! What IKE wants of certificates beyond a valid path: keys that are neither weak nor a burden, signatures that hold, and
//! a leaf made for hosts (RFC 4945 §5.1). OpenSSL decides none of this the way IKE wants it.

use ike::crypto::provider::{EcCurve, EcPublicKey, PublicKey, RsaPublicKey};
use ike::event::question::{Rejection, RejectionKind};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroupRef, EcPointRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::Id;
use openssl::x509::{X509, X509Ref};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;

use super::load::{GOOD_RSA_BITS, MAX_RSA_BITS, MIN_RSA_BITS};
use crate::provider::curve_nid;
use crate::revocation::issuer;

/// Bits of the largest public exponent: 2^33 has 34 (ATTACKS X-1).
const MAX_EXPONENT_BITS: i32 = 34;
/// Smallest elliptic curve of a CA, in bits.
const MIN_EC_BITS: u32 = 224;

/// id-kp-ipsecEndSystem, -ipsecTunnel, -ipsecUser (RFC 4945 §5.1.3.12: obsolete, still seen) and -ipsecIKE.
const IKE_USAGES: [&str; 4] = ["1.3.6.1.5.5.7.3.5", "1.3.6.1.5.5.7.3.6", "1.3.6.1.5.5.7.3.7", "1.3.6.1.5.5.7.3.17"];

/// Is the certificate one that was pinned by a file, or one that came over the wire?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `peers_certfile`: its owner vouched for it.
    Pinned,
    /// A CERT payload.
    Received,
}

pub(super) fn reject(kind: RejectionKind, reason: impl Into<String>) -> Rejection {
    Rejection { kind, reason: reason.into() }
}

/// `reason at depth:N SubjectName:…`, as OpenSSL's own findings are worded.
fn at(reason: &str, depth: usize, certificate: &X509Ref) -> String {
    format!("{reason} at depth:{depth} SubjectName:{}", issuer::subject_line(certificate))
}

/// The leaf's key, if phase 1 has a method of signing with it.
pub(super) fn public_key(leaf: &X509Ref) -> Result<PublicKey, Rejection> {
    let unreadable = || reject(RejectionKind::Malformed, at("public key of the certificate is unreadable", 0, leaf));
    let key = leaf.public_key().map_err(|_| unreadable())?;
    match key.id() {
        Id::RSA => {
            let rsa = key.rsa().map_err(|_| unreadable())?;
            Ok(RsaPublicKey { modulus: rsa.n().to_vec(), exponent: rsa.e().to_vec() }.into())
        }
        Id::EC => {
            let key = key.ec_key().map_err(|_| unreadable())?;
            let name = key.group().curve_name();
            let Some(curve) = EcCurve::ALL.into_iter().find(|curve| name == Some(curve_nid(*curve))) else {
                let reason = "certificate has a key on a curve that IKEv1 cannot sign with";
                return Err(reject(RejectionKind::Malformed, at(reason, 0, leaf)));
            };
            let key = ec_public_key(key.group(), key.public_key(), curve).map_err(|_| unreadable())?;
            Ok(PublicKey::Ec(key))
        }
        _ => Err(reject(RejectionKind::Malformed, at("certificate has neither an RSA nor an ECDSA key", 0, leaf))),
    }
}

/// A point by its coordinates.
pub(crate) fn ec_public_key(group: &EcGroupRef, point: &EcPointRef, curve: EcCurve) -> Result<EcPublicKey, ErrorStack> {
    let (mut x, mut y, mut context) = (BigNum::new()?, BigNum::new()?, BigNumContext::new()?);
    point.affine_coordinates(group, &mut x, &mut y, &mut context)?;
    let length = i32::try_from(curve.octets()).unwrap_or(i32::MAX);
    Ok(EcPublicKey { curve, x: x.to_vec_padded(length)?, y: y.to_vec_padded(length)? })
}

/// Is a key cheap enough to check a signature with (modulus at most 8192 bits, exponent odd and in 3..=2^33)? Asked of
/// every certificate before any signature is checked with its key (CVE-2026-14957, ATTACKS A-18).
pub(super) fn is_bearable(certificate: &X509Ref) -> bool {
    let Ok(key) = certificate.public_key() else {
        return false;
    };
    if key.id() != Id::RSA {
        return matches!(key.id(), Id::EC | Id::ED25519 | Id::ED448 | Id::RSA_PSS);
    }
    let Ok(rsa) = key.rsa() else {
        return false;
    };
    let exponent = rsa.e();
    rsa.n().num_bits() <= MAX_RSA_BITS as i32
        && !rsa.n().is_negative()
        && exponent.num_bits() <= MAX_EXPONENT_BITS
        && exponent.is_bit_set(0)
        && BigNum::from_u32(3).is_ok_and(|three| *exponent >= *three)
        && (exponent.num_bits() < MAX_EXPONENT_BITS || is_power_of_two(exponent))
}

/// Of the numbers with the most bits allowed, only the bound itself passes.
fn is_power_of_two(number: &openssl::bn::BigNumRef) -> bool {
    (0..number.num_bits() - 1).all(|bit| !number.is_bit_set(bit))
}

/// Key sizes and signature algorithms along a path, leaf first. What is weak but let pass goes to `warnings`.
pub(super) fn check_strength(chain: &[X509], source: Source, warnings: &mut Vec<String>) -> Result<(), Rejection> {
    for (depth, certificate) in chain.iter().enumerate() {
        check_key(depth, certificate, warnings)?;
        // The anchor's own signature proves nothing, whatever it is made with; nor does one by its own key.
        if depth + 1 < chain.len() {
            check_signature(depth, certificate, source, warnings)?;
        }
    }
    Ok(())
}

fn check_key(depth: usize, certificate: &X509Ref, warnings: &mut Vec<String>) -> Result<(), Rejection> {
    let Ok(key) = certificate.public_key() else {
        return Err(reject(RejectionKind::Malformed, at("public key is unreadable", depth, certificate)));
    };
    let bits = key.bits();
    if key.id() == Id::EC && bits < MIN_EC_BITS {
        return Err(reject(
            RejectionKind::Invalid,
            at(&format!("EC key of {bits} bits is too weak"), depth, certificate),
        ));
    }
    if matches!(key.id(), Id::RSA | Id::RSA_PSS) {
        if bits < MIN_RSA_BITS {
            let reason = at(&format!("RSA key of {bits} bits is too weak"), depth, certificate);
            return Err(reject(RejectionKind::Invalid, reason));
        }
        if bits < GOOD_RSA_BITS {
            warnings.push(at(&format!("RSA key of {bits} bits is weak"), depth, certificate));
        }
    }
    Ok(())
}

fn check_signature(
    depth: usize,
    certificate: &X509Ref,
    source: Source,
    warnings: &mut Vec<String>,
) -> Result<(), Rejection> {
    let algorithm = certificate.signature_algorithm().object().nid();
    let Some(digest) = algorithm.signature_algorithms().map(|algorithms| algorithms.digest) else {
        return Ok(());
    };
    if ![Nid::MD2, Nid::MD4, Nid::MD5, Nid::SHA1, Nid::MDC2].contains(&digest) {
        return Ok(());
    }
    let name = algorithm.long_name().unwrap_or("a broken hash");
    if source == Source::Pinned {
        warnings.push(at(&format!("certificate is signed with {name}"), depth, certificate));
        return Ok(());
    }
    Err(reject(
        RejectionKind::Invalid,
        at(&format!("certificate is signed with {name}, which is broken"), depth, certificate),
    ))
}

/// keyUsage, extendedKeyUsage and CA flag of the leaf (RFC 4945 §5.1.3).
pub(super) fn check_usage(
    leaf: &X509Ref,
    parsed: &X509Certificate<'_>,
    source: Source,
    warnings: &mut Vec<String>,
) -> Result<(), Rejection> {
    let malformed =
        |what: &str| reject(RejectionKind::Malformed, at(&format!("{what} of the certificate is unreadable"), 0, leaf));
    let mut finding = None;
    if let Some(usage) = parsed.key_usage().map_err(|_| malformed("keyUsage"))?
        && !usage.value.digital_signature()
        && !usage.value.non_repudiation()
    {
        finding = Some("keyUsage of the certificate has neither digitalSignature nor nonRepudiation");
    }
    if let Some(usage) = parsed.extended_key_usage().map_err(|_| malformed("extendedKeyUsage"))?
        && !allows_ike(usage.value)
    {
        finding = Some("extendedKeyUsage of the certificate does not allow IKE");
    }
    if parsed.is_ca() {
        finding = Some("certificate of a CA used as a host's");
    }
    match finding {
        None => Ok(()),
        Some(finding) if source == Source::Pinned => {
            warnings.push(at(finding, 0, leaf));
            Ok(())
        }
        Some(finding) => Err(reject(RejectionKind::Invalid, at(finding, 0, leaf))),
    }
}

/// clientAuth and serverAuth count too: certificates made for TLS are common in the field.
fn allows_ike(usage: &ExtendedKeyUsage<'_>) -> bool {
    usage.any
        || usage.client_auth
        || usage.server_auth
        || usage.other.iter().any(|oid| IKE_USAGES.contains(&oid.to_id_string().as_str()))
}
