//! Serializable state: what `--json` prints and what the control socket carries. Field names are a promise to scripts.

use ike::identity::dn;
use policy::model::identity::Identity;
use serde::{Deserialize, Serialize};

use crate::revocation::deny_list::{DeniedIssuer, DenyEntry};
use crate::revocation::serial;

/// One SA of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaReport {
    /// `in`, `out`, `fwd` or `unknown`.
    pub direction: String,
    /// Source address.
    pub src: String,
    /// Destination address.
    pub dst: String,
    /// `esp`, `ah` or `ipcomp`.
    pub proto: String,
    /// `0x0123abcd`.
    pub spi: String,
    /// `transport` or `tunnel`.
    pub mode: String,
    /// Tie to the policy.
    pub reqid: u32,
    /// Cipher with its key length, `aes-cbc-256`; an AEAD by the kernel's name.
    pub encryption: Option<String>,
    /// HMAC, `hmac-sha256`.
    pub authentication: Option<String>,
    /// Length of the ICV.
    pub icv_bits: Option<u32>,
    /// Packets of replay protection.
    pub replay_window: u32,
    /// UDP encapsulation.
    pub encapsulation: Option<EncapsulationReport>,
    /// Seconds since it was made.
    pub age_s: u64,
    /// Seconds to the soft limit; null when unlimited.
    pub soft_in_s: Option<u64>,
    /// Seconds to the hard limit; null when unlimited.
    pub hard_in_s: Option<u64>,
    /// Octets carried.
    pub bytes: u64,
    /// Packets carried.
    pub packets: u64,
    /// Identity of the peer; null unless xfrmd made the SA.
    pub peer: Option<String>,
    /// Serial of the peer's certificate, decimal.
    pub cert_serial: Option<String>,
    /// Its issuer, one line.
    pub cert_issuer: Option<String>,
    /// `initiator:responder`, hexadecimal.
    pub isakmp_cookies: Option<String>,
}

/// UDP encapsulation of an SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncapsulationReport {
    /// `espinudp` or the number the kernel gave.
    #[serde(rename = "type")]
    pub kind: String,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

/// One policy of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// `in`, `out` or `fwd`.
    pub direction: String,
    /// Source network.
    pub src: String,
    /// Destination network.
    pub dst: String,
    /// Upper-layer protocol number; null for any.
    pub proto: Option<u8>,
    /// Source port (ICMP: type); null for any.
    pub src_port: Option<u16>,
    /// Destination port (ICMP: code); null for any.
    pub dst_port: Option<u16>,
    /// `ipsec`, `none` or `discard`.
    pub action: String,
    /// Lower is preferred.
    pub priority: u32,
    /// The kernel's number of the policy.
    pub index: u32,
    /// What is asked for.
    pub templates: Vec<TemplateReport>,
    /// Peers with which an SA for it is in place.
    pub peers: Vec<String>,
}

/// One transform that a policy asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateReport {
    /// `esp`, `ah` or `ipcomp`.
    pub proto: String,
    /// `transport` or `tunnel`.
    pub mode: String,
    /// Tunnel source; null if any.
    pub src: Option<String>,
    /// Tunnel destination; null if any.
    pub dst: Option<String>,
    /// Tie to SAs; 0 none.
    pub reqid: u32,
    /// `require` or `use`.
    pub level: String,
}

/// A peer: configured, live or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its address.
    pub address: String,
    /// The authenticated identity.
    pub identity: Option<String>,
    /// Is there a remote block for just this address?
    pub configured: bool,
    /// `established`, `negotiating` or `down`.
    pub state: String,
    /// Unix seconds since when.
    pub since: Option<u64>,
    /// Seconds until phase 1 is renewed.
    pub phase1_rekey_in_s: Option<u64>,
    /// Its pairs of IPsec SAs.
    pub children: Vec<ChildReport>,
    /// Serial of its certificate, decimal.
    pub cert_serial: Option<String>,
    /// What went wrong last.
    pub last_error: Option<PeerError>,
}

/// One pair of IPsec SAs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildReport {
    /// SPI of the inbound SA.
    pub spi_in: String,
    /// SPI of the outbound SA.
    pub spi_out: String,
    /// `transport` or `tunnel`.
    pub mode: String,
    /// Seconds since it was made.
    pub age_s: u64,
    /// Seconds until it is renewed.
    pub rekey_in_s: u64,
}

/// The last thing that went wrong with a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerError {
    /// Unix seconds.
    pub at: u64,
    /// The log line.
    pub reason: String,
}

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Configuration file.
    pub config: String,
    /// Unix seconds when it was read.
    pub config_loaded_at: u64,
    /// What it listens on, `192.0.2.1[500]`.
    pub listening: Vec<String>,
    /// Established peers.
    pub peers_established: usize,
    /// SAs that the daemon made.
    pub sas: usize,
    /// Policies of the kernel that ask for SAs.
    pub policies: usize,
    /// Entries of the deny list.
    pub revoked: usize,
    /// CRLs in use.
    pub crls: Vec<CrlReport>,
    /// Where revocations come from.
    pub sources: Vec<SourceReport>,
    /// What should be seen to, a line each.
    pub warnings: Vec<String>,
    /// Counters.
    pub counters: Counters,
}

/// A CRL in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrlReport {
    /// Its issuer, one line.
    pub issuer: String,
    /// SHA-256 of the issuer's public key, hexadecimal.
    pub issuer_key: String,
    /// File or URL.
    pub source: String,
    /// Unix seconds.
    pub this_update: u64,
    /// Unix seconds; null if it names none.
    pub next_update: Option<u64>,
    /// Its number, decimal; null if it has none.
    pub number: Option<String>,
    /// Certificates it lists.
    pub entries: usize,
}

/// A source of revocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// `CRL`, `subscription` or `webhook`.
    pub kind: String,
    /// File, URL or address.
    pub name: String,
    /// Unix seconds when it last was as it should be; null if it never was.
    pub good_at: Option<u64>,
    /// Notices it has brought.
    pub notices: u64,
    /// Unix seconds since when it is not.
    pub failing_since: Option<u64>,
    /// Why.
    pub problem: Option<String>,
}

/// Counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams that could not be sent.
    pub send_failures: u64,
    /// Acquires of the kernel.
    pub acquires: u64,
    /// SAs installed.
    pub sas_installed: u64,
    /// Requests to the kernel's IPsec tables.
    #[serde(default)]
    pub kernel_requests: u64,
    /// Dumps of one of those tables.
    #[serde(default)]
    pub kernel_dumps: u64,
    /// Requests that the kernel refused.
    pub kernel_refusals: u64,
    /// Times the kernel's notices overran our buffer.
    pub resyncs: u64,
    /// Log lines held back by the rate limit.
    pub lines_suppressed: u64,
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevocationReport {
    /// Serial, decimal.
    pub serial: String,
    /// The issuer in words; `*` where none is known and any issuer's is refused.
    pub issuer: String,
    /// SHA-256 of the issuer's public key, hexadecimal; null for `*`.
    pub issuer_key: Option<String>,
    /// Was it on the deny list before?
    pub already_revoked: bool,
    /// SAs deleted.
    pub sas: Vec<DeletedSa>,
    /// How many.
    pub sas_deleted: usize,
    /// Milliseconds from the durable entry to the last SA's end.
    pub elapsed_ms: f64,
    /// Was the daemon alive to tell the peers?
    pub daemon: bool,
}

impl RevocationReport {
    /// The closing line: what people, tests and logs read of a revocation.
    pub fn summary(&self) -> String {
        format!(
            "revoked serial {} of {}: {} SAs deleted in {:.1} ms",
            self.serial, self.issuer, self.sas_deleted, self.elapsed_ms
        )
    }
}

/// An SA that a revocation deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedSa {
    /// Source address.
    pub src: String,
    /// Destination address.
    pub dst: String,
    /// `esp`, `ah` or `ipcomp`.
    pub proto: String,
    /// `0x0123abcd`.
    pub spi: String,
    /// `in` or `out`.
    pub direction: String,
    /// Identity of the peer.
    pub peer: String,
}

/// One entry of the deny list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedReport {
    /// Serial, decimal.
    pub serial: String,
    /// SHA-256 of the issuer's public key, hexadecimal; `*` is any issuer.
    pub issuer_key: String,
    /// The issuer in words, where known.
    pub issuer: Option<String>,
    /// Unix seconds of the entry.
    pub since: u64,
    /// Who asked for it, one word.
    pub source: String,
    /// SAs that were deleted for it; null where the audit does not go back that far.
    pub sas_deleted: Option<usize>,
}

impl From<&DenyEntry> for RevokedReport {
    fn from(entry: &DenyEntry) -> Self {
        Self {
            serial: serial::to_decimal(&entry.serial),
            issuer_key: match entry.issuer {
                DeniedIssuer::Any => "*".to_owned(),
                DeniedIssuer::Key(key) => serial::to_hex(&key),
            },
            issuer: (!entry.issuer_name.is_empty()).then(|| entry.issuer_name.clone()),
            since: entry.time,
            source: entry.source.clone(),
            sas_deleted: None,
        }
    }
}

/// A phase 1 identity as listings show it: a distinguished name in OpenSSL's one-line form, a key id as text where it
/// is text.
pub fn identity_text(identity: &Identity) -> String {
    match identity {
        Identity::Address(address) => address.to_string(),
        Identity::Subnet(network) => network.to_string(),
        Identity::Range(first, last) => format!("{first}-{last}"),
        Identity::Fqdn(name) | Identity::UserFqdn(name) => name.clone(),
        Identity::KeyId(octets) => match std::str::from_utf8(octets) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => format!("0x{}", serial::to_hex(octets)),
        },
        Identity::Asn1Dn(der) => dn::one_line(der),
    }
}
