//! The daemon's own life: reload, orderly end, missing rights, garbage on its port, and what the tools say about it.

use std::time::Duration;

use rustix::process::Signal;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::{self, CONF, Ours, POLICIES};
use crate::peer::tunnel::Tunnel;
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::scenario::stage::{BOB_SERIAL, Papers, spis};
use crate::scenario::{Scenario, for_pairs};
use crate::wait;

/// xfrmd is the initiator in all of them.
const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon)];
const ALONE: [(Kind, Kind); 1] = [(Kind::Ours, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &PAIRS, "reload", "SIGHUP keeps the tunnels", reload);
    for_pairs(out, &ALONE, "reload-broken", "SIGHUP with a broken file keeps everything", reload_broken);
    for_pairs(
        out,
        &PAIRS,
        "terminate",
        "SIGTERM removes xfrmd's own SAs, here and at the peer, and no other",
        terminate,
    );
    for_pairs(out, &ALONE, "listings", "xfrmctl sa, policy and peers as JSON", listings);
    for_pairs(out, &ALONE, "garbage", "garbage on UDP 500 neither stops the daemon nor is answered at length", garbage);
    for_pairs(out, &ALONE, "lossy-link", "a fifth of all packets lost, some doubled: the tunnel comes up", lossy);
    out.push(Scenario::new("no-capability", "without CAP_NET_ADMIN xfrmd names what is missing", no_capability));
}

/// The SA that is not xfrmd's.
const MANUAL_SPI: u32 = 0x4242;

/// xfrmd on alice, anyone on bob, and a tunnel.
struct Life {
    alice: Ours,
    bob: Box<dyn Peer>,
    to: std::net::IpAddr,
}

impl Life {
    fn begin(desk: &mut Desk, responder: Kind) -> Result<Self> {
        let life = Self::before_traffic(desk, responder)?;
        ping::answered(life.alice.host(), life.to, PATIENCE).map_err(|failure| life.evidence(failure))?;
        Ok(life)
    }

    fn before_traffic(desk: &mut Desk, responder: Kind) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let pair = desk.pair()?;
        let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
        let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        let bob = peer::start(responder, desk, &pair.bob, at_bob)?;
        let at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        let alice = Ours::start(desk, &pair.alice, at_alice)?;
        Ok(Self { alice, bob, to: b })
    }

    fn evidence(&self, failure: Failure) -> Failure {
        failure
            .with("alice's log", self.alice.log().unwrap_or_default())
            .with("bob's log", self.bob.log().unwrap_or_default())
            .with("alice's SAs", self.alice.host().netns().ip(&["-s", "xfrm", "state"]).unwrap_or_default())
    }
}

fn reload(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let mut life = Life::begin(desk, responder)?;
    let before = spis(&kernel_state::sas(life.alice.host())?);
    let running = Running::start(life.alice.host(), life.to, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 5)?;
    life.alice.reload().map_err(|failure| life.evidence(failure))?;
    running.wait_for_answers(PATIENCE, 20).map_err(|failure| life.evidence(failure))?;
    let (after, tally) = (spis(&kernel_state::sas(life.alice.host())?), running.finish()?);
    if before != after || tally.lost() > 0 {
        let what = format!("SPIs {before:x?} became {after:x?}; {} pings lost", tally.lost());
        return Err(life.evidence(Failure::new(what)));
    }
    desk.proved(format!("SIGHUP read the file again; {} pings, none lost, the same two SAs", tally.sent));
    Ok(())
}

fn reload_broken(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let mut life = Life::begin(desk, responder)?;
    let before = spis(&kernel_state::sas(life.alice.host())?);
    let good = life.alice.host().read(CONF)?;
    life.alice.host().write(CONF, 0o600, format!("{good}\nremote 10.9.9.9 {{ exchange_mode sideways; }}\n"))?;
    life.alice.daemon().signal(Signal::HUP)?;
    life.alice.daemon().wait_for_line(PATIENCE, "config reload failed")?;
    ping::answered(life.alice.host(), life.to, PATIENCE).map_err(|failure| life.evidence(failure))?;
    let after = spis(&kernel_state::sas(life.alice.host())?);
    if before != after {
        return Err(life.evidence(Failure::new(format!("SPIs {before:x?} became {after:x?}"))));
    }
    desk.proved("a reload that fails is reported and changes nothing");
    Ok(())
}

fn terminate(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let mut life = Life::begin(desk, responder)?;
    let host = std::rc::Rc::clone(life.alice.host());
    let key = "0x000102030405060708090a0b0c0d0e0f";
    let manual = format!("add 192.0.2.1 192.0.2.2 esp {MANUAL_SPI} -m transport -E aes-cbc {key} -A hmac-md5 {key};\n");
    host.write("/etc/manual.conf", 0o644, manual)?;
    let done = life.alice.setkey(&["-f", "/etc/manual.conf"])?;
    if !spis(&kernel_state::sas(&host)?).contains(&MANUAL_SPI) {
        return Err(life.evidence(Failure::new("setkey add made no SA").with("its output", done.output())));
    }
    life.alice.shut_down().map_err(|failure| life.evidence(failure))?;
    let left = kernel_state::sas(&host)?;
    if left.iter().map(|sa| sa.spi).collect::<Vec<_>>() != [MANUAL_SPI] {
        let what = format!("left on alice: {:x?}", spis(&left));
        return Err(life.evidence(Failure::new(what)));
    }
    desk.proved("SIGTERM: exit code 0, its two SAs gone, the one added by setkey still there");
    wait::until(PATIENCE, "bob's SAs to be gone", || Ok(kernel_state::sas(life.bob.host())?.is_empty()))
        .map_err(|failure| life.evidence(failure))?;
    if kernel_state::policy_count(&host)? < 2 {
        return Err(life.evidence(Failure::new("the policies that setkey made are gone")));
    }
    desk.proved("the peer's SAs went with the DELETE; the policies stay, so nothing goes in clear");
    ping::unanswered(&host, life.to, Duration::from_secs(2))
}

fn listings(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let life = Life::begin(desk, responder)?;
    let array = |what: &str| -> Result<Vec<serde_json::Value>> {
        let done = life.alice.xfrmctl(&[what, "--json"])?;
        serde_json::from_str(&done.stdout)
            .during(format!("xfrmctl {what} --json"))
            .map_err(|failure| failure.with("its output", done.output()))
    };
    let sas = array("sa")?;
    let fields = [
        "direction",
        "src",
        "dst",
        "proto",
        "spi",
        "mode",
        "reqid",
        "encryption",
        "authentication",
        "icv_bits",
        "replay_window",
        "encapsulation",
        "age_s",
        "soft_in_s",
        "hard_in_s",
        "bytes",
        "packets",
        "peer",
        "cert_serial",
        "cert_issuer",
        "isakmp_cookies",
    ];
    for sa in &sas {
        let missing: Vec<&str> = fields.iter().copied().filter(|field| sa.get(field).is_none()).collect();
        if !missing.is_empty() {
            return Err(Failure::new(format!("xfrmctl sa --json lacks {missing:?}")).with("it says", sa.to_string()));
        }
    }
    let text = |sa: &serde_json::Value, field: &str| sa.get(field).and_then(|v| v.as_str()).map(str::to_owned);
    let mut directions: Vec<_> = sas.iter().filter_map(|sa| text(sa, "direction")).collect();
    directions.sort();
    let serials: Vec<_> = sas.iter().map(|sa| text(sa, "cert_serial")).collect();
    let bits: Vec<_> = sas.iter().map(|sa| sa.get("icv_bits").and_then(serde_json::Value::as_u64)).collect();
    let wanted = Some(BOB_SERIAL.to_string());
    if directions != ["in", "out"] || serials.iter().any(|serial| *serial != wanted) || bits != [Some(128); 2] {
        return Err(Failure::new(format!("directions {directions:?}, serials {serials:?}, ICV bits {bits:?}"))
            .with("xfrmctl sa --json", format!("{sas:#?}")));
    }
    desk.proved("xfrmctl sa --json: in and out, the peer's serial, 128 ICV bits");
    let policies = array("policy")?;
    let peers = array("peers")?;
    let established = peers.iter().any(|peer| {
        text(peer, "address").as_deref() == Some(&life.to.to_string())
            && text(peer, "state").as_deref() == Some("established")
    });
    if policies.len() < 2 || !established {
        return Err(Failure::new("policy or peers do not fit")
            .with("policy", format!("{policies:#?}"))
            .with("peers", format!("{peers:#?}")));
    }
    desk.proved(format!("xfrmctl peers --json: bob established; {} policies", policies.len()));
    let tables: Vec<String> = ["sa", "policy", "peers"]
        .into_iter()
        .map(|what| Ok(life.alice.xfrmctl(&[what])?.stdout))
        .collect::<Result<_>>()?;
    let keys_shown = kernel_state::sas(life.alice.host())?.iter().flat_map(|sa| sa.algorithms.clone()).any(|line| {
        let key = line.split_whitespace().find_map(|word| word.strip_prefix("0x")).unwrap_or("none").to_owned();
        tables.iter().any(|table| table.contains(&key)) || format!("{sas:?}").contains(&key)
    });
    if keys_shown || tables.iter().any(|table| table.trim().is_empty()) {
        return Err(Failure::new("a table is empty or shows a key").with("tables", tables.join("\n")));
    }
    desk.proved("no listing shows a key");
    Ok(())
}

fn garbage(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let life = Life::before_traffic(desk, responder)?;
    // Lengths around the ISAKMP header's 28 octets and beyond, all from a host that is allowed to speak.
    let script = format!(
        "for n in 1 4 27 28 29 60 200 1000; do for i in 1 2 3 4 5; do head -c $n /dev/urandom > /dev/udp/{}/500; done; done",
        life.to
    );
    life.alice.host().check("bash", &["-c", &script])?;
    ping::answered(life.alice.host(), life.to, PATIENCE).map_err(|failure| life.evidence(failure))?;
    desk.proved("after 40 datagrams of garbage the tunnel comes up as usual");
    Ok(())
}

fn lossy(desk: &mut Desk, _: Kind, responder: Kind) -> Result<()> {
    let life = Life::before_traffic(desk, responder)?;
    let fault = crate::impair::Impairment { delay: Duration::from_millis(5), loss: 20, duplicate: 10, reorder: 0 };
    for host in [life.alice.host(), life.bob.host()] {
        crate::impair::apply(host, crate::topology::OUTSIDE, fault)?;
    }
    let running = Running::start(life.alice.host(), life.to, Duration::from_millis(200))?;
    let long = Duration::from_secs(90);
    wait::until(long, "answers over a lossy link", || Ok(running.answers()? >= 10))
        .map_err(|failure| life.evidence(failure))?;
    for host in [life.alice.host(), life.bob.host()] {
        crate::impair::apply(host, crate::topology::OUTSIDE, crate::impair::Impairment::default())?;
    }
    let (alice, bob) = (kernel_state::sas(life.alice.host())?, kernel_state::sas(life.bob.host())?);
    if spis(&alice) != spis(&bob) {
        let what = format!("alice holds {:x?}, bob {:x?}", spis(&alice), spis(&bob));
        return Err(life.evidence(Failure::new(what)));
    }
    desk.proved(format!(
        "10 answers within {} s; both kernels hold the same {} SAs",
        running.age().as_secs(),
        alice.len()
    ));
    Ok(())
}

fn no_capability(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let tunnel = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    ours::install_credentials(desk, &pair.alice, &tunnel)?;
    pair.alice.write(CONF, 0o600, ours::racoon_conf(&tunnel))?;
    pair.alice.write(POLICIES, 0o755, ours::setkey_script(&tunnel))?;
    let mut command = pair.alice.command("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]).arg(desk.program("xfrmd"));
    command.args(["-F", "-f", CONF]);
    let mut daemon = pair.alice.spawn("xfrmd", command)?;
    let status = daemon.wait_exit(PATIENCE)?;
    let log = daemon.log()?;
    if status.success() || !log.contains("CAP_NET_ADMIN") {
        return Err(Failure::new(format!("xfrmd ended with {status}")).with("it said", log));
    }
    desk.proved(format!("xfrmd ended with {status} and named CAP_NET_ADMIN"));
    Ok(())
}
