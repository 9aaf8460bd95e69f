//! A phase 1 in progress: its state, what it keeps to resend, and who waits for it.

use std::sync::Arc;
use std::time::Duration;

use policy::model::identity::Identity;
use policy::model::remote::ExchangeMode;

use crate::config::RemoteConfig;
use crate::context::{Context, JobOwner, Path};
use crate::error::ExchangeError;
use crate::event::question::{PeerCertificate, Rejection};
use crate::event::{JobId, Output};
use crate::identity::choice::{self, Fit};
use crate::identity::dn::same_name;
use crate::message::{Cookies, Message, Role};
use crate::payloads::bodies;
use crate::phase1::aggressive_initiator::{self, AggressiveInitiator};
use crate::phase1::aggressive_responder::{self, AggressiveResponder};
use crate::phase1::exchange::Keyed;
use crate::phase1::main_initiator::{self, MainInitiator};
use crate::phase1::main_responder::{self, MainResponder};
use crate::phase1::proof::Established;
use crate::phase1::proposal::{Choice, choose_among};
use crate::phase2::wish::ChildWish;
use crate::report::{Event, Level};
use crate::retransmit::{Answered, Fingerprint, Unanswered};
use crate::step::{Stepped, lift};
use crate::timer::Phase1Id;
use crate::traits::PeerTraits;
use crate::wire::cert::CertRequest;
use crate::wire::header::Cookie;
use crate::wire::message::RawPayload;
use crate::wire::number::{CertEncoding, PayloadType};
use crate::wire::sa::SaPayload;
use crate::wire::vendor;

/// Vendor IDs of one message that are told.
const MOST_VENDORS: usize = 16;

/// What a step of phase 1 works with.
pub(crate) struct Facts<'a> {
    pub(crate) cx: &'a mut Context,
    pub(crate) remote: &'a mut Arc<RemoteConfig>,
    /// Blocks that the peer may still be meant by, `remote` among them.
    pub(crate) candidates: &'a mut Vec<Arc<RemoteConfig>>,
    pub(crate) path: Path,
    /// Nothing is known of this peer yet: tell it to drop what it still holds of us.
    pub(crate) first_contact: bool,
    /// What the peer's vendor IDs promise. Written by the steps that read its first messages.
    pub(crate) traits: &'a mut PeerTraits,
    /// Our side.
    pub(crate) role: Role,
    /// Who answers to outputs belong to.
    pub(crate) owner: JobOwner,
}

impl Facts<'_> {
    /// Chooses for the first message of a peer: see [`choose_among`]. `remote` becomes the first candidate that accepts.
    ///
    /// # Errors
    /// [`ExchangeError::NoProposalChosen`].
    pub(crate) fn choose_remote(&mut self, offered: &SaPayload) -> Result<Choice, ExchangeError> {
        let choice = choose_among(offered, self.candidates)?;
        if let Some(first) = self.candidates.first() {
            *self.remote = Arc::clone(first);
        }
        Ok(choice)
    }

    /// The peer has said who it is: from here on `remote` is the block it is meant by. A mismatch that
    /// `verify_identifier off` lets pass is logged.
    ///
    /// # Errors
    /// [`ExchangeError::IdentityRefused`] if no block takes it.
    pub(crate) fn identify(&mut self, identity: &Identity) -> Result<(), ExchangeError> {
        let Some((chosen, fit)) = choice::choose(self.candidates, identity) else {
            return Err(ExchangeError::IdentityRefused(identity.clone()));
        };
        if chosen.id != self.remote.id {
            let name = chosen.remote.name.clone();
            self.cx.report(Level::Debug, self.path.peer, Event::RemoteChosen { name, identity: identity.clone() });
            *self.remote = Arc::clone(chosen);
        }
        if fit == Fit::Unlisted {
            self.cx.report(Level::Notify, self.path.peer, Event::IdentityNotConfigured { identity: identity.clone() });
        }
        Ok(())
    }

    /// The peer of an aggressive mode says who it is before it proves it: the block it would be meant by is used, if
    /// there is one.
    pub(crate) fn prefer(&mut self, identity: &Identity) -> bool {
        let chosen = choice::choose(self.candidates, identity).map(|(chosen, _)| Arc::clone(chosen));
        let known = chosen.is_some();
        if let Some(chosen) = chosen {
            *self.remote = chosen;
        }
        known
    }

    /// The peer has asked for certificates: blocks that can answer go first. One that cannot stays, as racoon sent its
    /// certificate all the same where there was no choice.
    pub(crate) fn requested(&mut self, requests: &[CertRequest]) {
        if requests.is_empty() || self.candidates.len() < 2 {
            return;
        }
        self.candidates.sort_by_key(|candidate| !answers(candidate, requests));
        if let Some(first) = self.candidates.first() {
            *self.remote = Arc::clone(first);
        }
    }

    /// Starts a signature with the remote's key.
    pub(crate) fn sign(&mut self, octets: Vec<u8>) -> Result<JobId, ExchangeError> {
        let (local, peer) = (self.path.local.ip(), self.path.peer.ip());
        let key = self.remote.signing_key(local, peer).ok_or_else(|| {
            let name = &self.remote.remote.name;
            ExchangeError::Local(if self.remote.can_sign() {
                format!("remote {name}: no private key of certificate_type plain_rsa is for {local} <-> {peer}")
            } else {
                format!("remote {name}: no certificate_type to sign with")
            })
        })?;
        let job = self.cx.job(self.owner);
        self.cx.emit(Output::Sign { job, key, octets });
        Ok(job)
    }

    /// Takes the vendor IDs of a message.
    pub(crate) fn read_vendor_ids(&mut self, payloads: &[RawPayload<'_>]) {
        self.traits.read(bodies(payloads, PayloadType::VENDOR));
        for name in bodies(payloads, PayloadType::VENDOR).filter_map(vendor::name_of).take(MOST_VENDORS) {
            self.cx.report(Level::Info, self.path.peer, Event::VendorId(name));
        }
    }

    /// Adds our vendor IDs.
    pub(crate) fn with_vendor_ids(&self, mut payloads: Vec<(PayloadType, Vec<u8>)>) -> Vec<(PayloadType, Vec<u8>)> {
        let ours = self.traits.ours(&self.remote.remote, self.role);
        payloads.extend(ours.into_iter().map(|id| (PayloadType::VENDOR, id)));
        payloads
    }
}

/// Has the block a certificate for one of these requests? An empty one asks for any, and selects blocks that say
/// `match_empty_cr`.
fn answers(remote: &RemoteConfig, requests: &[CertRequest]) -> bool {
    let Some(credential) = &remote.credential else { return false };
    requests.iter().filter(|request| request.encoding == CertEncoding::X509_SIGNATURE).any(|request| {
        if request.authority.is_empty() {
            remote.remote.match_empty_cr
        } else {
            credential.issuers.iter().any(|issuer| same_name(issuer, &request.authority))
        }
    })
}

/// State of either role in either exchange.
#[derive(Debug)]
pub(crate) enum State {
    Initiator(MainInitiator),
    Responder(MainResponder),
    AggressiveInitiator(AggressiveInitiator),
    AggressiveResponder(AggressiveResponder),
}

impl State {
    /// Begins an exchange of ours, with its first message.
    ///
    /// # Errors
    /// [`ExchangeError::Local`]: nothing can be proposed.
    pub(crate) fn initiate(mode: ExchangeMode, facts: &mut Facts<'_>) -> Result<(Self, Vec<u8>), ExchangeError> {
        match mode {
            ExchangeMode::Main => {
                main_initiator::begin(facts).map(|(state, datagram)| (Self::Initiator(state), datagram))
            }
            ExchangeMode::Aggressive => {
                aggressive_initiator::begin(facts).map(|(state, datagram)| (Self::AggressiveInitiator(state), datagram))
            }
        }
    }

    /// Begins an exchange of the peer's, with our answer if it needs no work.
    ///
    /// # Errors
    /// Whatever is wrong with the first message: there is no state to keep.
    pub(crate) fn respond(
        mode: ExchangeMode,
        message: &Message<'_>,
        facts: &mut Facts<'_>,
    ) -> Result<(Self, Option<Vec<u8>>), ExchangeError> {
        match mode {
            ExchangeMode::Main => {
                main_responder::begin(message, facts).map(|(state, datagram)| (Self::Responder(state), Some(datagram)))
            }
            ExchangeMode::Aggressive => aggressive_responder::begin(message, facts)
                .map(|(state, datagram)| (Self::AggressiveResponder(state), datagram)),
        }
    }

    /// Which exchange it is.
    pub(crate) fn mode(&self) -> ExchangeMode {
        match self {
            Self::Initiator(_) | Self::Responder(_) => ExchangeMode::Main,
            Self::AggressiveInitiator(_) | Self::AggressiveResponder(_) => ExchangeMode::Aggressive,
        }
    }

    /// Has the peer of a responder shown that it receives what we send to its address? In aggressive mode only its last
    /// message does.
    pub(crate) fn peer_is_there(&self) -> bool {
        !matches!(
            self,
            Self::AggressiveResponder(AggressiveResponder::AwaitSignature(_) | AggressiveResponder::ExpectProof(_))
        )
    }

    /// Does the next message of a peer cost us a Diffie-Hellman exchange?
    pub(crate) fn awaits_public_value(&self) -> bool {
        matches!(self, Self::Responder(MainResponder::ExpectKeNonce(_)))
    }

    /// Cookies as far as they are known.
    pub(crate) fn cookies(&self) -> Cookies {
        match self {
            Self::Initiator(state) => state.cookies(),
            Self::Responder(state) => state.cookies(),
            Self::AggressiveInitiator(state) => state.cookies(),
            Self::AggressiveResponder(state) => state.cookies(),
        }
    }

    /// Key state, once both public values are known.
    pub(crate) fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::Initiator(state) => state.keyed(),
            Self::Responder(state) => state.keyed(),
            Self::AggressiveInitiator(state) => state.keyed(),
            Self::AggressiveResponder(state) => Some(state.keyed()),
        }
    }

    /// Our side.
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Initiator(_) | Self::AggressiveInitiator(_) => Role::Initiator,
            Self::Responder(_) | Self::AggressiveResponder(_) => Role::Responder,
        }
    }

    /// Has the peer finished while we have not?
    pub(crate) fn is_judging(&self) -> bool {
        matches!(
            self,
            Self::Initiator(MainInitiator::AwaitVerdict(_))
                | Self::AggressiveResponder(AggressiveResponder::AwaitVerdict(_))
        )
    }

    /// May AM3 have been lost, the peer having finished with it?
    pub(crate) fn awaits_third(&self) -> bool {
        matches!(self, Self::AggressiveResponder(AggressiveResponder::ExpectProof(_)))
    }

    /// Which message of the peer is missing, for the log line of an exchange that timed out.
    pub(crate) fn awaited(&self) -> &'static str {
        match self {
            Self::Initiator(MainInitiator::ExpectSa(_)) => "no answer to the first message",
            Self::Initiator(MainInitiator::ExpectKeNonce(_)) => "no answer to the third message (KE, NONCE)",
            Self::Initiator(MainInitiator::ExpectProof(_)) => {
                "no answer to the fifth message (who we are, and its proof): with pre-shared keys, perhaps they differ"
            }
            Self::Responder(MainResponder::ExpectKeNonce(_)) => "the third message (KE, NONCE) never came",
            Self::Responder(MainResponder::ExpectProof(_)) => {
                "the fifth message (who the peer is, and its proof) never came"
            }
            Self::AggressiveInitiator(AggressiveInitiator::ExpectAnswer(_)) => "no answer to the first message",
            Self::AggressiveResponder(AggressiveResponder::ExpectProof(_)) => {
                "the third message (the peer's proof) never came"
            }
            Self::Initiator(MainInitiator::AwaitSignature(_))
            | Self::Responder(MainResponder::AwaitSignature(_))
            | Self::AggressiveInitiator(AggressiveInitiator::AwaitSignature(_))
            | Self::AggressiveResponder(AggressiveResponder::AwaitSignature(_)) => "our signature was not made in time",
            Self::Initiator(MainInitiator::AwaitVerdict(_))
            | Self::Responder(MainResponder::AwaitVerdict(_))
            | Self::AggressiveInitiator(AggressiveInitiator::AwaitVerdict(_))
            | Self::AggressiveResponder(AggressiveResponder::AwaitVerdict(_)) => {
                "the certificate was not judged in time"
            }
        }
    }

    /// Takes the next event of the exchange.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut Facts<'_>) -> Stepped<Self, Established> {
        match self {
            Self::Initiator(state) => lift(state.step(event, facts), Self::Initiator),
            Self::Responder(state) => lift(state.step(event, facts), Self::Responder),
            Self::AggressiveInitiator(state) => lift(state.step(event, facts), Self::AggressiveInitiator),
            Self::AggressiveResponder(state) => lift(state.step(event, facts), Self::AggressiveResponder),
        }
    }
}

/// What moves a phase 1 on.
pub(crate) enum Step<'a> {
    Message(&'a Message<'a>),
    Signed(JobId, Result<Vec<u8>, String>),
    Judged(JobId, Result<Arc<PeerCertificate>, Rejection>),
}

/// Messages refused before an exchange is dropped (ATTACKS D-4: garbage costs one decryption each).
pub(crate) const MOST_REFUSALS: u8 = 5;

/// One phase 1.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) id: Phase1Id,
    pub(crate) path: Path,
    /// Where it began: what it is entered under.
    pub(crate) origin: Path,
    /// The responder's is zero until it is known.
    pub(crate) cookies: Cookies,
    /// The block in use; settled once the peer has said who it is.
    pub(crate) remote: Arc<RemoteConfig>,
    /// Blocks that the peer may still be meant by.
    pub(crate) candidates: Vec<Arc<RemoteConfig>>,
    /// Which exchange it is.
    pub(crate) mode: ExchangeMode,
    /// `None` only while a step has the state in hand.
    pub(crate) state: Option<State>,
    pub(crate) began: Duration,
    pub(crate) unanswered: Option<Unanswered>,
    pub(crate) answered: Answered,
    pub(crate) refusals: u8,
    /// The message refused last, and why: it is not looked at again, and says more than that time is up.
    pub(crate) refused: Option<(Fingerprint, ExchangeError)>,
    /// Exchanges of ours to try if this one comes to nothing (racoon.conf: `exchange_mode aggressive, main`).
    pub(crate) next_modes: Vec<ExchangeMode>,
    pub(crate) traits: PeerTraits,
    /// The ISAKMP SA this one renews.
    pub(crate) replaces: Option<Phase1Id>,
    /// Children to negotiate once this is up.
    pub(crate) wishes: Vec<ChildWish>,
    /// Messages of the peer under the ISAKMP SA that this gives.
    pub(crate) early: Vec<Vec<u8>>,
}

impl Handshake {
    /// One that nothing is known of yet but where it runs and which blocks its peer may be meant by; `remote` is one of
    /// them. The first step gives it a state and cookies.
    pub(crate) fn new(
        id: Phase1Id,
        path: Path,
        remote: Arc<RemoteConfig>,
        candidates: Vec<Arc<RemoteConfig>>,
        began: Duration,
    ) -> Self {
        Self {
            id,
            path,
            origin: path,
            cookies: Cookies { initiator: Cookie::ZERO, responder: Cookie::ZERO },
            remote,
            candidates,
            mode: ExchangeMode::Main,
            state: None,
            began,
            unanswered: None,
            answered: Answered::default(),
            refusals: 0,
            refused: None,
            next_modes: Vec::new(),
            traits: PeerTraits::default(),
            replaces: None,
            wishes: Vec::new(),
            early: Vec::new(),
        }
    }

    /// What its next step works with.
    pub(crate) fn facts<'a>(&'a mut self, cx: &'a mut Context, role: Role, first_contact: bool) -> Facts<'a> {
        Facts {
            cx,
            remote: &mut self.remote,
            candidates: &mut self.candidates,
            path: self.path,
            first_contact,
            traits: &mut self.traits,
            role,
            owner: JobOwner::Phase1(self.id),
        }
    }

    /// Takes the state that its first step has given.
    pub(crate) fn begin(&mut self, state: State) {
        self.cookies = state.cookies();
        self.mode = state.mode();
        self.state = Some(state);
    }
}
