//! What a host's kernel holds, read from `ip -s xfrm state` and `ip xfrm policy`: an opinion independent of every program
//! under test.

use std::net::IpAddr;

use crate::failure::{Failure, Result};
use crate::host::Host;

/// One SA of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// `esp`, `ah` or `comp`.
    pub protocol: String,
    /// The SPI; 0 for the placeholder of an acquire.
    pub spi: u32,
    /// The request id that ties it to policies.
    pub reqid: u32,
    /// `transport` or `tunnel`.
    pub mode: String,
    /// The algorithms with their keys, one line each, as printed.
    pub algorithms: Vec<String>,
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
/// When iproute2 fails or prints what this reader does not know.
pub fn sas(host: &Host) -> Result<Vec<Sa>> {
    Ok(all_sas(host)?.into_iter().filter(Sa::is_mature).collect())
}

/// Every SA of the host, reserved SPIs and placeholders included.
///
/// # Errors
/// When iproute2 fails or prints what this reader does not know.
pub fn all_sas(host: &Host) -> Result<Vec<Sa>> {
    let text = host.netns().ip(&["-s", "xfrm", "state"])?;
    parse_sas(&text).ok_or_else(|| Failure::new("unreadable `ip -s xfrm state`").with("output", text))
}

/// The SAs with keys between two addresses, both directions.
///
/// # Errors
/// As [`sas`].
pub fn sas_between(host: &Host, a: IpAddr, b: IpAddr) -> Result<Vec<Sa>> {
    let between = |sa: &Sa| (sa.source, sa.destination) == (a, b) || (sa.source, sa.destination) == (b, a);
    Ok(sas(host)?.into_iter().filter(between).collect())
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

fn parse_sas(text: &str) -> Option<Vec<Sa>> {
    let mut out: Vec<Sa> = Vec::new();
    let mut in_current = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["src", source, "dst", destination, ..] if !line.starts_with(char::is_whitespace) => {
                in_current = false;
                out.push(Sa {
                    source: source.parse().ok()?,
                    destination: destination.parse().ok()?,
                    protocol: String::new(),
                    spi: 0,
                    reqid: 0,
                    mode: String::new(),
                    algorithms: Vec::new(),
                    bytes: 0,
                    packets: 0,
                });
            }
            ["proto", protocol, "spi", spi, "reqid", reqid, "mode", mode, ..] => {
                let sa = out.last_mut()?;
                sa.protocol = (*protocol).to_owned();
                sa.spi = u32::from_str_radix(spi.split('(').next()?.strip_prefix("0x")?, 16).ok()?;
                sa.reqid = reqid.split('(').next()?.parse().ok()?;
                sa.mode = (*mode).to_owned();
            }
            ["enc" | "auth" | "auth-trunc" | "aead", ..] => out.last_mut()?.algorithms.push(words.join(" ")),
            ["lifetime", "current:"] => in_current = true,
            [bytes, packets] if in_current && bytes.ends_with("(bytes),") && packets.ends_with("(packets)") => {
                let sa = out.last_mut()?;
                sa.bytes = bytes.split('(').next()?.parse().ok()?;
                sa.packets = packets.split('(').next()?.parse().ok()?;
                in_current = false;
            }
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "src 10.1.0.1 dst 10.1.0.2
\tproto esp spi 0xc1b2a392(3249710994) reqid 1(0x00000001) mode transport
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\tauth-trunc hmac(sha1) 0x57 (160 bits) 96
\tenc cbc(aes) 0xb8 (256 bits)
\tlifetime config:
\t  limit: soft (INF)(bytes), hard (INF)(bytes)
\t  limit: soft (INF)(packets), hard (INF)(packets)
\t  expire add: soft 10(sec), hard 20(sec)
\t  expire use: soft 0(sec), hard 0(sec)
\tlifetime current:
\t  168(bytes), 2(packets)
\t  add 2026-11-24 06:34:42 use 2026-11-24 06:34:43
\tstats:
\t  replay-window 0 replay 0 failed 0
src fd01::2 dst fd01::1
\tproto esp spi 0x00000000(0) reqid 0(0x00000000) mode transport
\treplay-window 0 seq 0x00000001 flag  (0x00000000)
\tsel src fd01::2/128 dst fd01::1/128 proto ipv6-icmp type 128 code 0 dev eth0 uid 0
";

    #[test]
    fn reads_spi_counters_and_algorithms() {
        let sas = parse_sas(TEXT).unwrap();
        assert_eq!(sas.len(), 2);
        assert_eq!((sas[0].spi, sas[0].bytes, sas[0].packets), (0xc1b2_a392, 168, 2));
        assert_eq!((sas[0].reqid, sas[0].mode.as_str(), sas[0].algorithms.len()), (1, "transport", 2));
    }

    #[test]
    fn an_acquire_is_not_mature() {
        let sas = parse_sas(TEXT).unwrap();
        assert!(sas[0].is_mature());
        assert!(!sas[1].is_mature());
    }
}
