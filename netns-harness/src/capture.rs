//! What went over a link, and whether any of it should have been encrypted. tcpdump writes what a host *sends* on its
//! protected interface (the receiving side of a tunnel also shows the decrypted packet); the file is read afterwards.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcap::PcapReader;
use rustix::process::Signal;

use crate::failure::{During, Failure, Result};
use crate::host::Host;
use crate::process::Process;

/// The ports of ISAKMP and of its UDP-encapsulated form (RFC 3947, RFC 3948).
const IKE_PORTS: [u16; 2] = [500, NATT_PORT];
/// That of the latter alone.
const NATT_PORT: u16 = 4500;
/// ICMPv6 types of neighbour discovery and multicast listener discovery, which never go through IPsec policy here.
const NEIGHBOUR_TYPES: [u8; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];

/// Where an ISAKMP header says which payload is the first (RFC 2408 §3.1).
const NEXT_PAYLOAD: usize = 16;
/// The payload that is a piece of a message.
const FRAGMENT: u8 = 132;

/// A count of what was seen.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Packets of protocol 50, and those in UDP.
    pub esp: u64,
    /// Packets of protocol 51: what they carry is meant to be read by anybody.
    pub ah: u64,
    /// Those of them in UDP.
    pub in_udp: u64,
    /// Datagrams of IKE.
    pub ike: u64,
    /// Those of them that are a piece of a message.
    pub ike_pieces: u64,
    /// Those of them that IP had to cut.
    pub ike_cut: u64,
    /// NAT keepalives.
    pub keepalives: u64,
    /// Packets that should have been encrypted, described.
    pub plaintext: Vec<String>,
}

impl Traffic {
    /// Adds another link's count.
    pub fn add(&mut self, other: Self) {
        self.esp += other.esp;
        self.ah += other.ah;
        self.in_udp += other.in_udp;
        self.ike += other.ike;
        self.ike_pieces += other.ike_pieces;
        self.ike_cut += other.ike_cut;
        self.keepalives += other.keepalives;
        self.plaintext.extend(other.plaintext);
    }
}

/// A running capture of one interface.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
    _host: Rc<Host>,
}

impl Capture {
    /// Starts to capture what the host sends on `interface`, and returns when the kernel delivers packets.
    ///
    /// # Errors
    /// When tcpdump does not start to listen.
    pub fn start(host: &Rc<Host>, interface: &str) -> Result<Self> {
        let file = host.folder().join(format!("{interface}.pcap"));
        let mut command = host.command("tcpdump");
        // A buffer of 16 MiB: on a busy machine tcpdump gets its turn late.
        let buffer = ["-B", "16384"];
        let output = ["-n", "-Q", "out", "--immediate-mode", "-U", "-Z", "root"];
        command.args(output).args(buffer).args(["-i", interface, "-w"]).arg(&file);
        let mut tcpdump = host.spawn(&format!("tcpdump-{interface}"), command)?;
        tcpdump.wait_for_line(Duration::from_secs(20), "listening on")?;
        Ok(Self { tcpdump, file, _host: Rc::clone(host) })
    }

    /// What was seen so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn so_far(&self) -> Result<Traffic> {
        read(&self.file)
    }

    /// Ends the capture and counts.
    ///
    /// # Errors
    /// When tcpdump does not end, the file cannot be read, or the kernel dropped packets: an incomplete capture proves
    /// nothing.
    pub fn finish(mut self) -> Result<Traffic> {
        self.tcpdump.stop(Signal::INT)?;
        let log = self.tcpdump.log()?;
        if !log.lines().any(|line| line.trim() == "0 packets dropped by kernel") {
            return Err(Failure::new("the capture is incomplete").with("tcpdump", log));
        }
        read(&self.file)
    }
}

/// Reads a capture file; a packet cut off at its end is one that is still being written.
fn read(path: &Path) -> Result<Traffic> {
    let file = File::open(path).during(path.display())?;
    let mut reader = PcapReader::new(BufReader::new(file)).during(path.display())?;
    let mut sorter = Sorter::default();
    while let Some(Ok(packet)) = reader.next_packet() {
        sorter.sort(&packet.data);
    }
    Ok(sorter.traffic)
}

#[derive(Default)]
struct Sorter {
    traffic: Traffic,
    /// Hosts that sent the first fragment of an IKE datagram to each other; only the first one has ports.
    ike_fragments: HashSet<(IpAddr, IpAddr)>,
}

impl Sorter {
    fn sort(&mut self, frame: &[u8]) {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
            self.traffic.plaintext.push(format!("unreadable frame of {} octets", frame.len()));
            return;
        };
        let Some((source, destination, payload)) = packet.net.as_ref().and_then(addresses) else { return };
        let pair = (source, destination);
        if packet.net.as_ref().is_some_and(is_authenticated) {
            self.traffic.ah += 1;
            return;
        }
        match (payload.ip_number, packet.transport.as_ref()) {
            (IpNumber::ENCAPSULATING_SECURITY_PAYLOAD, _) => self.traffic.esp += 1,
            (IpNumber::UDP, Some(TransportSlice::Udp(udp))) if is_natt(udp.source_port(), udp.destination_port()) => {
                self.natt(udp.payload());
            }
            (IpNumber::UDP, Some(TransportSlice::Udp(udp))) if is_ike(udp.source_port(), udp.destination_port()) => {
                self.ike(udp.payload());
            }
            (IpNumber::UDP, None) if payload.fragmented && first_fragment_is_ike(payload.payload) => {
                self.traffic.ike += 1;
                self.traffic.ike_cut += 1;
                self.ike_fragments.insert(pair);
            }
            (IpNumber::UDP, None) if payload.fragmented && self.ike_fragments.contains(&pair) => {}
            (IpNumber::IPV6_ICMP, Some(TransportSlice::Icmpv6(icmp))) if NEIGHBOUR_TYPES.contains(&icmp.type_u8()) => {}
            (IpNumber::ICMP, Some(TransportSlice::Icmpv4(icmp))) if is_about_ike(icmp.type_u8(), icmp.payload()) => {}
            (number, _) => self.traffic.plaintext.push(format!("{source} > {destination} protocol {}", number.0)),
        }
    }
}

impl Sorter {
    fn ike(&mut self, message: &[u8]) {
        self.traffic.ike += 1;
        self.traffic.ike_pieces += u64::from(message.get(NEXT_PAYLOAD) == Some(&FRAGMENT));
    }

    /// What a port of NAT traversal carries (RFC 3948 §2): a keepalive, IKE behind four octets of zero, or else ESP.
    fn natt(&mut self, payload: &[u8]) {
        match payload {
            [0xff] => self.traffic.keepalives += 1,
            [0, 0, 0, 0, message @ ..] => self.ike(message),
            _ => {
                self.traffic.esp += 1;
                self.traffic.in_udp += 1;
            }
        }
    }
}

fn addresses<'a>(net: &'a NetSlice<'_>) -> Option<(IpAddr, IpAddr, &'a etherparse::IpPayloadSlice<'a>)> {
    match net {
        NetSlice::Ipv4(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.payload()))
        }
        NetSlice::Ipv6(ip) => {
            Some((ip.header().source_addr().into(), ip.header().destination_addr().into(), ip.payload()))
        }
        NetSlice::Arp(_) => None,
    }
}

/// Is there an authentication header?
fn is_authenticated(net: &NetSlice<'_>) -> bool {
    match net {
        NetSlice::Ipv4(ip) => ip.extensions().auth.is_some(),
        NetSlice::Ipv6(ip) => ip.header().next_header() == IpNumber::AUTHENTICATION_HEADER,
        NetSlice::Arp(_) => false,
    }
}

fn is_ike(source: u16, destination: u16) -> bool {
    IKE_PORTS.contains(&source) || IKE_PORTS.contains(&destination)
}

/// ICMP's word that nobody listens on a port of IKE any more: a daemon has ended.
fn is_about_ike(kind: u8, quoted: &[u8]) -> bool {
    const UNREACHABLE: u8 = 3;
    let header = quoted.first().map_or(0, |octet| usize::from(octet & 0x0f) * 4);
    let udp = quoted.get(9) == Some(&IpNumber::UDP.0);
    kind == UNREACHABLE && udp && quoted.get(header..).is_some_and(first_fragment_is_ike)
}

/// One side of a NAT sees another port, never both.
fn is_natt(source: u16, destination: u16) -> bool {
    source == NATT_PORT || destination == NATT_PORT
}

/// The first fragment of a datagram starts with the UDP header; a later one that happens to look like it is accepted
/// only between hosts that exchange IKE, so nothing is hidden by that.
fn first_fragment_is_ike(payload: &[u8]) -> bool {
    let port = |at: usize| payload.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_be_bytes);
    matches!((port(0), port(2)), (Some(source), Some(destination)) if is_ike(source, destination))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn sorted(frames: &[Vec<u8>]) -> Traffic {
        let mut sorter = Sorter::default();
        frames.iter().for_each(|frame| sorter.sort(frame));
        sorter.traffic
    }

    fn frame(number: IpNumber) -> Vec<u8> {
        let mut out = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64);
        builder.write(&mut out, number, &[0; 40]).unwrap();
        out
    }

    fn udp(port: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 64).udp(port, port);
        builder.write(&mut out, &[0; 40]).unwrap();
        out
    }

    #[test]
    fn esp_and_ike_are_told_from_plaintext() {
        let traffic = sorted(&[frame(IpNumber::ENCAPSULATING_SECURITY_PAYLOAD), udp(500), udp(4500), udp(53)]);
        assert_eq!((traffic.esp, traffic.ike), (1, 2));
        assert_eq!(traffic.plaintext.len(), 1);
    }

    #[test]
    fn the_port_of_nat_traversal_carries_three_things() {
        let datagram = |payload: &[u8]| {
            let mut out = Vec::new();
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64);
            builder.udp(20_000, 4500).write(&mut out, payload).unwrap();
            out
        };
        let traffic = sorted(&[datagram(&[0xff]), datagram(&[0; 32]), datagram(&[1; 64]), datagram(&[2; 64])]);
        assert_eq!((traffic.keepalives, traffic.ike, traffic.esp, traffic.in_udp), (1, 1, 2, 2));
        assert_eq!(traffic.plaintext, Vec::<String>::new());
    }

    #[test]
    fn a_ping_in_clear_is_plaintext() {
        let mut out = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64);
        builder.icmpv4_echo_request(1, 1).write(&mut out, &[0; 56]).unwrap();
        assert_eq!(sorted(&[out]).plaintext, ["10.1.0.1 > 10.1.0.2 protocol 1"]);
    }

    #[test]
    fn word_that_nobody_listens_to_ike_is_not_but_to_others_is() {
        let unreachable = |port: u16| {
            let mut quoted = Vec::new();
            let inner = PacketBuilder::ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64).udp(20_000, port);
            inner.write(&mut quoted, &[0; 8]).unwrap();
            let mut out = Vec::new();
            let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 1, 0, 2], [10, 1, 0, 1], 64);
            builder.icmpv4_raw(3, 3, [0; 4]).write(&mut out, &quoted).unwrap();
            out
        };
        assert_eq!(sorted(&[unreachable(4500)]).plaintext, Vec::<String>::new());
        assert_eq!(sorted(&[unreachable(53)]).plaintext, ["10.1.0.2 > 10.1.0.1 protocol 1"]);
    }

    #[test]
    fn neighbour_discovery_is_not() {
        let mut out = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv6([1; 16], [2; 16], 255);
        builder.icmpv6_raw(135, 0, [0; 4]).write(&mut out, &[0; 20]).unwrap();
        assert_eq!(sorted(&[out]).plaintext, Vec::<String>::new());
    }
}
