//! Proposals of phase 2 in the words of racoon.conf, for the one line that says why nothing was chosen.

use policy::model::algorithm::{Cipher, Group, Integrity};
use policy::model::sa::Protocol;
use policy::model::sainfo::{Esn, Sainfo};

use super::suite::{DEFLATE, Protection};
use super::wish::Layer;
use crate::phase1::proposal::{number, small};
use crate::wire::attribute::Attribute;
use crate::wire::number::{ProtocolId, encapsulation, extended_sequence, phase2_attr};
use crate::wire::sa::{SaPayload, Transform};

/// Transforms that are spelt out; a peer may send 255.
const MOST: usize = 12;

/// What the peer offers: alternatives parted by `|`, protocols that belong together by `+`.
pub(super) fn offered(payload: &SaPayload) -> String {
    let mut words = String::new();
    let mut left = MOST;
    let mut before = None;
    for proposal in &payload.proposals {
        words.push_str(match before {
            None => "",
            Some(number) if number == proposal.number => " + ",
            Some(_) => " | ",
        });
        before = Some(proposal.number);
        let shown: Vec<String> =
            proposal.transforms.iter().take(left).map(|transform| algorithms(proposal.protocol, transform)).collect();
        left -= shown.len();
        words.push_str(protocol(proposal.protocol).as_str());
        words.push(' ');
        words.push_str(&shown.join(", "));
        if shown.len() < proposal.transforms.len() {
            words.push_str(&format!(" and {} more", proposal.transforms.len() - shown.len()));
        }
        if let Some(first) = proposal.transforms.first() {
            words.push_str(&frame(&first.attributes));
        }
    }
    words
}

/// What our side allows.
pub(super) fn allowed(layers: &[Layer], sainfo: &Sainfo) -> String {
    let layer = |layer: &Layer| {
        let list: Vec<String> = Protection::allowed(layer.protocol, sainfo).iter().map(protection).collect();
        let optional = if layer.optional { " (optional)" } else { "" };
        format!("{} {}{optional}", layer.protocol.log_name(), list.join(", "))
    };
    let layers: Vec<String> = layers.iter().map(layer).collect();
    let group =
        sainfo.pfs_group.map_or_else(|| " any PFS group".to_owned(), |group| format!(" {}", group.racoon_name()));
    format!("{}{group}", layers.join(" + "))
}

/// `aes 256/hmac_sha256`.
pub(super) fn protection(protection: &Protection) -> String {
    let integrity = protection.integrity().map(|integrity| integrity.facts().racoon);
    let esn = if protection.esn() { " esn" } else { "" };
    match protection {
        Protection::Esp { cipher, .. } => {
            let bits = cipher.key_bits.map_or_else(String::new, |bits| format!(" {bits}"));
            let own = if cipher.is_aead() { "" } else { "/non_auth" };
            let behind = integrity.map_or_else(|| own.to_owned(), |integrity| format!("/{integrity}"));
            format!("{}{bits}{behind}{esn}", cipher.cipher.facts().racoon)
        }
        Protection::Ah { .. } => format!("{}{esn}", integrity.unwrap_or_default()),
        Protection::Ipcomp => "deflate".to_owned(),
    }
}

/// The peer's transform in the same words; numbers where there are none.
pub(super) fn algorithms(protocol: ProtocolId, transform: &Transform) -> String {
    let list = transform.attributes.as_slice();
    let integrity = number(list, phase2_attr::AUTH).map(|value| {
        let known = u16::try_from(value).ok().and_then(Integrity::from_auth);
        known.map_or_else(|| format!("auth {value}"), |integrity| integrity.facts().racoon.to_owned())
    });
    let esn = match small(list, phase2_attr::EXTENDED_SEQUENCE) {
        Some(extended_sequence::BITS_64) => " esn",
        _ => "",
    };
    match protocol {
        ProtocolId::ESP => {
            let cipher = Cipher::from_esp(transform.id);
            let name =
                cipher.map_or_else(|| format!("transform {}", transform.id), |known| known.facts().racoon.into());
            let bits = number(list, phase2_attr::KEY_LENGTH).map_or_else(String::new, |bits| format!(" {bits}"));
            let own =
                if cipher.is_some_and(|cipher| cipher.facts().aead_icv_bits.is_some()) { "" } else { "/non_auth" };
            let behind = integrity.map_or_else(|| own.to_owned(), |integrity| format!("/{integrity}"));
            format!("{name}{bits}{behind}{esn}")
        }
        ProtocolId::AH => {
            let name = Integrity::from_ah(transform.id)
                .map_or_else(|| format!("transform {}", transform.id), |known| known.facts().racoon.into());
            match integrity {
                Some(integrity) if integrity == name => format!("{name}{esn}"),
                Some(integrity) => format!("{name} with {integrity}{esn}"),
                None => format!("{name} without authentication attribute{esn}"),
            }
        }
        _ if transform.id == DEFLATE => "deflate".to_owned(),
        _ => format!("transform {}", transform.id),
    }
}

/// Mode and group of a transform.
fn frame(list: &[Attribute]) -> String {
    let mode = match small(list, phase2_attr::ENCAPSULATION) {
        None => String::new(),
        Some(encapsulation::TUNNEL) => " tunnel".to_owned(),
        Some(encapsulation::TRANSPORT) => " transport".to_owned(),
        Some(encapsulation::UDP_TUNNEL | encapsulation::UDP_TUNNEL_DRAFT) => " tunnel in UDP".to_owned(),
        Some(encapsulation::UDP_TRANSPORT | encapsulation::UDP_TRANSPORT_DRAFT) => " transport in UDP".to_owned(),
        Some(other) => format!(" mode {other}"),
    };
    let group = number(list, phase2_attr::GROUP).map_or_else(String::new, |value| {
        let known = u16::try_from(value).ok().and_then(Group::from_number);
        known.map_or_else(|| format!(" group {value}"), |group| format!(" {}", group.racoon_name()))
    });
    mode + &group
}

/// Name of a protocol.
pub(super) fn protocol(protocol: ProtocolId) -> String {
    match protocol {
        ProtocolId::ESP => Protocol::Esp.log_name().to_owned(),
        ProtocolId::AH => Protocol::Ah.log_name().to_owned(),
        ProtocolId::IPCOMP => Protocol::Ipcomp.log_name().to_owned(),
        other => format!("protocol {}", other.0),
    }
}

/// What a sainfo says about extended sequence numbers.
pub(super) fn esn(esn: Esn) -> &'static str {
    match esn {
        Esn::Off => "off",
        Esn::On => "on",
        Esn::Prefer => "prefer",
    }
}
