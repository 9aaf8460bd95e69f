//! Revocations by what is not the certificate itself: an intermediate, its end, a list that nobody was there to read.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::{self, CERTS, Ours};
use crate::peer::tunnel::Tunnel;
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping;
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET};
use crate::scenario::{Scenario, for_pairs};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];
    for_pairs(out, &PAIRS, "revocation-intermediate", "a CRL with the intermediate's serial", |desk, kind, _| {
        authority(desk, kind, Above::List)
    });
    for_pairs(
        out,
        &PAIRS,
        "revocation-intermediate-serial",
        "the intermediate's serial by xfrmctl",
        |desk, kind, _| authority(desk, kind, Above::Serial),
    );
    for_pairs(out, &PAIRS, "revocation-root", "the root's certificate by xfrmctl", |desk, kind, _| {
        authority(desk, kind, Above::Root)
    });
    for_pairs(out, &PAIRS, "revocation-while-down", "a CRL that comes while xfrmd is dead", while_down);
    for_pairs(out, &PAIRS, "revocation-expiry", "the peer's certificate ends while its SAs live", expiry);
}

/// Serial of the intermediate.
const INTERMEDIATE: u64 = 77;

/// What is revoked above a host's certificate, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    /// The intermediate, by the root's CRL.
    List,
    /// The intermediate, by `xfrmctl revoke --serial`.
    Serial,
    /// The root, by `xfrmctl revoke --cert`.
    Root,
}

fn authority(desk: &mut Desk, kind: Kind, above: Above) -> Result<()> {
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
    let (root, number) = (format!("{CERTS}/ca.crt"), INTERMEDIATE.to_string());
    let order = match above {
        Above::List => {
            pair.bob.write(&format!("{roots}.new"), 0o644, papers.authority.crl_number(2, &[INTERMEDIATE])?)?;
            fs::rename(pair.bob.outside(&format!("{roots}.new")), pair.bob.outside(&roots))?;
            None
        }
        Above::Serial => Some(["--serial", &number, "--issuer", &root]),
        Above::Root => Some(["--cert", &root, "--issuer", &root]),
    };
    if let Some([which, what, issuer, by]) = order {
        let done = bob.xfrmctl(&["revoke", which, what, issuer, by])?;
        if !done.status.success() || !kernel_state::sas(&pair.bob)?.is_empty() {
            return Err(evidence(Failure::new("SAs below the CA are left").with("xfrmctl", done.output())));
        }
    }
    wait::until(PATIENCE, "bob's SAs to be gone", || Ok(kernel_state::sas(&pair.bob)?.is_empty())).map_err(evidence)?;
    ping::unanswered(&pair.alice, b, QUIET).map_err(evidence)?;
    wait::until(PATIENCE, "the audit line", || {
        let serial = if above == Above::Root { 1 } else { INTERMEDIATE };
        Ok(bob.log()?.contains(&format!("revoked serial {serial} of /C=US/O=Desk/CN=Desk CA: 2 SAs deleted")))
    })
    .map_err(evidence)?;
    desk.proved("the SAs of a leaf below the CA are gone, and alice is refused");
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
