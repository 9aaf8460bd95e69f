//! The IPoP article as it stands: two bridges joined by GRE, and the GRE in ESP.
//! ```text
//!   d1 eth0 -- veth0 br0 gre1            gre1 br0 veth0 -- eth0 d2
//!   10.10.10.100      host1 eth0 ====== eth0 host2      10.10.10.101
//!                192.168.1.120      192.168.1.121
//! ```
//! The article has Open vSwitch bridges; those of the kernel do the same.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::kernel_state;
use crate::link;
use crate::peer::PATIENCE;
use crate::peer::ours::Ours;
use crate::ping;
use crate::pki::{Authority, Style, Validity};
use crate::scenario::Scenario;
use crate::scenario::seeds::{Seeded, talks, warned};

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new(
        "seed-ipop",
        "the IPoP article: bridges joined by GRE over ESP, 3des, sha1, NAT-T on",
        play,
    ));
}

/// Name, the number of the host, its racoon.conf; the device behind its bridge, and that one's address.
const HOSTS: [(&str, &str, &str, &str); 2] = [
    ("192.168.1.120", include_str!("../../../tests/config/seeds/ipop-host1.conf"), "d1", "10.10.10.100"),
    ("192.168.1.121", include_str!("../../../tests/config/seeds/ipop-host2.conf"), "d2", "10.10.10.101"),
];
/// The article's script, for both.
const POLICIES: &str = include_str!("../../../tests/config/seeds/ipop.setkey");
/// What purges them.
const PURGE: &str = include_str!("../../../tests/config/seeds/ipop-purge.setkey");

fn play(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "IPOP")?;
    let pair = desk.pair()?;
    let hosts = [Seeded::new(&pair.alice, HOSTS[0].0)?, Seeded::new(&pair.bob, HOSTS[1].0)?];
    let mut peers = Vec::new();
    for (number, seeded) in hosts.iter().enumerate() {
        let (at, conf, _, _) = HOSTS[number];
        let serial = u64::try_from(number).unwrap_or_default() + 2;
        let leaf = authority.leaf_with(&mut desk.keys, at, serial, Validity::Current, Style::Keylime)?;
        let write = |name: &str, mode, text: &str| seeded.host.write(&format!("/etc/racoon/certs/{name}"), mode, text);
        write("rootCA.pem", 0o644, &authority.pem)?;
        write("cert.pem", 0o644, &leaf.pem)?;
        write("key.pem", 0o600, &leaf.key)?;
        seeded.host.write("/etc/racoon/psk.txt", 0o600, "")?;
        peers.push(Ours::with_files(desk, &seeded.host, conf, POLICIES)?);
    }
    let [one, two] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    let devices = [bridge(desk, 0, &hosts)?, bridge(desk, 1, &hosts)?];
    let evidence = |failure: Failure| {
        use crate::peer::Peer;
        failure.with("host1's log", one.log().unwrap_or_default()).with("host2's log", two.log().unwrap_or_default())
    };
    let beyond = HOSTS[1].3.parse().map_err(|_| Failure::new("10.10.10.101 is an address"))?;
    ping::answered(&devices[0], beyond, PATIENCE).map_err(evidence)?;
    let seen = desk.traffic()?;
    if seen.esp == 0 || seen.in_udp > 0 || !seen.plaintext.is_empty() {
        let what = format!("{} ESP packets, {} of them in UDP; in clear: {:?}", seen.esp, seen.in_udp, seen.plaintext);
        return Err(evidence(Failure::new(what)));
    }
    desk.proved(format!("d1 pings d2 through both bridges: {} ESP packets on the wire and nothing else", seen.esp));
    for words in ["Selected NAT-T version: RFC 3947", "NAT not detected", "unable to get certificate CRL(3) at depth:0"]
    {
        use crate::peer::Peer;
        if !one.log()?.contains(words) {
            return Err(evidence(Failure::new(format!("no line \"{words}\""))));
        }
    }
    warned(one, &["3des", "modp1024"])?;
    talks(desk, [(&hosts[0], one), (&hosts[1], two)], ["cbc(des3_ede)", "hmac(sha1)"])?;
    // Without policies whatever the bridge still says would go in clear, as it should.
    hosts[0].host.netns().batch("link set gre1 down\n")?;
    hosts[0].host.write("/etc/purge.conf", 0o644, PURGE)?;
    let purged = one.setkey(&["-f", "/etc/purge.conf"])?;
    let dump = one.setkey(&["-DP"])?.stdout;
    let left = kernel_state::sas(&hosts[0].host)?.len();
    if !purged.status.success() || dump.contains("/transport//") || left > 0 {
        return Err(evidence(Failure::new(format!("after the purge {left} SAs stand"))).with("setkey -DP", dump));
    }
    desk.proved("the article's purge left no policy and no SA");
    Ok(())
}

/// The device `number` behind the bridge of its host, and the GRE tunnel on that bridge.
fn bridge(desk: &Desk, number: usize, hosts: &[Seeded; 2]) -> Result<Host> {
    let (_, _, name, at) = HOSTS[number];
    let (own, other) = (&hosts[number], &hosts[1 - number]);
    let inner = at.parse().map_err(|_| Failure::new(format!("{at} is an address")))?;
    let device = Host::create(name, desk.folder(), &[], [inner, std::net::Ipv6Addr::LOCALHOST.into()])?;
    own.host.netns().batch(&format!(
        "{}link add gre1 type gretap local {} remote {}\n{}{}{}{}{}",
        link::BRIDGE,
        own.at,
        other.at,
        link::cable("veth0", device.netns(), "eth0"),
        link::plug("gre1"),
        link::plug("veth0"),
        link::up("gre1", &[]),
        link::up("veth0", &[]),
    ))?;
    device.netns().batch(&format!("link set lo up\n{}", link::up("eth0", &[(inner, 24)])))?;
    Ok(device)
}
