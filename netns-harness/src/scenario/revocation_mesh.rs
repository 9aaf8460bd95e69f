//! Revocations that reach further than one pair: a host of a mesh of six, an intermediate, a certificate that ends.

use std::fs;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::{self, CERTS, Ours};
use crate::peer::tunnel::Tunnel;
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::pki::{Authority, Style, Validity};
use crate::scenario::revocation::{Publisher, notice};
use crate::scenario::seeds::{KEYLIME, KEYLIME_CONF, keylime_policies, unpack_payload};
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET};
use crate::scenario::{Scenario, for_pairs};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("revocation-mesh", "one of six hosts cut off by ZeroMQ; the others lose no packet", mesh));
    const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];
    for_pairs(out, &PAIRS, "revocation-intermediate", "a CRL with the intermediate's serial", intermediate);
    for_pairs(out, &PAIRS, "revocation-while-down", "a CRL that comes while xfrmd is dead", while_down);
    for_pairs(out, &PAIRS, "revocation-expiry", "the peer's certificate ends while its SAs live", expiry);
}

const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
const SUBNET: &str = "10.1.0.0/24";
/// frank's.
const OUTCAST: u64 = 7;
/// For so long frank tries to come back.
const STUBBORN: Duration = Duration::from_secs(60);
/// Between pings: the cut's effect on packets is known to so much.
const OFTEN: Duration = Duration::from_millis(100);

struct Mesh {
    hosts: Vec<Rc<Host>>,
    daemons: Vec<Ours>,
    publishers: Vec<Publisher>,
}

impl Mesh {
    fn evidence(&self, failure: Failure) -> Failure {
        self.daemons.iter().fold(failure, |failure, one| failure.with(one.host().name(), one.log().unwrap_or_default()))
    }

    /// frank, and the others.
    fn outcast(&self) -> Result<(&Rc<Host>, &[Rc<Host>])> {
        self.hosts.split_last().ok_or_else(|| Failure::new("a mesh without hosts"))
    }

    fn sas_with(&self, outcast: IpAddr) -> Result<usize> {
        let (_, others) = self.outcast()?;
        others.iter().try_fold(0, |sum, host| {
            Ok(sum + kernel_state::sas_between(host, host.address(Family::V4), outcast)?.len())
        })
    }
}

fn mesh(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let lan = desk.lan(&NAMES)?;
    let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
    let notifier = authority.leaf(&mut desk.keys, "RevocationNotifier", 99)?;
    let conf = format!(
        "{KEYLIME_CONF}\nrevocation {{ subscribe \"tcp://127.0.0.1:8992\"; notifier_certificate \"RevocationNotifier-cert.crt\"; }}\n"
    );
    let mut mesh = Mesh { hosts: lan.hosts.clone(), daemons: Vec::new(), publishers: Vec::new() };
    for (host, serial) in lan.hosts.iter().zip(2..) {
        let name = format!("{}.desk", host.name());
        let leaf = authority.leaf_with(&mut desk.keys, &name, serial, Validity::Current, Style::Keylime)?;
        unpack_payload(desk, host, &authority, &leaf)?;
        host.write(&format!("{KEYLIME}/RevocationNotifier-cert.crt"), 0o644, &notifier.pem)?;
        mesh.publishers.push(Publisher::start(host, true)?);
        mesh.daemons.push(Ours::with_files(desk, host, &conf, &keylime_policies(SUBNET))?);
    }
    play_mesh(desk, &mesh, &notifier.key).map_err(|failure| mesh.evidence(failure))
}

fn play_mesh(desk: &mut Desk, mesh: &Mesh, key: &str) -> Result<()> {
    let (outcast, others) = mesh.outcast()?;
    let outcast_at = outcast.address(Family::V4);
    for (number, host) in mesh.hosts.iter().enumerate() {
        for other in mesh.hosts.iter().skip(number + 1) {
            ping::answered(host, other.address(Family::V4), PATIENCE)?;
        }
    }
    let mut pings = Vec::new();
    for (number, host) in others.iter().enumerate() {
        for other in others.iter().skip(number + 1) {
            pings.push(Running::start(host, other.address(Family::V4), OFTEN)?);
        }
    }
    let mut stubborn = Vec::new();
    for other in others {
        stubborn.push(Running::start(outcast, other.address(Family::V4), OFTEN)?);
    }
    for ping in pings.iter().chain(&stubborn) {
        ping.wait_for_answers(PATIENCE, 5)?;
    }
    desk.proved(format!("fifteen pairs talk; {} SAs with frank on the five others", mesh.sas_with(outcast_at)?));

    let message = notice(desk, key, "revocation", OUTCAST)?;
    let (begun, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    for publisher in mesh.publishers.iter().take(others.len()) {
        publisher.publish(&message)?;
    }
    wait::until(PATIENCE, "the SAs with frank to be gone", || Ok(mesh.sas_with(outcast_at)? == 0))?;
    let gone = begun.elapsed();
    wait::throughout(STUBBORN, "no SA with frank", || Ok(mesh.sas_with(outcast_at)? == 0))?;
    let mut last = Duration::ZERO;
    for ping in &stubborn {
        last = last.max(ping.last_answer()?.unwrap_or_default().saturating_sub(wall));
    }
    if last > gone + OFTEN {
        return Err(Failure::new(format!("frank had an answer {} ms after the notice", last.as_millis())));
    }
    let lines = mesh.daemons.iter().take(others.len()).filter_map(|daemon| daemon.log().ok());
    let cuts: Vec<String> = lines
        .flat_map(|log| {
            log.lines().filter(|line| line.contains("(asked for by zeromq)")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    if cuts.len() != others.len() {
        return Err(Failure::new(format!("{} hosts say that they revoked", cuts.len())));
    }
    desk.proved(format!(
        "{} ms after five notices were sent the last SA was seen gone; frank's last packet was answered {} ms after them",
        gone.as_millis(),
        last.as_millis()
    ));
    for ping in pings {
        let (gaps, answers) = (ping.gaps()?, ping.answers()?);
        if gaps > 0 {
            return Err(Failure::new(format!("a pair without frank lost {gaps} pings beside {answers} answered ones")));
        }
    }
    desk.proved(format!("frank tried for {} s in vain; ten other pairs lost nothing", STUBBORN.as_secs()));
    Ok(())
}

/// Serial of the intermediate.
const INTERMEDIATE: u64 = 77;

fn intermediate(desk: &mut Desk, kind: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let middle = papers.authority.intermediate(&mut desk.keys, "Desk Intermediate", INTERMEDIATE)?;
    let leaf = middle.leaf(&mut desk.keys, "alice.desk", 500)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_alice = Tunnel::transport(a, b, papers.credentials(&leaf));
    at_alice.credentials.intermediate = Some(middle.pem.clone());
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    ours::install_credentials(desk, &pair.bob, &at_bob)?;
    let (roots, middles) = (format!("{CERTS}/root.pem"), format!("{CERTS}/middle.pem"));
    pair.bob.write(&roots, 0o644, papers.authority.crl_number(1, &[])?)?;
    pair.bob.write(&middles, 0o644, middle.crl_number(1, &[])?)?;
    let conf = ours::racoon_conf(&at_bob) + "\nrevocation { crl_file \"root.pem\"; crl_file \"middle.pem\"; }\n";
    let bob = Ours::with_files(desk, &pair.bob, &conf, &ours::setkey_script(&at_bob))?;
    let alice = peer::start(kind, desk, &pair.alice, at_alice)?;
    let evidence = |failure: Failure| {
        failure.with("alice's log", alice.log().unwrap_or_default()).with("bob's log", bob.log().unwrap_or_default())
    };
    ping::answered(&pair.alice, b, PATIENCE).map_err(evidence)?;
    // The intermediate's own list waited for somebody to show the intermediate.
    wait::until(PATIENCE, "the intermediate's list to be in use", || {
        Ok(bob.xfrmctl(&["status", "--json"])?.stdout.contains("CN=Desk Intermediate"))
    })
    .map_err(evidence)?;
    pair.bob.write(&format!("{roots}.new"), 0o644, papers.authority.crl_number(2, &[INTERMEDIATE])?)?;
    fs::rename(pair.bob.outside(&format!("{roots}.new")), pair.bob.outside(&roots))?;
    wait::until(PATIENCE, "bob's SAs to be gone", || Ok(kernel_state::sas(&pair.bob)?.is_empty())).map_err(evidence)?;
    ping::unanswered(&pair.alice, b, QUIET).map_err(evidence)?;
    wait::until(PATIENCE, "the audit line", || {
        Ok(bob.log()?.contains(&format!("revoked serial {INTERMEDIATE} of /C=US/O=Desk/CN=Desk CA: 2 SAs deleted")))
    })
    .map_err(evidence)?;
    desk.proved("the SAs of a leaf below the intermediate are gone, and alice is refused");
    Ok(())
}

/// For so long alice's certificate is good.
const SHORT: Duration = Duration::from_secs(20);

fn expiry(desk: &mut Desk, kind: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + SHORT;
    let leaf = papers.authority.leaf_until(&mut desk.keys, "alice.desk", 600, end)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    ours::install_credentials(desk, &pair.bob, &at_bob)?;
    let conf = ours::racoon_conf(&at_bob) + "\nrevocation { expired_certificate cut; }\n";
    let mut bob = Ours::with_files(desk, &pair.bob, &conf, &ours::setkey_script(&at_bob))?;
    let alice = peer::start(kind, desk, &pair.alice, Tunnel::transport(a, b, papers.credentials(&leaf)))?;
    ping::answered(&pair.alice, b, PATIENCE)?;
    // What ends it is in a file as well: the daemon that cuts is not the one that judged.
    bob.daemon().stop(rustix::process::Signal::KILL)?;
    bob.restart()?;
    let evidence = |failure: Failure| {
        failure.with("alice's log", alice.log().unwrap_or_default()).with("bob's log", bob.log().unwrap_or_default())
    };
    let standing = kernel_state::sas(&pair.bob)?.len();
    if standing != 2 {
        return Err(evidence(Failure::new(format!("{standing} SAs stand before the certificate's end"))));
    }
    wait::until(SHORT + PATIENCE, "bob's SAs to be gone", || Ok(kernel_state::sas(&pair.bob)?.is_empty()))
        .map_err(evidence)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now < end {
        return Err(evidence(Failure::new("the SAs went before the certificate's end")));
    }
    wait::until(PATIENCE, "the audit line", || Ok(bob.log()?.contains("(asked for by expired)"))).map_err(evidence)?;
    ping::unanswered(&pair.alice, b, QUIET).map_err(evidence)?;
    desk.proved("the SAs ended with the certificate, although the daemon was killed in between; alice is refused");
    Ok(())
}

fn while_down(desk: &mut Desk, kind: Kind, _: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    ours::install_credentials(desk, &pair.bob, &at_bob)?;
    let list = format!("{CERTS}/list.pem");
    pair.bob.write(&list, 0o644, papers.authority.crl_number(1, &[])?)?;
    let conf = ours::racoon_conf(&at_bob) + "\nrevocation { crl_file \"list.pem\"; }\n";
    let mut bob = Ours::with_files(desk, &pair.bob, &conf, &ours::setkey_script(&at_bob))?;
    let alice = peer::start(kind, desk, &pair.alice, Tunnel::transport(a, b, papers.credentials(&papers.alice)))?;
    ping::answered(&pair.alice, b, PATIENCE)?;
    bob.daemon().stop(rustix::process::Signal::KILL)?;
    pair.bob.write(&list, 0o644, papers.authority.crl_number(2, &[ALICE_SERIAL])?)?;
    let standing = kernel_state::sas(&pair.bob)?.len();
    bob.restart()?;
    let evidence = |failure: Failure| {
        failure.with("alice's log", alice.log().unwrap_or_default()).with("bob's log", bob.log().unwrap_or_default())
    };
    wait::until(PATIENCE, "bob's SAs to be gone", || Ok(kernel_state::sas(&pair.bob)?.is_empty())).map_err(evidence)?;
    let line = format!("revoked serial {ALICE_SERIAL} of /C=US/O=Desk/CN=Desk CA: {standing} SAs deleted");
    wait::until(PATIENCE, "the audit line", || {
        Ok(bob.log()?.lines().any(|text| text.contains(&line) && text.contains("(asked for by crl)")))
    })
    .map_err(evidence)?;
    ping::unanswered(&pair.alice, b, QUIET).map_err(evidence)?;
    desk.proved(format!("{standing} SAs outlived the daemon and went at its next start; alice is refused"));
    Ok(())
}
