//! INITIAL-CONTACT: who is told that we hold nothing of it, and what goes when a peer says so (RFC 2407 §4.6.3.3; IKEV1
//! section 4).
//!
//! A peer is who it proved to be, not where it is: what it had from another address goes, what others have behind the
//! same address stays.

use std::collections::BTreeSet;
use std::net::IpAddr;

use policy::model::identity::Identity;
use policy::model::sa::Protocol;

use super::{Endpoint, Holder};
use crate::event::sa::{ChildId, Owner};
use crate::isakmp_sa::IsakmpSa;
use crate::phase2::exchange::SaFacts;
use crate::report::{Event, Level};
use crate::retransmit::Fingerprint;
use crate::timer::Phase1Id;
use crate::wire::identification::IdPayload;

/// An identity in few octets.
pub(super) fn print(identity: &Identity) -> Fingerprint {
    Fingerprint::of(&IdPayload::from_identity(identity, 0, 0).encode())
}

/// May the identity be looked for at other addresses too?
///
/// Not one that several peers prove alike: a group's name before XAuth says who it is, the private address of a client
/// with a pre-shared key, or anything said with a key that has no certificate, for that stands for a place. Two of these
/// are the same peer only at the same place.
enum Place {
    Anywhere,
    Address,
    AddressAndPort,
}

impl Place {
    fn of(facts: &SaFacts) -> Self {
        match (&facts.owner.identity, facts.owner.certificates.is_empty()) {
            _ if facts.auth.xauth().is_some() => Self::AddressAndPort,
            (_, true) if facts.auth.peer_signs() => Self::Address,
            (Identity::Address(_), true) => Self::Address,
            _ => Self::Anywhere,
        }
    }

    fn includes(&self, new: &Owner, old: &Owner) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Address => new.peer.ip() == old.peer.ip(),
            Self::AddressAndPort => new.peer == old.peer,
        }
    }
}

impl Endpoint {
    /// Do we know of nothing with this address, and have we told nobody there so? What an initiator goes by, which does
    /// not know yet who will answer.
    pub(super) fn is_first_contact(&self, peer: IpAddr) -> bool {
        let live = |id: &Phase1Id| self.sas.get(id).is_some_and(|sa| !sa.closed);
        let has_sa = self.by_peer.get(&peer).into_iter().flatten().any(live);
        let told = self.contacted.range((peer, Fingerprint::LEAST)..).next().is_some_and(|(at, _)| *at == peer);
        !has_sa && !told && !self.children.has_peer(peer)
    }

    /// As [`Self::is_first_contact`], of one who has proved to be somebody: others behind its address do not matter.
    pub(super) fn is_first_contact_of(&self, peer: IpAddr, identity: &Identity) -> bool {
        let known = self.held_by(identity).any(|holder| match holder {
            Holder::Sa(id) => self.sas.get(&id).is_some_and(|sa| !sa.closed),
            Holder::Child(_) => true,
        });
        !known && !self.contacted.contains(&(peer, print(identity)))
    }

    /// What rests on an identity.
    fn held_by(&self, identity: &Identity) -> impl Iterator<Item = Holder> + '_ {
        let print = print(identity);
        self.by_identity
            .range((print, Holder::LEAST)..)
            .take_while(move |(of, _)| *of == print)
            .map(|(_, holder)| *holder)
    }

    /// INITIAL-CONTACT came: the peer holds nothing that is older than this phase 1.
    pub(super) fn drop_stale(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.contacted) else { return };
        sa.contacted = true;
        let (path, began, owner) = (sa.facts.path, sa.began, sa.facts.owner.clone());
        let place = Place::of(&sa.facts);
        self.cx.report(Level::Info, path.peer, Event::InitialContact);
        let same = |other: &Owner| other.identity == owner.identity && place.includes(&owner, other);
        let (mut children, mut sas): (Vec<ChildId>, Vec<Phase1Id>) = (Vec::new(), Vec::new());
        for holder in self.held_by(&owner.identity) {
            match holder {
                Holder::Child(child) => children.extend(
                    self.children
                        .get(child)
                        .filter(|child| same(&child.owner) && child.established < began && child.made_under != Some(id))
                        .map(|child| child.id),
                ),
                Holder::Sa(other) => {
                    let is_stale = |sa: &&IsakmpSa| same(&sa.facts.owner) && sa.established < began;
                    sas.extend(self.sas.get(&other).filter(is_stale).map(|sa| sa.id).filter(|other| *other != id));
                }
            }
        }
        let of = |child: &ChildId| self.children.get(*child).map(|child| child.outbound.protocol);
        let protocols: BTreeSet<Protocol> = children.iter().filter_map(of).collect();
        for protocol in protocols {
            self.cx.report_on(Level::Info, path, Event::ChildrenPurging { protocol, ends: path.into() });
        }
        for child in children {
            if let Some(child) = self.remove_child(child) {
                self.purged(&child);
            }
        }
        for stale in sas {
            self.purge_sa(stale);
        }
    }
}
