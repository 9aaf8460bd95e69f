//! From the ping that wants a tunnel to the first ESP packet that leaves, on the initiator's wire. The same daemon stands
//! on both sides; a first tunnel has been up and is down again, so that no module is loaded and no symbol looked up.

use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::time::Duration;

use etherparse::{IpNumber, NetSlice, SlicedPacket};
use pcap_file::pcap::PcapReader;

use super::{Place, Round, median, millis};
use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::strongswan::Strongswan;
use crate::peer::tunnel::Tunnel;
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::process;
use crate::scenario::stage::Papers;
use crate::topology::OUTSIDE;
use crate::wait;

/// Asked again this often; a first ping may be lost where the responder is slower than the initiator.
const AGAIN: Duration = Duration::from_millis(200);

/// Tunnels in each round; their median counts.
const TUNNELS: usize = 5;

pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    let ours = first_esp(&mut place.desk("ours")?, Kind::Ours)?;
    let peer = first_esp(&mut place.desk("peer")?, Kind::Charon)?;
    Ok(vec![Round { ours, peer }])
}

/// One side, with the way to take its tunnel down that both daemons have.
enum Side {
    Ours(Ours),
    Charon(Strongswan),
}

impl Side {
    fn down(&self) -> Result<()> {
        let done = match self {
            Self::Ours(ours) => ours.xfrmctl(&["down", "--all"])?,
            Self::Charon(charon) => charon.swanctl(&["--terminate", "--ike", "net", "--timeout", "20"])?,
        };
        if done.status.success() {
            return Ok(());
        }
        Err(Failure::new("the tunnel does not go down").with("its output", done.output()))
    }
}

fn first_esp(desk: &mut Desk, kind: Kind) -> Result<f64> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let start = |host, tunnel| {
        Ok::<Side, Failure>(match kind {
            Kind::Ours => Side::Ours(Ours::start(desk, host, tunnel)?),
            Kind::Charon => Side::Charon(Strongswan::start(host, tunnel)?),
            other => return Err(Failure::new(format!("{} is not measured", other.program()))),
        })
    };
    let _bob = start(&pair.bob, Tunnel::transport(b, a, papers.credentials(&papers.bob)))?;
    let alice = start(&pair.alice, Tunnel::transport(a, b, papers.credentials(&papers.alice)))?;
    ping::answered(&pair.alice, b, PATIENCE)?;
    let mut times = Vec::new();
    for _ in 0..TUNNELS {
        alice.down()?;
        wait::until(PATIENCE, "the tunnel's SAs to be gone", || {
            Ok(kernel_state::all_sas(&pair.alice)?.is_empty() && kernel_state::all_sas(&pair.bob)?.is_empty())
        })?;
        let asked = asked_at(&pair.alice, b)?;
        let capture = pair.alice.folder().join(format!("{OUTSIDE}.pcap"));
        let left = wait::until_some(PATIENCE, "an ESP packet in the capture", || esp_after(&capture, asked))?;
        times.push(millis(left.saturating_sub(asked)));
    }
    Ok(median(times))
}

/// Pings until there is an answer; when the first request was sent, in the capture's time.
fn asked_at(host: &Host, to: IpAddr) -> Result<Duration> {
    let (every, patience) = (format!("{:.1}", AGAIN.as_secs_f64()), PATIENCE.as_secs().to_string());
    let mut command = host.command("ping");
    command.args(["-n", "-D", "-c", "1", "-i", &every, "-w", &patience, &to.to_string()]);
    let out = process::check(&mut command)?;
    out.lines().find_map(sent_at).ok_or_else(|| Failure::new("ping says no time").with("its output", out.clone()))
}

/// Reads `[1700000000.250000] 64 bytes from 10.1.0.2: icmp_seq=2 ttl=64 time=50.0 ms`: the answer's arrival.
fn sent_at(line: &str) -> Option<Duration> {
    let (stamp, rest) = line.strip_prefix('[')?.split_once(']')?;
    let value = |name: &str| rest.split_once(name)?.1.split_whitespace().next();
    let earlier: u32 = value("icmp_seq=")?.parse::<u32>().ok()?.checked_sub(1)?;
    let round_trip: f64 = value("time=")?.parse().ok()?;
    let arrived = Duration::try_from_secs_f64(stamp.parse().ok()?).ok()?;
    arrived.checked_sub(Duration::from_secs_f64(round_trip / 1000.0))?.checked_sub(AGAIN * earlier)
}

/// When the first ESP packet after this time was captured.
fn esp_after(path: &std::path::Path, time: Duration) -> Result<Option<Duration>> {
    let file = File::open(path).during(path.display())?;
    let mut reader = PcapReader::new(BufReader::new(file)).during(path.display())?;
    while let Some(Ok(packet)) = reader.next_packet() {
        if packet.timestamp >= time && is_esp(&packet.data) {
            return Ok(Some(packet.timestamp));
        }
    }
    Ok(None)
}

fn is_esp(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).ok();
    let esp = IpNumber::ENCAPSULATING_SECURITY_PAYLOAD;
    matches!(packet.and_then(|packet| packet.net), Some(NetSlice::Ipv4(ip)) if ip.payload().ip_number == esp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_was_sent_before_the_answered_one() {
        let line = "[1700000000.250000] 64 bytes from 10.1.0.2: icmp_seq=2 ttl=64 time=50.0 ms";
        assert_eq!(sent_at(line), Some(Duration::from_secs(1_700_000_000)));
        assert_eq!(sent_at("PING 10.1.0.2 (10.1.0.2) 56(84) bytes of data."), None);
    }
}
