//! Aggressive mode (RFC 2409 §5): with keys found by what the peer says it is, with certificates, refused where it is not
//! configured, and given up for main mode.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::ours::{Ours, install_credentials, racoon_conf, setkey_script};
use crate::peer::tunnel::{Auth, Exchange, Id, Tunnel};
use crate::peer::{self, Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::{Papers, QUIET, Stage};
use crate::scenario::{ALL_PAIRS, PAIRS, Scenario, for_pairs};

/// The key of both sides, good enough that nobody warns.
const KEY: &str = "a key of some thirty characters";

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "a key found by the name that the peer shows in clear";
    for_pairs(out, &ALL_PAIRS, "aggressive-psk-fqdn", about, |desk, a, b| {
        by_name(desk, (a, b), |host| Id::Fqdn(format!("{host}.desk")))
    });
    for_pairs(out, &ALL_PAIRS, "aggressive-psk-user-fqdn", about, |desk, a, b| {
        by_name(desk, (a, b), |host| Id::UserFqdn(format!("{host}@desk.example")))
    });
    for_pairs(out, &ALL_PAIRS, "aggressive-psk-keyid", about, |desk, a, b| {
        by_name(desk, (a, b), |host| Id::KeyId(format!("group-of-{host}")))
    });
    for_pairs(out, &PAIRS, "aggressive-psk-v6", "a key found by IPv6 address", by_address);
    for_pairs(out, &PAIRS, "aggressive-psk-wrong", "keys that differ: refused, and said on our side", wrong);
    for_pairs(out, &ALL_PAIRS, "aggressive-rsa", "certificates in three messages", certificates);
    let main_only = [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon)];
    for_pairs(
        out,
        &main_only,
        "aggressive-then-main",
        "exchange_mode aggressive, main against a peer of main",
        fallback,
    );
    let refuse = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];
    for_pairs(out, &refuse, "aggressive-refused", "not in exchange_mode: nothing is answered with keys", refused);
}

/// `aggressive` with this key, unless it is ours: the same key then stands in front of psk.txt for `owner` alone.
fn with_key(tunnel: &mut Tunnel, kind: Kind, owner: &Id) {
    tunnel.exchange = Exchange::Aggressive;
    tunnel.auth = Auth::Psk(KEY.to_owned());
    if let (Kind::Ours, Id::Fqdn(name) | Id::UserFqdn(name) | Id::KeyId(name)) = (kind, owner) {
        tunnel.auth = Auth::Psk("another key that is never reached".to_owned());
        tunnel.extra.psk_txt = format!("{name} {KEY}\n");
    }
}

fn by_name(desk: &mut Desk, kinds: (Kind, Kind), name: fn(&str) -> Id) -> Result<()> {
    let stage = Stage::set(desk, kinds, Family::V4, |alice, bob| {
        let (at_alice, at_bob) = (name("alice"), name("bob"));
        with_key(alice, kinds.0, &at_bob);
        with_key(bob, kinds.1, &at_alice);
        (alice.local_id, alice.remote_id) = (at_alice.clone(), at_bob.clone());
        (bob.local_id, bob.remote_id) = (at_bob, at_alice);
    })?;
    up(desk, &stage)
}

fn up(desk: &mut Desk, stage: &Stage) -> Result<()> {
    stage.establish(desk)?;
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE)?;
    desk.proved("bob reaches alice through the same SAs");
    Ok(())
}

fn by_address(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = Stage::set(desk, (a, b), Family::V6, |alice, bob| {
        for tunnel in [alice, bob] {
            tunnel.exchange = Exchange::Aggressive;
            tunnel.auth = Auth::Psk(KEY.to_owned());
        }
    })?;
    up(desk, &stage)
}

fn certificates(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = Stage::set(desk, (a, b), Family::V4, |alice, bob| {
        alice.exchange = Exchange::Aggressive;
        bob.exchange = Exchange::Aggressive;
    })?;
    up(desk, &stage)
}

/// The initiator sees it first: the answer proves another key.
fn wrong(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = Stage::set(desk, (a, b), Family::V4, |alice, bob| {
        alice.exchange = Exchange::Aggressive;
        bob.exchange = Exchange::Aggressive;
        alice.auth = Auth::Psk(KEY.to_owned());
        bob.auth = Auth::Psk("another key of some thirty chars".to_owned());
    })?;
    ping::unanswered(stage.initiator.host(), stage.addresses.1, QUIET)?;
    if a == Kind::Ours {
        stage.logged(&*stage.initiator, &["the pre-shared keys of the two sides differ, most likely"])?;
        desk.proved("xfrmd as initiator says that the keys differ");
    }
    nothing_came(desk, &stage)
}

fn nothing_came(desk: &mut Desk, stage: &Stage) -> Result<()> {
    for side in [&stage.initiator, &stage.responder] {
        let sas = stage.sas_at(&**side)?;
        if !sas.is_empty() {
            return Err(stage.evidence(Failure::new("there is an SA all the same").with("SAs", format!("{sas:#?}"))));
        }
    }
    if desk.traffic()?.esp > 0 {
        return Err(Failure::new("ESP went over the link"));
    }
    desk.proved("no SA came up, no ESP");
    Ok(())
}

/// Bob knows main mode only; alice tries the other one first.
fn fallback(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    debug_assert_eq!(a, Kind::Ours, "only xfrmd tries two exchanges");
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let addresses = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_alice = Tunnel::transport(addresses.0, addresses.1, papers.credentials(&papers.alice));
    let mut at_bob = Tunnel::transport(addresses.1, addresses.0, papers.credentials(&papers.bob));
    at_alice.auth = Auth::Psk(KEY.to_owned());
    at_bob.auth = Auth::Psk(KEY.to_owned());
    let responder = peer::start(b, desk, &pair.bob, at_bob)?;
    install_credentials(desk, &pair.alice, &at_alice)?;
    let conf = racoon_conf(&at_alice).replace("exchange_mode main;", "exchange_mode aggressive, main;");
    let ours = Ours::with_files(desk, &pair.alice, &conf, &setkey_script(&at_alice))?;
    let stage = Stage { initiator: Box::new(ours), responder, addresses };
    stage.logged(&*stage.initiator, &["aggressive mode with a pre-shared key"])?;
    stage.establish(desk)?;
    stage.logged(&*stage.initiator, &["begin Aggressive mode."])?;
    stage.logged(&*stage.initiator, &["begin Identity Protection mode."])?;
    desk.proved("aggressive mode was tried and given up, main mode came up");
    Ok(())
}

fn refused(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = Stage::set(desk, (a, b), Family::V4, |alice, bob| {
        alice.exchange = Exchange::Aggressive;
        for tunnel in [alice, bob] {
            tunnel.auth = Auth::Psk(KEY.to_owned());
        }
    })?;
    ping::unanswered(stage.initiator.host(), stage.addresses.1, QUIET)?;
    stage.logged(&*stage.responder, &["exchange_mode of this remote has no aggressive"])?;
    nothing_came(desk, &stage)
}
