//! Policies made for peers that have none in the kernel (racoon.conf: `generate_policy`).
//!
//! A priority of their own tells them from everybody else's, so that a daemon that was killed leaves nothing behind that
//! the next one would not find. They are deleted by the kernel's number: a script that writes the same selector anew keeps
//! its own.

use std::collections::HashMap;

use ike::event::policies::GeneratedPolicy;
use policy::model::sa::{Direction, Mode, ReqId, Spi};
use policy::model::selector::Selector;
use xfrm::batch::Refusal;
use xfrm::model::policy::{Place, Policy, PolicyKey, PolicyTarget, Verdict};
use xfrm::model::template::{Need, Template};
use xfrm::request::{Reply, Request};
use xfrm::socket::Connection;

use super::mirror::Mirror;
use crate::revocation::journal::Entry;

/// The kernel asks them before what setkey scripts write without a priority (0x80000000), and after what they write with
/// a high one (0x40000000).
const PRIORITY: u32 = 0x7f67_656e;

/// The first reqid of `generate_policy unique`, beyond those that setkey and the kernel give out.
const FIRST_REQID: u32 = 0x6765_0000;

/// Ours in the kernel.
#[derive(Debug)]
pub struct Generated {
    /// The kernel's numbers of a policy's directions, by the outbound selector.
    indexes: HashMap<Selector, Vec<u32>>,
    next_reqid: u32,
}

impl Default for Generated {
    fn default() -> Self {
        Self { indexes: HashMap::new(), next_reqid: FIRST_REQID }
    }
}

impl Generated {
    /// Puts a policy in, all directions or none; its reqid.
    ///
    /// # Errors
    /// The kernel's refusal: above all, a policy with this selector is there and is for somebody else.
    pub fn install(
        &mut self,
        wanted: &GeneratedPolicy,
        connection: &mut Connection,
        mirror: &Mirror,
    ) -> Result<ReqId, Refusal> {
        let reqid = if wanted.unique { self.free_reqid(mirror) } else { ReqId(0) };
        self.put(wanted, reqid, connection).map(|()| reqid)
    }

    fn put(&mut self, wanted: &GeneratedPolicy, reqid: ReqId, connection: &mut Connection) -> Result<(), Refusal> {
        let policies = policies(wanted, reqid);
        let adds: Vec<Request> = policies.iter().cloned().map(|policy| Request::AddPolicy(Box::new(policy))).collect();
        let answers = connection.execute(&adds);
        let mut refusal = None;
        let mut indexes = Vec::new();
        for (policy, answer) in policies.iter().zip(answers) {
            match answer.and_then(|_added| index(policy, connection)) {
                Ok(index) => indexes.push(index),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        match refusal {
            Some(refusal) => {
                delete(&indexes, connection);
                Err(refusal)
            }
            None => {
                self.indexes.insert(wanted.outbound, indexes);
                Ok(())
            }
        }
    }

    /// Gives a policy other ends. In tunnel mode the kernel replaces it in place, so that no packet finds none.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn change(
        &mut self,
        outbound: &Selector,
        to: &GeneratedPolicy,
        reqid: ReqId,
        connection: &mut Connection,
    ) -> Result<(), Refusal> {
        if to.outbound != *outbound {
            self.put(to, reqid, connection)?;
            self.remove(outbound, connection);
            return Ok(());
        }
        let updates: Vec<Request> =
            policies(to, reqid).into_iter().map(|policy| Request::UpdatePolicy(Box::new(policy))).collect();
        connection.execute(&updates).into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    /// Takes a policy out again.
    pub fn remove(&mut self, outbound: &Selector, connection: &mut Connection) {
        if let Some(indexes) = self.indexes.remove(outbound) {
            delete(&indexes, connection);
        }
    }

    /// Takes all of them out.
    pub fn remove_all(&mut self, connection: &mut Connection) {
        let indexes: Vec<u32> = self.indexes.drain().flat_map(|(_, indexes)| indexes).collect();
        delete(&indexes, connection);
    }

    /// Takes over what an earlier life made for this child. Was there anything?
    pub fn adopt(&mut self, entry: &Entry, mirror: &Mirror) -> bool {
        let ours: Vec<&Policy> = mirror.policies().filter(|policy| is_generated(policy)).collect();
        let is_for_it = |policy: &&&Policy| {
            let ends = Some((entry.outbound.src, entry.outbound.dst)).filter(|_| entry.mode == Mode::Tunnel);
            policy.place == Place::Spd(Direction::Out)
                && policy.selector == entry.selector
                && policy.templates.iter().any(|template| {
                    (template.mode, template.endpoints, template.reqid) == (entry.mode, ends, entry.reqid)
                })
        };
        if !ours.iter().any(|policy| is_for_it(&policy)) {
            return false;
        }
        let directions = ours.iter().filter(|policy| outbound(policy) == entry.selector);
        self.indexes.insert(entry.selector, directions.map(|policy| policy.index).collect());
        true
    }

    /// Takes out what an earlier life made and nothing was adopted for.
    pub fn remove_orphans(&self, connection: &mut Connection, mirror: &Mirror) -> usize {
        let orphans: Vec<u32> = mirror
            .policies()
            .filter(|policy| is_generated(policy) && !self.indexes.contains_key(&outbound(policy)))
            .map(|policy| policy.index)
            .collect();
        delete(&orphans, connection);
        orphans.len()
    }

    fn free_reqid(&mut self, mirror: &Mirror) -> ReqId {
        let used: std::collections::HashSet<u32> =
            mirror.policies().flat_map(|policy| &policy.templates).map(|template| template.reqid.0).collect();
        loop {
            let reqid = self.next_reqid;
            self.next_reqid = reqid.checked_add(1).unwrap_or(FIRST_REQID);
            if !used.contains(&reqid) {
                return ReqId(reqid);
            }
        }
    }
}

/// The policies of one: in tunnel mode packets may be for hosts behind us, which `fwd` lets in.
fn policies(wanted: &GeneratedPolicy, reqid: ReqId) -> Vec<Policy> {
    let GeneratedPolicy { outbound, mode, protocol, local, peer, .. } = *wanted;
    let policy = |direction| {
        let out = direction == Direction::Out;
        let (selector, ends) = if out { (outbound, (local, peer)) } else { (outbound.reversed(), (peer, local)) };
        let endpoints = Some(ends).filter(|_| mode == Mode::Tunnel);
        let template = Template { protocol, mode, endpoints, spi: Spi(0), reqid, need: Need::Required };
        Policy { priority: PRIORITY, ..Policy::new(selector, direction, Verdict::Allow, vec![template]) }
    };
    let mut list = vec![policy(Direction::In), policy(Direction::Out)];
    if mode == Mode::Tunnel {
        list.push(policy(Direction::Fwd));
    }
    list
}

fn is_generated(policy: &Policy) -> bool {
    policy.priority == PRIORITY && !policy.templates.is_empty() && matches!(policy.place, Place::Spd(_))
}

/// The outbound selector of a policy of any direction.
fn outbound(policy: &Policy) -> Selector {
    if policy.place.direction() == Direction::Out { policy.selector } else { policy.selector.reversed() }
}

fn index(policy: &Policy, connection: &mut Connection) -> Result<u32, Refusal> {
    match connection.execute_one(Request::GetPolicy(policy.key()))? {
        Reply::Policy(policy, _) => Ok(policy.index),
        _ => Err(Refusal::ours("GETPOLICY".to_owned(), libc::EBADMSG, "no policy in the answer")),
    }
}

/// One that is gone already is gone.
fn delete(indexes: &[u32], connection: &mut Connection) {
    let requests: Vec<Request> = indexes
        .iter()
        .map(|index| {
            let key = PolicyKey::index(*index);
            Request::DeletePolicy(PolicyKey { target: PolicyTarget::Index(*index), ..key })
        })
        .collect();
    let _answers = connection.execute(&requests);
}

#[cfg(test)]
mod tests {
    use policy::model::sa::Protocol;

    use super::*;

    fn wanted(mode: Mode) -> GeneratedPolicy {
        let net = |text: &str| text.parse().expect("a network");
        GeneratedPolicy {
            outbound: Selector::between(net("10.1.0.0/16"), net("10.9.0.1/32")),
            mode,
            protocol: Protocol::Esp,
            local: [192, 0, 2, 1].into(),
            peer: [198, 51, 100, 7].into(),
            unique: false,
        }
    }

    #[test]
    fn tunnel_policies_have_ends_and_a_forward_twin() {
        let list = policies(&wanted(Mode::Tunnel), ReqId(7));
        let places: Vec<Direction> = list.iter().map(|policy| policy.place.direction()).collect();
        assert_eq!(places, [Direction::In, Direction::Out, Direction::Fwd]);
        for policy in &list {
            assert!(is_generated(policy));
            assert_eq!(outbound(policy), wanted(Mode::Tunnel).outbound);
            let template = policy.templates.first().expect("a template");
            let (us, peer) = (wanted(Mode::Tunnel).local, wanted(Mode::Tunnel).peer);
            let ends = if policy.place.direction() == Direction::Out { (us, peer) } else { (peer, us) };
            assert_eq!((template.endpoints, template.reqid), (Some(ends), ReqId(7)));
        }
    }

    #[test]
    fn transport_policies_are_two_and_have_no_ends() {
        let list = policies(&wanted(Mode::Transport), ReqId(0));
        assert_eq!(list.len(), 2);
        assert!(list.iter().all(|policy| policy.templates.iter().all(|template| template.endpoints.is_none())));
    }

    #[test]
    fn other_policies_are_nobodys_business() {
        let ours = policies(&wanted(Mode::Tunnel), ReqId(0)).remove(0);
        assert!(!is_generated(&Policy { priority: 0x8000_0000, ..ours.clone() }));
        assert!(!is_generated(&Policy { templates: Vec::new(), ..ours }));
    }
}
