//! When hook scripts run (racoon.conf: `script`): once a peer is up, and once it is gone. A renewal of its ISAKMP SA
//! is neither, unless the configuration it brought is another one.

use policy::model::remote::HookEvent;

use super::Endpoint;
use crate::event::Output;
use crate::event::question::Hook;
use crate::isakmp_sa::IsakmpSa;
use crate::timer::Phase1Id;
use crate::transaction::configuration::Configuration;

impl Endpoint {
    /// An ISAKMP SA is open.
    pub(super) fn announce(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.facts.remote.remote.scripts.is_empty()) else { return };
        let configuration = configuration(sa);
        let known = self.before(id).filter(|before| announced(before));
        let same =
            known.is_some_and(|before| before.facts.assigned.is_some() || self::configuration(before) == configuration);
        if let Some(sa) = self.sas.get_mut(&id) {
            sa.session_mut().announced = true;
        }
        if !same {
            self.hook(id, HookEvent::Up);
        }
    }

    /// An ISAKMP SA is about to be closed.
    pub(super) fn withdraw(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed && announced(sa)) else { return };
        let (peer, local) = (sa.facts.path.peer.ip(), sa.facts.path.local.ip());
        let identity = &sa.facts.owner.identity;
        let serves = |other: &&IsakmpSa| {
            other.id != id
                && !other.closed
                && announced(other)
                && other.facts.path.local.ip() == local
                && other.facts.owner.identity == *identity
        };
        let mut others = self.by_peer.get(&peer).into_iter().flatten().filter_map(|other| self.sas.get(other));
        if others.find(serves).is_none() {
            self.hook(id, HookEvent::Down);
        }
        if let Some(session) = self.sas.get_mut(&id).and_then(|sa| sa.session.as_mut()) {
            session.announced = false;
        }
    }

    /// Has the script of an event run.
    pub(super) fn hook(&mut self, id: Phase1Id, event: HookEvent) {
        let Some(sa) = self.sas.get(&id) else { return };
        let Some(script) = sa.facts.remote.remote.scripts.iter().find(|script| script.event == event) else { return };
        let owner = &sa.facts.owner;
        let session = sa.session.as_ref();
        let hook = Hook {
            event,
            script: script.path.clone(),
            local: sa.facts.path.local,
            peer: sa.facts.path.peer,
            identity: session.and_then(|session| session.claimed.clone()).unwrap_or_else(|| owner.identity.clone()),
            cookies: owner.cookies,
            user: session.and_then(|session| session.user.clone()),
            configuration: configuration(sa),
        };
        self.cx.emit(Output::RunHook(Box::new(hook)));
    }
}

fn announced(sa: &IsakmpSa) -> bool {
    sa.session.as_ref().is_some_and(|session| session.announced)
}

/// What the peer gave us, or the address that we gave it.
fn configuration(sa: &IsakmpSa) -> Configuration {
    let given = sa.session.as_ref().and_then(|session| session.configuration.clone());
    given.unwrap_or_else(|| Configuration {
        address: match sa.facts.assigned {
            Some(std::net::IpAddr::V4(address)) => Some(address),
            _ => None,
        },
        ..Configuration::default()
    })
}
