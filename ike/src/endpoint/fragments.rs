//! Messages that come in pieces (IKEV1 FR-3 to FR-7): put together before anything else looks at them.
//!
//! Pieces are in clear and prove nothing. They are taken where `ike_frag` allows them, and what they take is bounded
//! ([`crate::fragment`]); the message that they give is as trustworthy as any other datagram.

use policy::model::remote::IkeFrag;

use super::Endpoint;
use crate::context::Path;
use crate::fragment::LIFE;
use crate::message::{Cookies, Message};
use crate::timer::{Phase1Id, Timer};
use crate::wire::fragment::FragmentPayload;
use crate::wire::header::Header;
use crate::wire::message::{Tail, decode_chain};

impl Endpoint {
    /// A datagram that is a piece of a message.
    pub(super) fn fragment(&mut self, path: Path, message: &Message<'_>) {
        if !self.accepts_fragments(path, &message.header) {
            return self
                .dropped(path, "an IKE fragment of an exchange that is unknown, or ike_frag is off for this peer");
        }
        let payloads = match decode_chain(message.header.next, message.body, Tail::Exact) {
            Ok(payloads) => payloads,
            Err(error) => return self.dropped(path, &format!("IKE fragment: {error}")),
        };
        let [only] = payloads.as_slice() else {
            return self.dropped(path, "an IKE fragment with other payloads behind it");
        };
        let piece = match FragmentPayload::decode(only.body) {
            Ok(piece) => piece,
            Err(error) => return self.dropped(path, &format!("IKE fragment: {error}")),
        };
        let now = self.cx.now.monotonic;
        let taken = self.reassembly.take(path, &message.header, &piece, now);
        if self.reassembly.octets() > 0 && self.cx.timers.when(Timer::Reassembly).is_none() {
            self.cx.timers.set(Timer::Reassembly, now + LIFE);
        }
        match taken {
            Ok(Some(whole)) => self.datagram(path, &whole),
            Ok(None) => {}
            Err(error) => self.dropped(path, &error.to_string()),
        }
    }

    /// Does the configuration let this peer send pieces? Of one that we know nothing of yet only a first message may come
    /// so, from whoever has `ike_frag force`.
    fn accepts_fragments(&self, path: Path, header: &Header) -> bool {
        let cookies = Cookies { initiator: header.initiator, responder: header.responder };
        let waiting = Cookies { responder: crate::wire::header::Cookie::ZERO, ..cookies };
        let known = self.by_cookies.get(&cookies).or_else(|| self.by_cookies.get(&waiting));
        let remote = known.and_then(|id| {
            let handshake = self.handshakes.get(id).map(|handshake| &handshake.remote);
            handshake.or_else(|| self.sas.get(id).map(|sa| &sa.facts.remote))
        });
        match remote {
            Some(remote) => remote.remote.ike_frag != IkeFrag::Off,
            None if header.responder.is_zero() => {
                let candidates = self.cx.config.candidates(path.peer);
                candidates.iter().any(|remote| remote.remote.ike_frag != IkeFrag::Off)
            }
            None => false,
        }
    }

    /// Unfinished messages have waited long enough.
    pub(super) fn expire_fragments(&mut self) {
        let now = self.cx.now.monotonic;
        if self.reassembly.expire(now) {
            self.cx.timers.set(Timer::Reassembly, now + LIFE / 2);
        }
    }

    /// Sees to it that what this phase 1 sends is cut if it may be.
    pub(super) fn note_fragmentation(&mut self, id: Phase1Id) {
        let Some(handshake) = self.handshakes.get(&id) else { return };
        let cut = handshake.traits.takes_fragments(&handshake.remote.remote);
        self.cx.cut_messages(handshake.cookies, cut);
    }
}
