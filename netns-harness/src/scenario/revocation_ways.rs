//! Six hosts in a mesh, and every way in for a revocation: one host after the other is cut off, each by another way, while
//! those that are left go on talking. Nobody who was cut off comes back, whatever happens then.

use std::fs;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::strongswan::{self, Strongswan};
use crate::peer::tunnel::Credentials;
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::pki::{Authority, Leaf, Style, Validity};
use crate::process::Process;
use crate::scenario::revocation::{self, CA_SERVER, Publisher, Server, answer, notice};
use crate::scenario::seeds::{KEYLIME, KEYLIME_CONF, keylime_policies, unpack_payload};
use crate::scenario::stage::QUIET;
use crate::scenario::{Scenario, for_pairs};
use crate::topology::Lan;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];
    let (words, lists) = (
        "four of six hosts cut off, by xfrmctl, action, ZeroMQ and webhook; the others lose nothing",
        "three of six hosts cut off, by expiry, CRL file and CRL URL; the others lose nothing",
    );
    for_pairs(out, &PAIRS, "revocation-mesh", words, |desk, kind, _| {
        mesh(desk, kind, &[Way::Xfrmctl, Way::Action, Way::ZeroMq, Way::Webhook])
    });
    for_pairs(out, &PAIRS, "revocation-mesh-lists", lists, |desk, kind, _| {
        mesh(desk, kind, &[Way::Expiry, Way::File, Way::Url])
    });
}

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
const SUBNET: &str = "10.1.0.0/24";
/// How long a certificate that will end is good: the mesh has to stand before.
const SHORT: Duration = Duration::from_secs(40);
/// For so long those who were cut off try to come back.
const STUBBORN: Duration = Duration::from_secs(60);
/// Between the pings of a pair.
const OFTEN: Duration = Duration::from_millis(50);
/// What a ping's answer may take on a busy machine.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Where the agent would put the message.
const MESSAGE: &str = "/run/revocation.json";
const BLOCK: &str = "revocation {
\tallow_user \"nobody\";
\tsubscribe \"tcp://127.0.0.1:8992\";
\twebhook \"http://127.0.0.1:6892/notices\";
\tnotifier_certificate \"RevocationNotifier-cert.crt\";
\tcrl_file \"list.pem\";
\tcrl_url \"http://127.0.0.1:38080/crl\";
\tcrl_interval 5 sec;
\texpired_certificate cut;
}
";

/// How the others come to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Xfrmctl,
    Action,
    ZeroMq,
    Webhook,
    File,
    Url,
    Expiry,
}

impl Way {
    /// Who is said to have asked for it.
    fn source(self) -> &'static str {
        match self {
            Self::Xfrmctl => "xfrmctl",
            Self::Action => "keylime",
            Self::ZeroMq => "zeromq",
            Self::Webhook => "webhook",
            Self::File | Self::Url => "crl",
            Self::Expiry => "expired",
        }
    }
}

enum Daemon {
    Ours(Ours),
    Charon(Strongswan),
}

/// A host of the mesh with what runs on it.
struct Node {
    host: Rc<Host>,
    at: IpAddr,
    serial: u64,
    daemon: Daemon,
    publisher: Publisher,
    server: Server,
    /// iproute2's record of SAs that come and go.
    monitor: Process,
}

impl Node {
    fn ours(&self) -> Option<&Ours> {
        match &self.daemon {
            Daemon::Ours(ours) => Some(ours),
            Daemon::Charon(_) => None,
        }
    }

    fn log(&self) -> String {
        match &self.daemon {
            Daemon::Ours(ours) => ours.log().unwrap_or_default(),
            Daemon::Charon(charon) => charon.log().unwrap_or_default(),
        }
    }
}

/// One host's pings to another.
struct Pair {
    from: usize,
    to: usize,
    running: Running,
}

/// What one host saw of a revocation, in milliseconds since it had the news there.
struct Cut {
    arrived: Duration,
    gone: f64,
}

struct Mesh {
    /// The switch goes when this does.
    _lan: Lan,
    authority: Authority,
    notifier: Leaf,
    nodes: Vec<Node>,
    end: Duration,
}

fn mesh(desk: &mut Desk, kind: Kind, ways: &[Way]) -> Result<()> {
    let mesh = Mesh::set(desk, kind, ways)?;
    let played = mesh.play(desk, ways);
    let evidence =
        |failure| mesh.nodes.iter().fold(failure, |failure: Failure, one| failure.with(one.host.name(), one.log()));
    let pairs = played.map_err(evidence)?;
    let outcasts = mesh.nodes.len() - ways.len()..mesh.nodes.len();
    mesh.go_back(desk, outcasts, pairs)
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Mesh {
    /// The last hosts are the ones to be cut off, the very last one first; they run `kind`.
    fn set(desk: &mut Desk, kind: Kind, ways: &[Way]) -> Result<Self> {
        desk.keys.fill()?;
        let lan = desk.lan(&NAMES)?;
        let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
        let notifier = authority.leaf(&mut desk.keys, "RevocationNotifier", 99)?;
        let hosts = lan.hosts.clone();
        let mut mesh = Self { _lan: lan, authority, notifier, nodes: Vec::new(), end: Duration::ZERO };
        for (host, serial) in hosts.iter().zip(2..) {
            let name = format!("{}.desk", host.name());
            let is_last = mesh.nodes.len() + 1 == hosts.len();
            let leaf = if is_last && ways.contains(&Way::Expiry) {
                mesh.end = wall() + SHORT;
                mesh.authority.leaf_until(&mut desk.keys, &name, serial, mesh.end)?
            } else {
                mesh.authority.leaf_with(&mut desk.keys, &name, serial, Validity::Current, Style::Keylime)?
            };
            let stays = mesh.nodes.len() < hosts.len() - ways.len();
            let node = mesh.start(desk, host, &leaf, if stays { Kind::Ours } else { kind }, &hosts)?;
            mesh.nodes.push(node);
        }
        Ok(mesh)
    }

    fn start(&self, desk: &Desk, host: &Rc<Host>, leaf: &Leaf, kind: Kind, all: &[Rc<Host>]) -> Result<Node> {
        unpack_payload(desk, host, &self.authority, leaf)?;
        host.write(&format!("{KEYLIME}/RevocationNotifier-cert.crt"), 0o644, &self.notifier.pem)?;
        // A CA that has revoked nobody yet publishes an empty file.
        host.write(&format!("{KEYLIME}/list.pem"), 0o644, "")?;
        let at = host.address(Family::V4);
        let server = Server::start(host, CA_SERVER, kind == Kind::Ours, answer(""))?;
        let publisher = Publisher::start(host, kind == Kind::Ours)?;
        let daemon = if kind == Kind::Ours {
            let conf = format!("{KEYLIME_CONF}\n{BLOCK}");
            Daemon::Ours(Ours::with_files(desk, host, &conf, &keylime_policies(SUBNET))?)
        } else {
            let credentials =
                Credentials { leaf: leaf.clone(), ca: self.authority.pem.clone(), crl: None, intermediate: None };
            let others = all.iter().map(|other| other.address(Family::V4)).filter(|other| *other != at);
            Daemon::Charon(Strongswan::with_files(host, &credentials, strongswan::CONF, &swanctl(at, others))?)
        };
        let mut command = host.command("ip");
        command.env("TZ", "UTC").args(["-ts", "xfrm", "monitor", "SA"]);
        let monitor = host.spawn("xfrm-monitor", command)?;
        Ok(Node { host: Rc::clone(host), at, serial: leaf.serial, daemon, publisher, server, monitor })
    }

    /// Cuts one host off by each way; the pings of those that were.
    fn play(&self, desk: &mut Desk, ways: &[Way]) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for (from, node) in self.nodes.iter().enumerate() {
            for other in self.nodes.iter().take(from) {
                ping::answered(&node.host, other.at, PATIENCE)?;
            }
        }
        for (from, node) in self.nodes.iter().enumerate() {
            for (to, other) in self.nodes.iter().enumerate().take(from) {
                pairs.push(Pair { from, to, running: Running::start(&node.host, other.at, OFTEN)? });
            }
        }
        for pair in &pairs {
            pair.running.wait_for_answers(PATIENCE, 5)?;
        }
        desk.proved("fifteen pairs talk");
        let mut last = Duration::ZERO;
        for (way, outcast) in ways.iter().zip((0..self.nodes.len()).rev()) {
            last = self.cut(desk, *way, outcast, &pairs)?;
        }
        self.stays_away(desk, &pairs, self.nodes.len() - ways.len(), last)?;
        Ok(pairs)
    }

    /// Those who hear of it: who is still there, and listens.
    fn told(&self, outcast: usize) -> impl Iterator<Item = (usize, &Node, &Ours)> {
        self.nodes.iter().enumerate().take(outcast).filter_map(|(number, node)| Some((number, node, node.ours()?)))
    }

    /// When the last of the others had no SA with it any more.
    fn cut(&self, desk: &mut Desk, way: Way, outcast: usize, pairs: &[Pair]) -> Result<Duration> {
        let Some(outcast_node) = self.nodes.get(outcast) else { return Err(Failure::new("no such host")) };
        let (name, serial) = (outcast_node.host.name(), outcast_node.serial);
        for (_, node, _) in self.told(outcast) {
            if kernel_state::sas_between(&node.host, node.at, outcast_node.at)?.is_empty() {
                return Err(Failure::new(format!("{} has no SA with {name} before it is cut off", node.host.name())));
            }
        }
        let mut cuts = Vec::new();
        for (number, node, ours) in self.told(outcast) {
            cuts.push((number, node, self.deliver(desk, way, serial, node, ours)?));
        }
        let all_gone = || -> Result<bool> {
            for (_, node, _) in &cuts {
                if !kernel_state::sas_between(&node.host, node.at, outcast_node.at)?.is_empty() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        wait::until(SHORT + PATIENCE, "the SAs with a revoked host to be gone", all_gone)?;
        let last = wall();
        let (mut slowest, mut answered, mut own) = (0.0_f64, f64::MIN, 0.0_f64);
        for (number, node, sent) in &cuts {
            let arrived = match way {
                Way::Url => wait::until_some(PATIENCE, "the server's answer", || Ok(node.server.first_answer()))?,
                Way::Expiry => self.end,
                _ => *sent,
            };
            own = own.max(self.audited(node, serial, way)?);
            let cut = Cut { arrived, gone: deletion(node, outcast_node.at, arrived)? };
            slowest = slowest.max(cut.gone);
            let ping = pairs.iter().find(|pair| (pair.from, pair.to) == (outcast, *number));
            let ping = ping.ok_or_else(|| Failure::new("a pair that nobody pings"))?;
            let at = ping.running.last_answer()?.unwrap_or_default();
            answered = answered.max((at.as_secs_f64() - cut.arrived.as_secs_f64()) * 1000.0);
        }
        if answered > slowest + (OFTEN + ROUND_TRIP).as_secs_f64() * 1000.0 {
            return Err(Failure::new(format!("{name} had an answer {answered:.0} ms after the news")));
        }
        self.nothing_lost(pairs, outcast)?;
        desk.proved(format!(
            "{name} by {}: last SA gone {slowest:.0} ms after the news on each of {} hosts, its last ESP packet answered at \
             {answered:.0} ms; the cut itself took {own:.1} ms",
            word(way),
            cuts.len()
        ));
        Ok(last)
    }

    /// Brings the news; when.
    fn deliver(&self, desk: &Desk, way: Way, serial: u64, node: &Node, ours: &Ours) -> Result<Duration> {
        let host = &node.host;
        let done = |finished: crate::process::Finished| {
            if finished.status.success() {
                return Ok(());
            }
            Err(Failure::new(format!("the command ended with {}", finished.status))
                .with("its output", finished.output()))
        };
        let signed = || notice(desk, &self.notifier.key, "revocation", serial);
        let begun = match way {
            Way::Xfrmctl => {
                let begun = wall();
                ours.xfrmctl(&["revoke", "--serial", &serial.to_string()]).and_then(done)?;
                begun
            }
            Way::Action => {
                let text = format!(r#"{{"type": "revocation", "meta_data": "{{\"cert_serial\": {serial}}}"}}"#);
                host.write(MESSAGE, 0o644, text)?;
                let action = desk.program("local_action_xfrmd_revoke");
                let begun = wall();
                host.run("setpriv", &["--reuid=nobody", "--clear-groups", &action.to_string_lossy(), MESSAGE])
                    .and_then(done)?;
                begun
            }
            Way::ZeroMq => {
                let message = signed()?;
                let begun = wall();
                node.publisher.publish(&message)?;
                begun
            }
            Way::Webhook => {
                let message = signed()?;
                let begun = wall();
                revocation::post(host, &message)?;
                begun
            }
            Way::File => {
                let list = format!("{KEYLIME}/list.pem");
                host.write(&format!("{list}.new"), 0o644, self.authority.crl_number(2, &[serial])?)?;
                let begun = wall();
                fs::rename(host.outside(&format!("{list}.new")), host.outside(&list))?;
                begun
            }
            Way::Url => {
                // Whom the list before named it names too.
                node.server.serve(answer(&self.authority.crl_number(3, &[serial, serial + 1])?));
                wall()
            }
            Way::Expiry => wall(),
        };
        if way == Way::Expiry && begun > self.end {
            return Err(Failure::new("the certificate had ended before the mesh stood"));
        }
        Ok(begun)
    }

    /// How long the daemon says that its cut took.
    fn audited(&self, node: &Node, serial: u64, way: Way) -> Result<f64> {
        let (start, end) = (format!("revoked serial {serial} of "), format!("(asked for by {})", way.source()));
        wait::until_some(PATIENCE, "the line about the revocation", || {
            let log = node.log();
            let line = log.lines().find(|line| line.contains(&start) && line.contains(&end));
            Ok(line.and_then(|line| line.split_once("SAs deleted in ")?.1.split(' ').next()?.parse().ok()))
        })
        .map_err(|failure| failure.with(format!("{}'s log", node.host.name()), node.log()))
    }

    /// Pairs without anybody who was cut off have an answer to everything.
    fn nothing_lost(&self, pairs: &[Pair], outcast: usize) -> Result<()> {
        for pair in pairs.iter().filter(|pair| pair.from < outcast) {
            // Something is answered after the cut, so that what was lost by then would be a gap.
            pair.running.wait_for_answers(PATIENCE, 3)?;
            let (gaps, answers) = (pair.running.gaps()?, pair.running.answers()?);
            if gaps > 0 {
                let (from, to) = (NAMES.get(pair.from), NAMES.get(pair.to));
                return Err(Failure::new(format!(
                    "{from:?} lost {gaps} pings to {to:?} beside {answers} answered ones"
                )));
            }
        }
        Ok(())
    }

    fn stays_away(&self, desk: &mut Desk, pairs: &[Pair], left: usize, since: Duration) -> Result<()> {
        wait::throughout(STUBBORN, "no SA with those who were cut off", || self.without(left))?;
        for pair in pairs.iter().filter(|pair| pair.from >= left && pair.to < left) {
            let late = pair.running.last_answer()?.unwrap_or_default().saturating_sub(since);
            if late > ROUND_TRIP {
                return Err(Failure::new(format!("somebody came back {} ms after the last cut", late.as_millis())));
            }
        }
        self.nothing_lost(pairs, left)?;
        let count = left * (left - 1) / 2;
        desk.proved(format!(
            "all of them tried for {} s more in vain; the pairs left ({count}) lost nothing",
            STUBBORN.as_secs()
        ));
        Ok(())
    }

    /// Is there no SA between those who are left and those who are not?
    fn without(&self, left: usize) -> Result<bool> {
        for node in self.nodes.iter().take(left) {
            for outcast in self.nodes.iter().skip(left) {
                if !kernel_state::sas_between(&node.host, node.at, outcast.at)?.is_empty() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Every daemon that is left starts anew, and the CA's lists are the ones from before: nobody comes back.
    fn go_back(mut self, desk: &mut Desk, outcasts: std::ops::Range<usize>, pairs: Vec<Pair>) -> Result<()> {
        let old = self.authority.crl_number(1, &[])?;
        let left = outcasts.start;
        let before = wall();
        for node in self.nodes.iter_mut().take(left) {
            node.host.write(&format!("{KEYLIME}/list.pem"), 0o644, &old)?;
            node.server.serve(answer(&old));
            if let Daemon::Ours(ours) = &mut node.daemon {
                ours.shut_down()?;
                ours.restart()?;
            }
        }
        let evidence =
            |failure| self.nodes.iter().fold(failure, |failure: Failure, one| failure.with(one.host.name(), one.log()));
        wait::throughout(QUIET, "no SA with those who were cut off", || self.without(left)).map_err(evidence)?;
        for pair in pairs.iter().filter(|pair| pair.from >= left && pair.to < left) {
            if pair.running.last_answer()?.unwrap_or_default() > before {
                return Err(evidence(Failure::new("somebody who was cut off had an answer after a restart")));
            }
        }
        let [alice, bob, ..] = self.nodes.as_slice() else { return Err(Failure::new("no mesh")) };
        ping::answered(&alice.host, bob.at, PATIENCE).map_err(evidence)?;
        desk.proved("daemons started anew and lists from before bring nobody back; the others talk");
        Ok(())
    }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Xfrmctl => "xfrmctl revoke",
        Way::Action => "keylime's action",
        Way::ZeroMq => "ZeroMQ",
        Way::Webhook => "webhook",
        Way::File => "CRL file",
        Way::Url => "CRL URL",
        Way::Expiry => "its certificate's end",
    }
}

/// Milliseconds from `since` to the last deletion of an SA with `other` that iproute2 saw on this host.
fn deletion(node: &Node, other: IpAddr, since: Duration) -> Result<f64> {
    let other = other.to_string();
    let of_day = |time: f64| time.rem_euclid(86_400.0);
    let last = wait::until_some(PATIENCE, "iproute2 to tell of a deletion", || {
        let log = node.monitor.log()?;
        let deleted =
            log.lines().filter(|line| line.contains("Deleted src") && line.split(' ').any(|word| word == other));
        Ok(deleted.filter_map(time_of_day).next_back())
    });
    let last = last.map_err(|failure| failure.with("its record", node.monitor.log().unwrap_or_default()))?;
    // Midnight may be between; nothing here takes half a day.
    let passed = of_day(last - of_day(since.as_secs_f64()));
    Ok(if passed > 43_200.0 { passed - 86_400.0 } else { passed } * 1000.0)
}

/// Reads `[2026-11-24T17:06:23.123456]`: seconds since midnight.
fn time_of_day(line: &str) -> Option<f64> {
    let clock = line.strip_prefix('[')?.split_once(']')?.0.split_once('T')?.1;
    let mut parts = clock.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours.mul_add(3600.0, minutes.mul_add(60.0, seconds)))
}

/// keylime's algorithms with each of the other hosts, a connection each.
fn swanctl(own: IpAddr, others: impl Iterator<Item = IpAddr>) -> String {
    let connections: String = others
        .enumerate()
        .map(|(number, other)| {
            format!(
                "  peer{number} {{
    version = 1
    local_addrs = {own}
    remote_addrs = {other}
    proposals = aes256-sha256-modp2048
    send_cert = always
    local {{ auth = pubkey
      certs = own.crt }}
    remote {{ auth = pubkey
      id = \"%any\" }}
    children {{ net{number} {{
        mode = transport
        local_ts = dynamic
        remote_ts = dynamic
        esp_proposals = aes256-sha256-modp2048
        start_action = trap
    }} }}
  }}
"
            )
        })
        .collect();
    format!("connections {{\n{connections}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_time_of_day() {
        let line = "[2026-11-24T01:02:03.500000] Deleted src 10.1.0.1 dst 10.1.0.6";
        assert_eq!(time_of_day(line), Some(3723.5));
        assert_eq!(time_of_day("Deleted src 10.1.0.1 dst 10.1.0.6"), None);
    }
}
