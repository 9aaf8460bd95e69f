//! libreswan deletes a part of what there is: only the ISAKMP SA, only the IPsec SAs. What it did not name must stay
//! (RFC 2408 §5.15: a DELETE is for the SPIs in it).

use std::net::IpAddr;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state::{self, Sa};
use crate::peer::libreswan::Libreswan;
use crate::peer::ours::Ours;
use crate::peer::tunnel::Tunnel;
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping;
use crate::scenario::stage::{Papers, spis};
use crate::scenario::{PLUTO, Scenario, for_pairs};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    let isakmp = "pluto deletes the ISAKMP SA alone: the IPsec SAs live on, a new one is made when it is needed";
    for_pairs(out, &PLUTO, "delete-isakmp-only", isakmp, isakmp_only);
    let ipsec = "pluto deletes the IPsec SAs alone: the next ones are made under the same ISAKMP SA";
    for_pairs(out, &PLUTO, "delete-ipsec-only", ipsec, ipsec_only);
}

/// xfrmd on one host and pluto on the other.
struct Both {
    ours: Ours,
    pluto: Libreswan,
    addresses: (IpAddr, IpAddr),
    initiator: Kind,
}

impl Both {
    fn set(desk: &mut Desk, initiator: Kind) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let pair = desk.pair()?;
        let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
        let at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        let (ours, pluto) = if initiator == Kind::Ours {
            (Ours::start(desk, &pair.alice, at_alice)?, Libreswan::start(desk, &pair.bob, at_bob)?)
        } else {
            (Ours::start(desk, &pair.bob, at_bob)?, Libreswan::start(desk, &pair.alice, at_alice)?)
        };
        Ok(Self { ours, pluto, addresses: (a, b), initiator })
    }

    /// Alice pings bob.
    fn ping(&self) -> Result<()> {
        let alice = if self.initiator == Kind::Ours { self.ours.host() } else { self.pluto.host() };
        ping::answered(alice, self.addresses.1, PATIENCE).map(drop).map_err(|failure| self.evidence(failure))
    }

    fn sas(&self) -> Result<Vec<Sa>> {
        kernel_state::sas(self.ours.host())
    }

    /// pluto's state of this number goes, with a DELETE.
    fn delete_state(&self, number: &str) -> Result<()> {
        let done = self.pluto.whack(&["--deletestate", number])?;
        wait::until(PATIENCE, "pluto to delete the state", || {
            Ok(self.pluto.log()?.contains(&format!("\"net\" #{number}: deleting state")))
        })
        .map_err(|failure| self.evidence(failure).with("whack", done.output()))
    }

    fn evidence(&self, failure: Failure) -> Failure {
        failure
            .with("xfrmd's log", self.ours.log().unwrap_or_default())
            .with("pluto's log", self.pluto.log().unwrap_or_default())
            .with("SAs beside xfrmd", self.ours.host().netns().ip(&["xfrm", "state"]).unwrap_or_default())
    }

    /// How many ISAKMP SAs xfrmd has had.
    fn isakmp_sas(&self) -> Result<usize> {
        Ok(self.ours.log()?.matches("ISAKMP-SA established").count())
    }
}

fn isakmp_only(desk: &mut Desk, initiator: Kind, _: Kind) -> Result<()> {
    let both = Both::set(desk, initiator)?;
    both.ping()?;
    let before = spis(&both.sas()?);
    both.delete_state("1")?;
    wait::until(PATIENCE, "xfrmd to drop the ISAKMP SA", || Ok(both.ours.log()?.contains("purged ISAKMP-SA")))
        .map_err(|failure| both.evidence(failure))?;
    both.ping()?;
    if spis(&both.sas()?) != before {
        return Err(both.evidence(Failure::new("the IPsec SAs went with the ISAKMP SA")));
    }
    desk.proved("pings go on through the same two SAs without an ISAKMP SA");
    Ok(())
}

fn ipsec_only(desk: &mut Desk, initiator: Kind, _: Kind) -> Result<()> {
    let both = Both::set(desk, initiator)?;
    both.ping()?;
    let before = spis(&both.sas()?);
    both.delete_state("2")?;
    wait::until(PATIENCE, "xfrmd's IPsec SAs to be gone", || {
        Ok(spis(&both.sas()?).iter().all(|spi| !before.contains(spi)))
    })
    .map_err(|failure| both.evidence(failure))?;
    desk.proved("the IPsec SAs are gone on both sides");
    // xfrmd's own traffic asks for new ones.
    let to = if initiator == Kind::Ours { both.addresses.1 } else { both.addresses.0 };
    ping::answered(both.ours.host(), to, PATIENCE).map_err(|failure| both.evidence(failure))?;
    if both.isakmp_sas()? != 1 {
        return Err(both.evidence(Failure::new("a second ISAKMP SA was made")));
    }
    desk.proved("the next ping makes new ones under the same ISAKMP SA");
    Ok(())
}
