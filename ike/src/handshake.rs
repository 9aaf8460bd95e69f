//! A main mode in progress: its state, what it keeps to resend, and who waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::RemoteConfig;
use crate::context::{Context, JobOwner, Path};
use crate::error::ExchangeError;
use crate::event::{JobId, Output, PeerCertificate, Rejection};
use crate::message::{Cookies, Message, Role};
use crate::payloads::bodies;
use crate::phase1::exchange::{Established, Keyed};
use crate::phase1::main_initiator::MainInitiator;
use crate::phase1::main_responder::MainResponder;
use crate::phase2::wish::ChildWish;
use crate::retransmit::{Answered, Unanswered};
use crate::step::{Stepped, lift};
use crate::timer::Phase1Id;
use crate::wire::message::RawPayload;
use crate::wire::number::PayloadType;

/// Vendor ID of this implementation: 16 octets drawn once.
///
/// A peer that sends it installs its inbound SA before it answers a quick mode, so that we may send on the outbound SA
/// at once; others install after QM3 and get a grace.
const VENDOR_ID: [u8; 16] =
    [0x6c, 0x3a, 0x51, 0x0e, 0x8f, 0x27, 0xd4, 0x92, 0x1b, 0xc5, 0x7e, 0x60, 0xa9, 0x33, 0xee, 0x48];

/// What a step of main mode works with.
pub(crate) struct Facts<'a> {
    pub(crate) cx: &'a mut Context,
    pub(crate) remote: &'a Arc<RemoteConfig>,
    pub(crate) path: Path,
    /// Nothing is known of this peer yet: tell it to drop what it still holds of us.
    pub(crate) first_contact: bool,
    /// Did the peer send our vendor ID? Written by the steps that read MM1 and MM2.
    pub(crate) peer_is_xfrmd: &'a mut bool,
    /// Our side.
    pub(crate) role: Role,
    /// Who answers to outputs belong to.
    pub(crate) owner: JobOwner,
}

impl Facts<'_> {
    /// Starts a signature with the remote's key.
    pub(crate) fn sign(&mut self, octets: Vec<u8>) -> Result<JobId, ExchangeError> {
        let credential = self.remote.credential.as_ref().ok_or_else(|| {
            ExchangeError::Local(format!("remote {}: no certificate_type to sign with", self.remote.remote.name))
        })?;
        let job = self.cx.job(self.owner);
        self.cx.emit(Output::Sign { job, key: credential.key, octets });
        Ok(job)
    }

    /// Looks for our vendor ID.
    pub(crate) fn read_vendor_ids(&mut self, payloads: &[RawPayload<'_>]) {
        *self.peer_is_xfrmd = bodies(payloads, PayloadType::VENDOR).any(|vendor| vendor == VENDOR_ID);
    }

    /// Adds our vendor ID: always as initiator, as responder only to a peer that sent it, so that MM2 is never larger
    /// than MM1 (ATTACKS section 1).
    pub(crate) fn with_vendor_ids(&self, mut payloads: Vec<(PayloadType, Vec<u8>)>) -> Vec<(PayloadType, Vec<u8>)> {
        if self.role == Role::Initiator || *self.peer_is_xfrmd {
            payloads.push((PayloadType::VENDOR, VENDOR_ID.to_vec()));
        }
        payloads
    }
}

/// State of either role.
#[derive(Debug)]
pub(crate) enum State {
    Initiator(MainInitiator),
    Responder(MainResponder),
}

impl State {
    /// Cookies as far as they are known.
    pub(crate) fn cookies(&self) -> Cookies {
        match self {
            Self::Initiator(state) => state.cookies(),
            Self::Responder(state) => state.cookies(),
        }
    }

    /// Key state, once both public values are known.
    pub(crate) fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::Initiator(state) => state.keyed(),
            Self::Responder(state) => state.keyed(),
        }
    }

    /// Our side.
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Initiator(_) => Role::Initiator,
            Self::Responder(_) => Role::Responder,
        }
    }

    /// Are we the initiator, and has the peer finished while we have not?
    pub(crate) fn is_judging(&self) -> bool {
        matches!(self, Self::Initiator(MainInitiator::AwaitVerdict(_)))
    }

    /// Which message of the peer is missing, for the log line of an exchange that timed out.
    pub(crate) fn awaited(&self) -> &'static str {
        match self {
            Self::Initiator(MainInitiator::ExpectSa(_)) => "no answer to the first message",
            Self::Initiator(MainInitiator::ExpectKeNonce(_)) => "no answer to the third message (KE, NONCE)",
            Self::Initiator(MainInitiator::ExpectIdSig(_)) => "no answer to the fifth message (ID, SIG)",
            Self::Responder(MainResponder::ExpectKeNonce(_)) => "the third message (KE, NONCE) never came",
            Self::Responder(MainResponder::ExpectIdSig(_)) => "the fifth message (ID, SIG) never came",
            Self::Initiator(MainInitiator::AwaitSignature(_)) | Self::Responder(MainResponder::AwaitSignature(_)) => {
                "our signature was not made in time"
            }
            Self::Initiator(MainInitiator::AwaitVerdict(_)) | Self::Responder(MainResponder::AwaitVerdict(_)) => {
                "the certificate was not judged in time"
            }
        }
    }

    /// Takes the next event of the exchange.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut Facts<'_>) -> Stepped<Self, Established> {
        match self {
            Self::Initiator(state) => {
                let result = match event {
                    Step::Message(message) => state.message(message, facts),
                    Step::Signed(job, result) => state.signed(job, result, facts),
                    Step::Judged(job, result) => state.judged(job, result, facts),
                };
                lift(result, Self::Initiator)
            }
            Self::Responder(state) => {
                let result = match event {
                    Step::Message(message) => state.message(message, facts),
                    Step::Signed(job, result) => state.signed(job, result, facts),
                    Step::Judged(job, result) => state.judged(job, result, facts),
                };
                lift(result, Self::Responder)
            }
        }
    }
}

/// What moves a main mode on.
pub(crate) enum Step<'a> {
    Message(&'a Message<'a>),
    Signed(JobId, Result<Vec<u8>, String>),
    Judged(JobId, Result<Arc<PeerCertificate>, Rejection>),
}

/// Messages refused before an exchange is dropped (ATTACKS D-4: garbage costs one decryption each).
pub(crate) const MOST_REFUSALS: u8 = 5;

/// One main mode.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) id: Phase1Id,
    pub(crate) path: Path,
    /// The responder's is zero until it is known.
    pub(crate) cookies: Cookies,
    pub(crate) remote: Arc<RemoteConfig>,
    /// `None` only while a step has the state in hand.
    pub(crate) state: Option<State>,
    pub(crate) began: Duration,
    pub(crate) unanswered: Option<Unanswered>,
    pub(crate) answered: Answered,
    pub(crate) refusals: u8,
    pub(crate) peer_is_xfrmd: bool,
    /// The ISAKMP SA this one renews.
    pub(crate) replaces: Option<Phase1Id>,
    /// Children to negotiate once this is up.
    pub(crate) wishes: Vec<ChildWish>,
    /// Messages of the peer under the ISAKMP SA that this gives.
    pub(crate) early: Vec<Vec<u8>>,
}
