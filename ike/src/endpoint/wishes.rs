//! Children that are wanted: where each is negotiated, and which are coming already.

use std::net::IpAddr;
use std::time::Duration;

use policy::model::identity::Identity;

use super::Endpoint;
use super::moves::is_of;
use crate::children::Child;
use crate::context::JobOwner;
use crate::handshake::Handshake;
use crate::phase2::exchange::QuickFacts;
use crate::phase2::quick::{Quick, State};
use crate::phase2::quick_initiator;
use crate::phase2::wish::ChildWish;
use crate::report::{Event, Level};
use crate::timer::Phase1Id;

/// An acquire for traffic that a child this young serves raced with the child's installation.
const RACE: Duration = Duration::from_secs(2);

impl Endpoint {
    /// Negotiates a child: on the ISAKMP SA with the peer, after the main mode under way, or after a new one.
    pub(super) fn start_child(&mut self, wish: ChildWish) {
        let what = wish.what;
        if self.is_coming(&wish) {
            return;
        }
        let whose = self.holder_of(&wish);
        if let Some(id) = self.sa_with(what.local, what.peer, whose.as_ref()) {
            if let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.is_open()) {
                if self.pending.insert(what) {
                    sa.session_mut().waiting.push(wish);
                }
                return;
            }
            if self.pending.insert(what) || !self.has_quick_for(id, &wish) {
                self.begin_quick(id, wish);
            }
            return;
        }
        if !self.pending.insert(what) {
            return;
        }
        let known = self.known_path((what.local, what.peer), None, std::slice::from_ref(&wish));
        let with_it = |handshake: &Handshake| {
            handshake.path.local.ip() == what.local && known.is_none_or(|known| known == handshake.path)
        };
        let mut handshakes = self.by_peer.get(&what.peer).into_iter().flatten().copied();
        let under_way = handshakes.find(|id| self.handshakes.get(id).is_some_and(with_it));
        match under_way.and_then(|id| self.handshakes.get_mut(&id)) {
            Some(handshake) => handshake.wishes.push(wish),
            None => self.initiate(what.local, what.peer, vec![wish], None),
        }
    }

    /// As [`Self::start_child`], for a wish that has waited for an ISAKMP SA.
    pub(super) fn start_waiting_child(&mut self, wish: ChildWish) {
        // It waits no more: if nothing comes of what is under way instead, the next packet asks anew.
        self.pending.remove(&wish.what);
        self.start_child(wish);
    }

    /// Has the peer made a child for this traffic just now, or is it about to? A renewal is made all the same.
    fn is_coming(&mut self, wish: &ChildWish) -> bool {
        let now = self.cx.now.monotonic;
        let just_made = |child: &Child| !child.replaced && child.established + RACE > now;
        let raced = self.children.by_key(&wish.what).into_iter().filter_map(|id| self.children.get(id)).any(just_made);
        wish.replaces.is_none() && (raced || self.is_offered(wish))
    }

    /// Is a quick mode of the peer's for the same traffic under way? Its ESP may be here before its last message, and
    /// our answer to it then asks for an SA that is about to come.
    fn is_offered(&mut self, wish: &ChildWish) -> bool {
        let ids: Vec<Phase1Id> = self.by_peer.get(&wish.what.peer).into_iter().flatten().copied().collect();
        for id in ids {
            let Some(sa) = self.sas.get_mut(&id) else { continue };
            if let Some(quick) = sa.quick.values_mut().find(|quick| quick.is_offered(&wish.what)) {
                quick.held = wish.policy_index.or(quick.held);
                return true;
            }
        }
        false
    }

    /// Is a quick mode for the same traffic under way on this SA?
    fn has_quick_for(&self, id: Phase1Id, wish: &ChildWish) -> bool {
        let same = |quick: &Quick| quick.wish.as_ref().is_some_and(|other| other.what == wish.what);
        self.sas.get(&id).is_some_and(|sa| sa.quick.values().any(same))
    }

    /// The ISAKMP SA for new quick modes: the newest, one that retires only if there is no other. Of several hosts behind
    /// one NAT it must be that of `whose`, if that is known.
    pub(super) fn sa_with(&self, local: IpAddr, peer: IpAddr, whose: Option<&Identity>) -> Option<Phase1Id> {
        self.by_peer
            .get(&peer)?
            .iter()
            .filter_map(|id| self.sas.get(id))
            .filter(|sa| !sa.closed && sa.facts.path.local.ip() == local && is_of(sa, whose))
            .max_by_key(|sa| (sa.is_open(), !sa.retiring, sa.established, sa.id))
            .map(|sa| sa.id)
    }

    fn begin_quick(&mut self, id: Phase1Id, wish: ChildWish) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let mut message_id = self.cx.random_u32();
        while !sa.is_fresh(message_id) {
            message_id = message_id.wrapping_add(1);
        }
        let path = sa.facts.path;
        let mut chain = sa.facts.protection.chain(message_id);
        let owner = JobOwner::Quick(id, message_id);
        let mut facts = QuickFacts { cx: &mut self.cx, sa: &sa.facts, chain: &mut chain, owner };
        match quick_initiator::begin(wish.clone(), &mut facts) {
            Ok(state) => {
                self.cx.report(Level::Info, path.peer, Event::Phase2Initiated(path.into()));
                sa.quick.insert(message_id, Quick::new(chain, State::Initiator(state), Some(wish)));
                self.arm_quick_deadline(id, message_id);
            }
            Err(error) => self.quick_over(path, Some(wish), &error),
        }
    }
}
