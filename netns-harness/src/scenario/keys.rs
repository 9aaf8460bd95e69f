//! Certificates with other keys than RSA-2048: ECDSA on the three curves of RFC 4754, large RSA keys, in main and aggressive
//! mode.

use crate::desk::Desk;
use crate::failure::Result;
use crate::host::Family;
use crate::peer::tunnel::{Exchange, Tunnel};
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::pki::KeyKind;
use crate::scenario::stage::{ALICE_SERIAL, BOB_SERIAL, Papers, Stage};
use crate::scenario::{PAIRS, Scenario, for_pairs};

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "both sides sign with keys on this curve (RFC 4754)";
    for_pairs(out, &PAIRS, "ecdsa-256", about, |d, a, b| up(d, (a, b), KeyKind::Curve(256), Exchange::Main));
    for_pairs(out, &PAIRS, "ecdsa-384", about, |d, a, b| up(d, (a, b), KeyKind::Curve(384), Exchange::Main));
    for_pairs(out, &PAIRS, "ecdsa-521", about, |d, a, b| up(d, (a, b), KeyKind::Curve(521), Exchange::Main));
    for_pairs(out, &PAIRS, "ecdsa-256-aggressive", about, |d, a, b| {
        up(d, (a, b), KeyKind::Curve(256), Exchange::Aggressive)
    });
    let about = "both sides sign with RSA keys of 4096 bits";
    for_pairs(out, &PAIRS, "rsa-4096", about, |d, a, b| up(d, (a, b), KeyKind::Rsa(4096), Exchange::Main));
}

fn up(desk: &mut Desk, kinds: (Kind, Kind), keys: KeyKind, exchange: Exchange) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let alice = papers.authority.leaf_of(desk.folder(), keys, "alice.desk", ALICE_SERIAL)?;
    let bob = papers.authority.leaf_of(desk.folder(), keys, "bob.desk", BOB_SERIAL)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let at_alice = Tunnel { exchange, ..Tunnel::transport(a, b, papers.credentials(&alice)) };
    let at_bob = Tunnel { exchange, ..Tunnel::transport(b, a, papers.credentials(&bob)) };
    let stage = Stage::with(desk, kinds, (&pair.alice, at_alice), (&pair.bob, at_bob))?;
    stage.establish(desk)?;
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE)?;
    desk.proved(format!("both sides are authenticated with {keys:?}"));
    Ok(())
}
