//! Policies made for peers that have none in the kernel (racoon.conf: `generate_policy`): who holds which, and when one goes.
//!
//! A policy is used by the children with its key and by the quick modes under way for it; with the last of them it goes.

use policy::model::identity::Identity;
use policy::model::sa::ReqId;
use policy::model::selector::Selector;

use super::Endpoint;
use crate::context::JobOwner;
use crate::error::ExchangeError;
use crate::event::policies::{GeneratedPolicy, PolicyMatch};
use crate::event::{JobId, Output};
use crate::phase2::quick::{self, Quick};
use crate::phase2::wish::ChildKey;
use crate::report::{Event, Level};

/// A policy of ours in the kernel.
#[derive(Debug)]
pub(super) struct Generated {
    key: ChildKey,
    /// Whom it was made for: nobody else gets an SA for its traffic.
    identity: Identity,
}

impl Endpoint {
    /// The kernel has, or has not, a policy for the SA that a peer proposes.
    pub(super) fn policy_found(&mut self, job: JobId, policy: Option<PolicyMatch>) {
        let Some((JobOwner::Quick(id, message_id), _)) = self.cx.finish_job(job) else { return };
        let Some(sa) = self.sas.get(&id) else { return };
        let asked = sa.quick.get(&message_id).and_then(Quick::asked);
        let identity = sa.facts.owner.identity.clone();
        let policy = match asked {
            Some(asked) => match self.check_taken(id, &asked).and_then(|()| self.claim(&asked, &identity, policy)) {
                Ok(policy) => policy,
                Err(error) => return self.fail_quick(id, message_id, &error),
            },
            None => policy,
        };
        if let Some(key) = policy.and_then(|policy| self.generated.get(&policy.outbound)).map(|entry| entry.key)
            && let Some(quick) = self.sas.get_mut(&id).and_then(|sa| sa.quick.get_mut(&message_id))
        {
            quick.generated = Some(key);
        }
        self.drive_quick(id, message_id, quick::Step::Policy(job, policy), None);
    }

    /// What of the policies made so far is for this peer's quick mode. `found` is what the kernel has; its notices may be
    /// behind, so our own table goes before it.
    fn claim(
        &mut self,
        asked: &ChildKey,
        identity: &Identity,
        found: Option<PolicyMatch>,
    ) -> Result<Option<PolicyMatch>, ExchangeError> {
        let same = |entry: &Generated| {
            entry.identity == *identity
                && (entry.key.local, entry.key.peer, entry.key.mode) == (asked.local, asked.peer, asked.mode)
        };
        if let Some(found) = found.filter(|found| self.generated.get(&found.outbound).is_none_or(same)) {
            return Ok(Some(found));
        }
        let clash = |entry: &&Generated| entry.identity != *identity && overlaps(&entry.key.outbound, &asked.outbound);
        if let Some(other) = self.generated.values().find(clash) {
            let (theirs, ours) = (other.key.outbound, asked.outbound);
            return Err(ExchangeError::InvalidId(format!("{ours} overlaps with {theirs}, which another peer has")));
        }
        match self.generated.get(&asked.outbound) {
            Some(entry) if same(entry) => {
                let ChildKey { protocol, reqid, companions, outbound, .. } = entry.key;
                Ok(Some(PolicyMatch { protocol, reqid, companions, outbound }))
            }
            // The same peer comes from elsewhere, or in another mode: what it had is no longer reachable.
            Some(entry) => {
                self.evict(entry.key);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// The kernel has, or has not, taken a policy that we made.
    pub(super) fn policy_installed(&mut self, job: JobId, policy: &GeneratedPolicy, result: Result<ReqId, String>) {
        let Some((JobOwner::Quick(id, message_id), _)) = self.cx.finish_job(job) else { return };
        let sa = self.sas.get_mut(&id);
        let identity = sa.as_ref().map(|sa| sa.facts.owner.identity.clone());
        let quick = sa.and_then(|sa| sa.quick.get_mut(&message_id));
        match (&result, quick, identity) {
            (Ok(reqid), Some(quick), Some(identity)) => {
                let key = policy.key(*reqid);
                quick.generated = Some(key);
                self.generated.insert(key.outbound, Generated { key, identity });
            }
            // It came too late: nobody wants it any more.
            (Ok(_), ..) => return self.cx.emit(Output::RemovePolicy { outbound: policy.outbound }),
            (Err(_), ..) => {}
        }
        self.drive_quick(id, message_id, quick::Step::Generated(job, result), None);
    }

    /// Whom the policy for this traffic was made for.
    pub(super) fn generated_for(&self, key: &ChildKey) -> Option<Identity> {
        let entry = self.generated.get(&key.outbound).filter(|entry| entry.key == *key)?;
        Some(entry.identity.clone())
    }

    /// A child of an earlier run had a policy made for it.
    pub(super) fn adopt_policy(&mut self, key: ChildKey, identity: Identity) {
        self.generated.insert(key.outbound, Generated { key, identity });
    }

    /// A child of the peer's goes on elsewhere; a policy that was made for it follows.
    pub(super) fn move_policy(&mut self, from: &ChildKey, to: &ChildKey) {
        if from == to || self.generated.get(&from.outbound).is_none_or(|entry| entry.key != *from) {
            return;
        }
        if let Some(entry) = self.generated.remove(&from.outbound) {
            self.generated.insert(to.outbound, Generated { key: *to, ..entry });
            let ChildKey { local, peer, outbound, mode, protocol, reqid, .. } = *to;
            let policy = Box::new(GeneratedPolicy { outbound, mode, protocol, local, peer, unique: false });
            self.cx.emit(Output::MovePolicy { outbound: from.outbound, policy, reqid });
        }
    }

    /// A user of this policy, if it is one of ours, is gone.
    pub(super) fn release_policy(&mut self, key: &ChildKey) {
        let is_ours = self.generated.get(&key.outbound).is_some_and(|entry| entry.key == *key);
        if !is_ours || !self.children.by_key(key).is_empty() {
            return;
        }
        let uses = |quick: &Quick| {
            quick.generated.as_ref() == Some(key) || quick.wish.as_ref().is_some_and(|wish| wish.what == *key)
        };
        let sas = self.by_peer.get(&key.peer).into_iter().flatten().filter_map(|id| self.sas.get(id));
        if sas.flat_map(|sa| sa.quick.values()).any(uses) {
            return;
        }
        self.forget_policy(key);
    }

    fn forget_policy(&mut self, key: &ChildKey) {
        if self.generated.remove(&key.outbound).is_some() {
            let peer = std::net::SocketAddr::new(key.peer, self.cx.config.isakmp_port);
            self.cx.report(Level::Info, peer, Event::PolicyDeleted { outbound: key.outbound });
            self.cx.emit(Output::RemovePolicy { outbound: key.outbound });
        }
    }

    /// Takes out a policy with everything that uses it.
    fn evict(&mut self, key: ChildKey) {
        for child in self.children.by_key(&key) {
            self.delete_child(child);
        }
        let users: Vec<_> = self
            .sas
            .values()
            .flat_map(|sa| sa.quick.iter().map(|(message_id, quick)| (sa.id, *message_id, quick)))
            .filter(|(_, _, quick)| quick.generated == Some(key))
            .map(|(id, message_id, _)| (id, message_id))
            .collect();
        for (id, message_id) in users {
            self.drop_quick(id, message_id, "the peer asks for the same traffic from elsewhere");
        }
        self.forget_policy(&key);
    }
}

/// Is there a packet that both are for?
fn overlaps(one: &Selector, other: &Selector) -> bool {
    let nets = |a, b| {
        let (a, b) = (Selector::between(a, a), Selector::between(b, b));
        a.contains(&b) || b.contains(&a)
    };
    let numbers = |a: u16, b: u16| a == 0 || b == 0 || a == b;
    nets(one.src, other.src)
        && nets(one.dst, other.dst)
        && numbers(one.protocol.0.into(), other.protocol.0.into())
        && numbers(one.src_port, other.src_port)
        && numbers(one.dst_port, other.dst_port)
}

#[cfg(test)]
mod tests {
    use policy::model::addr::IpNet;
    use policy::model::selector::UpperProtocol;

    use super::*;

    #[test]
    fn overlap_is_symmetric_and_knows_ports() {
        let net = |text: &str| -> IpNet { text.parse().expect("a network") };
        let wide = Selector::between(net("0.0.0.0/0"), net("10.9.0.0/24"));
        let host = Selector::between(net("10.1.0.0/16"), net("10.9.0.7/32"));
        let other = Selector::between(net("10.1.0.0/16"), net("10.9.1.7/32"));
        assert!(overlaps(&wide, &host) && overlaps(&host, &wide));
        assert!(!overlaps(&wide, &other) && !overlaps(&other, &host));
        let port = |port| Selector { protocol: UpperProtocol::UDP, src_port: port, ..host };
        assert!(overlaps(&port(1701), &wide) && overlaps(&port(1701), &port(0)));
        assert!(!overlaps(&port(1701), &port(1702)));
        assert!(!overlaps(&port(0), &Selector { protocol: UpperProtocol::TCP, ..host }));
    }
}
