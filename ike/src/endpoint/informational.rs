//! Informationals: notifies and deletes, ours and the peer's.
//!
//! What is not protected changes nothing (IKEV1 N-1, D-1; ATTACKS ).

use policy::model::identity::Identity;
use policy::model::sa::{Protocol, Spi};

use super::Endpoint;
use crate::context::Path;
use crate::error::ExchangeError;
use crate::event::sa::SaName;
use crate::handshake::State;
use crate::informational::exchange::{open, seal};
use crate::isakmp_sa::IsakmpSa;
use crate::message::{Cookies, Message};
use crate::payloads::bodies;
use crate::phase1::exchange::Keyed;
use crate::phase2::wish::ChildWish;
use crate::protection::Notice;
use crate::report::{Event, Level};
use crate::retransmit::Fingerprint;
use crate::timer::Phase1Id;
use crate::wire::delete::DeletePayload;
use crate::wire::header::Cookie;
use crate::wire::message::{Tail, decode_chain};
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{DOI_IPSEC, Flags, NotifyType, PayloadType, ProtocolId};

impl Endpoint {
    /// Sends one payload under an ISAKMP SA. It is not repeated: nothing answers it.
    pub(super) fn send_informational(&mut self, id: Phase1Id, payload: (PayloadType, Vec<u8>)) {
        let Some(datagram) = self.seal_informational(id, payload) else { return };
        if let Some(sa) = self.sas.get(&id) {
            self.cx.send(sa.facts.path, datagram);
        }
    }

    /// Makes an informational of one payload; `None` if the SA is closed.
    pub(super) fn seal_informational(&mut self, id: Phase1Id, payload: (PayloadType, Vec<u8>)) -> Option<Vec<u8>> {
        let mut message_id = self.cx.random_u32();
        let sa = self.sas.get(&id).filter(|sa| !sa.closed)?;
        while !sa.is_fresh(message_id) {
            message_id = message_id.wrapping_add(1);
        }
        let sealed = seal(&sa.facts.protection, message_id, payload);
        let path = sa.facts.path;
        sealed
            .inspect_err(|error| {
                self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() });
            })
            .ok()
    }

    /// An informational of the peer.
    pub(super) fn informational(&mut self, path: Path, message: &Message<'_>, fingerprint: Fingerprint) {
        if !message.header.flags.contains(Flags::ENCRYPTED) {
            return self.unprotected(path, message);
        }
        let message_id = message.header.message_id;
        let now = self.cx.now.monotonic;
        let Some(id) = self.sa_of(path, &message.header) else {
            return self.informational_in_main_mode(path, message);
        };
        let Some(sa) = self.sas.get_mut(&id) else { return };
        if let Some(reply) = sa.liveness.again(message_id, fingerprint, now) {
            return self.answer_duplicate(path, Some(reply));
        }
        if !sa.is_fresh(message_id) {
            return self.dropped(path, "informational with a message ID that was used before");
        }
        match open(&sa.facts.protection, message) {
            Ok(notices) => {
                sa.spend(message_id);
                if sa.liveness.vouches(&notices) {
                    sa.heard(now);
                    self.arrived(id, path);
                }
                for notice in notices {
                    self.notice((id, path), (message_id, fingerprint), notice);
                }
            }
            Err(error) => self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() }),
        }
    }

    /// In clear: logged, nothing else.
    fn unprotected(&mut self, path: Path, message: &Message<'_>) {
        let payloads = decode_chain(message.header.next, message.body, Tail::Exact).unwrap_or_default();
        let notify = bodies(&payloads, PayloadType::NOTIFY).next().map(NotifyPayload::decode).and_then(Result::ok);
        match notify {
            Some(notify) => {
                self.cx.report(Level::Warning, path.peer, Event::UnprotectedNotify { kind: notify.kind });
                if notify.kind.is_error() {
                    self.refused_in_clear(path, message.header.initiator, notify.kind);
                }
            }
            None if bodies(&payloads, PayloadType::DELETE).next().is_some() => {
                self.cx.report(Level::Warning, path.peer, Event::UnprotectedDelete);
            }
            None => self.dropped(path, "unknown Informational exchange received."),
        }
    }

    /// The responder may refuse our MM5 under the keys of the exchange, before there is an ISAKMP SA.
    fn informational_in_main_mode(&mut self, path: Path, message: &Message<'_>) {
        let header = &message.header;
        let cookies = Cookies { initiator: header.initiator, responder: header.responder };
        let id = self.by_cookies.get(&cookies).copied();
        let handshake = id.and_then(|id| self.handshakes.get_mut(&id));
        let Some(handshake) = handshake.filter(|handshake| handshake.path == path) else {
            return self.dropped(path, "informational under an unknown ISAKMP SA");
        };
        let id = handshake.id;
        let keyed = handshake.state.as_ref().and_then(|state| state.keyed());
        let Some(protection) = keyed.map(|keyed| keyed.protection()) else {
            return self.dropped(path, "encrypted informational before there are keys");
        };
        let Ok(notices) = open(&protection, message) else {
            return self.unreadable(id, path);
        };
        let refused = notices.into_iter().find_map(|notice| match notice {
            Notice::Notify(notify) if notify.kind.is_error() => Some(notify.kind),
            _ => None,
        });
        if let Some(kind) = refused {
            self.cx.report(Level::Error, path.peer, Event::NotifyReceived { kind });
            self.fail_handshake(id, &ExchangeError::PeerRefused(kind), None);
        }
    }

    /// A responder with another pre-shared key refuses our MM5 under keys that we do not have. Anybody can send noise: it
    /// changes the words of the failure only.
    fn unreadable(&mut self, id: Phase1Id, path: Path) {
        let Some(handshake) = self.handshakes.get_mut(&id) else { return };
        let is_psk = |keyed: &Keyed| keyed.agreed.auth.is_psk();
        let state = handshake.state.as_ref();
        if handshake.refused.is_some() || !state.and_then(State::keyed).is_some_and(is_psk) {
            return self.dropped(path, "informational that does not verify");
        }
        let error = ExchangeError::PskDiffers;
        self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() });
        handshake.refused = Some((Fingerprint::default(), error));
    }

    /// `message` names the message that the notice came in.
    fn notice(&mut self, (id, path): (Phase1Id, Path), message: (u32, Fingerprint), notice: Notice) {
        // An earlier notice of the same message may have ended the SA (ATTACKS A-20).
        if !self.sas.contains_key(&id) {
            return;
        }
        match notice {
            Notice::Delete(delete) => self.deleted_by_peer(id, &delete),
            Notice::Notify(notify) if notify.kind == NotifyType::R_U_THERE => {
                self.probed(id, message.0, message.1, &notify);
            }
            Notice::Notify(notify) => self.notified(id, path, &notify),
        }
    }

    fn notified(&mut self, id: Phase1Id, path: Path, notify: &NotifyPayload) {
        match notify.kind {
            NotifyType::R_U_THERE_ACK => self.acknowledged(id, notify),
            // Before the login nobody has proved to be the one whose SAs would go.
            NotifyType::INITIAL_CONTACT if !self.sas.get(&id).is_some_and(|sa| sa.is_open()) => {
                if let Some(sa) = self.sas.get_mut(&id) {
                    sa.session_mut().contact = true;
                }
            }
            NotifyType::INITIAL_CONTACT => self.drop_stale(id),
            NotifyType::RESPONDER_LIFETIME => self.life_announced(id, notify),
            NotifyType::CONNECTED => self.connected(id, notify),
            kind if kind.is_error() => {
                self.cx.report(Level::Error, path.peer, Event::NotifyReceived { kind });
                let about_isakmp = notify.protocol == ProtocolId::ISAKMP && matches!(notify.spi.len(), 0 | 16);
                if kind == NotifyType::AUTHENTICATION_FAILED && about_isakmp {
                    // The peer did not take our last message of main mode: it has no ISAKMP SA.
                    self.last_errors.note(path.peer.ip(), self.cx.now.wall, &format!("the peer answered {kind:?}"));
                    self.purge_sa(id);
                } else {
                    self.quick_refused(id, &notify.spi, &ExchangeError::PeerRefused(kind));
                }
            }
            kind => self.cx.report(Level::Debug, path.peer, Event::NotifyReceived { kind }),
        }
    }

    /// Closes an ISAKMP SA that the peer no longer has.
    pub(super) fn purge_sa(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed) else { return };
        self.cx.report_on(Level::Info, sa.facts.path, Event::Phase1Purging { cookies: sa.cookie_pair() });
        self.cx.report_on(Level::Info, sa.facts.path, Event::Phase1Purged { cookies: sa.cookie_pair() });
        self.close_sa(id);
    }

    fn deleted_by_peer(&mut self, id: Phase1Id, delete: &DeletePayload) {
        let Some(sa) = self.sas.get(&id) else { return };
        // RFC 2408 §3.15: an ISAKMP SA may be named under the general DOI; Cisco's clients name all SAs so (IKEV1 D-1).
        let general = delete.doi == 0 && (delete.protocol == ProtocolId::ISAKMP || sa.facts.traits.unity);
        if delete.doi != DOI_IPSEC && !general {
            let (peer, reason) = (sa.facts.path.peer, format!("DELETE of DOI {}", delete.doi));
            return self.cx.report(Level::Warning, peer, Event::Ignored { reason });
        }
        // Before the login a peer may go, and take nothing along.
        if !self.sas.get(&id).is_some_and(|sa| sa.is_open()) {
            if delete.protocol == ProtocolId::ISAKMP {
                self.purge_sa(id);
            }
            return;
        }
        match delete.protocol {
            ProtocolId::ISAKMP => delete.spis.iter().for_each(|spi| self.isakmp_deleted(id, spi)),
            ProtocolId::ESP => delete.spis.iter().for_each(|spi| self.child_deleted(id, Protocol::Esp, spi)),
            ProtocolId::AH => delete.spis.iter().for_each(|spi| self.child_deleted(id, Protocol::Ah, spi)),
            _ => {}
        }
    }

    /// Any ISAKMP SA of the same authenticated peer may be named, nobody else's (ATTACKS A-52).
    fn isakmp_deleted(&mut self, id: Phase1Id, spi: &[u8]) {
        let Some((initiator, responder)) = spi.split_at_checked(8) else { return };
        let (Ok(initiator), Ok(responder)) = (initiator.try_into(), responder.try_into()) else { return };
        let cookies = Cookies { initiator: Cookie(initiator), responder: Cookie(responder) };
        let Some(other) = self.by_cookies.get(&cookies).copied() else { return };
        let owner = |id: Phase1Id| self.sas.get(&id).map(|sa| (sa.facts.path.peer, sa.facts.owner.identity.clone()));
        if owner(id).is_some() && owner(id) == owner(other) {
            self.end_at_peers_wish(other);
        }
    }

    /// What we were negotiating under it goes on under another, if there is one: of two that crossed the peer keeps one.
    fn end_at_peers_wish(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get(&id) else { return };
        let (path, identity) = (sa.facts.path, sa.facts.owner.identity.clone());
        let wishes: Vec<ChildWish> = sa.quick.values().filter_map(|quick| quick.wish.clone()).collect();
        self.purge_sa(id);
        if let Some(other) = self.sa_with(path.local.ip(), path.peer.ip(), Some(&identity)) {
            self.kept(path, &identity, other);
            self.later.extend(wishes.into_iter().filter(|wish| wish.replaces.is_none()));
        }
    }

    /// Tells of the children that stay, with the ISAKMP SA that they go on under.
    fn kept(&mut self, path: Path, identity: &Identity, other: Phase1Id) {
        let Some(cookies) = self.sas.get(&other).map(IsakmpSa::cookie_pair) else { return };
        for id in self.children.by_peer(path.peer.ip()) {
            let Some(child) = self.children.get(id).filter(|child| child.owner.identity == *identity) else { continue };
            self.cx.report_on(Level::Info, path, Event::ChildKept { sa: child.outbound, cookies });
        }
    }

    /// The SPI is the peer's inbound one: our outbound.
    fn child_deleted(&mut self, id: Phase1Id, protocol: Protocol, spi: &[u8]) {
        let Some(sa) = self.sas.get(&id) else { return };
        let Ok(octets) = <[u8; 4]>::try_from(spi) else { return };
        let path = sa.facts.path;
        let identity = sa.facts.owner.identity.clone();
        let (src, dst) = (path.local.ip(), path.peer.ip());
        let outbound = SaName { protocol, spi: Spi(u32::from_be_bytes(octets)), src, dst };
        let child = self.children.by_sa(&outbound).and_then(|child| self.children.get(child));
        let Some(child) = child.filter(|child| child.owner.identity == identity).map(|child| child.id) else { return };
        if let Some(child) = self.remove_child(child) {
            self.purged(&child);
        }
    }
}
