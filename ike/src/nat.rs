//! NAT traversal (RFC 3947, RFC 3948, drafts 02 and 03): discovery in phase 1, encapsulation modes and original
//! addresses in phase 2. What follows from it for the path of an ISAKMP SA is in `endpoint::moves`.

use std::net::{IpAddr, SocketAddr};

use policy::model::addr::{IpNet, NATT_PORT, host_net};
use policy::model::algorithm::Hash;
use policy::model::remote::NatTraversal;
use policy::model::sa::Mode;
use policy::model::selector::Selector;

use crate::context::Path;
use crate::crypto::backend::digest;
use crate::error::ExchangeError;
use crate::handshake::Facts;
use crate::message::{Cookies, Role};
use crate::payloads::bodies;
use crate::phase2::exchange::QuickFacts;
use crate::report::{Event, Level};
use crate::traits::{Nat, NatDialect};
use crate::wire::error::WireError;
use crate::wire::message::RawPayload;
use crate::wire::number::{IdType, PayloadType, encapsulation};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// HASH(CKY-I | CKY-R | IP | port) (RFC 3947 §3.2).
fn discovery_hash(hash: Hash, cookies: Cookies, at: SocketAddr) -> Vec<u8> {
    let port = at.port().to_be_bytes();
    let parts = |address: &[u8]| digest(hash, &[&cookies.initiator.0, &cookies.responder.0, address, &port]);
    match at.ip() {
        IpAddr::V4(address) => parts(&address.octets()),
        IpAddr::V6(address) => parts(&address.octets()),
    }
}

impl Facts<'_> {
    fn nat_dialect(&self) -> Option<NatDialect> {
        self.traits.nat.filter(|_| self.remote.remote.nat_traversal != NatTraversal::Off)
    }

    /// Our NAT-D payloads for MM3, MM4, AM2 or AM3: the peer's address as we see it, then our own (RFC 3947 §3.2).
    /// None if NAT traversal is not spoken on both sides. With `nat_traversal force` ours is wrong on purpose.
    pub(crate) fn nat_discovery(&mut self, hash: Hash, cookies: Cookies) -> Vec<(PayloadType, Vec<u8>)> {
        let Some(dialect) = self.nat_dialect() else { return Vec::new() };
        let Path { local, peer } = self.path;
        let forced = self.remote.remote.nat_traversal == NatTraversal::Force;
        let own = if forced { self.cx.random(hash.facts().output) } else { discovery_hash(hash, cookies, local) };
        self.cx.report(Level::Info, peer, Event::NatDialect(dialect.name()));
        for (at, forced) in [(peer, false), (local, forced)] {
            let hash = hash.facts().phase1;
            self.cx.report(Level::Debug, peer, Event::NatHashing { at, hash, forced });
        }
        self.cx.report(Level::Debug, peer, Event::NatDiscovery);
        let kind = dialect.discovery_payload();
        vec![(kind, discovery_hash(hash, cookies, peer)), (kind, own)]
    }

    /// AM3 brings the peer's NAT-D payloads and may already come by port 4500.
    pub(crate) fn expect_discovery(&mut self) {
        self.traits.path_nat.dialect = self.nat_dialect();
    }

    /// Judges the peer's NAT-D payloads in MM3, MM4, AM2 or AM3; the outcome stands in `traits.path_nat`.
    /// A peer that sends none does not traverse NATs, whatever its vendor IDs say.
    pub(crate) fn discover_nat(&mut self, hash: Hash, cookies: Cookies, payloads: &[RawPayload<'_>]) {
        let Some(dialect) = self.nat_dialect() else { return };
        let Path { local, peer } = self.path;
        let mut hashes = bodies(payloads, dialect.discovery_payload());
        let Some(about_us) = hashes.next() else { return };
        let theirs = discovery_hash(hash, cookies, peer);
        // pluto hashes the port of AM1 in AM3, which comes to the other one.
        let ends = [local, SocketAddr::new(local.ip(), self.cx.config.port_of(local.ip()))];
        let is_ours = ends.into_iter().any(|end| about_us == discovery_hash(hash, cookies, end));
        let mut verdicts = vec![is_ours];
        // The peer hashes each address that it may send from.
        verdicts.extend(hashes.map(|about_peer| about_peer == theirs));
        self.traits.path_nat = Nat {
            dialect: Some(dialect),
            own: !is_ours,
            peer: !verdicts.iter().skip(1).any(|matches| *matches),
            forced: self.remote.remote.nat_traversal == NatTraversal::Force,
        };
        // What we send from here on goes from there; the hashes of AM3 are of these addresses.
        if self.role == Role::Initiator
            && let Some(path) = floated(self.path, &self.traits.path_nat, self.cx.config.natt_port)
        {
            self.path = path;
        }
        for (number, verified) in verdicts.into_iter().enumerate() {
            self.cx.report(Level::Debug, peer, Event::NatVerdict { number, verified });
        }
        let Nat { own, peer: at_peer, .. } = self.traits.path_nat;
        self.cx.report(Level::Info, peer, Event::NatDetected { own, peer: at_peer });
    }
}

/// Where the initiator sends from MM5 or AM3 on: port 4500 if discovery found a NAT (RFC 3947 §4).
pub(crate) fn floated(path: Path, nat: &Nat, natt_port: u16) -> Option<Path> {
    nat.in_udp().filter(|_| path.local.port() != natt_port)?;
    let Path { mut local, mut peer } = path;
    local.set_port(natt_port);
    peer.set_port(NATT_PORT);
    Some(Path { local, peer })
}

/// How the packets of a child are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    /// Transport or tunnel.
    pub(crate) mode: Mode,
    /// The dialect whose numbers say that UDP is around it.
    pub(crate) udp: Option<NatDialect>,
}

impl Framing {
    /// What a child of this mode is to be on a path.
    pub(crate) fn on(nat: &Nat, mode: Mode) -> Self {
        Self { mode, udp: nat.in_udp() }
    }

    /// The value of the encapsulation mode attribute (RFC 2407 §4.5, RFC 3947 §5.1).
    pub(crate) fn attribute(self) -> u16 {
        match (self.mode, self.udp) {
            (Mode::Tunnel, None) => encapsulation::TUNNEL,
            (Mode::Transport, None) => encapsulation::TRANSPORT,
            (Mode::Tunnel, Some(NatDialect::Rfc3947)) => encapsulation::UDP_TUNNEL,
            (Mode::Transport, Some(NatDialect::Rfc3947)) => encapsulation::UDP_TRANSPORT,
            (Mode::Tunnel, Some(_)) => encapsulation::UDP_TUNNEL_DRAFT,
            (Mode::Transport, Some(_)) => encapsulation::UDP_TRANSPORT_DRAFT,
        }
    }

    /// What a peer's attribute value means on this path.
    ///
    /// # Errors
    /// [`ExchangeError::NoProposalChosen`]: UDP where no NAT was found, plain ESP where one was, or an unknown value.
    pub(crate) fn read(value: u16, nat: &Nat) -> Result<Self, ExchangeError> {
        let framing = [Mode::Tunnel, Mode::Transport].map(|mode| Self::on(nat, mode));
        framing.into_iter().find(|framing| framing.attribute() == value).ok_or_else(|| {
            let why = match (value, nat.in_udp()) {
                (encapsulation::TUNNEL | encapsulation::TRANSPORT, Some(_)) => {
                    "plain ESP does not pass the NAT that was found"
                }
                (
                    encapsulation::UDP_TUNNEL
                    | encapsulation::UDP_TRANSPORT
                    | encapsulation::UDP_TUNNEL_DRAFT
                    | encapsulation::UDP_TRANSPORT_DRAFT,
                    None,
                ) => "no NAT was found between us, or nat_traversal is off",
                _ => "no such mode on this path",
            };
            ExchangeError::NoProposalChosen(format!("encapsulation mode {value}: {why}"))
        })
    }
}

/// May addresses of its quick mode be other ones on the other side: transport mode through a NAT?
pub(crate) fn is_translated(framing: Framing) -> bool {
    framing.udp.is_some() && framing.mode == Mode::Transport
}

impl QuickFacts<'_> {
    /// How a child of this mode is framed under this ISAKMP SA.
    pub(crate) fn framing(&self, mode: Mode) -> Framing {
        Framing::on(&self.sa.traits.path_nat, mode)
    }

    /// Our NAT-OA payloads (RFC 3947 §5.2): both ends as we see them, the initiator first. Transport mode only.
    pub(crate) fn original_addresses(&mut self, framing: Framing, role: Role) -> Vec<(PayloadType, Vec<u8>)> {
        let Some(dialect) = framing.udp else { return Vec::new() };
        let (plain, udp) = (Framing { udp: None, ..framing }.attribute(), framing.attribute());
        let Path { local, peer } = self.sa.path;
        self.cx.report(Level::Info, peer, Event::UdpEncapsulation { plain, udp });
        if framing.mode == Mode::Tunnel {
            return Vec::new();
        }
        let (initiator, responder) = match role {
            Role::Initiator => (local, peer),
            Role::Responder => (peer, local),
        };
        [initiator, responder].map(|end| (dialect.address_payload(), encode_address(end.ip()))).to_vec()
    }
}

/// Type, three reserved octets, address.
fn encode_address(address: IpAddr) -> Vec<u8> {
    let mut writer = Writer::new();
    let kind = if address.is_ipv4() { IdType::IPV4_ADDR } else { IdType::IPV6_ADDR };
    writer.u8(kind.0).u8(0).u16(0);
    match address {
        IpAddr::V4(address) => writer.octets(&address.octets()),
        IpAddr::V6(address) => writer.octets(&address.octets()),
    };
    writer.into_octets()
}

/// Reads a NAT-OA body.
fn decode_address(body: &[u8]) -> Result<IpAddr, WireError> {
    let mut reader = Reader::new(body);
    let kind = IdType(reader.u8("type of an original address")?);
    reader.take(3, "reserved octets of an original address")?;
    let data = reader.rest();
    let wrong = WireError::IdLength { kind, octets: data.len() };
    match kind {
        IdType::IPV4_ADDR => Ok(IpAddr::from(<[u8; 4]>::try_from(data).map_err(|_| wrong)?)),
        IdType::IPV6_ADDR => Ok(IpAddr::from(<[u8; 16]>::try_from(data).map_err(|_| wrong)?)),
        other => Err(WireError::IdType(other)),
    }
}

/// The peer's own idea of its address, from its NAT-OA payloads; `peer` is its role. The RFC has both ends' addresses,
/// the drafts may have the sender's alone (draft-ietf-ipsec-nat-t-ike-03 §5.2). Linux needs neither: it does not check
/// the checksums of what came in UDP.
///
/// # Errors
/// [`ExchangeError::InvalidId`] for another number of them; [`ExchangeError::Wire`] for one that is no address.
pub(crate) fn original_of(framing: Framing, peer: Role, bodies: &[Vec<u8>]) -> Result<Option<IpAddr>, ExchangeError> {
    if !is_translated(framing) {
        return Ok(None);
    }
    let addresses = bodies.iter().map(|body| decode_address(body)).collect::<Result<Vec<_>, _>>()?;
    match (addresses.as_slice(), peer, framing.udp) {
        ([], ..) => Ok(None),
        ([initiator, _], Role::Initiator, _) => Ok(Some(*initiator)),
        ([_, responder], Role::Responder, _) => Ok(Some(*responder)),
        ([only], _, Some(dialect)) if dialect != NatDialect::Rfc3947 => Ok(Some(*only)),
        (some, ..) => Err(ExchangeError::InvalidId(format!("{} NAT-OA payloads; two or none are legal", some.len()))),
    }
}

/// What a peer proposes for transport mode (source side ours), with the addresses that this side sees where a NAT stands
/// between: behind one a host names itself by an address that nobody else knows (IKEV1 ID-6).
pub(crate) fn as_seen_here(proposed: Selector, (local, peer): (IpAddr, IpAddr), nat: &Nat) -> Selector {
    let seen = |net: IpNet, end: IpAddr, translated: bool| {
        let host = net.prefix_len() == net.max_prefix_len();
        if translated && host && nat.in_udp().is_some() { host_net(end) } else { net }
    };
    Selector { src: seen(proposed.src, local, nat.own), dst: seen(proposed.dst, peer, nat.peer), ..proposed }
}
