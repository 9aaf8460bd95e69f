//! What a host's kernel holds, asked over netlink from within this process: an opinion independent of every program under
//! test, and cheap enough to be asked for again and again while something is waited for.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_xfrm::state::{GetDumpMessage, ModifyMessage};
use netlink_packet_xfrm::{Address, XfrmAttrs, XfrmMessage};

use crate::failure::{During, Failure, Result};
use crate::host::Host;

/// How an SA wraps packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The packet's own addresses stay outside.
    Transport,
    /// The whole packet is inside.
    Tunnel,
}

/// One SA of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The IP protocol: 50 is ESP.
    pub protocol: u8,
    /// The SPI; 0 for the placeholder of an acquire.
    pub spi: u32,
    /// The request id that ties it to policies.
    pub reqid: u32,
    /// Transport or tunnel.
    pub mode: Mode,
    /// The algorithms with their keys, one line each, in iproute2's words.
    pub algorithms: Vec<String>,
    /// Source and destination port, if it goes in UDP.
    pub ports: Option<(u16, u16)>,
    /// Octets processed.
    pub bytes: u64,
    /// Packets processed.
    pub packets: u64,
}

impl Sa {
    /// Whether it has keys: an SPI that was only reserved, or an acquire's placeholder, has none.
    pub fn is_mature(&self) -> bool {
        !self.algorithms.is_empty()
    }
}

/// Every SA of the host with keys.
///
/// # Errors
/// When the kernel does not answer or in what this reader does not know.
pub fn sas(host: &Host) -> Result<Vec<Sa>> {
    Ok(all_sas(host)?.into_iter().filter(Sa::is_mature).collect())
}

/// Every SA of the host, reserved SPIs and placeholders included.
///
/// # Errors
/// When the kernel does not answer or in what this reader does not know.
pub fn all_sas(host: &Host) -> Result<Vec<Sa>> {
    dump(host)
}

/// The SAs with keys between two addresses, both directions.
///
/// # Errors
/// As [`sas`].
pub fn sas_between(host: &Host, a: IpAddr, b: IpAddr) -> Result<Vec<Sa>> {
    let between = |sa: &Sa| (sa.source, sa.destination) == (a, b) || (sa.source, sa.destination) == (b, a);
    Ok(sas(host)?.into_iter().filter(between).collect())
}

/// Every SA and every policy as the kernel sends them, newest first, but for what tells one moment from another: times,
/// counters, sequence numbers, the kernel's own numbers of policies.
///
/// # Errors
/// When the kernel does not answer, or with less than its structures hold.
pub fn raw(host: &Host) -> Result<Vec<Vec<u8>>> {
    /// `struct xfrm_usersa_info`: curlft and stats, seq.
    const SA: (usize, &[std::ops::Range<usize>]) = (224, &[160..204, 204..208]);
    /// `struct xfrm_userpolicy_info`: curlft, index.
    const POLICY: (usize, &[std::ops::Range<usize>]) = (168, &[120..152, 156..160]);
    let mut out = Vec::new();
    for (request, (size, fleeting)) in [(XFRM_MSG_GETSA, SA), (XFRM_MSG_GETPOLICY, POLICY)] {
        for mut message in raw_dump(host, request)? {
            if message.len() < size {
                return Err(Failure::new(format!("{} octets instead of {size} at least", message.len())));
            }
            for range in fleeting.iter().cloned() {
                message[range].fill(0);
            }
            out.push(message);
        }
    }
    Ok(out)
}

/// The payloads of a dump.
fn raw_dump(host: &Host, request: u16) -> Result<Vec<Vec<u8>>> {
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    let what = || format!("asking {}'s kernel for a dump", host.name());
    let mut header = [0; 16];
    header[0] = 16;
    header[4..6].copy_from_slice(&request.to_ne_bytes());
    header[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    host.xfrm().send(&header, 0).during(what())?;
    let mut out = Vec::new();
    loop {
        let (datagram, _) = host.xfrm().recv_from_full().during(what())?;
        let mut rest = datagram.as_slice();
        while let Some((head, _)) = rest.split_at_checked(16) {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
            let length = usize::try_from(length).during(what())?;
            let payload = rest.get(16..length).ok_or_else(|| Failure::new(what()).during("a short message"))?;
            match u16::from_ne_bytes([head[4], head[5]]) {
                DONE => return Ok(out),
                ERROR => return Err(Failure::new(what()).during("refused")),
                _ => out.push(payload.to_vec()),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The policies as printed, for evidence.
///
/// # Errors
/// When iproute2 fails.
pub fn policies(host: &Host) -> Result<String> {
    host.netns().ip(&["xfrm", "policy"])
}

/// The number of policies that are not bound to a socket.
///
/// # Errors
/// When iproute2 fails.
pub fn policy_count(host: &Host) -> Result<usize> {
    Ok(policies(host)?.lines().filter(|line| line.trim_start().starts_with("dir ")).count())
}

/// Asks for all SAs and reads answers until the kernel says that it is done.
fn dump(host: &Host) -> Result<Vec<Sa>> {
    let what = || format!("asking {}'s kernel for its SAs", host.name());
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request =
        NetlinkMessage::new(header, NetlinkPayload::from(XfrmMessage::GetDumpSa(GetDumpMessage::default())));
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    host.xfrm().send(&octets, 0).during(what())?;
    let mut out = Vec::new();
    loop {
        let (datagram, _) = host.xfrm().recv_from_full().during(what())?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<XfrmMessage>::deserialize(rest).during(what())?;
            match message.payload {
                NetlinkPayload::InnerMessage(XfrmMessage::AddSa(sa)) => out.push(Sa::from(&sa)),
                NetlinkPayload::Done(_) => return Ok(out),
                NetlinkPayload::Error(error) => return Err(Failure::new(format!("{}: {error}", what()))),
                _ => {}
            }
            // Messages are aligned to four octets; the length of the last one may not be.
            let length = usize::try_from(message.header.length).during(what())?.next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

impl From<&ModifyMessage> for Sa {
    fn from(message: &ModifyMessage) -> Self {
        let info = &message.user_sa_info;
        let address = |address: &Address| {
            if i32::from(info.family) == AF_INET6 { address.to_ipv6().into() } else { IpAddr::from(address.to_ipv4()) }
        };
        Self {
            source: address(&info.saddr),
            destination: address(&info.id.daddr),
            protocol: info.id.proto,
            spi: info.id.spi,
            reqid: info.reqid,
            mode: if info.mode == 0 { Mode::Transport } else { Mode::Tunnel },
            algorithms: message.nlas.iter().filter_map(algorithm).collect(),
            ports: message.nlas.iter().find_map(ports),
            bytes: info.lifetime_cur.bytes,
            packets: info.lifetime_cur.packets,
        }
    }
}

/// The UDP ports of an encapsulated SA.
fn ports(attribute: &XfrmAttrs) -> Option<(u16, u16)> {
    match attribute {
        XfrmAttrs::EncapsulationTemplate(template) => Some((template.encap_sport, template.encap_dport)),
        _ => None,
    }
}

const AF_INET6: i32 = 10;
const XFRM_MSG_GETSA: u16 = 0x12;
const XFRM_MSG_GETPOLICY: u16 = 0x15;

/// An algorithm in iproute2's words, its key included. The kernel reports a truncated authenticator twice; the form
/// without the length is left out.
fn algorithm(attribute: &XfrmAttrs) -> Option<String> {
    match attribute {
        XfrmAttrs::EncryptionAlg(alg) => Some(format!("enc {} {}", text(&alg.alg_name), hex(&alg.alg_key))),
        XfrmAttrs::AuthenticationAlgTrunc(alg) => {
            Some(format!("auth-trunc {} {} {}", text(&alg.alg_name), hex(&alg.alg_key), alg.alg_trunc_len))
        }
        XfrmAttrs::EncryptionAlgAead(alg) => Some(format!("aead {} {}", text(&alg.alg_name), hex(&alg.alg_key))),
        _ => None,
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name.split(|octet| *octet == 0).next().unwrap_or_default()).into_owned()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold("0x".to_owned(), |out, octet| format!("{out}{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acquire_s_placeholder_is_not_mature() {
        let mut message = ModifyMessage::default();
        message.user_sa_info.source(&IpAddr::from([10, 1, 0, 1]));
        message.user_sa_info.destination(&IpAddr::from([10, 1, 0, 2]));
        let sa = Sa::from(&message);
        assert_eq!((sa.source, sa.destination), ([10, 1, 0, 1].into(), [10, 1, 0, 2].into()));
        assert!(!sa.is_mature());
    }

    #[test]
    fn names_end_at_the_first_zero() {
        assert_eq!(text(b"cbc(aes)\0\0"), "cbc(aes)");
        assert_eq!(hex(&[0, 0xab]), "0x00ab");
    }
}
