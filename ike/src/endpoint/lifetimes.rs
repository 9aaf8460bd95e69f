//! Renewal before the end, make before break, and no double SAs left over.
//!
//! IKEv1 has no rule for two renewals at once (IKEV1 section 9). Ours, the same on both sides: both finish; of two that
//! overlapped, the one with the lower number (cookie, SPI) goes, and its own initiator deletes it after a grace. The
//! other side deletes it too, much later, if the initiator does not.

use std::time::Duration;

use policy::model::remote::Rekey;

use super::Endpoint;
use super::moves::is_of;
use super::phase1::RETRY;
use crate::children::{Child, Outbound};
use crate::context::Path;
use crate::event::sa::{AdoptedChild, ChildId, SaName};
use crate::message::Role;
use crate::phase2::wish::{ChildKey, ChildWish};
use crate::report::{Event, Level};
use crate::timer::{Phase1Id, Timer};
use crate::traits::{Nat, NatDialect};

/// What was replaced is deleted by whoever replaced it after this time: packets under way still find it.
const GRACE: Duration = Duration::from_secs(3);

/// The other side deletes it after this time, if nobody did.
const LONG_GRACE: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Renews an ISAKMP SA that children still need.
    pub(super) fn rekey_phase1(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.retiring) else { return };
        let path = sa.facts.path;
        let peer = path.peer.ip();
        let needs = |child: &Child| child.key.local == path.local.ip() && is_of(sa, Some(&child.owner.identity));
        let needed = self.children.by_peer(peer).iter().any(|child| self.children.get(*child).is_some_and(needs));
        // `rekey on`: not towards a peer that may be dead; `force`: whatever the probes say (RACOON section 5.6).
        if sa.facts.remote.remote.rekey == Rekey::On && self.is_doubtful(id) {
            self.cx.timers.set(Timer::RekeyPhase1(id), self.cx.now.monotonic + RETRY);
            return;
        }
        if !needed || self.cx.config.remote_for(peer).is_none_or(|remote| remote.remote.rekey == Rekey::Off) {
            return;
        }
        let under_way = |other: &Phase1Id| self.handshakes.get(other).is_some_and(|handshake| handshake.path == path);
        if self.by_peer.get(&peer).into_iter().flatten().any(under_way) {
            return;
        }
        self.cx.report(Level::Info, path.peer, Event::Phase1Renegotiating { peer });
        self.initiate(path.local.ip(), peer, Vec::new(), Some(id));
    }

    pub(super) fn expire_phase1(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id) else { return };
        let (path, ends, cookies) = (sa.facts.path, sa.ends(), sa.cookie_pair());
        self.cx.report(Level::Info, path.peer, Event::Phase1Expired { ends, cookies });
        self.delete_sa(id);
    }

    /// A replaced ISAKMP SA goes, once no quick mode runs under it any more.
    pub(super) fn retire_phase1(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| sa.retiring) else { return };
        if sa.closed {
            self.forget_sa(id);
            return;
        }
        if !sa.quick.is_empty() {
            self.cx.timers.set(Timer::RetirePhase1(id), self.cx.now.monotonic + GRACE);
            return;
        }
        let path = sa.facts.path;
        let identity = sa.facts.owner.identity.clone();
        let serves = |other: &Phase1Id| {
            self.sas.get(other).is_some_and(|other| {
                !other.retiring && other.facts.path.local.ip() == path.local.ip() && is_of(other, Some(&identity))
            })
        };
        if self.by_peer.get(&path.peer.ip()).into_iter().flatten().any(serves) {
            return self.delete_sa(id);
        }
        // The one that replaced it is gone: it serves again.
        if let Some(sa) = self.sas.get_mut(&id) {
            sa.retiring = false;
            self.watch_peer(id);
        }
    }

    /// After a new ISAKMP SA: whichever others the same peer has, one of them is enough.
    pub(super) fn settle_duplicates(&mut self, new: Phase1Id, replaces: Option<Phase1Id>) {
        let Some(sa) = self.sas.get(&new) else { return };
        let (began, role, cookie) = (sa.began, sa.facts.role, sa.facts.protection.cookies.initiator);
        let (path, identity) = (sa.facts.path, sa.facts.owner.identity.clone());
        let same_rules = sa.facts.traits.xfrmd;
        let others: Vec<Phase1Id> = self.by_peer.get(&path.peer.ip()).into_iter().flatten().copied().collect();
        for other in others.into_iter().filter(|other| *other != new) {
            let Some(old) = self.sas.get(&other).filter(|old| {
                !old.retiring
                    && !old.closed
                    && old.facts.path.local.ip() == path.local.ip()
                    && old.facts.owner.identity == identity
            }) else {
                continue;
            };
            let overlapped = old.facts.role != role && old.established >= began && replaces != Some(other);
            // charon ends with an ISAKMP SA whatever children it made under it, unless it took a renewal for one and
            // moved them. Of two that crossed it has moved none: both stay until the next renewal.
            if overlapped && !same_rules {
                continue;
            }
            let new_loses = overlapped && cookie < old.facts.protection.cookies.initiator;
            let (loser, loser_role) = if new_loses { (new, role) } else { (other, old.facts.role) };
            // In a plain renewal whoever renewed cleans up.
            let ours = if overlapped { loser_role == Role::Initiator } else { role == Role::Initiator };
            if let Some(loser) = self.sas.get_mut(&loser) {
                loser.retiring = true;
                self.cx.timers.cancel(Timer::RekeyPhase1(loser.id));
                let grace = if ours { GRACE } else { LONG_GRACE };
                self.cx.timers.set(Timer::RetirePhase1(loser.id), self.cx.now.monotonic + grace);
            }
        }
    }

    /// Renews a child.
    pub(super) fn rekey_child(&mut self, id: ChildId) {
        let Some(child) = self.children.get(id).filter(|child| !child.replaced) else { return };
        let key = child.key;
        // The kernel tells of the limit of each SA, the outbound one's up to a second later. By then the successor may
        // be there and wait for its own outbound SA: a second one would only get in its way (seen with pluto).
        let waits =
            |other: &ChildId| self.children.get(*other).is_some_and(|child| !child.replaced && !child.carries());
        if self.children.by_key(&key).into_iter().any(|other| other > id && waits(&other)) {
            self.cx.timers.set(Timer::RekeyChild(id), self.cx.now.monotonic + RETRY);
            return;
        }
        let wish = ChildWish { what: key, policy_index: None, replaces: Some(id) };
        self.start_child(wish);
    }

    /// A child that could not be renewed is tried again while it lives.
    pub(super) fn child_rekey_failed(&mut self, replaces: Option<ChildId>) {
        let Some(child) = replaces.and_then(|id| self.children.get(id)) else { return };
        let at = self.cx.now.monotonic + RETRY;
        if at < child.expires && !child.replaced {
            self.cx.timers.set(Timer::RekeyChild(child.id), at);
        }
    }

    pub(super) fn expire_child(&mut self, id: ChildId) {
        let Some(child) = self.children.get(id) else { return };
        let (peer, mode, sa) = (child.owner.peer, child.key.mode, child.inbound);
        self.cx.report(Level::Info, peer, Event::ChildExpired { mode, sa });
        self.delete_child(id);
    }

    pub(super) fn retire_child(&mut self, id: ChildId) {
        let Some(child) = self.children.get(id).filter(|child| child.replaced) else { return };
        let key = child.key;
        if self.successor(&key).is_some() {
            if let Some(child) = self.delete_child(id) {
                self.purged(&child);
            }
            return;
        }
        self.promote_replaced(&key);
        // Another one serves again: this one is looked at once more.
        if self.children.get(id).is_some_and(|child| child.replaced) {
            self.cx.timers.set(Timer::RetireChild(id), self.cx.now.monotonic + GRACE);
        }
    }

    /// A child for this traffic that is to stay.
    fn successor(&self, key: &ChildKey) -> Option<ChildId> {
        let stays = |id: &ChildId| self.children.get(*id).is_some_and(|child| !child.replaced && child.carries());
        self.children.by_key(key).into_iter().find(stays)
    }

    /// After a new child: whichever others serve the same traffic, one of them is enough.
    pub(super) fn settle_children(&mut self, new: ChildId) {
        let Some(child) = self.children.get(new) else { return };
        let (key, role, rank, made) = (child.key, child.role, child.rank(), child.established);
        let (same_rules, told) = (child.peer_is_xfrmd, child.told);
        for other in self.children.by_key(&key).into_iter().filter(|other| *other != new) {
            // One that does not carry traffic yet settles with the others when it does.
            let Some(old) = self.children.get(other).filter(|old| !old.replaced && old.carries()) else { continue };
            // A child may also be replaced by its own maker; two makers within one exchange's time have crossed. To other
            // makes the newest is the one, by their own clock: charon has taken the older outbound SA out by then.
            let crossed = old.role != role && old.established + CROSSING > made && old.made_under.is_some();
            let stays = if same_rules { rank < old.rank() } else { old.told > told };
            let (loser, ours) = match crossed {
                true if stays => (new, role == Role::Initiator),
                true if same_rules => (other, old.role == Role::Initiator),
                _ => (other, role == Role::Initiator),
            };
            // Of two that crossed the loser may be the one that the kernel sends by, and the DELETE that says so may be lost:
            // where both sides go by the same rules, both take it out at the same time.
            self.replace_child(loser, if ours || (crossed && same_rules) { GRACE } else { LONG_GRACE });
        }
    }

    fn replace_child(&mut self, id: ChildId, grace: Duration) {
        let Some(child) = self.children.get_mut(id) else { return };
        child.replaced = true;
        self.cx.timers.cancel(Timer::RekeyChild(id));
        self.cx.timers.set(Timer::RetireChild(id), self.cx.now.monotonic + grace);
    }

    /// If what replaced a child is gone while it still stands, it serves again.
    pub(super) fn promote_replaced(&mut self, key: &ChildKey) {
        if self.successor(key).is_some() {
            return;
        }
        let now = self.cx.now.monotonic;
        let newest = self
            .children
            .by_key(key)
            .into_iter()
            .filter(|id| {
                self.children.get(*id).is_some_and(|child| child.replaced && child.carries() && child.expires > now)
            })
            .max();
        if let Some(child) = newest.and_then(|id| self.children.get_mut(id)) {
            child.replaced = false;
            let at = child.rekey_at.max(now + RETRY);
            self.cx.timers.cancel(Timer::RetireChild(child.id));
            self.cx.timers.set(Timer::RekeyChild(child.id), at);
        }
    }

    /// The kernel says that an SA has reached a limit, of time or of traffic.
    pub(super) fn sa_expired(&mut self, sa: &SaName, hard: bool) {
        let Some(id) = self.children.by_sa(sa) else { return };
        if hard { self.expire_child(id) } else { self.rekey_child(id) }
    }

    /// The kernel says that an SA is gone, and we have not taken it out: somebody else did. Half a child is none.
    pub(super) fn sa_deleted(&mut self, sa: &SaName) {
        let Some(child) = self.children.by_sa(sa).and_then(|id| self.children.get(id)) else { return };
        let (id, peer) = (child.id, child.owner.peer);
        self.cx.report(Level::Warning, peer, Event::ChildVanished { sa: *sa });
        self.delete_child(id);
    }

    /// Takes over a child of an earlier run.
    pub(super) fn adopt(&mut self, adopted: AdoptedChild) {
        let now = self.cx.now.monotonic;
        let AdoptedChild {
            owner,
            inbound,
            outbound,
            mode,
            reqid,
            selector,
            companions,
            beside,
            main: _,
            encapsulation,
            soft_in,
            hard_in,
            generated,
        } = adopted;
        if self.children.by_sa(&inbound).is_some() {
            return;
        }
        let key = ChildKey {
            local: outbound.src,
            peer: outbound.dst,
            outbound: selector,
            mode,
            protocol: outbound.protocol,
            reqid,
            companions,
        };
        let peer = owner.peer;
        let path = Path { local: owner.local, peer };
        // Which side the NAT is on is not known any more: both are served.
        let nat = match encapsulation {
            Some(_) => Nat { dialect: Some(NatDialect::Rfc3947), own: true, peer: true, forced: false },
            None => Nat::default(),
        };
        self.cx.report(Level::Info, peer, Event::ChildAdopted { inbound, outbound });
        if generated {
            self.adopt_policy(key, owner.identity.clone());
        }
        let id = self.cx.child_id();
        self.enter_child(Child {
            id,
            key,
            inbound,
            outbound,
            beside,
            owner: owner.into(),
            made_under: None,
            role: Role::Initiator,
            state: Outbound::Installed,
            established: now,
            told: now,
            rekey_at: now + soft_in,
            expires: now + hard_in,
            policy_index: None,
            peer_is_xfrmd: false,
            replaced: false,
            encapsulation,
            nat,
        });
        self.keep_alive_if_needed(path, &nat);
        // Two for the same traffic were left in the middle of a renewal.
        self.settle_children(id);
    }
}

/// Two children made by the two sides within this time have crossed.
const CROSSING: Duration = Duration::from_secs(10);
