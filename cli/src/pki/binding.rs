//! Does the identity a peer claims belong to its certificate (RFC 4945 §3.1, racoon's `oakley_check_certid`)?
//!
//! A distinguished name must be the whole subject; a domain or mailbox name must be one of the alternative names of its
//! type; the common name never stands in for them.

use std::net::IpAddr;

use ike::event::question::{Rejection, RejectionKind};
use ike::identity::{dn, matching};
use openssl::x509::X509Ref;
use policy::model::identity::Identity;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::leaf::reject;

/// Is a wrong address fatal (`verify_identifier`)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressMismatch {
    /// `verify_identifier on`.
    Fatal,
    /// `verify_identifier off`: said, and let pass.
    Warned,
}

/// Checks that `identity` belongs to the certificate.
pub(super) fn check(
    leaf: &X509Ref,
    parsed: &X509Certificate<'_>,
    identity: &Identity,
    addresses: AddressMismatch,
    warnings: &mut Vec<String>,
) -> Result<(), Rejection> {
    let mismatch = |reason: String| Err(reject(RejectionKind::IdentityMismatch, reason));
    match identity {
        Identity::Asn1Dn(_) if !belongs(leaf, parsed, identity) => {
            mismatch("ID mismatched with ASN1 SubjectName.".to_owned())
        }
        Identity::Fqdn(name) | Identity::UserFqdn(name) if !belongs(leaf, parsed, identity) => mismatch(format!(
            "ID mismatched with subjectAltName: the certificate is not for {} {name:?}.",
            identity.kind()
        )),
        Identity::Address(address) if !belongs(leaf, parsed, identity) => {
            let reason = format!("ID mismatched with subjectAltName: the certificate is not for address {address}.");
            if addresses == AddressMismatch::Fatal {
                return mismatch(reason);
            }
            warnings.push(reason);
            Ok(())
        }
        Identity::KeyId(_) => mismatch("Improper ID type passed: keyid says nothing about a certificate.".to_owned()),
        Identity::Subnet(_) | Identity::Range(..) => {
            mismatch("Improper ID type passed: a network is no certificate's owner.".to_owned())
        }
        Identity::Asn1Dn(_) | Identity::Fqdn(_) | Identity::UserFqdn(_) | Identity::Address(_) => Ok(()),
    }
}

/// As [`belongs`], for a certificate that nobody has parsed yet.
pub fn names(certificate: &X509Ref, identity: &Identity) -> bool {
    let Ok(der) = certificate.to_der() else { return false };
    X509Certificate::from_der(&der).is_ok_and(|(_, parsed)| belongs(certificate, &parsed, identity))
}

/// Does the certificate name this identity?
pub(super) fn belongs(leaf: &X509Ref, parsed: &X509Certificate<'_>, identity: &Identity) -> bool {
    match identity {
        Identity::Asn1Dn(name) => {
            leaf.subject_name().to_der().is_ok_and(|subject| subject == *name || dn::same_name(&subject, name))
        }
        Identity::Fqdn(name) => alternative(parsed, |general| match general {
            GeneralName::DNSName(found) => matching::same_host(found, name),
            _ => false,
        }),
        Identity::UserFqdn(name) => alternative(parsed, |general| match general {
            GeneralName::RFC822Name(found) => matching::same_host(found, name),
            _ => false,
        }),
        Identity::Address(address) => alternative(parsed, |general| match (general, address) {
            (GeneralName::IPAddress(found), IpAddr::V4(address)) => *found == address.octets(),
            (GeneralName::IPAddress(found), IpAddr::V6(address)) => *found == address.octets(),
            _ => false,
        }),
        Identity::KeyId(_) | Identity::Subnet(_) | Identity::Range(..) => false,
    }
}

fn alternative(parsed: &X509Certificate<'_>, wanted: impl Fn(&GeneralName<'_>) -> bool) -> bool {
    match parsed.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().any(wanted),
        _ => false,
    }
}
