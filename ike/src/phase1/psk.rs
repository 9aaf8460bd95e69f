//! Whose pre-shared key a phase 1 is made with (RFC 2409 §5.4).
//!
//! Main mode has to decide before the peer can say who it is: by address, or by the one identity its block names.
//! Aggressive mode goes by the identity, then by the address. A peer without a key is answered like one with another key
//! (ATTACKS T-3, A-46): with a key that nobody has.

use policy::model::algorithm::AuthMethod;
use policy::model::identity::Identity;
use policy::model::remote::ExchangeMode;
use policy::model::secret::Secret;

use crate::handshake::Facts;
use crate::identity::matching::to_identity;
use crate::phase1::proposal::Means;
use crate::report::{Event, Level};

/// Octets of the key that stands in for one that is missing.
const STAND_IN: usize = 32;

impl Facts<'_> {
    /// The key for the peer of a main mode.
    fn main_mode_key(&self) -> Option<Secret> {
        let table = &self.cx.config.psks;
        let by_address = table.for_address(self.path.peer.ip());
        by_address.or_else(|| self.only_identity().and_then(|identity| table.for_identity(&identity))).cloned()
    }

    /// The identity the peer must have, if there is exactly one.
    fn only_identity(&self) -> Option<Identity> {
        match (self.candidates.as_slice(), self.remote.remote.peers_identifiers.as_slice()) {
            ([_], [line]) => line.value.as_ref().and_then(|value| to_identity(value).ok()),
            _ => None,
        }
    }

    /// What we can begin with. In aggressive mode only the answer says who the peer is, so any key will do.
    pub(crate) fn means(&self, mode: ExchangeMode) -> Means {
        let key = match mode {
            ExchangeMode::Main => self.main_mode_key().is_some(),
            ExchangeMode::Aggressive => !self.cx.config.psks.is_empty(),
        };
        Means { signature: self.remote.can_sign(), key }
    }

    /// The key of a main mode; `None` if the method needs none.
    pub(crate) fn key_by_address(&mut self, auth: AuthMethod) -> Option<Secret> {
        auth.is_psk().then(|| self.main_mode_key().unwrap_or_else(|| self.stand_in()))
    }

    /// The key of an aggressive mode; `None` if the method needs none. As in racoon, `verify_identifier on` forbids to go
    /// by the address where the identity has no key.
    pub(crate) fn key_by_identity(&mut self, auth: AuthMethod, identity: &Identity) -> Option<Secret> {
        if !auth.is_psk() {
            return None;
        }
        if let Some(key) = self.cx.config.psks.for_identity(identity).cloned() {
            return Some(key);
        }
        if self.remote.remote.verify_identifier {
            return Some(self.stand_in());
        }
        self.cx.report(Level::Notify, self.path.peer, Event::PreSharedKeyByAddress);
        let by_address = self.cx.config.psks.for_address(self.path.peer.ip()).cloned();
        Some(by_address.unwrap_or_else(|| self.stand_in()))
    }

    /// A key that nobody has, for a peer that must not learn that there is none for it.
    pub(crate) fn stand_in(&mut self) -> Secret {
        self.cx.report(Level::Error, self.path.peer, Event::NoPreSharedKey { peer: self.path.peer.ip() });
        Secret::new(self.cx.random(STAND_IN))
    }
}
