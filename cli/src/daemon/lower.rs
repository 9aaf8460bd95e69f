//! Where the core's words and the kernel's meet: pure translations, both ways.

use std::net::IpAddr;
use std::time::Duration;

use ike::event::policies::{Companion, Companions};
use ike::event::sa::{AdoptedChild, SaDirection, SaInstall, SaPair, UdpEncapsulation};
use ike::event::{self, Now};
use policy::model::sa::{Direction, Mode, Protocol, ReqId};
use policy::model::secret::Secret;
use policy::model::selector::Selector;
use xfrm::model::limits::{Lifetimes, Limits};
use xfrm::model::notice;
use xfrm::model::policy::{Place, Policy};
use xfrm::model::sa::{Aead, EncapKind, Encapsulation, Encryption, Integrity, STATE_ALIGN4, STATE_ESN, Sa, SaName};
use xfrm::model::template::{Need, Template};
use xfrm::request::SpiRequest;

use super::registry::pair;
use crate::revocation::journal::{Deadline, Entry};

/// The only compression that IPComp has on Linux.
const DEFLATE: &str = "deflate";

/// The kernel refuses an SA of ESP without a cipher: NULL has a name of its own there.
const NULL_INTEGRITY: &str = "digest_null";

/// The core's name of an SA in the kernel's words.
pub fn to_kernel(name: event::sa::SaName) -> SaName {
    SaName { protocol: name.protocol, spi: name.spi, src: name.src, dst: name.dst }
}

/// The kernel's name of an SA in the core's words.
pub fn to_core(name: SaName) -> event::sa::SaName {
    event::sa::SaName { protocol: name.protocol, spi: name.spi, src: name.src, dst: name.dst }
}

/// An SA as the core wants it, as the kernel takes it.
///
/// The selector is written in both modes: policies without a reqid (setkey's `require`) would otherwise let the packets
/// of one child out through the SA of another, which the peer has to drop (RFC 4301 §5.2).
pub fn sa(install: &SaInstall) -> Sa {
    let mut sa = Sa::new(to_kernel(install.name), install.mode);
    sa.reqid = install.reqid;
    sa.selector = Some(install.selector);
    algorithms(&mut sa, install);
    if install.esn {
        sa.flags |= STATE_ESN;
    }
    if install.name.protocol == Protocol::Ah && install.name.dst.is_ipv4() {
        sa.flags |= STATE_ALIGN4;
    }
    sa.replay_window = install.replay_window.max(xfrm::model::sa::DEFAULT_REPLAY_WINDOW);
    sa.lifetimes = lifetimes(install);
    sa.encapsulation = install.encapsulation.map(|udp| Encapsulation {
        kind: EncapKind::EspInUdp,
        src_port: udp.src_port,
        dst_port: udp.dst_port,
        original_address: udp.original_address,
    });
    sa
}

fn algorithms(sa: &mut Sa, install: &SaInstall) {
    let icv_bits = u32::from(install.icv_bits);
    let cipher = install.cipher.map(|cipher| (cipher.cipher.facts().kernel.to_owned(), cipher.is_aead()));
    let key = install.cipher_key.clone();
    match cipher {
        Some((kernel_name, true)) => sa.aead = Some(Aead { kernel_name, key, icv_bits }),
        Some((kernel_name, false)) => sa.encryption = Some(Encryption { kernel_name, key }),
        None => {}
    }
    sa.integrity = install.integrity.map(|algorithm| Integrity {
        kernel_name: algorithm.facts().kernel.to_owned(),
        key: install.integrity_key.clone(),
        icv_bits,
    });
    if sa.encryption.is_some() && sa.integrity.is_none() {
        let key = Secret::new(Vec::new());
        sa.integrity = Some(Integrity { kernel_name: NULL_INTEGRITY.to_owned(), key, icv_bits: 0 });
    }
    sa.compression = (install.name.protocol == Protocol::Ipcomp).then(|| DEFLATE.to_owned());
}

fn lifetimes(install: &SaInstall) -> Lifetimes {
    Lifetimes {
        soft: Limits {
            since_added: Some(install.soft),
            bytes: install.hard_octets.map(|octets| octets / 5 * 4),
            ..Limits::default()
        },
        hard: Limits { since_added: Some(install.hard), bytes: install.hard_octets, ..Limits::default() },
    }
}

/// A notice that a packet waits, for the core. `None`: not about a packet that this host sends or forwards.
pub fn acquire(acquire: &notice::Acquire) -> Option<event::policies::Acquire> {
    if acquire.policy.place != Place::Spd(Direction::Out) {
        return None;
    }
    let templates = if acquire.templates.is_empty() { &acquire.policy.templates } else { &acquire.templates };
    asked(acquire.flow, &acquire.policy, templates, (acquire.src, acquire.dst))
}

/// What a policy with these templates asks for a packet of `flow`. The kernel names the ends of one template only, and
/// behind a tunnel that has no SA yet those of the packet instead of the tunnel's.
fn asked(
    flow: Selector,
    policy: &Policy,
    templates: &[Template],
    ends: (IpAddr, IpAddr),
) -> Option<event::policies::Acquire> {
    let wanted = Wanted::of(templates)?;
    let (local, peer) = wanted.endpoints.unwrap_or(ends);
    let Wanted { protocol, mode, reqid, companions, .. } = wanted;
    let (policy_index, policy) = (policy.index, policy.selector);
    Some(event::policies::Acquire { flow, policy, policy_index, local, peer, protocol, mode, reqid, companions })
}

/// What the templates of a policy want together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// ESP, or AH where there is no ESP.
    pub protocol: Protocol,
    /// Tunnel if one of the templates is one.
    pub mode: Mode,
    /// reqid of the main protocol's template.
    pub reqid: ReqId,
    /// The other templates.
    pub companions: Companions,
    /// Ends of the tunnel.
    pub endpoints: Option<(IpAddr, IpAddr)>,
}

impl Wanted {
    /// `None` for templates that no quick mode can give: compression alone, a protocol twice, tunnels with different
    /// ends.
    pub fn of(templates: &[Template]) -> Option<Self> {
        let of = |protocol| {
            let mut found = templates.iter().filter(move |template| template.protocol == protocol);
            match (found.next(), found.next()) {
                (first, None) => Some(first),
                _ => None,
            }
        };
        let (esp, ah, ipcomp) = (of(Protocol::Esp)?, of(Protocol::Ah)?, of(Protocol::Ipcomp)?);
        let main = esp.or(ah)?;
        let mut tunnels = templates.iter().filter(|template| template.mode == Mode::Tunnel);
        let endpoints = tunnels.next().map(|tunnel| tunnel.endpoints);
        if tunnels.any(|tunnel| Some(tunnel.endpoints) != endpoints) {
            return None;
        }
        let companion = |template: &Template| Companion {
            mode: template.mode,
            reqid: template.reqid,
            optional: template.need == Need::Optional && template.mode == Mode::Transport,
        };
        let mode = if endpoints.is_some() { Mode::Tunnel } else { Mode::Transport };
        let companions = Companions {
            main_in_transport: main.mode != mode,
            ah: ah.filter(|_| esp.is_some()).map(companion),
            ipcomp: ipcomp.map(companion),
        };
        Some(Self { protocol: main.protocol, mode, reqid: main.reqid, companions, endpoints: endpoints.flatten() })
    }
}

/// A child that an earlier life of the daemon left, for the core. `now` is the boot time; `generated` tells whether its
/// policy was made for it.
pub fn adopted(entry: &Entry, encapsulation: Option<UdpEncapsulation>, now: Duration, generated: bool) -> AdoptedChild {
    AdoptedChild {
        encapsulation,
        companions: Companions::NONE,
        beside: Vec::new(),
        main: None,
        owner: entry.owner.clone(),
        inbound: entry.inbound,
        outbound: entry.outbound,
        mode: entry.mode,
        reqid: entry.reqid,
        selector: entry.selector,
        soft_in: entry.soft.boottime.saturating_sub(now),
        hard_in: entry.hard.boottime.saturating_sub(now),
        generated,
    }
}

/// A child with SAs of several protocols, which its policy wants together.
pub fn adopted_bundle(main: AdoptedChild, beside: Vec<SaPair>, wanted: Option<Wanted>) -> AdoptedChild {
    let bundle =
        wanted.filter(|wanted| wanted.companions != Companions::NONE && wanted.protocol == main.inbound.protocol);
    match bundle {
        Some(Wanted { mode, companions, .. }) => AdoptedChild { mode, companions, beside, ..main },
        None => AdoptedChild { beside, ..main },
    }
}

/// What the journal keeps of a child whose first SA is about to be installed.
pub fn journal_entry(install: &SaInstall, now: Now) -> Entry {
    let (inbound, outbound) = pair(install);
    Entry {
        inbound,
        outbound,
        mode: install.mode,
        reqid: install.reqid,
        beside: install.beside,
        selector: match install.direction {
            SaDirection::Outbound => install.selector,
            SaDirection::Inbound => install.selector.reversed(),
        },
        owner: (*install.owner).clone(),
        soft: deadline(now, install.soft),
        hard: deadline(now, install.hard),
    }
}

/// What the journal keeps of a child that has moved.
pub fn moved_entry(child: &AdoptedChild, now: Now) -> Entry {
    Entry {
        inbound: child.inbound,
        outbound: child.outbound,
        mode: child.mode,
        reqid: child.reqid,
        beside: child.main,
        selector: child.selector,
        owner: child.owner.clone(),
        soft: deadline(now, child.soft_in),
        hard: deadline(now, child.hard_in),
    }
}

/// An SA of a child that has moved: `sa` as the kernel has it, `name` as it is to be called.
pub fn moved(mut sa: Sa, name: event::sa::SaName, direction: SaDirection, child: &AdoptedChild) -> Sa {
    sa.name = to_kernel(name);
    sa.selector = Some(match direction {
        SaDirection::Outbound => child.selector,
        SaDirection::Inbound => child.selector.reversed(),
    });
    if let (Some(udp), Some(encapsulation)) = (child.encapsulation, sa.encapsulation.as_mut()) {
        (encapsulation.src_port, encapsulation.dst_port) = match direction {
            SaDirection::Outbound => (udp.src_port, udp.dst_port),
            SaDirection::Inbound => (udp.dst_port, udp.src_port),
        };
    }
    sa
}

/// The encapsulation of an SA, for the core.
pub fn encapsulation(sa: &Sa) -> Option<UdpEncapsulation> {
    sa.encapsulation.filter(|encapsulation| encapsulation.kind == EncapKind::EspInUdp).map(|encapsulation| {
        UdpEncapsulation {
            src_port: encapsulation.src_port,
            dst_port: encapsulation.dst_port,
            original_address: encapsulation.original_address,
        }
    })
}

fn deadline(now: Now, after: Duration) -> Deadline {
    Deadline { boottime: now.monotonic.saturating_add(after), wall: now.wall.saturating_add(after.as_secs()) }
}

/// An SPI for the core, as the kernel is asked for it.
pub fn spi_request(request: &event::sa::SpiRequest) -> SpiRequest {
    SpiRequest::new(request.protocol, request.src, request.dst, request.mode, request.reqid)
}

/// A packet that waits although its acquire was lost (the event socket overran, or nobody listened yet): the kernel
/// keeps a larval SA without an SPI for it. `policy` is the outbound policy of the flow.
pub fn acquire_of_larval(larval: &Sa, policy: &Policy) -> Option<event::policies::Acquire> {
    policy.templates.iter().find(|template| template.protocol == larval.name.protocol)?;
    asked(larval.selector?, policy, &policy.templates, (larval.name.src, larval.name.dst))
}

#[cfg(test)]
mod tests;
