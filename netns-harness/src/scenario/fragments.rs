//! IKE fragmentation with certificates that no packet holds: both roles, both families, loss and reordering.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::impair::{self, Impairment};
use crate::peer::Kind;
use crate::peer::tunnel::{Switch, Tunnel};
use crate::ping;
use crate::scenario::stage::{Papers, Stage};
use crate::scenario::{ALL_PAIRS, PAIRS, Scenario, for_pairs};
use crate::topology::OUTSIDE;

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &ALL_PAIRS, "frags-ipv4", "a chain of certificates in pieces", |desk, a, b| {
        pieces(desk, (a, b), Family::V4, Switch::On)
    });
    for_pairs(out, &PAIRS, "frags-ipv6", "a chain of certificates in pieces over IPv6", |desk, a, b| {
        pieces(desk, (a, b), Family::V6, Switch::On)
    });
    for_pairs(out, &ALL_PAIRS, "frags-force", "pieces whatever the peer says", |desk, a, b| {
        pieces(desk, (a, b), Family::V4, Switch::Force)
    });
    for_pairs(out, &PAIRS, "frags-lossy", "a tenth of the pieces lost, a quarter out of order", lossy);
    for_pairs(out, &PAIRS, "frags-off", "one side has none: the message goes whole", off);
}

/// Both sides have a leaf below an intermediate: ID, two certificates and a signature make more than two thousand octets.
fn chains(desk: &mut Desk, kinds: (Kind, Kind), family: Family, frag: (Switch, Switch)) -> Result<Stage> {
    let papers = Papers::issue(desk)?;
    let below = papers.authority.intermediate(&mut desk.keys, "Desk Sub CA", 7)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(family), pair.bob.address(family));
    let mut tunnel = |name: &str, serial: u64, from, to, frag| -> Result<Tunnel> {
        let leaf = below.leaf(&mut desk.keys, name, serial)?;
        let mut credentials = papers.credentials(&leaf);
        credentials.intermediate = Some(below.pem.clone());
        let mut tunnel = Tunnel::transport(from, to, credentials);
        tunnel.frag = Some(frag);
        // pluto sends its leaf alone unless told to.
        tunnel.extra.ipsec_conn = "  sendca=issuer\n".to_owned();
        Ok(tunnel)
    };
    let at_alice = tunnel("alice.sub.desk", 11, a, b, frag.0)?;
    let at_bob = tunnel("bob.sub.desk", 12, b, a, frag.1)?;
    Stage::with(desk, kinds, (&pair.alice, at_alice), (&pair.bob, at_bob))
}

fn pieces(desk: &mut Desk, kinds: (Kind, Kind), family: Family, frag: Switch) -> Result<()> {
    let stage = chains(desk, kinds, family, (frag, frag))?;
    stage.establish(desk)?;
    let seen = desk.traffic()?;
    // With `fragmentation=yes` pluto sends a message whole first, and in pieces when it is not answered.
    let whole_first = frag == Switch::On && [kinds.0, kinds.1].contains(&Kind::Pluto);
    if seen.ike_pieces < 4 || (seen.ike_cut > 0 && !whole_first) {
        let what = format!("{} pieces of IKE, {} datagrams cut by IP", seen.ike_pieces, seen.ike_cut);
        return Err(stage.evidence(Failure::new(what)));
    }
    desk.proved(format!("{} of {} IKE datagrams were pieces; IP cut {}", seen.ike_pieces, seen.ike, seen.ike_cut));
    Ok(())
}

fn lossy(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = chains(desk, (a, b), Family::V4, (Switch::On, Switch::On))?;
    let fault = Impairment { delay: Duration::from_millis(5), loss: 10, duplicate: 5, reorder: 25 };
    for side in [&stage.initiator, &stage.responder] {
        impair::apply(side.host(), OUTSIDE, fault)?;
    }
    ping::answered(stage.initiator.host(), stage.addresses.1, Duration::from_secs(90))
        .map_err(|failure| stage.evidence(failure))?;
    for side in [&stage.initiator, &stage.responder] {
        impair::apply(side.host(), OUTSIDE, Impairment::default())?;
    }
    let seen = desk.traffic()?;
    if seen.ike_pieces < 4 {
        return Err(stage.evidence(Failure::new(format!("only {} pieces of IKE", seen.ike_pieces))));
    }
    desk.proved(format!("{} pieces went over a bad link, and the tunnel is up", seen.ike_pieces));
    Ok(())
}

fn off(desk: &mut Desk, a: Kind, b: Kind) -> Result<()> {
    let stage = chains(desk, (a, b), Family::V4, (Switch::On, Switch::Off))?;
    stage.establish(desk)?;
    let seen = desk.traffic()?;
    if seen.ike_pieces > 0 || seen.ike_cut == 0 {
        let what = format!("{} pieces of IKE, {} datagrams cut by IP", seen.ike_pieces, seen.ike_cut);
        return Err(stage.evidence(Failure::new(what)));
    }
    desk.proved("no piece was sent; IP cut the large messages");
    Ok(())
}
