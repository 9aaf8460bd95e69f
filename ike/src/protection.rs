//! What an ISAKMP SA protects: messages that begin with a HASH over the rest (RFC 2409 §5.5, §5.7).

use policy::model::secret::Secret;

use crate::crypto::hash::matches;
use crate::crypto::iv::phase2_iv;
use crate::error::ExchangeError;
use crate::message::{Cookies, Message, Opened, Sealer, message};
use crate::payloads::{Shape, bodies, body};
use crate::wire::delete::DeletePayload;
use crate::wire::identification::IdPayload;
use crate::wire::message::{Tail, decode_chain, encode_chain};
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{ExchangeType, Flags, PayloadType};

/// Keys of an established ISAKMP SA.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    pub(crate) cookies: Cookies,
    pub(crate) sealer: Sealer,
    pub(crate) skeyid_a: Secret,
    pub(crate) skeyid_d: Secret,
}

/// One exchange under an ISAKMP SA: its message ID and where its chain of cipher blocks stands.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) message_id: u32,
    pub(crate) iv: Vec<u8>,
}

/// The payloads of a protected message, HASH verified.
#[derive(Debug)]
pub(crate) struct Protected {
    pub(crate) last_block: Vec<u8>,
    pub(crate) sa: Option<Vec<u8>>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) ke: Option<Vec<u8>>,
    pub(crate) ids: Vec<IdPayload>,
    /// Attributes of mode config and XAuth.
    pub(crate) config: Option<Vec<u8>>,
    /// Bodies of NAT-OA payloads, in the order they stand.
    pub(crate) originals: Vec<Vec<u8>>,
    /// Notifies and deletes in the order they stand.
    pub(crate) notices: Vec<Notice>,
}

/// A payload of an informational.
#[derive(Debug)]
pub(crate) enum Notice {
    Notify(NotifyPayload),
    Delete(DeletePayload),
}

impl Protection {
    /// The chain of a new message ID.
    pub(crate) fn chain(&self, message_id: u32) -> Chain {
        let Sealer { hash, cipher, last_block, .. } = &self.sealer;
        Chain { message_id, iv: phase2_iv(*hash, *cipher, last_block, message_id) }
    }

    /// Puts HASH before `rest`, encrypts, frames, and moves the chain on. `hash_of` gets the octets of `rest`.
    pub(crate) fn seal(
        &self,
        exchange: ExchangeType,
        chain: &mut Chain,
        rest: Vec<(PayloadType, Vec<u8>)>,
        hash_of: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Vec<u8>, ExchangeError> {
        let hash = hash_of(&encode_chain(&rest));
        let payloads: Vec<_> = std::iter::once((PayloadType::HASH, hash)).chain(rest).collect();
        let (sealed, last) = self.sealer.seal(&chain.iv, encode_chain(&payloads))?;
        chain.iv = last;
        Ok(message(self.cookies, exchange, chain.message_id, PayloadType::HASH, Flags::ENCRYPTED, &sealed))
    }

    /// Decrypts a message, checks its shape and its HASH; changes nothing. `hash_of` gets the octets after HASH,
    /// padding left out.
    pub(crate) fn open(
        &self,
        chain: &Chain,
        message: &Message<'_>,
        shape: &Shape,
        hash_of: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Protected, ExchangeError> {
        let Opened { plain, last_block } = message.open(&self.sealer, &chain.iv)?;
        let payloads = decode_chain(message.header.next, &plain, Tail::Padding)?;
        shape.check(&payloads)?;
        let hash = body(&payloads, PayloadType::HASH)?;
        let begin = payloads.first().map_or(0, |first| first.range.end);
        let end = payloads.last().map_or(begin, |last| last.range.end);
        let rest = plain.get(begin..end).unwrap_or_default();
        if !matches(&hash_of(rest), hash) {
            return Err(ExchangeError::HashMismatch);
        }
        let one = |kind| bodies(&payloads, kind).next().map(<[u8]>::to_vec);
        let mut notices = Vec::new();
        for payload in &payloads {
            match payload.kind {
                PayloadType::NOTIFY => notices.push(Notice::Notify(NotifyPayload::decode(payload.body)?)),
                PayloadType::DELETE => notices.push(Notice::Delete(DeletePayload::decode(payload.body)?)),
                _ => {}
            }
        }
        let ids = bodies(&payloads, PayloadType::ID).map(IdPayload::decode).collect::<Result<Vec<_>, _>>()?;
        let originals = payloads
            .iter()
            .filter(|payload| matches!(payload.kind, PayloadType::NAT_OA | PayloadType::NAT_OA_DRAFT))
            .map(|payload| payload.body.to_vec())
            .collect();
        Ok(Protected {
            originals,
            sa: one(PayloadType::SA),
            nonce: one(PayloadType::NONCE),
            ke: one(PayloadType::KE),
            config: one(PayloadType::ATTRIBUTE),
            ids,
            notices,
            last_block,
        })
    }
}
