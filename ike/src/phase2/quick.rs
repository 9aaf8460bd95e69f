//! A quick mode in progress: its state, its chain of cipher blocks, and what it keeps to resend.

use std::time::Duration;

use policy::model::sa::{ReqId, Spi};

use super::exchange::{NewChild, QuickFacts};
use super::quick_initiator::QuickInitiator;
use super::quick_responder::QuickResponder;
use super::wish::{ChildKey, ChildWish};
use crate::event::JobId;
use crate::event::policies::PolicyMatch;
use crate::event::sa::SaName;
use crate::message::Message;
use crate::protection::Chain;
use crate::retransmit::{Answered, Unanswered};
use crate::step::{Stepped, lift};

/// State of either role.
#[derive(Debug)]
pub(crate) enum State {
    Initiator(QuickInitiator),
    Responder(QuickResponder),
}

/// What moves a quick mode on.
pub(crate) enum Step<'a> {
    Message(&'a Message<'a>),
    Policy(JobId, Option<PolicyMatch>),
    Generated(JobId, Result<ReqId, String>),
    Spi(JobId, Result<Spi, String>),
    Installed(JobId, Result<(), String>),
}

impl State {
    /// Takes the next event of the exchange.
    pub(crate) fn step(self, event: Step<'_>, facts: &mut QuickFacts<'_>) -> Stepped<Self, NewChild> {
        match self {
            Self::Initiator(state) => {
                let result = match event {
                    Step::Message(message) => state.message(message, facts),
                    Step::Spi(job, result) => state.spi(job, result, facts),
                    Step::Installed(job, result) => state.installed(job, result, facts),
                    Step::Policy(..) | Step::Generated(..) => Ok(crate::step::Next::Wait(state)),
                };
                lift(result, Self::Initiator)
            }
            Self::Responder(state) => {
                let result = match event {
                    Step::Message(message) => state.message(message, facts),
                    Step::Policy(job, policy) => state.policy(job, policy, facts),
                    Step::Generated(job, result) => state.generated(job, result, facts),
                    Step::Spi(job, result) => state.spi(job, result, facts),
                    Step::Installed(job, result) => state.installed(job, result, facts),
                };
                lift(result, Self::Responder)
            }
        }
    }
}

/// One quick mode.
#[derive(Debug)]
pub(crate) struct Quick {
    pub(crate) chain: Chain,
    /// `None` only while a step has the state in hand.
    pub(crate) state: Option<State>,
    pub(crate) unanswered: Option<Unanswered>,
    pub(crate) answered: Answered,
    pub(crate) refusals: u8,
    /// Has the peer set the commit bit?
    pub(crate) commits: bool,
    /// The inbound SPIs, or SAs, that stand in the kernel for this exchange: taken out if the exchange fails.
    pub(crate) inbound: Vec<SaName>,
    /// What we wanted; `None` as responder.
    pub(crate) wish: Option<ChildWish>,
    /// As responder: the policy whose packets the kernel holds until this is done.
    pub(crate) held: Option<u32>,
    /// When our message was last sent.
    pub(crate) told: Duration,
    /// As responder: the policy made by us that it goes by.
    pub(crate) generated: Option<ChildKey>,
}

impl Quick {
    /// Just begun.
    pub(crate) fn new(chain: Chain, state: State, wish: Option<ChildWish>) -> Self {
        Self {
            chain,
            state: Some(state),
            unanswered: None,
            answered: Answered::default(),
            refusals: 0,
            commits: false,
            inbound: Vec::new(),
            wish,
            held: None,
            told: Duration::ZERO,
            generated: None,
        }
    }

    /// What the peer asks for, while the policy is being looked up; the reqid is not known yet.
    pub(crate) fn asked(&self) -> Option<ChildKey> {
        match &self.state {
            Some(State::Responder(state)) => state.asked(),
            _ => None,
        }
    }

    /// Is the peer about to give us a child for this traffic?
    pub(crate) fn is_offered(&self, key: &ChildKey) -> bool {
        matches!(&self.state, Some(State::Responder(state)) if state.key().as_ref() == Some(key))
    }
}
