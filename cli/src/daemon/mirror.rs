//! What the kernel's SPD holds, kept current by its notices: a peer's quick mode is answered without a dump.

use std::collections::BTreeMap;

use ike::event::policies::{Companions, PolicyMatch, PolicyQuery};
use ike::event::sa::SaName;
use policy::model::sa::{Direction, Mode, Protocol, ReqId};
use policy::model::selector::Selector;
use xfrm::model::notice::Notice;
use xfrm::model::policy::{List, Place, Policy, Verdict};
use xfrm::model::template::Template;

use super::lower::Wanted;

/// The SPD's policies by the kernel's number.
#[derive(Debug, Default)]
pub struct Mirror {
    policies: BTreeMap<u32, Entry>,
    next_order: u64,
}

#[derive(Debug)]
struct Entry {
    policy: Policy,
    /// Of equal priorities the kernel asks the one that was first inserted.
    order: u64,
}

impl Mirror {
    /// Starts anew from a dump, which the kernel gives newest first.
    pub fn replace(&mut self, dump: Vec<Policy>) {
        self.policies.clear();
        for policy in dump.into_iter().rev() {
            self.put(policy);
        }
    }

    /// Takes a notice in; those that are not about policies pass by.
    pub fn apply(&mut self, notice: &Notice) {
        match notice {
            Notice::PolicyAdded { policy, .. } | Notice::PolicyUpdated { policy, .. } => self.put((**policy).clone()),
            Notice::PolicyDeleted { policy, .. } => {
                self.policies.remove(&policy.index);
            }
            Notice::PolicyExpired { policy, severity: xfrm::model::notice::Severity::Hard } => {
                self.policies.remove(&policy.index);
            }
            Notice::PoliciesFlushed { list, .. } => self.policies.retain(|_, entry| entry.policy.list != *list),
            _ => {}
        }
    }

    /// The outbound policy that wants the SA: the one with exactly this selector, else the one that the kernel would
    /// ask first among those that hold every packet of it.
    pub fn find(&self, query: &PolicyQuery) -> Option<PolicyMatch> {
        self.policies
            .values()
            .filter_map(|entry| Some((entry, wanted(&entry.policy, query)?)))
            .min_by_key(|(entry, _)| (entry.policy.selector != query.outbound, entry.policy.priority, entry.order))
            .map(|(entry, wanted)| PolicyMatch {
                protocol: wanted.protocol,
                reqid: wanted.reqid,
                companions: wanted.companions,
                outbound: entry.policy.selector,
            })
    }

    /// What the outbound policy with exactly this selector, or else the first that holds it, wants together.
    pub fn wanted_for(&self, outbound: &Selector) -> Option<Wanted> {
        self.policies
            .values()
            .filter(|entry| {
                entry.policy.place == Place::Spd(Direction::Out) && entry.policy.selector.contains(outbound)
            })
            .min_by_key(|entry| (entry.policy.selector != *outbound, entry.policy.priority, entry.order))
            .and_then(|entry| Wanted::of(&entry.policy.templates))
    }

    /// The reqid that the inbound policy wants of this inbound SA, if it names one: setkey's `unique` gives each direction
    /// its own, and the kernel lets no packet in by an SA of another.
    pub fn inbound_reqid(&self, name: &SaName, mode: Mode, inbound: &Selector) -> Option<ReqId> {
        let ends = Some((name.src, name.dst));
        let serves = |template: &&Template| {
            template.protocol == name.protocol
                && template.mode == mode
                && (template.endpoints == ends || (template.endpoints.is_none() && mode == Mode::Transport))
        };
        self.policies
            .values()
            .filter(|entry| entry.policy.place == Place::Spd(Direction::In) && entry.policy.selector.contains(inbound))
            .filter_map(|entry| Some((entry, entry.policy.templates.iter().find(serves)?.reqid)))
            .min_by_key(|(entry, _)| (entry.policy.selector != *inbound, entry.policy.priority, entry.order))
            .map(|(_, reqid)| reqid)
            .filter(|reqid| *reqid != ReqId(0))
    }

    /// The outbound policy that the kernel asks first for packets of `flow`, if that one wants SAs.
    pub fn first_outbound(&self, flow: &Selector) -> Option<&Policy> {
        self.policies
            .values()
            .filter(|entry| entry.policy.place == Place::Spd(Direction::Out) && entry.policy.selector.contains(flow))
            .min_by_key(|entry| (entry.policy.priority, entry.order))
            .map(|entry| &entry.policy)
            .filter(|policy| is_ipsec(policy))
    }

    /// The policy with this number.
    pub fn by_index(&self, index: u32) -> Option<&Policy> {
        self.policies.get(&index).map(|entry| &entry.policy)
    }

    /// Policies that ask for SAs, of any direction.
    pub fn len_ipsec(&self) -> usize {
        self.policies.values().filter(|entry| is_ipsec(&entry.policy)).count()
    }

    /// Every policy.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().map(|entry| &entry.policy)
    }

    fn put(&mut self, policy: Policy) {
        if policy.place.is_socket() || policy.list != List::Main {
            return;
        }
        let next = self.next_order;
        let order = self.policies.get(&policy.index).map_or(next, |known| known.order);
        self.next_order = next + 1;
        self.policies.insert(policy.index, Entry { policy, order });
    }
}

fn is_ipsec(policy: &Policy) -> bool {
    policy.verdict == Verdict::Allow && !policy.templates.is_empty()
}

/// What the policy wants, if that is something the peer offers.
fn wanted(policy: &Policy, query: &PolicyQuery) -> Option<Wanted> {
    let fits =
        policy.place == Place::Spd(Direction::Out) && is_ipsec(policy) && policy.selector.contains(&query.outbound);
    let wanted = Wanted::of(&policy.templates).filter(|_| fits)?;
    let ends_fit = match wanted.endpoints {
        Some(ends) => ends == (query.local, query.peer),
        // A tunnel without ends leads nowhere.
        None => query.mode == Mode::Transport,
    };
    (ends_fit && wanted.mode == query.mode && is_offered(&wanted, query)).then_some(wanted)
}

fn is_offered(wanted: &Wanted, query: &PolicyQuery) -> bool {
    let Companions { ah, ipcomp, .. } = wanted.companions;
    let companions = [(Protocol::Ah, ah), (Protocol::Ipcomp, ipcomp)];
    let companions = companions.into_iter().filter_map(|(protocol, companion)| Some((protocol, companion?.optional)));
    let (optional, beside): (Vec<_>, Vec<_>) = companions.partition(|(_, optional)| *optional);
    let protocols = |list: Vec<(Protocol, bool)>| list.into_iter().map(|(protocol, _)| protocol);
    let required: Vec<Protocol> = std::iter::once(wanted.protocol).chain(protocols(beside)).collect();
    query.offers.fit(&required, &protocols(optional).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
