//! RSA keys without certificates (`plain_rsa`): with libreswan's raw keys, whose own tool writes them down, and with
//! strongSwan's. Nobody sends a certificate, and each side knows the other's key from a file.

use std::rc::Rc;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::peer::libreswan::{self, LIBEXEC, Libreswan};
use crate::peer::ours::{CERTS, Ours, racoon_conf, setkey_script};
use crate::peer::strongswan::{Strongswan, strongswan_conf, swanctl_conf};
use crate::peer::tunnel::{Exchange, Id, Tunnel};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping;
use crate::pki::Leaf;
use crate::process;
use crate::scenario::stage::{Papers, Stage};
use crate::scenario::{ALL_PAIRS, Scenario, for_pairs};
use crate::wait;

/// The lines of racoon.conf that certificates have.
const X509: [&str; 2] = ["\tcertificate_type x509 \"own.crt\" \"own.key\";\n", "\tca_type x509 \"ca.crt\";\n"];
const PLAIN: [&str; 2] = ["\tcertificate_type plain_rsa \"own.rsa\";\n", "\tpeers_certfile plain_rsa \"peers.rsa\";\n"];
/// What is logged of a peer's signature.
const PROVED: &str = "the peer has signed with the RSA key of /etc/racoon/certs/peers.rsa:";

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "both sides sign with RSA keys that have no certificates";
    for_pairs(out, &ALL_PAIRS, "plain-rsa", about, |d, a, b| up(d, (a, b), Exchange::Main));
    for_pairs(out, &ALL_PAIRS, "plain-rsa-aggressive", about, |d, a, b| up(d, (a, b), Exchange::Aggressive));
    out.push(Scenario::new(
        "plain-rsa-keys",
        "a peer with another key is refused, a damaged key file refuses to load, a good one is read on SIGHUP",
        keys_change,
    ));
}

/// A side and the key it signs with.
struct Side<'a> {
    host: &'a Rc<Host>,
    tunnel: Tunnel,
    own: &'a Leaf,
}

fn up(desk: &mut Desk, kinds: (Kind, Kind), exchange: Exchange) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let [at_alice, at_bob] = sides(&papers, [&pair.alice, &pair.bob], exchange);
    let responder = start(desk, kinds.1, &at_bob, &entry(desk, &at_alice, kinds.0, &pair.bob)?)?;
    let initiator = start(desk, kinds.0, &at_alice, &entry(desk, &at_bob, kinds.1, &pair.alice)?)?;
    let stage = Stage { initiator, responder, addresses: (at_alice.tunnel.local, at_bob.tunnel.local) };
    stage.establish(desk)?;
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE)?;
    for (kind, side) in [(kinds.0, &stage.initiator), (kinds.1, &stage.responder)] {
        if kind == Kind::Ours {
            stage.logged(&**side, &[PROVED])?;
            desk.proved(format!("{} knew its peer by the key in its file", side.host().name()));
        }
    }
    Ok(())
}

fn sides<'a>(papers: &'a Papers, hosts: [&'a Rc<Host>; 2], exchange: Exchange) -> [Side<'a>; 2] {
    let [a, b] = hosts.map(|host| host.address(Family::V4));
    let side = |host, own, from, to| {
        let (local_id, remote_id) = (Id::Address(from), Id::Address(to));
        let tunnel = Tunnel { exchange, local_id, remote_id, ..Tunnel::transport(from, to, papers.credentials(own)) };
        Side { host, tunnel, own }
    };
    [side(hosts[0], &papers.alice, a, b), side(hosts[1], &papers.bob, b, a)]
}

/// What a side's peer gets to know: `0s...` as each make's own tool writes it, and PEM for strongSwan.
struct Known {
    text: String,
    pem: String,
}

/// The public key of `side`, whose daemon is of this make, for the peer on `reader`.
fn entry(desk: &Desk, side: &Side<'_>, kind: Kind, reader: &Host) -> Result<Known> {
    let pem = process::check(
        std::process::Command::new("openssl").args(["x509", "-pubkey", "-noout", "-in"]).arg(saved(desk, side.own)?),
    )?;
    let text = match kind {
        // As a user of libreswan gets it.
        Kind::Pluto => {
            libreswan::bind_helpers(desk, side.host)?;
            libreswan::fill_database(side.host, Some(&side.tunnel.credentials))?;
            let tool = format!("{LIBEXEC}/showhostkey");
            let list = side.host.check(&tool, &["--nssdir", "/run/pluto/nss", "--list"])?;
            let ckaid = list.split_whitespace().next_back().unwrap_or_default().to_owned();
            let shown = side.host.check(&tool, &["--nssdir", "/run/pluto/nss", "--left", "--ckaid", &ckaid])?;
            let key = shown.split("leftrsasigkey=").nth(1).and_then(|rest| rest.split_whitespace().next());
            key.ok_or_else(|| Failure::new("showhostkey shows no key").with("its output", shown.clone()))?.to_owned()
        }
        _ => {
            reader.write("/run/peer.pem", 0o644, &pem)?;
            let text = reader.check(desk.program("xfrmctl"), &["plainrsa-gen", "-i", "/run/peer.pem"])?;
            text.trim().trim_start_matches(": PUB ").to_owned()
        }
    };
    Ok(Known { text, pem })
}

fn saved(desk: &Desk, leaf: &Leaf) -> Result<std::path::PathBuf> {
    let path = desk.folder().join(format!("{}.pem", leaf.common_name));
    std::fs::write(&path, &leaf.pem)?;
    Ok(path)
}

fn start(desk: &Desk, kind: Kind, side: &Side<'_>, peer: &Known) -> Result<Box<dyn Peer>> {
    let (host, tunnel) = (side.host, &side.tunnel);
    Ok(match kind {
        Kind::Ours => Box::new(ours(desk, side, &peer.text)?),
        Kind::Charon => {
            let public = |name: &str, pem: &str| host.write(&format!("/run/swan/swanctl/pubkey/{name}"), 0o644, pem);
            public("peer.pub", &peer.pem)?;
            let own = process::check(
                std::process::Command::new("openssl")
                    .args(["x509", "-pubkey", "-noout", "-in"])
                    .arg(saved(desk, side.own)?),
            )?;
            public("own.pub", &own)?;
            let text = swanctl_conf(tunnel)
                .replace("certs = own.crt", "pubkeys = own.pub")
                .replace("remote { auth = pubkey", "remote { auth = pubkey\n      pubkeys = peer.pub");
            Box::new(Strongswan::with_files(host, &tunnel.credentials, &strongswan_conf(tunnel), &text)?)
        }
        Kind::Pluto => {
            let own = entry(desk, side, Kind::Pluto, host)?.text;
            let keys = format!("\tleftrsasigkey={own}\n\trightrsasigkey={}\n", peer.text);
            let conf = libreswan::ipsec_conf(tunnel)
                .replace("\tleftcert=own\n", &keys)
                .replace("\tleftsendcert=always\n\trightca=%any\n", "");
            Box::new(Libreswan::with_files(desk, host, Some(&tunnel.credentials), &conf, "", tunnel.begin)?)
        }
        Kind::Vpnc | Kind::IkeScan => return Err(Failure::new("it has no raw keys")),
    })
}

/// Our key from the PEM file by our own tool, which the user of racoon's plainrsa-gen knows.
fn install(desk: &Desk, side: &Side<'_>, peer: &str) -> Result<()> {
    let (host, own) = (side.host, format!("{CERTS}/own.rsa"));
    host.write("/run/own.key", 0o600, &side.own.key)?;
    if !host.exists(&own) {
        host.write(&format!("{CERTS}/ca.crt"), 0o644, &side.tunnel.credentials.ca)?;
        host.check(desk.program("xfrmctl"), &["plainrsa-gen", "-i", "/run/own.key", "-f", &own])?;
    }
    host.write(&format!("{CERTS}/peers.rsa"), 0o644, format!("# peers\n{} : PUB {peer}\n", side.tunnel.remote))
}

fn ours(desk: &Desk, side: &Side<'_>, peer: &str) -> Result<Ours> {
    install(desk, side, peer)?;
    let mut conf = racoon_conf(&side.tunnel);
    for (x509, plain) in X509.into_iter().zip(PLAIN) {
        if !conf.contains(x509) {
            return Err(Failure::new(format!("racoon.conf has no line {x509:?}")));
        }
        conf = conf.replace(x509, plain);
    }
    Ours::with_files(desk, side.host, &conf, &setkey_script(&side.tunnel))
}

fn keys_change(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let [at_alice, at_bob] = sides(&papers, [&pair.alice, &pair.bob], Exchange::Main);
    let right = entry(desk, &at_alice, Kind::Ours, &pair.bob)?.text;
    let wrong = entry(desk, &at_bob, Kind::Ours, &pair.bob)?.text;
    let mut bob = ours(desk, &at_bob, &wrong)?;
    let alice = ours(desk, &at_alice, &wrong)?;
    let addresses = (at_alice.tunnel.local, at_bob.tunnel.local);
    let up = |alice: &Ours| alice.xfrmctl(&["up", &addresses.1.to_string()]);
    if up(&alice)?.status.success() {
        return Err(Failure::new("phase 1 came up although bob knows another key"));
    }
    let says = |side: &dyn Peer, text: &str| {
        wait::until(PATIENCE, &format!("{} to log {text:?}", side.host().name()), || Ok(side.log()?.contains(text)))
            .map_err(|failure| failure.with("its log", side.log().unwrap_or_default()))
    };
    says(&bob, "signature is not valid")?;
    desk.proved("bob refuses a peer that signs with another key than the one in his file");
    let file = format!("{CERTS}/peers.rsa");
    pair.bob.write(&file, 0o644, format!("{} : PUB {right}!\n", addresses.0))?;
    bob.reload()?;
    says(&bob, "peers.rsa:1:16: error: this is no number")?;
    pair.bob.write(&file, 0o644, format!("{} : PUB {right}\n", addresses.0))?;
    bob.reload()?;
    let done = up(&alice)?;
    if !done.status.success() {
        return Err(Failure::new("phase 1 did not come up").with("xfrmctl's output", done.output()));
    }
    says(&bob, PROVED)?;
    says(&alice, PROVED)?;
    ping::answered(&pair.alice, addresses.1, PATIENCE)?;
    desk.proved("with the right key, read on SIGHUP, the tunnel comes up");
    for log in [bob.log()?, alice.log()?] {
        if log.contains(&right[20..60]) || log.contains(&wrong[20..60]) {
            return Err(Failure::new("a key stands in the log").with("the log", log));
        }
    }
    Ok(())
}
