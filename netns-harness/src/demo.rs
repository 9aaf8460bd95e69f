//! The story of three hosts: pings become ESP, keys are renewed under a running ping, and one host is cut off by its
//! certificate's serial. Told line by line with times; the figures go to `demo.json`.

use std::fs;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::{Family, Host};
use crate::job::Job;
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::{PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::pki::{Authority, Style, Validity};
use crate::scenario::drill::deleted;
use crate::scenario::seeds::{KEYLIME, KEYLIME_CONF, keylime_policies, unpack_payload};
use crate::scenario::stage::spis;
use crate::wait;

/// The lan that the policies protect.
const SUBNET: &str = "10.1.0.0/24";
/// Serial of carol's certificate, the one that is revoked.
const CAROL: u64 = 4;
/// The life of IPsec SAs in the copied configuration whose renewal is shown.
const SHORT_LIFE: Duration = Duration::from_secs(15);
/// How long the renegotiations that must not come about are waited for.
const QUIET: Duration = Duration::from_secs(3);

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    kernel: String,
    hosts: Vec<String>,
    /// From the first ping sent to its reply.
    tunnel_ms: f64,
    esp_packets: u64,
    plaintext_packets: u64,
    rekey: Rekey,
    revocation: Revocation,
}

#[derive(Debug, Serialize)]
struct Rekey {
    pings_sent: u64,
    pings_lost: u64,
}

#[derive(Debug, Serialize)]
struct Revocation {
    serial: String,
    sas_deleted: u64,
    /// The longer of the two hosts' times from the request to the last SA's end, as xfrmctl says; the story also tells how
    /// long the program ran, which in a user-mode kernel is mostly its being started.
    cut_ms: f64,
    renegotiation_refused: bool,
    others_alive: bool,
}

/// Lines with the time since the beginning.
struct Teller {
    start: Instant,
    colour: bool,
}

impl Teller {
    fn say(&self, line: impl AsRef<str>) {
        let seconds = self.start.elapsed().as_secs_f64();
        let (dim, plain) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        println!("{dim}[{seconds:7.3} s]{plain} {}", line.as_ref());
    }

    fn show(&self, text: &str) {
        text.lines().for_each(|line| println!("            | {line}"));
    }
}

/// Tells the story; whether it ended well.
///
/// # Errors
/// When a step of it fails.
pub fn tell(job: &Job) -> Result<bool> {
    let teller = Teller { start: Instant::now(), colour: job.colour };
    let mut desk = Desk::new(job.out.join("desk"), job.programs.clone(), job.keys.clone())?;
    let mut story = Story::set(&teller, &mut desk)?;
    let told = story.play(&teller, &desk).map_err(|failure| story.evidence(failure));
    drop(story);
    let (_, traffic) = desk.clear()?;
    let mut figures = told?;
    (figures.esp_packets, figures.plaintext_packets) = (traffic.esp, traffic.plaintext.len() as u64);
    figures.kernel = kernel(job);
    teller.say(format!(
        "the captures of all three links: {} ESP packets, {} of IKE, {} in clear",
        traffic.esp,
        traffic.ike,
        traffic.plaintext.len()
    ));
    let text = serde_json::to_string_pretty(&figures).during("writing the figures")?;
    fs::write(job.out.join("demo.json"), text + "\n")?;
    let good = traffic.plaintext.is_empty()
        && traffic.esp > 0
        && figures.rekey.pings_lost == 0
        && figures.revocation.renegotiation_refused
        && figures.revocation.others_alive;
    teller.say(if good { "all as it should be" } else { "NOT as it should be" });
    Ok(good)
}

/// The three hosts with their daemons.
struct Story {
    hosts: Vec<Rc<Host>>,
    daemons: Vec<Ours>,
    // Dropped last: the bridge.
    _switch: crate::netns::Netns,
}

impl Story {
    fn set(teller: &Teller, desk: &mut Desk) -> Result<Self> {
        desk.keys.fill()?;
        let lan = desk.lan(&["alice", "bob", "carol"])?;
        teller.say("three hosts on a bridge: alice 10.1.0.1, bob 10.1.0.2, carol 10.1.0.3; tcpdump on each link");
        let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
        let mut daemons = Vec::new();
        for (host, serial) in lan.hosts.iter().zip(2u64..) {
            let uuid = format!("d432fbb3-d2f1-4a97-9ef7-75bd81c0000{serial}");
            let leaf = authority.leaf_with(&mut desk.keys, &uuid, serial, Validity::Current, Style::Keylime)?;
            unpack_payload(desk, host, &authority, &leaf)?;
            daemons.push(Ours::with_files(desk, host, KEYLIME_CONF, &keylime_policies(SUBNET))?);
            teller
                .say(format!("{}: keylime's racoon.conf and setkey script, certificate serial {serial}", host.name()));
        }
        Ok(Self { hosts: lan.hosts, daemons, _switch: lan.switch })
    }

    fn play(&mut self, teller: &Teller, desk: &Desk) -> Result<Figures> {
        let tunnel = self.tunnels(teller)?;
        let rekey = self.rekey(teller)?;
        let revocation = self.revoke(teller, desk)?;
        Ok(Figures {
            kernel: String::new(),
            hosts: self.hosts.iter().map(|host| host.name().to_owned()).collect(),
            tunnel_ms: millis(tunnel),
            esp_packets: 0,
            plaintext_packets: 0,
            rekey,
            revocation,
        })
    }

    fn address(&self, host: usize) -> IpAddr {
        self.hosts[host].address(Family::V4)
    }

    fn evidence(&self, failure: Failure) -> Failure {
        self.hosts.iter().zip(&self.daemons).fold(failure, |failure, (host, daemon)| {
            failure.with(format!("{}'s log", host.name()), daemon.log().unwrap_or_default())
        })
    }

    /// Pings between all of them; how long the first took.
    fn tunnels(&self, teller: &Teller) -> Result<Duration> {
        let mut first = None;
        for (from, to) in [(0, 1), (0, 2), (1, 2)] {
            let took = ping::answered(&self.hosts[from], self.address(to), PATIENCE)?;
            first.get_or_insert(took);
            let (from, to) = (self.hosts[from].name(), self.hosts[to].name());
            teller.say(format!(
                "{from} pings {to}: the kernel held the packet, main mode and quick mode, answer after {:.1} ms",
                millis(took)
            ));
        }
        teller.say("alice: xfrmctl sa");
        teller.show(&self.daemons[0].xfrmctl(&["sa"])?.stdout);
        first.ok_or_else(|| Failure::new("nobody pinged"))
    }

    /// The seeds' life of 12 hours is too long for a story: for this part alice's daemon runs with a copy of her file that
    /// differs in nothing else.
    fn rekey(&mut self, teller: &Teller) -> Result<Rekey> {
        let life = format!("lifetime time {} sec;", SHORT_LIFE.as_secs());
        self.daemons[0].restart_with(&KEYLIME_CONF.replace("lifetime time 12 hour;", &life))?;
        teller.say(format!("alice's xfrmd ended and started with \"{life}\" instead of 12 hours, all else equal"));
        let (alice, bob) = (self.address(0), self.address(1));
        ping::answered(&self.hosts[0], bob, PATIENCE)?;
        let spis = || -> Result<Vec<u32>> { Ok(spis(&kernel_state::sas_between(&self.hosts[0], alice, bob)?)) };
        let known = wait::until_some(PATIENCE, "one pair of SAs between alice and bob", || {
            Ok(Some(spis()?).filter(|spis| spis.len() == 2))
        })?;
        let running = Running::start(&self.hosts[0], bob, Duration::from_millis(50))?;
        let new = wait::until_some(SHORT_LIFE * 2, "new SAs between alice and bob", || {
            Ok(Some(spis()?).filter(|now| now.len() == 2 && now.iter().all(|spi| !known.contains(spi))))
        })?;
        running.wait_for_answers(PATIENCE, 10)?;
        let tally = running.finish()?;
        teller.say(format!(
            "phase 2 renewed: SPIs {} became {}; {} pings meanwhile, {} lost",
            in_hex(&known),
            in_hex(&new),
            tally.sent,
            tally.lost()
        ));
        self.daemons[0].restart_with(KEYLIME_CONF)?;
        teller.say("alice's xfrmd ended and started with keylime's own file again");
        Ok(Rekey { pings_sent: tally.sent, pings_lost: tally.lost() })
    }

    /// Revokes carol on alice and bob.
    fn revoke(&self, teller: &Teller, desk: &Desk) -> Result<Revocation> {
        let carol = self.address(2);
        // Alice's daemon has been restarted; both must have a tunnel with carol to lose.
        for host in [0, 1] {
            ping::answered(&self.hosts[host], carol, PATIENCE)?;
        }
        let witness = Running::start(&self.hosts[0], self.address(1), Duration::from_millis(50))?;
        let issuer = format!("{KEYLIME}/cacert.crt");
        let (mut count, mut cut) = (0, 0.0_f64);
        for host in [0, 1] {
            let name = self.hosts[host].name();
            let start = Instant::now();
            let done = self.daemons[host].xfrmctl(&["revoke", "--serial", &CAROL.to_string(), "--issuer", &issuer])?;
            if !done.status.success() {
                let what = format!("xfrmctl revoke on {name} ended with {}", done.status);
                return Err(Failure::new(what).with("output", done.output()));
            }
            teller
                .say(format!("{name}: xfrmctl revoke --serial {CAROL}, done after {:.1} ms", millis(start.elapsed())));
            teller.show(&done.stdout);
            let left = kernel_state::sas_between(&self.hosts[host], self.address(host), carol)?;
            if !left.is_empty() {
                return Err(Failure::new(format!("{} SAs with carol are left on {name}", left.len())));
            }
            let closing = done.stdout.lines().last().unwrap_or_default();
            count += deleted(closing).unwrap_or(0);
            cut = cut.max(deleted_in_ms(closing).ok_or_else(|| Failure::new(format!("unreadable: {closing}")))?);
        }
        let refused = self.refused(teller)?;
        let esp = desk.traffic()?.esp;
        witness.wait_for_answers(PATIENCE, 10)?;
        let tally = witness.finish()?;
        let others_alive = tally.lost() == 0 && desk.traffic()?.esp > esp;
        teller.say(format!("alice and bob go on: {} pings through all of this, {} lost", tally.sent, tally.lost()));
        teller.say("alice: xfrmctl sa");
        teller.show(&self.daemons[0].xfrmctl(&["sa"])?.stdout);
        Ok(Revocation {
            serial: CAROL.to_string(),
            sas_deleted: count,
            cut_ms: cut,
            renegotiation_refused: refused,
            others_alive,
        })
    }

    /// Carol tries again, and so does alice.
    fn refused(&self, teller: &Teller) -> Result<bool> {
        let carol = self.address(2);
        let mut refused = true;
        for (from, to) in [(2, 0), (2, 1), (0, 2)] {
            let answer = ping::once(&self.hosts[from], self.address(to), QUIET)?;
            refused &= answer.is_none();
            let outcome = if answer.is_none() { "no answer" } else { "ANSWERED" };
            teller.say(format!("{} pings {}: {outcome}", self.hosts[from].name(), self.hosts[to].name()));
        }
        for host in [0, 1] {
            refused &= kernel_state::sas_between(&self.hosts[host], self.address(host), carol)?.is_empty();
            let log = self.daemons[host].log()?;
            let line = log
                .lines()
                .rev()
                .find(|line| line.contains(&format!("serial {CAROL} of ")) && line.contains("deny list"));
            teller.say(format!("{}'s log: {}", self.hosts[host].name(), line.unwrap_or("(no refusal)")));
            refused &= line.is_some();
        }
        Ok(refused)
    }
}

/// The running kernel, and why it is this one.
fn kernel(job: &Job) -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    format!("Linux {release}: {}", job.kernel.trim_start_matches("kernel: "))
}

/// The time in `...: 2 SAs deleted in 0.6 ms`.
fn deleted_in_ms(closing: &str) -> Option<f64> {
    closing.rsplit_once(" SAs deleted in ")?.1.strip_suffix(" ms")?.parse().ok()
}

fn in_hex(spis: &[u32]) -> String {
    spis.iter().map(|spi| format!("0x{spi:08x}")).collect::<Vec<_>>().join(" and ")
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
