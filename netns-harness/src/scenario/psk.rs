//! Pre-shared keys: by address, network and wildcard, over both families, with names as identities, and wrong ones.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::tunnel::{Auth, Id, Tunnel};
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::{QUIET, Stage};
use crate::scenario::{ALL_PAIRS, Scenario, for_pairs};

/// The key of both sides, good enough that nobody warns.
const KEY: &str = "a key of some thirty characters";

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &ALL_PAIRS, "psk-v4", "main mode with a key found by address", |desk, a, b| {
        up(desk, (a, b), Family::V4, |_, _| {})
    });
    for_pairs(out, &ALL_PAIRS, "psk-v6", "main mode with a key found by IPv6 address", |desk, a, b| {
        up(desk, (a, b), Family::V6, |_, _| {})
    });
    for_pairs(out, &ALL_PAIRS, "psk-names", "main mode with keys and host names as identities", |desk, a, b| {
        up(desk, (a, b), Family::V4, |alice, bob| {
            let (at_alice, at_bob) = (Id::Fqdn("alice.desk".to_owned()), Id::Fqdn("bob.desk".to_owned()));
            (alice.local_id, alice.remote_id) = (at_alice.clone(), at_bob.clone());
            (bob.local_id, bob.remote_id) = (at_bob, at_alice);
        })
    });
    let ours = [(Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours)];
    for_pairs(out, &ours, "psk-network", "a key of a whole network in psk.txt", |desk, a, b| {
        only(desk, (a, b), "10.1.0.0/16")
    });
    for_pairs(out, &ours, "psk-wildcard", "a key for everybody in psk.txt", |desk, a, b| only(desk, (a, b), "*"));
    for_pairs(out, &ALL_PAIRS, "psk-wrong", "keys that differ: refused, and said on our side", wrong);
}

fn with_key(tunnel: &mut Tunnel, key: &str) {
    tunnel.auth = Auth::Psk(key.to_owned());
}

fn up(
    desk: &mut Desk,
    kinds: (Kind, Kind),
    family: Family,
    adjust: impl FnOnce(&mut Tunnel, &mut Tunnel),
) -> Result<()> {
    let stage = Stage::set(desk, kinds, family, |alice, bob| {
        with_key(alice, KEY);
        with_key(bob, KEY);
        adjust(alice, bob);
    })?;
    stage.establish(desk)?;
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE)?;
    desk.proved("bob reaches alice through the same SAs");
    Ok(())
}

/// xfrmd's psk.txt has this line in front of all others; the lines behind it hold another key.
fn only(desk: &mut Desk, kinds: (Kind, Kind), owner: &str) -> Result<()> {
    let stage = Stage::set(desk, kinds, Family::V4, |alice, bob| {
        for (tunnel, kind) in [(alice, kinds.0), (bob, kinds.1)] {
            with_key(tunnel, if kind == Kind::Ours { "another key that is never reached" } else { KEY });
            tunnel.extra.psk_txt = format!("# the first line that fits wins\n{owner}\t{KEY}\n");
        }
    })?;
    stage.establish(desk).map(drop)
}

fn wrong(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = Stage::set(desk, (a, b), Family::V4, |alice, bob| {
        with_key(alice, KEY);
        with_key(bob, "another key of some thirty chars");
    })?;
    ping::unanswered(stage.initiator.host(), stage.addresses.1, QUIET)?;
    if b == Kind::Ours {
        stage.logged(&*stage.responder, &["the pre-shared keys of the two sides differ, most likely"])?;
        desk.proved("xfrmd as responder says that the keys differ");
    }
    for side in [&stage.initiator, &stage.responder] {
        // An initiator may hold the SPI it asked for; no SA has keys.
        let sas = stage.sas_at(&**side)?;
        if sas.iter().any(|sa| !sa.algorithms.is_empty()) {
            return Err(stage.evidence(Failure::new("there is an SA all the same")));
        }
    }
    desk.proved("no SA came up and nothing was answered");
    Ok(())
}
