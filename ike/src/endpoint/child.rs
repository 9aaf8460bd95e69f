//! Children from the end of their quick mode to their own: entered, installed, taken out.

use std::sync::Arc;
use std::time::Duration;

use policy::model::sa::Protocol;

use super::{Endpoint, Holder};
use crate::children::{Child, Outbound};
use crate::context::{JobOwner, Path};
use crate::event::Output;
use crate::event::sa::{ChildId, SaName, SaPair};
use crate::informational::exchange::{connected_notify, delete_child};
use crate::message::Role;
use crate::phase2::exchange::NewChild;
use crate::phase2::wish::ChildKey;
use crate::report::{Event, Level};
use crate::timer::{Phase1Id, Timer};

/// How long a peer of another make may need from QM3 to its inbound SA: the packets that the kernel holds for us would
/// reach it too early.
const FOREIGN_GRACE: Duration = Duration::from_millis(50);

/// The same while an older child still carries the traffic: nobody waits for the new one.
const FOREIGN_REKEY_GRACE: Duration = Duration::from_secs(1);

/// The same where the peer has set the commit bit and its CONNECTED does not come.
const COMMIT_GRACE: Duration = Duration::from_secs(1);

impl Endpoint {
    /// Both sides have what they need: the child stands, its outbound SA follows when the peer can receive.
    pub(super) fn quick_done(&mut self, id: Phase1Id, message_id: u32, new: NewChild, datagram: Option<Vec<u8>>) {
        let Some(quick) = self.forget_quick(id, message_id) else { return };
        // SPIs of protocols that the peer did not take go back.
        let used = |name: &SaName| *name == new.inbound || new.beside.iter().any(|pair| pair.inbound == *name);
        quick.inbound.iter().filter(|name| !used(name)).for_each(|name| self.cx.remove_sa(*name));
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let path = sa.facts.path;
        let (owner, peer_is_xfrmd) = (Arc::clone(&sa.facts.owner), sa.facts.traits.xfrmd);
        let nat = sa.facts.traits.path_nat;
        let mut answered = quick.answered;
        if let Some(datagram) = datagram {
            answered.answered(datagram.clone());
            self.cx.send(path, datagram);
        }
        sa.finish(message_id, answered);
        self.pending.remove(&new.key);
        self.refusals.forgive(&new.key);
        let now = self.cx.now.monotonic;
        let carried =
            self.children.by_key(&new.key).into_iter().filter_map(|old| self.children.get(old)).any(Child::carries);
        let grace = match (new.role, peer_is_xfrmd, carried) {
            // The responder has installed before QM2 (ours), or we are the responder and QM3 says that the peer has.
            (Role::Responder, ..) | (_, true, _) => Duration::ZERO,
            // The peer asks us to wait for its CONNECTED; the SA is used all the same if that is lost (IKEV1 C-3).
            (Role::Initiator, false, _) if quick.commits => COMMIT_GRACE,
            (Role::Initiator, false, false) => FOREIGN_GRACE,
            (Role::Initiator, false, true) => FOREIGN_REKEY_GRACE,
        };
        let child = Child {
            id: new.id,
            key: new.key,
            inbound: new.inbound,
            outbound: new.outbound,
            beside: new.beside,
            owner,
            made_under: Some(id),
            role: new.role,
            encapsulation: new.outbound_sas.first().and_then(|sa| sa.encapsulation),
            nat,
            state: Outbound::Held(new.outbound_sas),
            established: now,
            told: if new.role == Role::Responder { quick.told } else { now },
            rekey_at: now + new.soft,
            expires: now + new.hard,
            policy_index: new.policy_index.or(quick.held),
            peer_is_xfrmd,
            replaced: false,
        };
        let (connected, role) = (child.inbound, child.role);
        self.enter_child(child);
        if quick.commits && role == Role::Responder {
            self.send_informational(id, connected_notify(connected));
        }
        if grace.is_zero() {
            self.install_outbound(new.id);
        } else {
            self.cx.timers.set(Timer::InstallOutbound(new.id), now + grace);
        }
    }

    pub(super) fn enter_child(&mut self, child: Child) {
        self.index(&child.owner, Holder::Child(child.id));
        self.cx.timers.set(Timer::RekeyChild(child.id), child.rekey_at);
        self.cx.timers.set(Timer::ExpireChild(child.id), child.expires);
        self.children.insert(child);
    }

    pub(super) fn install_outbound(&mut self, id: ChildId) {
        let Some(child) = self.children.get_mut(id) else { return };
        let Outbound::Held(sas) = &mut child.state else { return };
        let sas = std::mem::take(sas);
        child.state = Outbound::Installing(sas.len());
        for sa in sas {
            let job = self.cx.job(JobOwner::Child(id));
            self.cx.emit(Output::InstallSa { job, sa: Box::new(sa) });
        }
    }

    pub(super) fn outbound_installed(&mut self, id: ChildId, result: Result<(), String>) {
        let Some(child) = self.children.get_mut(id) else { return };
        let (peer, mode) = (child.owner.peer, child.key.mode);
        if let Err(why) = result {
            let reason = format!("the kernel refuses the outbound SA: {why}");
            self.last_errors.note(peer.ip(), self.cx.now.wall, &reason);
            self.cx.report(Level::Error, peer, Event::Phase2Failed { peer: peer.ip(), reason, timed_out: false });
            self.delete_child(id);
            return;
        }
        match &mut child.state {
            Outbound::Installing(left) if *left > 1 => {
                *left -= 1;
                return;
            }
            state => *state = Outbound::Installed,
        }
        let local = child.owner.local;
        for pair in child.pairs() {
            for (from, to, sa) in [(peer, local, pair.inbound), (local, peer, pair.outbound)] {
                self.cx.report(Level::Info, peer, Event::ChildEstablished { from, to, mode, sa });
            }
        }
        if let Some(policy_index) = self.children.get(id).and_then(|child| child.policy_index) {
            self.cx.emit(Output::ReleaseHeld { policy_index });
        }
        self.settle_children(id);
    }

    /// Takes a child out of all tables and of the kernel.
    pub(super) fn remove_child(&mut self, id: ChildId) -> Option<Child> {
        let child = self.children.remove(id)?;
        self.unindex(&child.owner, Holder::Child(id));
        for timer in [Timer::InstallOutbound(id), Timer::RekeyChild(id), Timer::ExpireChild(id), Timer::RetireChild(id)]
        {
            self.cx.timers.cancel(timer);
        }
        self.remove_from_kernel(&child);
        self.promote_replaced(&child.key);
        self.release_policy(&child.key);
        Some(child)
    }

    /// As [`Self::remove_child`], telling the peer.
    pub(super) fn delete_child(&mut self, id: ChildId) -> Option<Child> {
        let child = self.remove_child(id)?;
        // charon looks for the child under the ISAKMP SA that the DELETE comes by, and nowhere else.
        let serves = |id: &Phase1Id| self.sas.get(id).is_some_and(|sa| !sa.retiring);
        let parent = child.made_under.filter(serves).or_else(|| {
            let ChildKey { local, peer, .. } = child.key;
            self.sa_with(local, peer, Some(&child.owner.identity))
        });
        let Some(sa) = parent else { return Some(child) };
        // Nobody looks at a DELETE of IPComp: its SAs go with those they are inside of.
        for SaPair { inbound, .. } in child.pairs().filter(|pair| pair.inbound.protocol != Protocol::Ipcomp) {
            self.send_informational(sa, delete_child(inbound.protocol, inbound.spi));
        }
        Some(child)
    }

    /// Tells of a child that was taken out: a line for each of its SAs.
    pub(super) fn purged(&mut self, child: &Child) {
        let path = Path { local: child.owner.local, peer: child.owner.peer };
        for sa in child.pairs().flat_map(|pair| [pair.outbound, pair.inbound]) {
            self.cx.report_on(Level::Info, path, Event::ChildPurged { sa });
        }
    }
}
