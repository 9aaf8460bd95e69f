//! The registries of ISAKMP and the IPsec DOI: a newtype around each number, so that unknown values survive.
//!
//! RFC 2408 §3.1 and §3.14.1, RFC 2407 §4.4 to §4.6, RFC 2409 appendix A, RFC 3706 §6, RFC 3947 §9.

use std::fmt;

/// Makes a registry: a newtype with named constants whose `Debug` prints the name of a known value.
macro_rules! registry {
    (
        $(#[$outer:meta])*
        $name:ident($number:ty) {
            $($(#[$inner:meta])* $constant:ident = $value:expr, $text:literal;)*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $number);

        impl $name {
            $($(#[$inner])* pub const $constant: Self = Self($value);)*

            /// The registered name, if there is one.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!(stringify!($name), "({})"), self.0),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }
    };
}

registry! {
    /// Payload types (RFC 2408 §3.1; RFC 3947 §9; the fragment payload of [MS-IKEE] §2.2.3).
    PayloadType(u8) {
        /// End of the chain.
        NONE = 0, "NONE";
        /// Security association.
        SA = 1, "SA";
        /// Proposal; inside an SA payload only.
        PROPOSAL = 2, "PROPOSAL";
        /// Transform; inside a proposal only.
        TRANSFORM = 3, "TRANSFORM";
        /// Key exchange.
        KE = 4, "KE";
        /// Identification.
        ID = 5, "ID";
        /// Certificate.
        CERT = 6, "CERT";
        /// Certificate request.
        CERTREQ = 7, "CERTREQ";
        /// Hash.
        HASH = 8, "HASH";
        /// Signature.
        SIG = 9, "SIG";
        /// Nonce.
        NONCE = 10, "NONCE";
        /// Notification.
        NOTIFY = 11, "NOTIFY";
        /// Delete.
        DELETE = 12, "DELETE";
        /// Vendor ID.
        VENDOR = 13, "VENDOR";
        /// Attributes of mode config.
        ATTRIBUTE = 14, "ATTRIBUTE";
        /// NAT discovery.
        NAT_D = 20, "NAT-D";
        /// NAT original address.
        NAT_OA = 21, "NAT-OA";
        /// NAT discovery of drafts 00 to 03.
        NAT_D_DRAFT = 130, "NAT-D (draft)";
        /// NAT original address of drafts 00 to 03.
        NAT_OA_DRAFT = 131, "NAT-OA (draft)";
        /// A piece of a message.
        FRAGMENT = 132, "FRAGMENT";
    }
}

impl PayloadType {
    /// First number of the range for private use.
    pub const PRIVATE: Self = Self(128);

    /// May this type stand in the chain of a message? Proposals and transforms live inside an SA payload; the numbers
    /// that no document we implement assigns are refused (RFC 2408 §5.3), private ones are left to the reader.
    pub const fn is_acceptable_in_chain(self) -> bool {
        matches!(self, Self::SA | Self::KE | Self::NAT_D | Self::NAT_OA)
            || (self.0 >= Self::ID.0 && self.0 <= Self::ATTRIBUTE.0)
            || self.0 >= Self::PRIVATE.0
    }
}

registry! {
    /// Exchange types (RFC 2408 §3.1, RFC 2409 appendix A).
    ExchangeType(u8) {
        /// No exchange.
        NONE = 0, "none";
        /// Base.
        BASE = 1, "base";
        /// Identity protection: main mode.
        MAIN = 2, "main";
        /// Authentication only.
        AUTH_ONLY = 3, "authentication only";
        /// Aggressive mode.
        AGGRESSIVE = 4, "aggressive";
        /// Informational.
        INFORMATIONAL = 5, "informational";
        /// Transaction: mode config and XAUTH.
        TRANSACTION = 6, "transaction";
        /// Quick mode.
        QUICK = 32, "quick";
        /// New group mode.
        NEW_GROUP = 33, "new group";
    }
}

/// Header flags (RFC 2408 §3.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The payloads are encrypted.
    pub const ENCRYPTED: Self = Self(1);
    /// Wait for CONNECTED before using the SA.
    pub const COMMIT: Self = Self(2);
    /// Authenticated but not encrypted.
    pub const AUTH_ONLY: Self = Self(4);

    /// Are all flags of `other` set?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits no document defines.
    pub const fn unknown(self) -> u8 {
        self.0 & !(Self::ENCRYPTED.0 | Self::COMMIT.0 | Self::AUTH_ONLY.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        for (flag, name) in [(Self::ENCRYPTED, "E"), (Self::COMMIT, "C"), (Self::AUTH_ONLY, "A")] {
            if self.contains(flag) {
                names.push(name.to_owned());
            }
        }
        if self.unknown() != 0 {
            names.push(format!("0x{:02x}", self.unknown()));
        }
        write!(f, "Flags({})", names.join("|"))
    }
}

registry! {
    /// Notify message types (RFC 2408 §3.14.1, RFC 2407 §4.6.3, RFC 3706 §6).
    NotifyType(u16) {
        /// INVALID-PAYLOAD-TYPE.
        INVALID_PAYLOAD_TYPE = 1, "INVALID-PAYLOAD-TYPE";
        /// DOI-NOT-SUPPORTED.
        DOI_NOT_SUPPORTED = 2, "DOI-NOT-SUPPORTED";
        /// SITUATION-NOT-SUPPORTED.
        SITUATION_NOT_SUPPORTED = 3, "SITUATION-NOT-SUPPORTED";
        /// INVALID-COOKIE.
        INVALID_COOKIE = 4, "INVALID-COOKIE";
        /// INVALID-MAJOR-VERSION.
        INVALID_MAJOR_VERSION = 5, "INVALID-MAJOR-VERSION";
        /// INVALID-MINOR-VERSION.
        INVALID_MINOR_VERSION = 6, "INVALID-MINOR-VERSION";
        /// INVALID-EXCHANGE-TYPE.
        INVALID_EXCHANGE_TYPE = 7, "INVALID-EXCHANGE-TYPE";
        /// INVALID-FLAGS.
        INVALID_FLAGS = 8, "INVALID-FLAGS";
        /// INVALID-MESSAGE-ID.
        INVALID_MESSAGE_ID = 9, "INVALID-MESSAGE-ID";
        /// INVALID-PROTOCOL-ID.
        INVALID_PROTOCOL_ID = 10, "INVALID-PROTOCOL-ID";
        /// INVALID-SPI.
        INVALID_SPI = 11, "INVALID-SPI";
        /// INVALID-TRANSFORM-ID.
        INVALID_TRANSFORM_ID = 12, "INVALID-TRANSFORM-ID";
        /// ATTRIBUTES-NOT-SUPPORTED.
        ATTRIBUTES_NOT_SUPPORTED = 13, "ATTRIBUTES-NOT-SUPPORTED";
        /// NO-PROPOSAL-CHOSEN.
        NO_PROPOSAL_CHOSEN = 14, "NO-PROPOSAL-CHOSEN";
        /// BAD-PROPOSAL-SYNTAX.
        BAD_PROPOSAL_SYNTAX = 15, "BAD-PROPOSAL-SYNTAX";
        /// PAYLOAD-MALFORMED.
        PAYLOAD_MALFORMED = 16, "PAYLOAD-MALFORMED";
        /// INVALID-KEY-INFORMATION.
        INVALID_KEY_INFORMATION = 17, "INVALID-KEY-INFORMATION";
        /// INVALID-ID-INFORMATION.
        INVALID_ID_INFORMATION = 18, "INVALID-ID-INFORMATION";
        /// INVALID-CERT-ENCODING.
        INVALID_CERT_ENCODING = 19, "INVALID-CERT-ENCODING";
        /// INVALID-CERTIFICATE.
        INVALID_CERTIFICATE = 20, "INVALID-CERTIFICATE";
        /// CERT-TYPE-UNSUPPORTED.
        CERT_TYPE_UNSUPPORTED = 21, "CERT-TYPE-UNSUPPORTED";
        /// INVALID-CERT-AUTHORITY.
        INVALID_CERT_AUTHORITY = 22, "INVALID-CERT-AUTHORITY";
        /// INVALID-HASH-INFORMATION.
        INVALID_HASH_INFORMATION = 23, "INVALID-HASH-INFORMATION";
        /// AUTHENTICATION-FAILED.
        AUTHENTICATION_FAILED = 24, "AUTHENTICATION-FAILED";
        /// INVALID-SIGNATURE.
        INVALID_SIGNATURE = 25, "INVALID-SIGNATURE";
        /// ADDRESS-NOTIFICATION.
        ADDRESS_NOTIFICATION = 26, "ADDRESS-NOTIFICATION";
        /// NOTIFY-SA-LIFETIME.
        SA_LIFETIME = 27, "NOTIFY-SA-LIFETIME";
        /// CERTIFICATE-UNAVAILABLE.
        CERTIFICATE_UNAVAILABLE = 28, "CERTIFICATE-UNAVAILABLE";
        /// UNSUPPORTED-EXCHANGE-TYPE.
        UNSUPPORTED_EXCHANGE_TYPE = 29, "UNSUPPORTED-EXCHANGE-TYPE";
        /// UNEQUAL-PAYLOAD-LENGTHS.
        UNEQUAL_PAYLOAD_LENGTHS = 30, "UNEQUAL-PAYLOAD-LENGTHS";
        /// CONNECTED: the SA may be used.
        CONNECTED = 16384, "CONNECTED";
        /// RESPONDER-LIFETIME: the life the responder will keep to.
        RESPONDER_LIFETIME = 24576, "RESPONDER-LIFETIME";
        /// REPLAY-STATUS.
        REPLAY_STATUS = 24577, "REPLAY-STATUS";
        /// INITIAL-CONTACT: the sender holds no older SA with us.
        INITIAL_CONTACT = 24578, "INITIAL-CONTACT";
        /// Netscreen's next-hop tunnel binding.
        NETSCREEN_NHTB = 40001, "NHTB-INFORM";
        /// Cisco's load balancing.
        CISCO_LOAD_BALANCE = 40501, "CISCO-LOAD-BALANCE";
        /// Is the peer alive?
        R_U_THERE = 36136, "R-U-THERE";
        /// It is.
        R_U_THERE_ACK = 36137, "R-U-THERE-ACK";
    }
}

impl NotifyType {
    /// Is this an error (1..=16383, RFC 2408 §3.14.1)?
    pub const fn is_error(self) -> bool {
        self.0 >= 1 && self.0 <= 16383
    }
}

registry! {
    /// Identification types (RFC 2407 §4.6.2.1).
    IdType(u8) {
        /// One IPv4 address.
        IPV4_ADDR = 1, "IPv4_address";
        /// A domain name.
        FQDN = 2, "FQDN";
        /// A mailbox name.
        USER_FQDN = 3, "User_FQDN";
        /// IPv4 address and mask.
        IPV4_ADDR_SUBNET = 4, "IPv4_subnet";
        /// One IPv6 address.
        IPV6_ADDR = 5, "IPv6_address";
        /// IPv6 address and mask.
        IPV6_ADDR_SUBNET = 6, "IPv6_subnet";
        /// Two IPv4 addresses.
        IPV4_ADDR_RANGE = 7, "IPv4_address_range";
        /// Two IPv6 addresses.
        IPV6_ADDR_RANGE = 8, "IPv6_address_range";
        /// DER of a distinguished name.
        DER_ASN1_DN = 9, "DER_ASN1_DN";
        /// DER of a general name.
        DER_ASN1_GN = 10, "DER_ASN1_GN";
        /// Opaque octets.
        KEY_ID = 11, "KEY_ID";
    }
}

registry! {
    /// Certificate encodings (RFC 2408 §3.9).
    CertEncoding(u8) {
        /// A PKCS#7 bundle.
        PKCS7 = 1, "PKCS #7 wrapped X.509 certificate";
        /// PGP.
        PGP = 2, "PGP Certificate";
        /// DNS signed key.
        DNS_SIGNED_KEY = 3, "DNS Signed Key";
        /// X.509 certificate for signatures.
        X509_SIGNATURE = 4, "X.509 Certificate Signature";
        /// X.509 certificate for key exchange.
        X509_KEY_EXCHANGE = 5, "X.509 Certificate Key Exchange";
        /// Kerberos tokens.
        KERBEROS = 6, "Kerberos Tokens";
        /// Certificate revocation list.
        CRL = 7, "Certificate Revocation List (CRL)";
        /// Authority revocation list.
        ARL = 8, "Authority Revocation List (ARL)";
        /// SPKI certificate.
        SPKI = 9, "SPKI Certificate";
        /// X.509 attribute certificate.
        X509_ATTRIBUTE = 10, "X.509 Certificate Attribute";
    }
}

registry! {
    /// Security protocol identifiers (RFC 2407 §4.4.1).
    ProtocolId(u8) {
        /// ISAKMP itself.
        ISAKMP = 1, "ISAKMP";
        /// Authentication Header.
        AH = 2, "AH";
        /// Encapsulating Security Payload.
        ESP = 3, "ESP";
        /// IP payload compression.
        IPCOMP = 4, "IPCOMP";
    }
}

/// The IPsec DOI (RFC 2407 §4.2).
pub const DOI_IPSEC: u32 = 1;

/// The only situation we know (RFC 2407 §4.2.1).
pub const SIT_IDENTITY_ONLY: u32 = 1;

/// Transform of an ISAKMP proposal (RFC 2407 §4.4.2.1).
pub const KEY_IKE: u8 = 1;

/// Life types, the same values in both phases (RFC 2409 appendix A, RFC 2407 §4.5).
pub mod life_type {
    /// Seconds.
    pub const SECONDS: u16 = 1;
    /// Kilobytes.
    pub const KILOBYTES: u16 = 2;
}

/// Encapsulation modes (RFC 2407 §4.5, RFC 3947 §5.1).
pub mod encapsulation {
    /// Tunnel.
    pub const TUNNEL: u16 = 1;
    /// Transport.
    pub const TRANSPORT: u16 = 2;
    /// Tunnel in UDP.
    pub const UDP_TUNNEL: u16 = 3;
    /// Transport in UDP.
    pub const UDP_TRANSPORT: u16 = 4;
    /// Tunnel in UDP, drafts 00 to 03.
    pub const UDP_TUNNEL_DRAFT: u16 = 61443;
    /// Transport in UDP, drafts 00 to 03.
    pub const UDP_TRANSPORT_DRAFT: u16 = 61444;
}

/// Values of the extended sequence number attribute (RFC 4304 §2).
pub mod extended_sequence {
    /// 64-bit sequence numbers.
    pub const BITS_64: u16 = 1;
}

/// Phase 1 attribute types (RFC 2409 appendix A).
pub mod phase1_attr {
    /// Encryption algorithm.
    pub const ENCRYPTION: u16 = 1;
    /// Hash algorithm.
    pub const HASH: u16 = 2;
    /// Authentication method.
    pub const AUTH_METHOD: u16 = 3;
    /// Group description.
    pub const GROUP: u16 = 4;
    /// Group type.
    pub const GROUP_TYPE: u16 = 5;
    /// Group prime.
    pub const GROUP_PRIME: u16 = 6;
    /// Group generator one.
    pub const GROUP_GENERATOR_1: u16 = 7;
    /// Group generator two.
    pub const GROUP_GENERATOR_2: u16 = 8;
    /// Group curve A.
    pub const GROUP_CURVE_A: u16 = 9;
    /// Group curve B.
    pub const GROUP_CURVE_B: u16 = 10;
    /// Life type.
    pub const LIFE_TYPE: u16 = 11;
    /// Life duration.
    pub const LIFE_DURATION: u16 = 12;
    /// Pseudo-random function.
    pub const PRF: u16 = 13;
    /// Key length in bits.
    pub const KEY_LENGTH: u16 = 14;
    /// Field size.
    pub const FIELD_SIZE: u16 = 15;
    /// Group order.
    pub const GROUP_ORDER: u16 = 16;
}

registry! {
    /// What a configuration payload is (draft-dukes-ike-mode-cfg-02 §3.2).
    ConfigType(u8) {
        /// Asks for values.
        REQUEST = 1, "REQUEST";
        /// Answers a request.
        REPLY = 2, "REPLY";
        /// Gives values.
        SET = 3, "SET";
        /// Answers what was given.
        ACK = 4, "ACK";
    }
}

registry! {
    /// Attributes of configuration payloads: mode config (draft-dukes-ike-mode-cfg-02 §3.3), XAuth
    /// (draft-beaulieu-ike-xauth-02 §6.1), Cisco's Unity (no document).
    ConfigAttribute(u16) {
        /// An address for the peer.
        IP4_ADDRESS = 1, "INTERNAL_IP4_ADDRESS";
        /// Its netmask.
        IP4_NETMASK = 2, "INTERNAL_IP4_NETMASK";
        /// A DNS server.
        IP4_DNS = 3, "INTERNAL_IP4_DNS";
        /// A NetBIOS name server (WINS).
        IP4_NBNS = 4, "INTERNAL_IP4_NBNS";
        /// Seconds for which the address may be used.
        ADDRESS_EXPIRY = 5, "INTERNAL_ADDRESS_EXPIRY";
        /// A DHCP server.
        IP4_DHCP = 6, "INTERNAL_IP4_DHCP";
        /// Name and version of the program.
        APPLICATION_VERSION = 7, "APPLICATION_VERSION";
        /// A network behind the server.
        IP4_SUBNET = 13, "INTERNAL_IP4_SUBNET";
        /// The attributes that a side knows.
        SUPPORTED_ATTRIBUTES = 14, "SUPPORTED_ATTRIBUTES";
        /// What kind of login is asked for.
        XAUTH_TYPE = 16520, "XAUTH_TYPE";
        /// The user.
        XAUTH_USER_NAME = 16521, "XAUTH_USER_NAME";
        /// The password.
        XAUTH_USER_PASSWORD = 16522, "XAUTH_USER_PASSWORD";
        /// A code from a token.
        XAUTH_PASSCODE = 16523, "XAUTH_PASSCODE";
        /// Words for the user.
        XAUTH_MESSAGE = 16524, "XAUTH_MESSAGE";
        /// A challenge.
        XAUTH_CHALLENGE = 16525, "XAUTH_CHALLENGE";
        /// The domain of the user.
        XAUTH_DOMAIN = 16526, "XAUTH_DOMAIN";
        /// How the login ended.
        XAUTH_STATUS = 16527, "XAUTH_STATUS";
        /// A new PIN of a token.
        XAUTH_NEXT_PIN = 16528, "XAUTH_NEXT_PIN";
        /// An answer to the message.
        XAUTH_ANSWER = 16529, "XAUTH_ANSWER";
        /// Words for the user.
        UNITY_BANNER = 28672, "UNITY_BANNER";
        /// May the client keep the password?
        UNITY_SAVE_PASSWD = 28673, "UNITY_SAVE_PASSWD";
        /// Domain of names without one.
        UNITY_DEF_DOMAIN = 28674, "UNITY_DEF_DOMAIN";
        /// Domains that the server's DNS knows.
        UNITY_SPLITDNS_NAME = 28675, "UNITY_SPLITDNS_NAME";
        /// Networks behind the tunnel.
        UNITY_SPLIT_INCLUDE = 28676, "UNITY_SPLIT_INCLUDE";
        /// UDP port of Cisco's own encapsulation.
        UNITY_NATT_PORT = 28677, "UNITY_NATT_PORT";
        /// Networks that stay outside of the tunnel.
        UNITY_LOCAL_LAN = 28678, "UNITY_LOCAL_LAN";
        /// The group of quick mode.
        UNITY_PFS = 28679, "UNITY_PFS";
        /// What firewall the client must run.
        UNITY_FW_TYPE = 28680, "UNITY_FW_TYPE";
        /// Other servers.
        UNITY_BACKUP_SERVERS = 28681, "UNITY_BACKUP_SERVERS";
        /// The client's name.
        UNITY_DDNS_HOSTNAME = 28682, "UNITY_DDNS_HOSTNAME";
    }
}

impl ConfigAttribute {
    /// Is it one of XAuth's?
    pub const fn is_xauth(self) -> bool {
        self.0 >= Self::XAUTH_TYPE.0 && self.0 <= Self::XAUTH_ANSWER.0
    }
}

/// Phase 2 attribute types (RFC 2407 §4.5, RFC 4304 §2).
pub mod phase2_attr {
    /// Life type.
    pub const LIFE_TYPE: u16 = 1;
    /// Life duration.
    pub const LIFE_DURATION: u16 = 2;
    /// Group description (PFS).
    pub const GROUP: u16 = 3;
    /// Encapsulation mode.
    pub const ENCAPSULATION: u16 = 4;
    /// Authentication algorithm.
    pub const AUTH: u16 = 5;
    /// Key length in bits.
    pub const KEY_LENGTH: u16 = 6;
    /// Key rounds.
    pub const KEY_ROUNDS: u16 = 7;
    /// Compression dictionary size.
    pub const COMPRESS_DICTIONARY: u16 = 8;
    /// Private compression algorithm.
    pub const COMPRESS_PRIVATE: u16 = 9;
    /// ECN tunnel.
    pub const ECN_TUNNEL: u16 = 10;
    /// Extended sequence numbers.
    pub const EXTENDED_SEQUENCE: u16 = 11;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_names_and_keeps_unknown_numbers() {
        assert_eq!(format!("{:?}", PayloadType::NAT_D), "NAT-D");
        assert_eq!(format!("{:?}", PayloadType(77)), "PayloadType(77)");
        assert_eq!(format!("{:?}", NotifyType::NO_PROPOSAL_CHOSEN), "NO-PROPOSAL-CHOSEN");
        assert_eq!(format!("{:?}", Flags(0x81)), "Flags(E|0x80)");
        assert_eq!(NotifyType(40501).to_string(), "CISCO-LOAD-BALANCE");
    }

    #[test]
    fn error_notifies_are_those_below_16384() {
        assert!(!NotifyType(0).is_error());
        assert!(NotifyType::INVALID_PAYLOAD_TYPE.is_error());
        assert!(NotifyType(16383).is_error());
        assert!(!NotifyType::CONNECTED.is_error());
    }

    #[test]
    fn chain_takes_registered_and_private_types_only() {
        let refused: Vec<u8> = (0..=255).filter(|&number| !PayloadType(number).is_acceptable_in_chain()).collect();
        let expected: Vec<u8> = [0, 2, 3].into_iter().chain(15..=19).chain(22..=127).collect();
        assert_eq!(refused, expected);
    }
}
