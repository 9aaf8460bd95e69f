//! What the kernel's SPD holds, kept current by its notices: a peer's quick mode is answered without a dump.

use std::collections::BTreeMap;

use ike::event::{PolicyMatch, PolicyQuery};
use policy::model::sa::{Direction, Mode, ReqId};
use policy::model::selector::Selector;
use xfrm::model::notice::Notice;
use xfrm::model::policy::{List, Place, Policy, Verdict};
use xfrm::model::template::Template;

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
            .map(|(entry, reqid)| PolicyMatch { reqid, outbound: entry.policy.selector })
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

/// The reqid of the template that wants such an SA, if the policy is one that does.
fn wanted(policy: &Policy, query: &PolicyQuery) -> Option<ReqId> {
    let fits =
        policy.place == Place::Spd(Direction::Out) && is_ipsec(policy) && policy.selector.contains(&query.outbound);
    let template = policy.templates.iter().find(|template| serves(template, query))?;
    fits.then_some(template.reqid)
}

fn serves(template: &Template, query: &PolicyQuery) -> bool {
    template.protocol == query.protocol
        && template.mode == query.mode
        && match template.endpoints {
            Some(ends) => ends == (query.local, query.peer),
            // A tunnel without ends leads nowhere.
            None => query.mode == Mode::Transport,
        }
}

#[cfg(test)]
mod tests;
