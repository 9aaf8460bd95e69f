//! Where the core's words and the kernel's meet: pure translations, both ways.

use std::time::Duration;

use ike::event::{self, AdoptedChild, Now, SaDirection, SaInstall, UdpEncapsulation};
use policy::model::sa::Direction;
use policy::model::secret::Secret;
use xfrm::model::limits::{Lifetimes, Limits};
use xfrm::model::notice;
use xfrm::model::policy::{Place, Policy};
use xfrm::model::sa::{EncapKind, Encapsulation, Encryption, Integrity, Sa, SaName};
use xfrm::model::template::Template;
use xfrm::request::SpiRequest;

use super::registry::pair;
use crate::revocation::journal::{Deadline, Entry};

/// The kernel refuses an SA of ESP without a cipher: NULL has a name of its own there.
const NULL_INTEGRITY: &str = "digest_null";

/// The core's name of an SA in the kernel's words.
pub fn to_kernel(name: event::SaName) -> SaName {
    SaName { protocol: name.protocol, spi: name.spi, src: name.src, dst: name.dst }
}

/// The kernel's name of an SA in the core's words.
pub fn to_core(name: SaName) -> event::SaName {
    event::SaName { protocol: name.protocol, spi: name.spi, src: name.src, dst: name.dst }
}

/// An SA as the core wants it, as the kernel takes it.
///
/// The selector is written in both modes: policies without a reqid (setkey's `require`) would otherwise let the packets
/// of one child out through the SA of another, which the peer has to drop (RFC 4301 §5.2).
pub fn sa(install: &SaInstall) -> Sa {
    let mut sa = Sa::new(to_kernel(install.name), install.mode);
    sa.reqid = install.reqid;
    sa.selector = Some(install.selector);
    sa.encryption = Some(Encryption {
        kernel_name: install.cipher.cipher.facts().kernel.to_owned(),
        key: install.cipher_key.clone(),
    });
    sa.integrity = Some(match install.integrity {
        Some(hash) => Integrity {
            kernel_name: hash.facts().kernel_hmac.to_owned(),
            key: install.integrity_key.clone(),
            icv_bits: u32::from(install.icv_bits),
        },
        None => Integrity { kernel_name: NULL_INTEGRITY.to_owned(), key: Secret::new(Vec::new()), icv_bits: 0 },
    });
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
pub fn acquire(acquire: &notice::Acquire) -> Option<event::Acquire> {
    if acquire.policy.place != Place::Spd(Direction::Out) {
        return None;
    }
    let template = template(acquire)?;
    Some(event::Acquire {
        flow: acquire.flow,
        policy: acquire.policy.selector,
        policy_index: acquire.policy.index,
        local: acquire.src,
        peer: acquire.dst,
        protocol: acquire.protocol,
        mode: template.mode,
        reqid: template.reqid,
    })
}

/// The template that asks: of a bundle, the one of the acquire's protocol.
fn template(acquire: &notice::Acquire) -> Option<&Template> {
    let of_protocol = |template: &&Template| template.protocol == acquire.protocol;
    acquire.templates.iter().find(of_protocol).or_else(|| acquire.policy.templates.iter().find(of_protocol))
}

/// A child that an earlier life of the daemon left, for the core. `now` is the boot time; `generated` tells whether its
/// policy was made for it.
pub fn adopted(entry: &Entry, encapsulation: Option<UdpEncapsulation>, now: Duration, generated: bool) -> AdoptedChild {
    AdoptedChild {
        encapsulation,
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

/// What the journal keeps of a child whose first SA is about to be installed.
pub fn journal_entry(install: &SaInstall, now: Now) -> Entry {
    let (inbound, outbound) = pair(install);
    Entry {
        inbound,
        outbound,
        mode: install.mode,
        reqid: install.reqid,
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
        selector: child.selector,
        owner: child.owner.clone(),
        soft: deadline(now, child.soft_in),
        hard: deadline(now, child.hard_in),
    }
}

/// An SA of a child that has moved: `sa` as the kernel has it, `name` as it is to be called.
pub fn moved(mut sa: Sa, name: event::SaName, direction: SaDirection, child: &AdoptedChild) -> Sa {
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
pub fn spi_request(request: &event::SpiRequest) -> SpiRequest {
    SpiRequest::new(request.protocol, request.src, request.dst, request.mode, request.reqid)
}

/// A packet that waits although its acquire was lost (the event socket overran, or nobody listened yet): the kernel
/// keeps a larval SA without an SPI for it. `policy` is the outbound policy of the flow.
pub fn acquire_of_larval(larval: &Sa, policy: &Policy) -> Option<event::Acquire> {
    let flow = larval.selector?;
    let template = policy.templates.iter().find(|template| template.protocol == larval.name.protocol)?;
    Some(event::Acquire {
        flow,
        policy: policy.selector,
        policy_index: policy.index,
        local: larval.name.src,
        peer: larval.name.dst,
        protocol: larval.name.protocol,
        mode: template.mode,
        reqid: template.reqid,
    })
}

#[cfg(test)]
mod tests;
