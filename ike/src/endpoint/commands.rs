//! Commands of the operator, revocation among them, and the end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::model::algorithm::XauthSide;

use super::{Endpoint, Holder};
use crate::children::Child;
use crate::config::Config;
use crate::event::Output;
use crate::event::command::{Command, Directions};
use crate::event::question::CertificateId;
use crate::event::sa::{ChildId, Owner};
use crate::isakmp_sa::IsakmpSa;
use crate::report::{Event, Level, Report};
use crate::timer::Phase1Id;

/// Peers that operators say something of.
const MOST_DIRECTIONS: usize = 1024;

impl Endpoint {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Up { local, peer } => {
                // A closed SA that still understands stragglers is none.
                let is_closed = |id: &Phase1Id| self.sas.get(id).is_some_and(|sa| sa.closed);
                let under_way = self.by_peer.get(&peer).into_iter().flatten().any(|id| !is_closed(id));
                if !under_way {
                    self.initiate(local, peer, Vec::new(), None);
                }
            }
            Command::Direct { peer, directions } => self.direct(peer, directions),
            Command::Logout { user } => self.log_out(&user),
            Command::Down { peer } => {
                let event = Event::PeerFlushed { peer };
                self.cx.report(Level::Info, SocketAddr::new(peer, self.cx.config.isakmp_port), event);
                self.directions.remove(&peer);
                self.take_down(peer);
            }
            Command::DownAll => self.take_down_all(),
            Command::DropIsakmp => {
                let sas: Vec<Phase1Id> = self.sas.keys().copied().collect();
                for id in sas {
                    self.delete_sa(id);
                }
            }
            Command::DropChildren { protocol, outbound } => {
                let fits = |child: &&Child| {
                    protocol.is_none_or(|protocol| child.key.protocol == protocol)
                        && outbound.is_none_or(|outbound| child.key.outbound == outbound)
                };
                let chosen: Vec<ChildId> = self.children.iter().filter(fits).map(|child| child.id).collect();
                for child in chosen {
                    self.purge_child(child);
                }
            }
            Command::Revoke { certificate } => self.revoke(certificate),
            Command::Unrevoke { serial, issuer_key } => {
                self.revoked.retain(|id| id.serial != serial || issuer_key.is_some_and(|key| id.issuer_key != key));
            }
        }
    }

    fn direct(&mut self, peer: IpAddr, directions: Directions) {
        if self.directions.len() >= MOST_DIRECTIONS && !self.directions.contains_key(&peer) {
            self.directions.pop_first();
        }
        self.directions.insert(peer, directions);
    }

    /// Children first, while there is an ISAKMP SA to tell the client.
    fn log_out(&mut self, user: &str) {
        let is_his = |sa: &&IsakmpSa| {
            !sa.closed
                && sa.facts.auth.xauth() == Some(XauthSide::Server)
                && sa.session.as_ref().is_some_and(|session| session.user.as_deref() == Some(user))
        };
        let sas: Vec<(Phase1Id, Arc<Owner>)> =
            self.sas.values().filter(is_his).map(|sa| (sa.id, Arc::clone(&sa.facts.owner))).collect();
        for (_, owner) in &sas {
            let his = |child: &&Child| child.owner.peer == owner.peer && child.owner.identity == owner.identity;
            let children: Vec<ChildId> = self.children.iter().filter(his).map(|child| child.id).collect();
            children.into_iter().for_each(|child| self.purge_child(child));
        }
        sas.into_iter().for_each(|(id, _)| self.delete_sa(id));
    }

    /// Uses another configuration from now on.
    pub(super) fn configure(&mut self, config: Arc<Config>) {
        let size = |config: &Config| config.mode_cfg.as_ref().and_then(|given| given.pool).map_or(0, |pool| pool.size);
        let (from, to) = (size(&self.cx.config), size(&config));
        self.refusals.forgive_all();
        self.cx.config = config;
        if from != to {
            let event = Event::PoolResized { from, to };
            self.cx.emit(Output::Report(Report { level: Level::Info, local: None, peer: None, event }));
        }
    }

    /// Everything with one peer: children first, while there is an ISAKMP SA to tell it.
    fn take_down(&mut self, peer: IpAddr) {
        for child in self.children.by_peer(peer) {
            self.purge_child(child);
        }
        let phase1: Vec<Phase1Id> = self.by_peer.get(&peer).into_iter().flatten().copied().collect();
        for id in phase1 {
            self.delete_sa(id);
            self.drop_handshake(id);
        }
    }

    fn take_down_all(&mut self) {
        let children: Vec<ChildId> = self.children.iter().map(|child| child.id).collect();
        for child in children {
            self.purge_child(child);
        }
        let sas: Vec<Phase1Id> = self.sas.keys().copied().collect();
        for id in sas {
            self.delete_sa(id);
        }
        let handshakes: Vec<Phase1Id> = self.handshakes.keys().copied().collect();
        for id in handshakes {
            self.drop_handshake(id);
        }
    }

    pub(super) fn shutdown(&mut self) {
        self.take_down_all();
        self.later.clear();
    }

    fn drop_handshake(&mut self, id: Phase1Id) {
        if let Some(handshake) = self.forget_handshake(id) {
            self.abandon(handshake.wishes, "taken down");
        }
    }

    fn purge_child(&mut self, id: ChildId) {
        if let Some(child) = self.delete_child(id) {
            self.purged(&child);
        }
    }

    /// Whatever rests on the certificate goes, and nothing else; the index names it without a walk over the rest.
    fn revoke(&mut self, certificate: CertificateId) {
        self.revoked.insert(certificate.clone());
        let holders: Vec<Holder> = self.by_certificate.get(&certificate).into_iter().flatten().copied().collect();
        let (mut sas, mut isakmp_sas) = (0, 0);
        let mut peers: Vec<SocketAddr> = Vec::new();
        for holder in &holders {
            if let Holder::Child(id) = holder {
                sas += 2 * self.children.get(*id).map_or(0, |child| child.pairs().count());
                self.purge_child(*id);
            }
        }
        for holder in holders {
            if let Holder::Sa(id) = holder {
                isakmp_sas += usize::from(self.sas.get(&id).is_some_and(|sa| !sa.closed));
                peers.extend(self.sas.get(&id).map(|sa| sa.facts.path.peer));
                self.delete_sa(id);
            }
        }
        for peer in &peers {
            self.last_errors.note(peer.ip(), self.cx.now.wall, "its certificate was revoked");
        }
        let peer = peers.first().copied();
        let event = Event::Revoked { certificate, sas, isakmp_sas };
        // Who has us revoke says it at Notify, with the kernel's count.
        self.cx.emit(Output::Report(Report { level: Level::Info, local: None, peer, event }));
    }
}
