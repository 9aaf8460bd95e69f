//! The contract between the core and whoever drives it, on one page.
//!
//! One way in, `Endpoint::handle(now, input)`; one way out, `Endpoint::poll() -> Output`. After every input the driver
//! drains outputs until it sees [`Output::WakeAt`], and wakes the endpoint then at the latest:
//!
//! ```text
//! loop {
//!     endpoint.handle(now, next_input);
//!     loop {
//!         match endpoint.poll() {
//!             Output::WakeAt(when) => { arm(when); break }
//!             other => carry_out(other),      // answers come back later, as inputs
//!         }
//!     }
//! }
//! ```
//!
//! The kernel, the private key and the certificate judge are asked, never called: an output with a [`JobId`] starts the
//! work, the input with the same number answers it, a state waits in between. An answer that nobody waits for any more
//! is dropped (an SPI that came too late is given back with [`Output::RemoveSa`]).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{Integrity, SizedCipher};
use policy::model::identity::Identity;
use policy::model::remote::HookEvent;
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::secret::Secret;
use policy::model::selector::Selector;

use crate::config::{Config, KeyHandle, RemoteConfig};
use crate::crypto::provider::PublicKey;
use crate::phase2::wish::ChildKey;
use crate::report::Report;
use crate::transaction::configuration::Configuration;

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since an epoch of the driver's choice; never goes back, counts suspended time too.
    pub monotonic: Duration,
    /// Unix seconds, for certificates and reports only.
    pub wall: u64,
}

/// Ties an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// One pair of IPsec SAs (inbound and outbound) made by one quick mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(pub u64);

/// What the endpoint is told.
#[derive(Debug)]
pub enum Input {
    /// A UDP datagram arrived. On a NAT traversal socket the driver has taken the non-ESP marker off (RFC 3948 §2.2).
    Datagram {
        /// Our address and port it came to.
        local: SocketAddr,
        /// Where it came from.
        peer: SocketAddr,
        /// Its payload.
        octets: Vec<u8>,
    },
    /// The time named by [`Output::WakeAt`] has come (early or spurious wake-ups do no harm).
    Wake,
    /// The kernel holds a packet for which a policy wants an SA.
    Acquire(Acquire),
    /// Answer to [`Output::AllocateSpi`].
    SpiAllocated {
        /// The question.
        job: JobId,
        /// The SPI, or the kernel's refusal in words.
        result: Result<Spi, String>,
    },
    /// Answer to [`Output::InstallSa`].
    SaInstalled {
        /// The question.
        job: JobId,
        /// Done, or the kernel's refusal in words.
        result: Result<(), String>,
    },
    /// Answer to [`Output::Sign`].
    Signed {
        /// The question.
        job: JobId,
        /// The signature, as long as the modulus or twice a coordinate of the curve, or what failed.
        result: Result<Vec<u8>, String>,
    },
    /// Answer to [`Output::Judge`].
    Judged {
        /// The question.
        job: JobId,
        /// The certificate to trust, or why there is none.
        result: Result<Arc<PeerCertificate>, Rejection>,
    },
    /// Answer to [`Output::CheckPassword`].
    PasswordChecked {
        /// The question.
        job: JobId,
        /// Whose it is, or why it is not good, for the log.
        result: Result<Account, String>,
    },
    /// Answer to [`Output::FindPolicy`].
    PolicyFound {
        /// The question.
        job: JobId,
        /// The policy that wants such an SA; `None` if there is none.
        policy: Option<PolicyMatch>,
    },
    /// Answer to [`Output::InstallPolicy`].
    PolicyInstalled {
        /// The question.
        job: JobId,
        /// What was to be installed.
        policy: Box<GeneratedPolicy>,
        /// The reqid of its templates, or the kernel's refusal in words.
        result: Result<ReqId, String>,
    },
    /// The kernel reports that an SA reached its soft or hard limit.
    SaExpired {
        /// Which SA.
        sa: SaName,
        /// Soft: still usable, time to renew.
        hard: bool,
    },
    /// The kernel reports that an SA is gone (deleted by us or by anybody else).
    SaDeleted {
        /// Which SA.
        sa: SaName,
    },
    /// Answer to [`Output::QueryTraffic`].
    TrafficSeen {
        /// The question.
        job: JobId,
        /// Packets that all these SAs together have carried so far; of SAs that are gone, none.
        packets: u64,
    },
    /// The kernel reports that authentic packets of an inbound SA come from elsewhere now: the peer's NAT has moved it
    /// (`XFRM_MSG_MAPPING`).
    MappingChanged {
        /// Which SA.
        sa: SaName,
        /// Where they come from.
        peer: SocketAddr,
    },
    /// A child installed by an earlier life of the daemon: take it over.
    Adopt(Box<AdoptedChild>),
    /// A command of the operator.
    Command(Command),
    /// Use this configuration from now on; exchanges under way keep the one they began with.
    Configure(Arc<Config>),
    /// Delete everything, telling the peers.
    Shutdown,
}

/// What the endpoint wants.
#[derive(Debug)]
pub enum Output {
    /// Send a UDP datagram. From a NAT traversal socket the driver puts the non-ESP marker before it: the marker belongs
    /// to the port, and no state of the core knows of it.
    Send {
        /// From this address and port.
        local: SocketAddr,
        /// To this one.
        peer: SocketAddr,
        /// Its payload.
        octets: Vec<u8>,
    },
    /// Send a NAT keepalive: one octet 0xff, without a marker (RFC 3948 §2.3).
    KeepAlive {
        /// From this NAT traversal socket.
        local: SocketAddr,
        /// To this address and port.
        peer: SocketAddr,
    },
    /// Ask the kernel for an inbound SPI (`XFRM_MSG_ALLOCSPI`).
    AllocateSpi {
        /// Number of the question.
        job: JobId,
        /// What it is for.
        request: SpiRequest,
    },
    /// Put an SA into the kernel: UPDSA for an inbound one whose larval state exists, else NEWSA.
    InstallSa {
        /// Number of the question.
        job: JobId,
        /// The SA.
        sa: Box<SaInstall>,
    },
    /// A child's peer has another address or port: its SAs go on there, with the sequence numbers they have reached.
    MoveChild(Box<ChildMove>),
    /// Take an SA, or an SPI that was only allocated, out of the kernel. Missing ones are no error.
    RemoveSa {
        /// Which one.
        sa: SaName,
    },
    /// The packets the kernel holds for this policy can go: its outbound SA is in place.
    ReleaseHeld {
        /// The kernel's index of the policy, as [`Acquire::policy_index`] named it.
        policy_index: u32,
    },
    /// Sign with a private key. RSA: PKCS#1 v1.5 padding around the octets as they are, no DigestInfo (RFC 2409 §5.1).
    /// ECDSA: the octets are the digest, the signature is r and s at full length (RFC 4754 §7).
    Sign {
        /// Number of the question.
        job: JobId,
        /// Which key.
        key: KeyHandle,
        /// HASH_I or HASH_R.
        octets: Vec<u8>,
    },
    /// Judge a peer's certificate: chain, validity, revocation, deny list, identity.
    Judge {
        /// Number of the question.
        job: JobId,
        /// The case.
        request: Box<JudgeRequest>,
    },
    /// Is this the user's password?
    CheckPassword {
        /// Number of the question.
        job: JobId,
        /// The case.
        check: Box<PasswordCheck>,
    },
    /// Run a hook script; nothing answers.
    RunHook(Box<Hook>),
    /// Find the policy that a peer's quick mode is for.
    FindPolicy {
        /// Number of the question.
        job: JobId,
        /// What the peer proposes.
        query: PolicyQuery,
    },
    /// Put a policy into the kernel for a peer that has none: out and in, in tunnel mode fwd too. None is left if one is
    /// refused.
    InstallPolicy {
        /// Number of the question.
        job: JobId,
        /// The policy.
        policy: Box<GeneratedPolicy>,
    },
    /// A peer whose policy was made goes on from another address: the policy is to have its new ends.
    MovePolicy {
        /// The outbound selector so far.
        outbound: Selector,
        /// The policy as it is to be.
        policy: Box<GeneratedPolicy>,
        /// Its reqid, as it was.
        reqid: ReqId,
    },
    /// Take a policy that [`Output::InstallPolicy`] made, or that was there for an adopted child, out again.
    RemovePolicy {
        /// Its outbound selector.
        outbound: Selector,
    },
    /// Count the packets that these SAs have carried: has their peer been heard?
    QueryTraffic {
        /// Number of the question.
        job: JobId,
        /// Inbound SAs.
        sas: Vec<SaName>,
    },
    /// Something worth a log line happened.
    Report(Report),
    /// Nothing more to do before this time (`None`: before the next input). Always the last output of a drain.
    WakeAt(Option<Duration>),
}

/// Names an SA in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaName {
    /// Protocol.
    pub protocol: Protocol,
    /// SPI.
    pub spi: Spi,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
}

/// A kernel ACQUIRE in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The flow that met the policy.
    pub flow: Selector,
    /// The selector of the policy.
    pub policy: Selector,
    /// The kernel's index of the policy; 0 if unknown.
    pub policy_index: u32,
    /// Our end: tunnel source, or the flow's source in transport mode.
    pub local: IpAddr,
    /// The peer: tunnel destination, or the flow's destination in transport mode.
    pub peer: IpAddr,
    /// The main protocol of the policy: ESP, or AH where there is no ESP.
    pub protocol: Protocol,
    /// Tunnel if one of the policy's templates is one.
    pub mode: Mode,
    /// reqid of the main protocol's template.
    pub reqid: ReqId,
    /// What the policy wants beside the main protocol.
    pub companions: Companions,
}

/// Other protocols that a policy asks for with the main one, negotiated as a proposal of several protocols (RFC 2408
/// §4.2): AH around ESP, compression inside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Companions {
    /// A companion makes the tunnel: the SA of the main protocol is one of transport mode in it.
    pub main_in_transport: bool,
    /// AH.
    pub ah: Option<Companion>,
    /// IPComp (RFC 3173).
    pub ipcomp: Option<Companion>,
}

impl Companions {
    /// None, as with nearly every policy.
    pub const NONE: Self = Self { main_in_transport: false, ah: None, ipcomp: None };
}

/// One of [`Companions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Companion {
    /// Mode of its template.
    pub mode: Mode,
    /// reqid of its template.
    pub reqid: ReqId,
    /// Level `use`: packets may go without it. Only in transport mode: nothing could stand in for a tunnel.
    pub optional: bool,
}

/// Which protocols a peer proposes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offers(u8);

impl Offers {
    /// As above, with one more alternative.
    #[must_use]
    pub fn with(self, protocols: &[Protocol]) -> Self {
        Self(self.0 | 1 << Self::number(protocols))
    }

    /// Is there an alternative of all of `required` and nothing beyond `required` and `optional`?
    pub fn fit(self, required: &[Protocol], optional: &[Protocol]) -> bool {
        let (required, optional) = (Self::number(required), Self::number(optional));
        (0..8_u8).any(|set| self.0 & 1 << set != 0 && set & required == required && set & !(required | optional) == 0)
    }

    fn number(protocols: &[Protocol]) -> u8 {
        protocols.iter().fold(0, |number, protocol| {
            number
                | match protocol {
                    Protocol::Esp => 1,
                    Protocol::Ah => 2,
                    Protocol::Ipcomp => 4,
                }
        })
    }
}

/// For [`Output::AllocateSpi`]: the SA will run from `src` (the peer) to `dst` (us).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiRequest {
    /// Protocol.
    pub protocol: Protocol,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// The peer.
    pub src: IpAddr,
    /// Us.
    pub dst: IpAddr,
}

/// Which way an SA carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaDirection {
    /// From the peer to us.
    Inbound,
    /// From us to the peer.
    Outbound,
}

/// UDP encapsulation of ESP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpEncapsulation {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// The peer's own idea of its address (NAT-OA, RFC 3947 §5.2); transport mode only.
    pub original_address: Option<IpAddr>,
}

/// One SA as it must stand in the kernel.
#[derive(Clone, Debug)]
pub struct SaInstall {
    /// The child it belongs to.
    pub child: ChildId,
    /// Direction.
    pub direction: SaDirection,
    /// Protocol, SPI and addresses.
    pub name: SaName,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// The packets it is for, in the direction of the SA.
    pub selector: Selector,
    /// Cipher; `None` for AH and IPComp.
    pub cipher: Option<SizedCipher>,
    /// Its key (RFC 2409 §5.5, encryption key first), the salt behind it where there is one.
    pub cipher_key: Secret,
    /// Integrity algorithm; `None` is no integrity protection, or that of the cipher itself.
    pub integrity: Option<Integrity>,
    /// Its key; empty without `integrity`.
    pub integrity_key: Secret,
    /// ICV length in bits.
    pub icv_bits: u16,
    /// Extended sequence numbers (RFC 4304).
    pub esn: bool,
    /// The kernel announces the SA's end after this time (soft limit).
    pub soft: Duration,
    /// The kernel drops the SA after this time (hard limit).
    pub hard: Duration,
    /// Hard limit in octets; the kernel's soft limit is 80 % of it.
    pub hard_octets: Option<u64>,
    /// Packets of replay protection, at least 64.
    pub replay_window: u32,
    /// UDP encapsulation.
    pub encapsulation: Option<UdpEncapsulation>,
    /// Who is at the other end, for the journal and for listings.
    pub owner: Arc<Owner>,
    /// SPI of the SA of the opposite direction.
    pub twin: Spi,
    /// Of an SA beside the child's main one: the inbound SA of the main protocol.
    pub beside: Option<SaName>,
}

/// Both SAs of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaPair {
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
}

/// For [`Output::MoveChild`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildMove {
    /// The inbound SA so far.
    pub inbound: SaName,
    /// The outbound SA so far.
    pub outbound: SaName,
    /// The child from now on. What is not in the kernel yet will be installed so.
    pub child: AdoptedChild,
}

/// Who made an SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// The authenticated phase 1 identity.
    pub identity: Identity,
    /// Certificates the authentication rests on, leaf first, trust anchor left out; empty for pre-shared keys.
    pub certificates: Vec<CertificateId>,
    /// Issuer of the leaf, one line.
    pub issuer: Option<String>,
    /// ISAKMP cookies, initiator's first.
    pub cookies: ([u8; 8], [u8; 8]),
}

/// What revocation is keyed on: the issuer's key and the serial number as an integer, never a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId {
    /// SHA-256 of the issuer's SubjectPublicKeyInfo (DER).
    pub issuer_key: [u8; 32],
    /// The serial number, big endian, no leading zero octet.
    pub serial: Vec<u8>,
}

/// A certificate that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The key that must have signed.
    pub public_key: PublicKey,
    /// Leaf first, trust anchor left out.
    pub chain: Vec<CertificateId>,
    /// Subject, one line in OpenSSL's old form (`/C=US/CN=x`), as racoon logs it.
    pub subject: String,
    /// Issuer, same form.
    pub issuer: String,
    /// Unix seconds of notAfter.
    pub not_after: u64,
    /// Findings that were let pass, in racoon's words (`unable to get certificate CRL(3) at depth:0 …`).
    pub warnings: Vec<String>,
}

/// Why a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What kind of refusal, for the notify and for tests.
    pub kind: RejectionKind,
    /// The words of the log line.
    pub reason: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// No certificate to judge.
    Missing,
    /// Not a certificate we can read or use.
    Malformed,
    /// No path to a trust anchor.
    Untrusted,
    /// Outside its validity.
    Expired,
    /// Listed in a CRL.
    RevokedByCrl,
    /// Listed in the deny list.
    RevokedByDenyList,
    /// The identity does not belong to the certificate or is not the configured one.
    IdentityMismatch,
    /// Another rule of RFC 5280 or RFC 4945 is broken.
    Invalid,
}

/// For [`Output::Judge`].
#[derive(Clone, Debug)]
pub struct JudgeRequest {
    /// The peer's configuration: trust anchors, `verify_cert`, `peers_certfile` are found by its `id`.
    pub remote: Arc<RemoteConfig>,
    /// DER of the CERT payloads of encoding 4 in order (PKCS#7 bundles of encoding 1 stand in `pkcs7`).
    pub certificates: Vec<Vec<u8>>,
    /// CERT payloads of encoding 1.
    pub pkcs7: Vec<Vec<u8>>,
    /// The identity claimed.
    pub identity: Identity,
    /// The address the peer speaks from.
    pub peer: IpAddr,
    /// Unix seconds.
    pub wall: u64,
}

/// For [`Output::CheckPassword`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCheck {
    /// The user, as the peer wrote it; no control characters.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// Where the peer speaks from.
    pub peer: IpAddr,
}

/// A user whose password was right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The address that the user always gets.
    pub address: Option<Ipv4Addr>,
}

/// For [`Output::RunHook`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub event: HookEvent,
    /// The script's file.
    pub script: String,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// What the peer called itself in phase 1.
    pub identity: Identity,
    /// ISAKMP cookies, initiator's first.
    pub cookies: ([u8; 8], [u8; 8]),
    /// Who logged in: the peer's user, or ours.
    pub user: Option<String>,
    /// What the peer gave us, or the address that we gave it.
    pub configuration: Configuration,
}

/// For [`Output::FindPolicy`]: selectors as seen by this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyQuery {
    /// Outbound selector (source is our side).
    pub outbound: Selector,
    /// Mode the peer proposes.
    pub mode: Mode,
    /// Main protocol of its first proposal.
    pub protocol: Protocol,
    /// Protocols of all its proposals.
    pub offers: Offers,
    /// Our end of the ISAKMP SA.
    pub local: IpAddr,
    /// The peer's end.
    pub peer: IpAddr,
}

/// The policy that wants the SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyMatch {
    /// Its main protocol.
    pub protocol: Protocol,
    /// reqid of that protocol's template.
    pub reqid: ReqId,
    /// Its other protocols.
    pub companions: Companions,
    /// Selector of the outbound policy.
    pub outbound: Selector,
}

/// A policy for a peer that has none (racoon.conf: `generate_policy`), as seen by this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedPolicy {
    /// Outbound selector (source is our side).
    pub outbound: Selector,
    /// Mode.
    pub mode: Mode,
    /// Protocol.
    pub protocol: Protocol,
    /// Our end.
    pub local: IpAddr,
    /// The peer's end.
    pub peer: IpAddr,
    /// `generate_policy unique`: a reqid of its own.
    pub unique: bool,
}

impl GeneratedPolicy {
    /// The traffic that it is for.
    pub(crate) fn key(&self, reqid: ReqId) -> ChildKey {
        let Self { outbound, mode, protocol, local, peer, .. } = *self;
        ChildKey { local, peer, outbound, mode, protocol, reqid, companions: Companions::NONE }
    }
}

/// A child that stands in the kernel: made before this daemon started, or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedChild {
    /// Who made it.
    pub owner: Owner,
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// Outbound selector.
    pub selector: Selector,
    /// What its policy wants beside the main protocol.
    pub companions: Companions,
    /// The SAs beside `inbound` and `outbound`.
    pub beside: Vec<SaPair>,
    /// In a [`ChildMove`] of SAs beside the main ones: the main inbound SA.
    pub main: Option<SaName>,
    /// Encapsulation of the outbound SA.
    pub encapsulation: Option<UdpEncapsulation>,
    /// Time left until it should be renewed.
    pub soft_in: Duration,
    /// Time left until the kernel drops it.
    pub hard_in: Duration,
    /// Was its policy made for it ([`Output::InstallPolicy`])?
    pub generated: bool,
}

/// Commands of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bring phase 1 up with this peer.
    Up {
        /// Our end.
        local: IpAddr,
        /// The peer.
        peer: IpAddr,
    },
    /// Take down everything with this peer, telling it.
    Down {
        /// The peer.
        peer: IpAddr,
    },
    /// Take down everything, telling the peers.
    DownAll,
    /// Take down every ISAKMP SA, telling the peers; IPsec SAs stay.
    DropIsakmp,
    /// Take down the IPsec SAs that fit, telling the peers; ISAKMP SAs stay.
    DropChildren {
        /// Of this protocol; `None` is any.
        protocol: Option<Protocol>,
        /// For exactly this traffic as we send it; `None` is any.
        outbound: Option<Selector>,
    },
    /// Take down everything that rests on this certificate, telling the peers; nothing else.
    Revoke {
        /// Leaf or intermediate.
        certificate: CertificateId,
    },
    /// Let verdicts of the judge count again for certificates revoked while we run.
    Unrevoke {
        /// The serial.
        serial: Vec<u8>,
        /// The issuer's key; `None` is every issuer.
        issuer_key: Option<[u8; 32]>,
    },
}
