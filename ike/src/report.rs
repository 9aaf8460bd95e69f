//! What the core has to say: facts for logs, listings and tests, worded as racoon words them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol};
use policy::model::selector::Selector;

use crate::event::question::CertificateId;
use crate::event::sa::SaName;
use crate::wire::header::Cookie;
use crate::wire::number::NotifyType;

/// Severity, racoon's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warning,
    /// Worth noticing.
    Notify,
    /// A change of state.
    Info,
    /// Detail.
    Debug,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Severity.
    pub level: Level,
    /// Our end of the exchange, where there is one.
    pub local: Option<SocketAddr>,
    /// The peer it is about.
    pub peer: Option<SocketAddr>,
    /// What happened.
    pub event: Event,
}

/// Both ends of an exchange, for log lines: `10.0.0.1[500]<=>10.0.0.2[500]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Ours.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
}

/// An ISAKMP SA by its cookies, initiator's first: `0123456789abcdef:0123456789abcdef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookiePair(pub Cookie, pub Cookie);

/// What happened; `Display` gives racoon's words where racoon has any.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A child is wanted, and there is no ISAKMP SA yet.
    Queued {
        /// The peer.
        peer: IpAddr,
    },
    /// A child is wanted from a peer that nothing is configured for.
    NoConfiguration {
        /// The peer.
        peer: IpAddr,
    },
    /// A peer begins that nothing is configured for.
    UnknownPeer {
        /// The peer.
        peer: IpAddr,
    },
    /// A peer's first message has no proposal that we take: racoon's second line about it.
    NoValidProposal,
    /// The same, its third line.
    FirstMessageRefused,
    /// A child is wanted from a peer that we only answer.
    Passive {
        /// The peer.
        peer: IpAddr,
    },
    /// We began a main mode.
    Phase1Initiated(Ends),
    /// A peer began a main mode.
    Phase1Responded(Ends),
    /// A peer that is to prove itself with a pre-shared key, and there is none for it.
    NoPreSharedKey {
        /// The peer.
        peer: IpAddr,
    },
    /// A vendor ID of the peer that we know.
    VendorId(&'static str),
    /// Which exchange it is.
    BeginMainMode,
    /// The other one.
    BeginAggressiveMode,
    /// An ISAKMP SA is up.
    Phase1Established {
        /// Ends.
        ends: Ends,
        /// Name.
        cookies: CookiePair,
        /// Who the peer is.
        identity: Identity,
    },
    /// No line of psk.txt fits the identity that a peer says it has: its address is looked up.
    PreSharedKeyByAddress,
    /// Something was let pass in judging the peer's certificate.
    CertificateWarning(String),
    /// The peer has signed with a key that needs no certificate: its place in the file, and its fingerprint.
    RawKeyProved(String),
    /// The peer's identity says which of several `remote` blocks it is meant by.
    RemoteChosen {
        /// The block.
        name: String,
        /// Who the peer says it is.
        identity: Identity,
    },
    /// The peer's identity is none of those configured, and `verify_identifier` is off.
    IdentityNotConfigured {
        /// What it claimed.
        identity: Identity,
    },
    /// The peer asks for a certificate of an issuer that ours is not from.
    ForeignCertificateRequest,
    /// An ISAKMP SA is ready for quick modes: login and configuration, where they are wanted, are done.
    Phase1Open {
        /// Name.
        cookies: CookiePair,
    },
    /// A main mode failed.
    Phase1Failed {
        /// Why.
        reason: String,
        /// Did the time run out?
        timed_out: bool,
        /// Had the two sides no proposal in common?
        no_proposal: bool,
        /// Name, as far as known.
        cookies: CookiePair,
    },
    /// An ISAKMP SA reached its end.
    Phase1Expired {
        /// Ends.
        ends: Ends,
        /// Name.
        cookies: CookiePair,
    },
    /// An ISAKMP SA was taken down by us.
    Phase1Deleted {
        /// Ends.
        ends: Ends,
        /// Name.
        cookies: CookiePair,
    },
    /// An ISAKMP SA is about to be taken down, by the peer's wish or because it is stale.
    Phase1Purging {
        /// Name.
        cookies: CookiePair,
    },
    /// SAs of a peer that says it holds none are about to be taken out.
    ChildrenPurging {
        /// Of which protocol.
        protocol: Protocol,
        /// Ends.
        ends: Ends,
    },
    /// A child outlives an ISAKMP SA that the peer took down: there is another one.
    ChildKept {
        /// Its outbound SA.
        sa: SaName,
        /// The other ISAKMP SA.
        cookies: CookiePair,
    },
    /// An ISAKMP SA was taken down by the peer.
    Phase1Purged {
        /// Name.
        cookies: CookiePair,
    },
    /// A main mode begins because children need the ISAKMP SA that is about to end.
    Phase1Renegotiating {
        /// The peer.
        peer: IpAddr,
    },
    /// We began a quick mode.
    Phase2Initiated(Ends),
    /// The peer began a quick mode.
    Phase2Responded(Ends),
    /// One SA of a child is up.
    ChildEstablished {
        /// Its ends, ports included.
        from: SocketAddr,
        /// See `from`.
        to: SocketAddr,
        /// Mode.
        mode: Mode,
        /// Name.
        sa: SaName,
    },
    /// A quick mode failed.
    Phase2Failed {
        /// The peer.
        peer: IpAddr,
        /// Why.
        reason: String,
        /// Did the time run out?
        timed_out: bool,
    },
    /// A child that was wanted will not come.
    GaveUp {
        /// The peer.
        peer: IpAddr,
    },
    /// A child reached its end.
    ChildExpired {
        /// Mode.
        mode: Mode,
        /// Its inbound SA.
        sa: SaName,
    },
    /// An SA was taken out: replaced, deleted by the peer, or with its ISAKMP SA.
    ChildPurged {
        /// Name.
        sa: SaName,
    },
    /// Somebody else took an SA out of the kernel.
    ChildVanished {
        /// Name.
        sa: SaName,
    },
    /// A child of an earlier life of the daemon was taken over.
    ChildAdopted {
        /// Its inbound SA.
        inbound: SaName,
        /// Its outbound SA.
        outbound: SaName,
    },
    /// A policy is made for a peer that has none.
    PolicyGenerated {
        /// Its outbound selector.
        outbound: Selector,
    },
    /// A policy that was made for a peer is not used any more.
    PolicyDeleted {
        /// Its outbound selector.
        outbound: Selector,
    },
    /// An idle peer is asked whether it lives.
    PeerProbed {
        /// Sequence number of the question.
        number: u32,
    },
    /// The peer asks whether we live.
    ProbeAnswered {
        /// Sequence number of the question.
        number: u32,
    },
    /// The peer has left all probes unanswered; what stands with it is taken down next.
    PeerDead {
        /// Ends.
        ends: Ends,
        /// The ISAKMP SA that was probed.
        cookies: CookiePair,
    },
    /// The peer knows nothing of us any more.
    InitialContact,
    /// The peer's SAs live shorter than we proposed.
    ResponderLifetime {
        /// Seconds.
        seconds: u64,
    },
    /// Our shorter life is used and announced.
    OwnLifetime {
        /// Ours, seconds.
        seconds: u64,
        /// The peer's, seconds.
        peer: u64,
    },
    /// A notify under protection.
    NotifyReceived {
        /// Which.
        kind: NotifyType,
    },
    /// A notify in clear: it changes nothing.
    UnprotectedNotify {
        /// Which.
        kind: NotifyType,
    },
    /// Which NAT traversal both sides speak.
    NatDialect(&'static str),
    /// An address is hashed for NAT discovery.
    NatHashing {
        /// The address.
        at: SocketAddr,
        /// Number of the hash algorithm.
        hash: u16,
        /// Is the hash wrong on purpose?
        forced: bool,
    },
    /// Our NAT-D payloads go out.
    NatDiscovery,
    /// A NAT-D payload of the peer.
    NatVerdict {
        /// Its number; 0 is about our address.
        number: usize,
        /// Does it match?
        verified: bool,
    },
    /// What discovery found.
    NatDetected {
        /// Our address is rewritten.
        own: bool,
        /// The peer's address is rewritten.
        peer: bool,
    },
    /// An exchange goes on between other ports.
    PortsChanged(Ends),
    /// A child's ESP goes into UDP: encapsulation modes before and after.
    UdpEncapsulation {
        /// Mode without a NAT.
        plain: u16,
        /// Mode on this path.
        udp: u16,
    },
    /// The NAT's mapping of this path is kept alive from now on.
    KeepaliveBegun(Ends),
    /// It is no longer.
    KeepaliveEnded(Ends),
    /// The peer's address or port, as its NAT shows it, has changed.
    PeerMoved {
        /// Where it was.
        from: SocketAddr,
        /// Where it is.
        to: SocketAddr,
    },
    /// User and password were asked for.
    XauthRequested,
    /// The password was right.
    LoginSucceeded {
        /// Whose.
        user: String,
    },
    /// It was not, or there was none.
    LoginFailed {
        /// Whose; empty if none was named.
        user: String,
        /// Why.
        reason: String,
    },
    /// A server's words for the user, escaped.
    XauthMessage {
        /// The words.
        text: String,
    },
    /// A server's banner, escaped.
    Banner {
        /// The words.
        text: String,
    },
    /// The peer has configured us.
    Configured {
        /// The address we have in its network.
        address: Option<Ipv4Addr>,
    },
    /// A peer was given an address of the pool.
    AddressLent {
        /// Its number in the pool.
        port: u32,
        /// The address.
        address: Ipv4Addr,
    },
    /// Nobody has this address any more.
    AddressReleased {
        /// Its number in the pool.
        port: u32,
        /// The address.
        address: Ipv4Addr,
    },
    /// No address is left in the pool.
    PoolExhausted {
        /// Its size.
        size: u32,
    },
    /// The pool has another size than before.
    PoolResized {
        /// Addresses before.
        from: u32,
        /// Addresses now.
        to: u32,
    },
    /// Everything with a peer is taken down because somebody asked for it.
    PeerFlushed {
        /// The peer.
        peer: IpAddr,
    },
    /// A DELETE in clear: it changes nothing.
    UnprotectedDelete,
    /// A message came again.
    Retransmitted {
        /// The sender.
        peer: SocketAddr,
    },
    /// A datagram that nothing can be done with.
    Dropped {
        /// Why.
        reason: String,
    },
    /// A message of an exchange that was ignored; the exchange goes on.
    Ignored {
        /// Why.
        reason: String,
    },
    /// Everything resting on this certificate was taken down.
    Revoked {
        /// Which.
        certificate: CertificateId,
        /// IPsec SAs removed.
        sas: usize,
        /// ISAKMP SAs removed.
        isakmp_sas: usize,
    },
}

impl Event {
    /// Can anybody on the network cause this line at will? Such lines are logged at a bounded rate.
    pub fn is_unauthenticated(&self) -> bool {
        matches!(
            self,
            Self::Dropped { .. }
                | Self::Ignored { .. }
                | Self::Retransmitted { .. }
                | Self::UnprotectedNotify { .. }
                | Self::UnprotectedDelete
                | Self::VendorId(_)
                | Self::Phase1Responded(_)
                | Self::BeginMainMode
                | Self::BeginAggressiveMode
                | Self::PreSharedKeyByAddress
                | Self::NoConfiguration { .. }
                | Self::UnknownPeer { .. }
                | Self::NoValidProposal
                | Self::FirstMessageRefused
                | Self::NatDialect(_)
                | Self::NatHashing { .. }
                | Self::NatDiscovery
                | Self::NatVerdict { .. }
                | Self::NatDetected { .. }
                | Self::NoPreSharedKey { .. }
        ) || matches!(self, Self::Phase1Failed { timed_out, cookies, .. } if *timed_out || cookies.1.is_zero())
    }
}

/// `10.0.0.1[500]`, as racoon prints addresses.
struct Bracketed(SocketAddr);

impl fmt::Display for Bracketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.0.ip(), self.0.port())
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}<=>{}", Bracketed(self.local), Bracketed(self.peer))
    }
}

impl fmt::Display for CookiePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// `spi=140411282(0x85e8192)`, racoon's way.
struct SpiWords(u32);

impl fmt::Display for SpiWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spi={}(0x{:x})", self.0, self.0)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { peer } => write!(f, "IPsec-SA request for {peer} queued due to no phase1 found."),
            Self::NoConfiguration { peer } => write!(f, "no configuration found for {peer}."),
            Self::UnknownPeer { peer } => write!(f, "couldn't find configuration. no configuration found for {peer}."),
            Self::NoValidProposal => f.write_str("failed to get valid proposal."),
            Self::FirstMessageRefused => f.write_str("failed to pre-process ph1 packet (side: 1, status 1)."),
            Self::Passive { peer } => write!(f, "IPsec-SA request for {peer} ignored: the remote is passive."),
            Self::Phase1Initiated(ends) => write!(f, "initiate new phase 1 negotiation: {ends}"),
            Self::Phase1Responded(ends) => write!(f, "respond new phase 1 negotiation: {ends}"),
            Self::NoPreSharedKey { peer } => write!(f, "couldn't find the pskey for {peer}."),
            Self::VendorId("FRAGMENTATION") => f.write_str("received broken Microsoft ID: FRAGMENTATION"),
            Self::VendorId(name) => write!(f, "received Vendor ID: {name}"),
            Self::BeginMainMode => f.write_str("begin Identity Protection mode."),
            Self::BeginAggressiveMode => f.write_str("begin Aggressive mode."),
            Self::Phase1Established { ends: Ends { local, peer }, cookies, .. } => {
                write!(f, "ISAKMP-SA established {}-{} spi:{cookies}", Bracketed(*local), Bracketed(*peer))
            }
            Self::PreSharedKeyByAddress => {
                f.write_str("couldn't find the proper pskey, try to get one by the peer's address.")
            }
            Self::CertificateWarning(words) => f.write_str(words),
            Self::RawKeyProved(key) => write!(f, "the peer has signed with the RSA key of {key}."),
            Self::RemoteChosen { name, identity } => {
                write!(f, "remote {name} is the one for this {} identity.", identity.kind())
            }
            Self::IdentityNotConfigured { identity } => {
                write!(
                    f,
                    "the peer's {} identity is none of peers_identifier; verify_identifier is off.",
                    identity.kind()
                )
            }
            Self::ForeignCertificateRequest => {
                f.write_str("the peer requests a certificate of another issuer; ours is sent all the same.")
            }
            Self::Phase1Open { cookies } => write!(f, "ISAKMP-SA spi:{cookies} is ready for phase 2."),
            Self::Phase1Failed { timed_out: true, reason, cookies, .. } => {
                write!(f, "phase1 negotiation failed due to time up. {cookies} ({reason})")
            }
            Self::Phase1Failed { reason, cookies, .. } => write!(f, "phase1 negotiation failed. {reason} {cookies}"),
            Self::Phase1Expired { ends: Ends { local, peer }, cookies } => {
                write!(f, "ISAKMP-SA expired {}-{} spi:{cookies}", Bracketed(*local), Bracketed(*peer))
            }
            Self::Phase1Deleted { ends: Ends { local, peer }, cookies } => {
                write!(f, "ISAKMP-SA deleted {}-{} spi:{cookies}", Bracketed(*local), Bracketed(*peer))
            }
            Self::Phase1Purging { cookies } => write!(f, "purging ISAKMP-SA spi={cookies}."),
            Self::ChildrenPurging { protocol, ends: Ends { local, peer } } => {
                write!(f, "purging {} SAs for {} -> {}", protocol.log_name(), local.ip(), peer.ip())
            }
            Self::ChildKept { sa, cookies } => {
                write!(f, "keeping IPsec-SA spi={} - found valid ISAKMP-SA spi={cookies}.", sa.spi.0)
            }
            Self::Phase1Purged { cookies } => write!(f, "purged ISAKMP-SA spi={cookies}."),
            Self::Phase1Renegotiating { peer } => write!(f, "renegotiating phase1 to {peer} due to active phase2"),
            Self::Phase2Initiated(ends) => write!(f, "initiate new phase 2 negotiation: {ends}"),
            Self::Phase2Responded(ends) => write!(f, "respond new phase 2 negotiation: {ends}"),
            Self::ChildEstablished { from, to, mode, sa } => write!(
                f,
                "IPsec-SA established: {}/{} {}->{} {}",
                sa.protocol.log_name(),
                mode.log_name(),
                Bracketed(*from),
                Bracketed(*to),
                SpiWords(sa.spi.0)
            ),
            Self::Phase2Failed { peer, reason, timed_out: true } => {
                write!(f, "{peer} give up to get IPsec-SA due to time up to wait. ({reason})")
            }
            Self::Phase2Failed { reason, .. } => write!(f, "phase2 negotiation failed. {reason}"),
            Self::GaveUp { peer } => {
                write!(f, "phase2 negotiation failed due to time up waiting for phase1. ESP {peer}[0]")
            }
            Self::ChildExpired { mode, sa } => write!(
                f,
                "IPsec-SA expired: {}/{} {}->{} {}",
                sa.protocol.log_name(),
                mode.log_name(),
                sa.src,
                sa.dst,
                SpiWords(sa.spi.0)
            ),
            Self::ChildPurged { sa } => {
                write!(f, "purged IPsec-SA proto_id={} spi={}.", sa.protocol.log_name(), sa.spi.0)
            }
            Self::ChildVanished { sa } => write!(
                f,
                "IPsec-SA {} {}->{} {} was deleted by somebody else.",
                sa.protocol.log_name(),
                sa.src,
                sa.dst,
                SpiWords(sa.spi.0)
            ),
            Self::ChildAdopted { inbound, outbound } => write!(
                f,
                "IPsec-SA {}->{} {} (outbound {}) taken over from an earlier run.",
                inbound.src,
                inbound.dst,
                SpiWords(inbound.spi.0),
                SpiWords(outbound.spi.0)
            ),
            Self::PolicyGenerated { outbound } => {
                write!(f, "no policy found, try to generate the policy : {outbound}")
            }
            Self::PolicyDeleted { outbound } => write!(f, "deleting a generated policy. {outbound}"),
            Self::PeerProbed { number } => write!(f, "DPD R-U-There sent ({number})"),
            Self::ProbeAnswered { number } => write!(f, "DPD R-U-There received ({number}), answered"),
            Self::PeerDead { cookies, .. } => write!(f, "DPD: remote (ISAKMP-SA spi={cookies}) seems to be dead."),
            Self::InitialContact => f.write_str("received INITIAL-CONTACT"),
            Self::ResponderLifetime { seconds } => write!(f, "received RESPONDER-LIFETIME: {seconds} seconds"),
            Self::OwnLifetime { seconds, peer } => write!(f, "use own lifetime: my:{seconds} peer:{peer}"),
            Self::NotifyReceived { kind } => write!(f, "received notify {kind:?}"),
            Self::UnprotectedNotify { kind } => {
                write!(f, "ignore information because ISAKMP-SA has not been established yet. ({kind:?})")
            }
            Self::NatDialect(name) => write!(f, "Selected NAT-T version: {name}"),
            Self::NatHashing { at, hash, forced } => {
                let forced = if *forced { "(NAT-T forced)" } else { "" };
                write!(f, "Hashing {} with algo #{hash} {forced}", Bracketed(*at))
            }
            Self::NatDiscovery => f.write_str("Adding remote and local NAT-D payloads."),
            Self::NatVerdict { number, verified } => {
                write!(f, "NAT-D payload #{number} {}", if *verified { "verified" } else { "doesn't match" })
            }
            Self::NatDetected { own: false, peer: false } => f.write_str("NAT not detected "),
            Self::NatDetected { own, peer } => {
                let (own, peer) = (if *own { "ME " } else { "" }, if *peer { "PEER" } else { "" });
                write!(f, "NAT detected: {own}{peer}")
            }
            Self::PortsChanged(Ends { local, peer }) => {
                write!(f, "NAT-T: ports changed to: {}<->{}", Bracketed(*local), Bracketed(*peer))
            }
            Self::UdpEncapsulation { plain, udp } => {
                write!(f, "NAT detected -> UDP encapsulation (ENC_MODE {plain}->{udp}).")
            }
            Self::KeepaliveBegun(Ends { local, peer }) => {
                write!(f, "KA list add: {}->{}", Bracketed(*local), Bracketed(*peer))
            }
            Self::KeepaliveEnded(Ends { local, peer }) => {
                write!(f, "KA remove: {}->{}", Bracketed(*local), Bracketed(*peer))
            }
            Self::PeerMoved { from, to } => {
                write!(f, "the peer has moved behind its NAT: {} -> {}", Bracketed(*from), Bracketed(*to))
            }
            Self::XauthRequested => f.write_str("Sending Xauth request"),
            Self::LoginSucceeded { user } => write!(f, "login succeeded for user {user:?}"),
            Self::LoginFailed { user, reason } => write!(f, "login failed for user {user:?}: {reason}"),
            Self::XauthMessage { text } => write!(f, "XAUTH Message: '{text}'."),
            Self::Banner { text } => write!(f, "the peer's banner: '{text}'."),
            Self::Configured { address: Some(address) } => {
                write!(f, "configured by the peer: our address is {address}")
            }
            Self::Configured { address: None } => f.write_str("configured by the peer, without an address"),
            Self::AddressLent { port, address } => write!(f, "Using port {port} ({address})"),
            Self::AddressReleased { port, address } => write!(f, "Released port {port} ({address})"),
            Self::PoolExhausted { size } => {
                write!(f, "no address is left: all {size} of the pool are in use (pool_size)")
            }
            Self::PoolResized { from, to } => write!(f, "Resize address pool from {from} to {to}"),
            Self::PeerFlushed { peer } => write!(f, "Flushing all SAs for peer {peer}"),
            Self::UnprotectedDelete => {
                f.write_str("Ignoring unencrypted delete payload (check the weak_phase1_check option)")
            }
            Self::Retransmitted { peer } => write!(f, "the packet is retransmitted by {} (1).", Bracketed(*peer)),
            Self::Dropped { reason } => write!(f, "datagram dropped: {reason}"),
            Self::Ignored { reason } => write!(f, "message ignored: {reason}"),
            Self::Revoked { certificate, sas, isakmp_sas } => write!(
                f,
                "revoked certificate serial 0x{}: {sas} IPsec-SAs and {isakmp_sas} ISAKMP-SAs deleted.",
                hex(&certificate.serial)
            ),
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests;
