//! Making and opening messages of transaction exchanges, and what is kept of one under way.
//!
//! HASH = prf(SKEYID_a, M-ID | rest), a chain of cipher blocks per message ID, as in informationals. Some servers ask
//! and give in one exchange: a chain goes on after an answer.

use std::time::Duration;

use crate::crypto::hash::informational;
use crate::error::ExchangeError;
use crate::message::Message;
use crate::payloads::Shape;
use crate::protection::{Chain, Protection};
use crate::retransmit::{Answered, Unanswered};
use crate::wire::config_payload::ConfigPayload;
use crate::wire::number::{ExchangeType, PayloadType};

/// HASH first, one attribute payload behind it.
const CONFIG: Shape = Shape {
    must: &[PayloadType::HASH, PayloadType::ATTRIBUTE],
    may: &[],
    many: &[PayloadType::NOTIFY],
    first: Some(PayloadType::HASH),
};

/// Transaction exchanges of the peer's that are remembered at once.
pub(crate) const MOST_TRANSACTIONS: usize = 8;

/// What we began an exchange for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// REQUEST for user and password.
    Login,
    /// SET of a status: good, or not.
    Status(bool),
    /// REQUEST for a configuration.
    Pull,
    /// SET of a configuration.
    Push,
    /// None: the peer began it, and has our answer.
    Answer,
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) purpose: Purpose,
    pub(crate) identifier: u16,
    pub(crate) chain: Chain,
    pub(crate) unanswered: Option<Unanswered>,
    pub(crate) answered: Answered,
    pub(crate) since: Duration,
}

/// Opens a message; the payload, and the block that continues the chain.
pub(crate) fn open(
    protection: &Protection,
    chain: &Chain,
    message: &Message<'_>,
) -> Result<(ConfigPayload, Vec<u8>), ExchangeError> {
    let protected = protection.open(chain, message, &CONFIG, |rest| {
        informational(protection.sealer.hash, &protection.skeyid_a, chain.message_id, rest)
    })?;
    let body = protected.config.as_deref().ok_or(ExchangeError::MissingPayload(PayloadType::ATTRIBUTE))?;
    Ok((ConfigPayload::decode(body)?, protected.last_block))
}

/// Makes a message and moves the chain on.
pub(crate) fn seal(
    protection: &Protection,
    chain: &mut Chain,
    payload: &ConfigPayload,
) -> Result<Vec<u8>, ExchangeError> {
    let message_id = chain.message_id;
    protection.seal(ExchangeType::TRANSACTION, chain, vec![(PayloadType::ATTRIBUTE, payload.encode())], |rest| {
        informational(protection.sealer.hash, &protection.skeyid_a, message_id, rest)
    })
}
