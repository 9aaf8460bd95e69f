//! racoonctl as scripts use it: establish, look, take down, and a listener that hears of it all.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::tunnel::{Auth, Exchange, Tunnel};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::process::Finished;
use crate::scenario::Scenario;
use crate::scenario::stage::{BOB_SERIAL, Papers, Stage};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("racoonctl", "every command with racoon's shapes and exit codes", play));
    out.push(Scenario::new("racoonctl-aggressive", "show-sa tells the exchange of an ISAKMP SA", aggressive));
}

/// Where racoonctl looks for racoon.
const SOCKET: &str = "/run/racoon/racoon.sock";

fn play(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let bob = Ours::start(desk, &pair.bob, Tunnel::transport(b, a, papers.credentials(&papers.bob)))?;
    let tunnel = Tunnel::transport(a, b, papers.credentials(&papers.alice));
    crate::peer::ours::install_credentials(desk, &pair.alice, &tunnel)?;
    let conf = format!(
        "listen {{ adminsock \"{SOCKET}\" \"root\" \"root\" 0600; }}\n{}",
        crate::peer::ours::racoon_conf(&tunnel)
    );
    let mut alice = Ours::with_files(desk, &pair.alice, &conf, &crate::peer::ours::setkey_script(&tunnel))?;
    let evidence = |failure: Failure| {
        failure.with("alice's log", alice.log().unwrap_or_default()).with("bob's log", bob.log().unwrap_or_default())
    };
    let listener = pair.alice.spawn("show-event", {
        let mut command = pair.alice.command(desk.program("racoonctl"));
        command.args(["-s", SOCKET, "show-event"]);
        command
    })?;
    let (from, to) = (a.to_string(), b.to_string());
    let program = desk.program("racoonctl");
    let done = |arguments: &[&str]| -> Result<Finished> {
        let done = pair.alice.run(&program, arguments)?;
        if done.status.success() {
            return Ok(done);
        }
        Err(Failure::new(format!("racoonctl {} ended with {}", arguments.join(" "), done.status))
            .with("its output", done.output()))
    };
    let says = |arguments: &[&str], words: &str| -> Result<String> {
        let finished = done(arguments)?;
        if finished.stdout.contains(words) {
            return Ok(finished.stdout);
        }
        Err(Failure::new(format!("racoonctl {} does not say \"{words}\"", arguments.join(" ")))
            .with("its output", finished.output()))
    };

    says(&["establish-sa", "-w", "isakmp", "inet", &from, &to], "VPN connexion established").map_err(evidence)?;
    says(
        &["-s", SOCKET, "es", "-w", "esp", "inet", &from, &to, "any"],
        &format!("Phase 2 established : {a}[500] -> {b}[500]"),
    )
    .map_err(evidence)?;
    let table = says(&["show-sa", "isakmp"], &format!("{b}.500"))?;
    if !table.starts_with("Destination            Cookies                           Created\n") {
        return Err(Failure::new("show-sa isakmp has another header").with("the table", table));
    }
    says(&["-l", "ss", "isakmp"], " 9 I 10 M ")?;
    let dump = says(&["show-sa", "ipsec"], "\tesp mode=transport spi=")?;
    let setkey = alice.setkey(&["-D"])?;
    let spis = |text: &str| text.lines().filter(|line| line.contains("spi=")).map(str::to_owned).collect::<Vec<_>>();
    if spis(&dump) != spis(&setkey.stdout) {
        return Err(Failure::new("show-sa ipsec and setkey -D differ").with("setkey -D", setkey.stdout));
    }
    schedule_adds_up(&says(&["show-schedule"], "index    tick     xtime    created")?)?;
    as_the_original_asks(&pair.alice).map_err(evidence)?;
    let pipe = format!("{} get-cert inet {from} {to} | openssl x509 -inform DER -noout -serial", program.display());
    let serial = pair.alice.check("sh", &["-c", &pipe])?;
    if serial.trim() != format!("serial={BOB_SERIAL:02X}") {
        return Err(evidence(Failure::new(format!("get-cert gave the certificate with {serial}"))));
    }
    done(&["lu", "nobody-known"])?;
    done(&["es", "isakmp", "inet", &from, &to])?;
    says(&["status", "-f", "json"], "\"peers_established\": 1")?;
    desk.proved("establish-sa -w brought up both phases; show-sa, show-schedule and status told of them");

    done(&["delete-sa", "isakmp", "inet", &from, &to])?;
    for (name, host) in [("alice", &pair.alice), ("bob", &pair.bob)] {
        wait::until(PATIENCE, &format!("{name}'s SAs to be gone"), || Ok(kernel_state::sas(host)?.is_empty()))
            .map_err(evidence)?;
    }
    for event in ["1 established", "1 mode configuration done", "2 established", "2 deleted", "1 deleted"] {
        let port = if event == "2 deleted" { 0 } else { 500 };
        let line = format!("Phase {event} : {a}[{port}] -> {b}[{port}]\n");
        wait::until(Duration::from_secs(10), &format!("show-event to say \"{line}\""), || {
            Ok(listener.log()?.contains(&line))
        })
        .map_err(|failure| evidence(failure).with("show-event", listener.log().unwrap_or_default()))?;
    }
    desk.proved("delete-sa took both phases down at both ends, and show-event had said so");

    for (arguments, words) in [
        (vec!["foo"], "Invalid command [foo]"),
        (vec!["show-sa"], "isakmp, esp, ah or ipsec is missing"),
        (vec!["delete-sa", "isakmp", "inet", &from, &to], "there is nothing up with"),
        (vec!["get-cert", "inet", &from, "192.0.2.99"], "there is nothing up between"),
        (vec!["es", "-n", "nosuch", "isakmp", "inet", &from, &to], "no remote block \"nosuch\" is for"),
        (vec!["delete-sa", "esp", "inet", &from, &to, "any"], "no IPsec SA is for this traffic"),
        (vec!["vpn-connect", "192.0.2.99"], "no remote block is for 192.0.2.99"),
        (vec!["-s", "/run/nobody.sock", "rc"], "/run/nobody.sock"),
    ] {
        let refused = pair.alice.run(&program, &arguments)?;
        if refused.status.code() != Some(1) || !refused.output().contains(words) {
            let what = format!("racoonctl {} ended with {}", arguments.join(" "), refused.status);
            return Err(Failure::new(what).with("its output", refused.output()));
        }
    }
    desk.proved("what cannot be done ends with exit code 1 and says why");
    let nothing = pair.alice.run(&program, &[] as &[&str])?;
    if !nothing.status.success() || !nothing.stdout.contains("show-sa") {
        return Err(Failure::new("racoonctl alone does not say what it can").with("its output", nothing.output()));
    }
    alice.shut_down()?;
    wait::until(Duration::from_secs(10), "show-event to hear of the end", || {
        Ok(listener.log()?.contains("Racoon terminated : anonymous -> anonymous\n"))
    })
    .map_err(|failure| failure.with("show-event", listener.log().unwrap_or_default()))?;
    desk.proved("racoonctl alone tells its commands; show-event tells of the daemon's end");
    Ok(())
}

/// `created` and `tick` give `xtime`, which is to come.
fn schedule_adds_up(table: &str) -> Result<()> {
    let wrong = |why: &str| Failure::new(format!("show-schedule: {why}")).with("the table", table);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut rows = 0;
    for line in table.lines().skip(1) {
        rows += 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, tick, xtime, date, time] = words.as_slice() else { return Err(wrong("a row has five words")) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong("a word is no number"));
        let (tick, xtime) = (number(tick)?, number(xtime)?);
        if xtime + 1 < now || xtime.saturating_sub(tick) > now || date.len() != 10 || time.len() != 8 {
            return Err(wrong("the times do not fit together"));
        }
    }
    if rows == 0 { Err(wrong("no row")) } else { Ok(()) }
}

/// `show-sa esp` in the structures of ipsec-tools' racoonctl: a header, then messages of PF_KEY, the last one numbered 0.
fn as_the_original_asks(host: &Host) -> Result<()> {
    let mut socket = UnixStream::connect(host.outside(SOCKET))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let header: [u16; 4] = [8, 0x8101, 1, 0x0202];
    socket.write_all(&header.map(u16::to_ne_bytes).concat())?;
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply)?;
    let wrong = || Failure::new(format!("the answer to show-sa esp cannot be walked through: {reply:02x?}"));
    let (_, mut rest) = reply.split_at_checked(8).ok_or_else(wrong)?;
    let mut spis = Vec::new();
    while let Some(head) = rest.first_chunk::<32>() {
        // struct sadb_msg, then struct sadb_sa behind its length and type.
        let [2, 10, 0, 3, low, high, ..] = *head else { return Err(wrong()) };
        spis.push(u32::from_be_bytes([head[20], head[21], head[22], head[23]]));
        let last = head[8..12] == [0; 4];
        rest = rest.get(usize::from(u16::from_ne_bytes([low, high])) * 8..).ok_or_else(wrong)?;
        if last != rest.is_empty() {
            return Err(wrong());
        }
    }
    spis.sort_unstable();
    let mut wanted: Vec<u32> = kernel_state::sas(host)?.iter().map(|sa| sa.spi).collect();
    wanted.sort_unstable();
    if spis == wanted && !spis.is_empty() { Ok(()) } else { Err(wrong()) }
}

/// Column E of `-l` for an SA of aggressive mode with charon.
fn aggressive(desk: &mut Desk) -> Result<()> {
    let stage = Stage::set(desk, (Kind::Ours, Kind::Charon), Family::V4, |alice, bob| {
        for tunnel in [alice, bob] {
            tunnel.exchange = Exchange::Aggressive;
            tunnel.auth = Auth::Psk("a key of some thirty characters".to_owned());
        }
    })?;
    stage.establish(desk)?;
    let row = format!("{}.500", stage.addresses.1);
    let table = stage.initiator.host().check(desk.program("racoonctl"), &["-l", "ss", "isakmp"])?;
    if !table.lines().any(|line| line.starts_with(&row) && line.contains(" 9 I 10 A ")) {
        return Err(Failure::new("column E of racoonctl -l is not A").with("the table", table));
    }
    desk.proved("an ISAKMP SA of aggressive mode has A in column E");
    Ok(())
}
