//! Phase 1 identities as configured and as compared.

use std::fmt;
use std::net::IpAddr;

use super::addr::IpNet;

/// Type of an identity, as racoon.conf spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// `address`.
    Address,
    /// `subnet`.
    Subnet,
    /// `fqdn`.
    Fqdn,
    /// `user_fqdn`.
    UserFqdn,
    /// `keyid`.
    KeyId,
    /// `asn1dn`.
    Asn1Dn,
}

/// An identity with its value (RFC 2407 §4.6.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// One address.
    Address(IpAddr),
    /// A network.
    Subnet(IpNet),
    /// A range of addresses, both ends included.
    Range(IpAddr, IpAddr),
    /// A domain name.
    Fqdn(String),
    /// A mailbox name.
    UserFqdn(String),
    /// Opaque octets.
    KeyId(Vec<u8>),
    /// The DER encoding of a distinguished name.
    Asn1Dn(Vec<u8>),
}

impl Identity {
    /// Its type.
    pub fn kind(&self) -> IdentityKind {
        match self {
            Self::Address(_) => IdentityKind::Address,
            Self::Subnet(_) | Self::Range(..) => IdentityKind::Subnet,
            Self::Fqdn(_) => IdentityKind::Fqdn,
            Self::UserFqdn(_) => IdentityKind::UserFqdn,
            Self::KeyId(_) => IdentityKind::KeyId,
            Self::Asn1Dn(_) => IdentityKind::Asn1Dn,
        }
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "address",
            Self::Subnet => "subnet",
            Self::Fqdn => "fqdn",
            Self::UserFqdn => "user_fqdn",
            Self::KeyId => "keyid",
            Self::Asn1Dn => "asn1dn",
        })
    }
}

/// What `my_identifier` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MyIdentifier {
    /// `address`: the address the exchange runs from.
    LocalAddress,
    /// `asn1dn` without a value: the subject of our own certificate.
    CertificateSubject,
    /// A value of its own.
    Value(ConfiguredId),
}

/// A value as written in a configuration; names are not yet DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfiguredId {
    /// One address.
    Address(IpAddr),
    /// A network.
    Subnet(IpNet),
    /// A domain name.
    Fqdn(String),
    /// A mailbox name.
    UserFqdn(String),
    /// Opaque octets.
    KeyId(Vec<u8>),
    /// `keyid file "F"` (or bare `keyid "F"`): the content of the file is the identity.
    KeyIdFile(String),
    /// A name in the one-line form: `C=NL, O=Example, CN=*`.
    Asn1Dn(String),
}

/// One `peers_identifier` line: the type, and a value if one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersIdentifier {
    /// Its type.
    pub kind: IdentityKind,
    /// The value; `None` accepts any identity of the type. In a DN, `*` stands for any value of its RDN.
    pub value: Option<ConfiguredId>,
}
