//! What stands between phase 1 and the first quick mode: a login, a configuration; and what came of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use policy::model::identity::Identity;
use policy::model::secret::Secret;

use super::configuration::Configuration;
use super::exchange::{Purpose, Transaction};
use crate::event::JobId;
use crate::phase2::wish::ChildWish;
use crate::timer::Phase1Id;

/// How far it is. Only under an open one quick modes begin (ATTACKS A-45).
#[derive(Debug, Default)]
pub(crate) enum Stage {
    /// Quick modes may begin.
    #[default]
    Open,
    /// As XAuth server: user and password are asked for.
    ExpectLogin,
    /// As XAuth server: they are here, and wait for their turn.
    Throttled(Box<Credentials>),
    /// As XAuth server: they are being checked.
    AwaitPassword(JobId, String),
    /// As XAuth server: they were wrong, and the peer is being told.
    Refused,
    /// As XAuth client: the server has not said yet that we may come in.
    ExpectStatus,
    /// As client of mode config: the answer is not here yet.
    ExpectConfiguration,
}

/// What a user typed.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// Beside an ISAKMP SA that has, or had, anything of the kind.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) stage: Stage,
    pub(crate) transactions: BTreeMap<u32, Transaction>,
    /// Who logged in.
    pub(crate) user: Option<String>,
    /// The netmask of the user's own address.
    pub(crate) netmask: Option<Ipv4Addr>,
    /// What the peer called itself in phase 1, where the user took its place.
    pub(crate) claimed: Option<Identity>,
    /// What the peer gave us.
    pub(crate) configuration: Option<Configuration>,
    /// The hook script knows that it is up.
    pub(crate) announced: bool,
    /// INITIAL-CONTACT came before the login, and is obeyed after it.
    pub(crate) contact: bool,
    /// The ISAKMP SA that this one renews.
    pub(crate) replaces: Option<Phase1Id>,
    /// Children to negotiate once it is open.
    pub(crate) waiting: Vec<ChildWish>,
    /// How often the server has asked for the password.
    pub(crate) asked: u8,
}

impl Session {
    /// May quick modes begin?
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Takes out the exchange that we began for `purpose`.
    pub(crate) fn ours(&self, purpose: Purpose) -> Option<u32> {
        self.transactions.iter().find(|(_, one)| one.purpose == purpose).map(|(message_id, _)| *message_id)
    }
}
