//! What a peer announces of SAs that stand: a shorter life (RFC 2407 §4.6.3.1), and that its own SA is in place (the
//! commit bit, RFC 2408 §3.1; IKEV1 C-3, L-1).

use policy::model::sa::{Protocol, Spi};

use super::Endpoint;
use crate::children::Outbound;
use crate::event::sa::{ChildId, SaName};
use crate::message::Role;
use crate::phase1::proposal::life_seconds;
use crate::report::{Event, Level};
use crate::timer::{Phase1Id, Timer};
use crate::wire::attribute::Attribute;
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{ProtocolId, phase1_attr, phase2_attr};

impl Endpoint {
    /// RESPONDER-LIFETIME in an informational: a shorter life is kept to, a longer one not believed.
    pub(super) fn life_announced(&mut self, id: Phase1Id, notify: &NotifyPayload) {
        let Ok(attributes) = Attribute::decode_list(&notify.data) else { return };
        // An ISAKMP SA's attributes are seen under the numbers of either phase.
        let phase1 = life_seconds(&attributes, phase1_attr::LIFE_TYPE, phase1_attr::LIFE_DURATION);
        let phase2 = life_seconds(&attributes, phase2_attr::LIFE_TYPE, phase2_attr::LIFE_DURATION);
        match notify.protocol {
            ProtocolId::ISAKMP => {
                let Some(life) = phase1.or(phase2).filter(|life| !life.is_zero()) else { return };
                let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else { return };
                let expires = sa.established + life;
                let names_this = matches!(notify.spi.len(), 0) || notify.spi == sa.facts.protection.cookies.concat();
                if !names_this || expires >= sa.expires {
                    return;
                }
                sa.expires = expires;
                let (peer, role, established) = (sa.facts.path.peer, sa.facts.role, sa.established);
                self.cx.report(Level::Info, peer, Event::ResponderLifetime { seconds: life.as_secs() });
                self.cx.timers.set(Timer::ExpirePhase1(id), expires);
                if self.cx.timers.when(Timer::RekeyPhase1(id)).is_some() {
                    let (from, to) = if role == Role::Initiator { (75, 85) } else { (92, 95) };
                    self.cx.timers.set(Timer::RekeyPhase1(id), established + self.cx.jitter(life, from, to));
                }
            }
            _ => {
                let Some(life) = phase2.filter(|life| !life.is_zero()) else { return };
                let Some(child) = self.named_child(id, notify).and_then(|child| self.children.get_mut(child)) else {
                    return;
                };
                let expires = child.established + life;
                if expires >= child.expires {
                    return;
                }
                child.expires = expires;
                let (from, to) = if child.role == Role::Initiator { (75, 85) } else { (92, 95) };
                child.rekey_at = child.established + self.cx.jitter(life, from, to);
                let (child, peer, rekey_at, replaced) = (child.id, child.owner.peer, child.rekey_at, child.replaced);
                self.cx.report(Level::Info, peer, Event::ResponderLifetime { seconds: life.as_secs() });
                self.cx.timers.set(Timer::ExpireChild(child), expires);
                if !replaced {
                    self.cx.timers.set(Timer::RekeyChild(child), rekey_at);
                }
            }
        }
    }

    /// CONNECTED: the peer can receive.
    pub(super) fn connected(&mut self, id: Phase1Id, notify: &NotifyPayload) {
        let waits =
            |child: &ChildId| self.children.get(*child).is_some_and(|child| matches!(child.state, Outbound::Held(_)));
        if let Some(child) = self.named_child(id, notify).filter(waits) {
            self.cx.timers.cancel(Timer::InstallOutbound(child));
            self.install_outbound(child);
        }
    }

    /// The child of this SA's peer that a notify names, by the SPI of either side.
    fn named_child(&self, id: Phase1Id, notify: &NotifyPayload) -> Option<ChildId> {
        let sa = self.sas.get(&id)?;
        let protocol = match notify.protocol {
            ProtocolId::ESP => Protocol::Esp,
            ProtocolId::AH => Protocol::Ah,
            _ => return None,
        };
        let spi = Spi(u32::from_be_bytes(notify.spi.as_slice().try_into().ok()?));
        let (local, peer) = (sa.facts.path.local.ip(), sa.facts.path.peer.ip());
        let names = [SaName { protocol, spi, src: local, dst: peer }, SaName { protocol, spi, src: peer, dst: local }];
        let child = names.iter().find_map(|name| self.children.by_sa(name))?;
        self.children.get(child).filter(|child| child.owner.identity == sa.facts.owner.identity).map(|child| child.id)
    }
}
