//! Parts that messages of several kinds share: addresses, selectors, limits, algorithms, marks, encapsulation, replay
//! windows. The algorithm structures are written here rather than by netlink-packet-xfrm: it neither compares
//! `alg_key_len` with the octets that follow, nor wipes keys.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_xfrm::constants::{
    AF_INET, AF_INET6, TCP_ENCAP_ESPINTCP, UDP_ENCAP_ESPINUDP, UDP_ENCAP_ESPINUDP_NON_IKE, XFRM_INF,
    XFRM_MODE_TRANSPORT, XFRM_MODE_TUNNEL, XFRMA_ENCAP, XFRMA_MARK, XFRMA_REPLAY_ESN_VAL, XFRMA_SEC_CTX,
};
use netlink_packet_xfrm::{
    Address, EncapTmpl, Lifetime, LifetimeConfig, Mark as KernelMark, ReplayEsn, Selector as KernelSelector,
};
use policy::model::sa::{Mode, Protocol, SecurityContext};
use policy::model::secret::Secret;
use policy::model::selector::{Selector, UpperProtocol};

use super::error::CodecError;
use super::reader::{octets_at, u16_at, u32_at};
use super::writer::MessageWriter;
use crate::abi::{ALGORITHM_NAME_LEN, MAX_REPLAY_WINDOW};
use crate::model::limits::{Lifetimes, Limits, Usage};
use crate::model::mark::Mark;
use crate::model::sa::{EncapKind, Encapsulation, ReplayState};

/// Octets of `struct xfrm_user_sec_ctx`.
const CONTEXT_LEN: usize = 8;

/// The kernel's number of an address family.
pub fn family_of(addr: IpAddr) -> u16 {
    if addr.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// An address of the given family.
pub fn read_address(address: &Address, family: u16) -> Result<IpAddr, CodecError> {
    match family {
        AF_INET => Ok(IpAddr::V4(address.to_ipv4())),
        AF_INET6 => Ok(IpAddr::V6(address.to_ipv6())),
        other => Err(CodecError::Family(other)),
    }
}

/// The IPsec protocol of that number.
pub fn read_protocol(number: u8) -> Result<Protocol, CodecError> {
    Protocol::from_ip_number(number).ok_or(CodecError::Protocol(number))
}

/// The mode of that number.
pub fn read_mode(number: u8) -> Result<Mode, CodecError> {
    match number {
        XFRM_MODE_TRANSPORT => Ok(Mode::Transport),
        XFRM_MODE_TUNNEL => Ok(Mode::Tunnel),
        other => Err(CodecError::Mode(other)),
    }
}

/// The number of a mode.
pub fn mode_number(mode: Mode) -> u8 {
    match mode {
        Mode::Transport => XFRM_MODE_TRANSPORT,
        Mode::Tunnel => XFRM_MODE_TUNNEL,
    }
}

/// `struct xfrm_selector`. A port that is not 0 gets a full mask, as everywhere in user space.
pub fn selector_to_kernel(selector: &Selector, interface: u32) -> Result<KernelSelector, CodecError> {
    if selector.src.addr().is_ipv4() != selector.dst.addr().is_ipv4() {
        return Err(CodecError::MixedFamilies("a selector"));
    }
    // RFC 4301 §4.4.1.1: an ICMP type of 0 is a value (echo reply), but the kernel's mask 0 is its only "any".
    let mask = |port: u16| if port == 0 { 0 } else { u16::MAX };
    Ok(KernelSelector {
        daddr: Address::from_ip(&selector.dst.network()),
        saddr: Address::from_ip(&selector.src.network()),
        dport: selector.dst_port,
        dport_mask: mask(selector.dst_port),
        sport: selector.src_port,
        sport_mask: mask(selector.src_port),
        family: family_of(selector.src.addr()),
        prefixlen_d: selector.dst.prefix_len(),
        prefixlen_s: selector.src.prefix_len(),
        proto: selector.protocol.0,
        ifindex: i32::try_from(interface).unwrap_or(0),
        user: 0,
    })
}

/// A selector whose family is its own, or `default_family` where the kernel left it open.
pub fn selector_from_kernel(selector: &KernelSelector, default_family: u16) -> Result<Selector, CodecError> {
    let family = if selector.family == 0 { default_family } else { selector.family };
    Ok(Selector {
        src: read_net(&selector.saddr, family, selector.prefixlen_s)?,
        dst: read_net(&selector.daddr, family, selector.prefixlen_d)?,
        protocol: UpperProtocol(selector.proto),
        src_port: selector.sport,
        dst_port: selector.dport,
    })
}

fn read_net(address: &Address, family: u16, prefix: u8) -> Result<IpNet, CodecError> {
    let net = match family {
        AF_INET => Ipv4Net::new(address.to_ipv4(), prefix).map(IpNet::V4),
        AF_INET6 => Ipv6Net::new(address.to_ipv6(), prefix).map(IpNet::V6),
        other => return Err(CodecError::Family(other)),
    };
    net.map_err(|_| CodecError::Prefix(prefix))
}

/// The unspecified address of a family, for fields the kernel does not read.
pub fn unspecified(family: u16) -> IpAddr {
    if family == AF_INET6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

/// `struct xfrm_lifetime_cfg`.
pub fn lifetimes_to_kernel(lifetimes: &Lifetimes) -> LifetimeConfig {
    let Lifetimes { soft, hard } = lifetimes;
    LifetimeConfig {
        soft_byte_limit: soft.bytes.unwrap_or(XFRM_INF),
        hard_byte_limit: hard.bytes.unwrap_or(XFRM_INF),
        soft_packet_limit: soft.packets.unwrap_or(XFRM_INF),
        hard_packet_limit: hard.packets.unwrap_or(XFRM_INF),
        soft_add_expires_seconds: whole_seconds(soft.since_added),
        hard_add_expires_seconds: whole_seconds(hard.since_added),
        soft_use_expires_seconds: whole_seconds(soft.since_used),
        hard_use_expires_seconds: whole_seconds(hard.since_used),
    }
}

/// 0 is the kernel's "unlimited", so anything above zero is at least one second.
fn whole_seconds(limit: Option<Duration>) -> u64 {
    match limit {
        None => 0,
        Some(limit) => (limit.as_secs() + u64::from(limit.subsec_nanos() != 0)).max(1),
    }
}

/// `struct xfrm_lifetime_cfg`.
pub fn lifetimes_from_kernel(config: &LifetimeConfig) -> Lifetimes {
    let seconds = |seconds: u64| (seconds != 0).then(|| Duration::from_secs(seconds));
    let count = |count: u64| (count != XFRM_INF).then_some(count);
    Lifetimes {
        soft: Limits {
            since_added: seconds(config.soft_add_expires_seconds),
            since_used: seconds(config.soft_use_expires_seconds),
            bytes: count(config.soft_byte_limit),
            packets: count(config.soft_packet_limit),
        },
        hard: Limits {
            since_added: seconds(config.hard_add_expires_seconds),
            since_used: seconds(config.hard_use_expires_seconds),
            bytes: count(config.hard_byte_limit),
            packets: count(config.hard_packet_limit),
        },
    }
}

/// `struct xfrm_lifetime_cur`.
pub fn usage_to_kernel(usage: &Usage) -> Lifetime {
    Lifetime { bytes: usage.bytes, packets: usage.packets, add_time: usage.added_at, use_time: usage.used_at }
}

/// `struct xfrm_lifetime_cur`.
pub fn usage_from_kernel(current: &Lifetime) -> Usage {
    Usage { bytes: current.bytes, packets: current.packets, added_at: current.add_time, used_at: current.use_time }
}

/// A name, a key and, for two of the three structures, a length in bits.
#[derive(Debug)]
pub struct Algorithm {
    /// The kernel's name.
    pub name: String,
    /// Key.
    pub key: Secret,
    /// ICV length in bits; 0 for `struct xfrm_algo`.
    pub icv_bits: u32,
}

/// Is there an ICV length between key length and key?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlgorithmLayout {
    /// `struct xfrm_algo`.
    Plain,
    /// `struct xfrm_algo_auth`, `struct xfrm_algo_aead`.
    WithIcv,
}

/// Writes one algorithm attribute.
pub fn write_algorithm(
    writer: &mut MessageWriter,
    attribute: u16,
    name: &str,
    key: &[u8],
    icv_bits: Option<u32>,
) -> Result<(), CodecError> {
    // The kernel wants the terminating zero inside the field.
    if name.is_empty() || name.len() >= ALGORITHM_NAME_LEN || !name.is_ascii() {
        return Err(CodecError::AlgorithmName(name.to_owned()));
    }
    let bits = u32::try_from(key.len() * 8).unwrap_or(u32::MAX);
    if key.len() > 4096 {
        return Err(CodecError::KeyLength { name: name.to_owned(), bits, octets: key.len() });
    }
    writer.attribute(attribute, |writer| {
        let mut field = [0; ALGORITHM_NAME_LEN];
        for (octet, name) in field.iter_mut().zip(name.bytes()) {
            *octet = name;
        }
        writer.raw(&field);
        writer.raw(&bits.to_ne_bytes());
        if let Some(icv_bits) = icv_bits {
            writer.raw(&icv_bits.to_ne_bytes());
        }
        writer.raw(key);
    });
    Ok(())
}

/// Reads one algorithm attribute. A key length beyond the octets that follow is refused, never guessed.
pub fn read_algorithm(value: &[u8], layout: AlgorithmLayout) -> Result<Algorithm, CodecError> {
    let what = "algorithm";
    let field: [u8; ALGORITHM_NAME_LEN] = octets_at(value, 0, what)?;
    let name: Vec<u8> = field.iter().copied().take_while(|octet| *octet != 0).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    let bits = u32_at(value, ALGORITHM_NAME_LEN, what)?;
    let (icv_bits, key_at) = match layout {
        AlgorithmLayout::Plain => (0, ALGORITHM_NAME_LEN + 4),
        AlgorithmLayout::WithIcv => (u32_at(value, ALGORITHM_NAME_LEN + 4, what)?, ALGORITHM_NAME_LEN + 8),
    };
    let rest = value.get(key_at..).unwrap_or_default();
    let octets = (bits as usize).div_ceil(8);
    match rest.get(..octets) {
        Some(key) => Ok(Algorithm { name, key: Secret::new(key.to_vec()), icv_bits }),
        None => Err(CodecError::KeyLength { name, bits, octets: rest.len() }),
    }
}

/// `XFRMA_MARK`.
pub fn write_mark(writer: &mut MessageWriter, mark: Option<Mark>) {
    if let Some(Mark { value, mask }) = mark {
        writer.attribute(XFRMA_MARK, |writer| writer.emit(&KernelMark { value, mask }));
    }
}

/// `XFRMA_MARK`.
pub fn read_mark(value: &[u8]) -> Result<Mark, CodecError> {
    Ok(Mark { value: u32_at(value, 0, "mark")?, mask: u32_at(value, 4, "mark")? })
}

/// `XFRMA_SEC_CTX`: `struct xfrm_user_sec_ctx` and the label behind it. Kernels without a security module pass over it.
pub fn write_context(writer: &mut MessageWriter, context: Option<&SecurityContext>) {
    let Some(SecurityContext { doi, algorithm, label }) = context else { return };
    let label = label.as_bytes();
    let length = |octets: usize| u16::try_from(octets).unwrap_or(u16::MAX).to_ne_bytes();
    writer.attribute(XFRMA_SEC_CTX, |writer| {
        writer.raw(&length(CONTEXT_LEN + label.len()));
        writer.raw(&XFRMA_SEC_CTX.to_ne_bytes());
        writer.raw(&[*algorithm, *doi]);
        writer.raw(&length(label.len()));
        writer.raw(label);
    });
}

/// `XFRMA_SEC_CTX`.
pub fn read_context(value: &[u8]) -> Result<SecurityContext, CodecError> {
    let what = "security context";
    let [algorithm, doi] = octets_at(value, 4, what)?;
    let claimed = usize::from(u16_at(value, 6, what)?);
    let label = value.get(CONTEXT_LEN..).unwrap_or_default();
    let Some(label) = label.get(..claimed) else {
        return Err(CodecError::Length { what, claimed, available: label.len() });
    };
    let label = String::from_utf8_lossy(label);
    Ok(SecurityContext { doi, algorithm, label: label.trim_end_matches('\0').to_owned() })
}

/// `XFRMA_ENCAP`.
pub fn write_encapsulation(writer: &mut MessageWriter, encapsulation: &Encapsulation) {
    let encap_type = match encapsulation.kind {
        EncapKind::EspInUdpNonIke => UDP_ENCAP_ESPINUDP_NON_IKE,
        EncapKind::EspInUdp => UDP_ENCAP_ESPINUDP,
        EncapKind::EspInTcp => TCP_ENCAP_ESPINTCP,
        EncapKind::Other(number) => number,
    };
    let template = EncapTmpl {
        encap_type,
        encap_sport: encapsulation.src_port,
        encap_dport: encapsulation.dst_port,
        encap_oa: encapsulation.original_address.as_ref().map(Address::from_ip).unwrap_or_default(),
    };
    writer.attribute(XFRMA_ENCAP, |writer| writer.emit(&template));
}

/// `XFRMA_ENCAP`.
pub fn read_encapsulation(value: &[u8], family: u16) -> Result<Encapsulation, CodecError> {
    let template = EncapTmpl::parse(value).map_err(|_| CodecError::Truncated {
        what: "encapsulation",
        got: value.len(),
        needed: netlink_packet_xfrm::XFRM_ENCAP_TMPL_LEN,
    })?;
    let original = read_address(&template.encap_oa, family)?;
    Ok(Encapsulation {
        kind: match template.encap_type {
            UDP_ENCAP_ESPINUDP_NON_IKE => EncapKind::EspInUdpNonIke,
            UDP_ENCAP_ESPINUDP => EncapKind::EspInUdp,
            TCP_ENCAP_ESPINTCP => EncapKind::EspInTcp,
            other => EncapKind::Other(other),
        },
        src_port: template.encap_sport,
        dst_port: template.encap_dport,
        original_address: (!original.is_unspecified()).then_some(original),
    })
}

/// `XFRMA_REPLAY_ESN_VAL` for a window wider than 32, counters at zero.
///
/// An SA that is put back where others have seen its sequence numbers goes on behind them: everything received so far
/// counts as seen.
pub fn write_replay_state(writer: &mut MessageWriter, window: u32, state: ReplayState) -> Result<(), CodecError> {
    if window > MAX_REPLAY_WINDOW {
        return Err(CodecError::ReplayWindow(window));
    }
    let words = window.div_ceil(32);
    let seen = if state.received == 0 { 0 } else { u32::MAX };
    let halves = |wide: u64| ((wide >> 32) as u32, wide as u32);
    let ((oseq_hi, oseq), (seq_hi, seq)) = (halves(state.sent), halves(state.received));
    let replay = ReplayEsn {
        bmp_len: words,
        replay_window: window,
        oseq,
        oseq_hi,
        seq,
        seq_hi,
        bmp: vec![seen; words as usize],
    };
    writer.attribute(XFRMA_REPLAY_ESN_VAL, |writer| writer.emit(&replay));
    Ok(())
}
