//! Making and opening informationals: NOTIFY and DELETE (RFC 2408 §3.14, §3.15).
//!
//! One payload a message: racoon's HASH covers the first payload behind it only.

use policy::model::sa::{Protocol, Spi};

use crate::crypto::hash::informational;
use crate::error::ExchangeError;
use crate::event::sa::SaName;
use crate::message::{Cookies, Message, message};
use crate::payloads::Shape;
use crate::phase2::exchange::protocol_id;
use crate::protection::{Chain, Notice, Protection};
use crate::wire::delete::DeletePayload;
use crate::wire::message::encode_chain;
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{DOI_IPSEC, ExchangeType, Flags, NotifyType, PayloadType, ProtocolId};

/// HASH first, then any number of notices.
const NOTICES: Shape = Shape {
    must: &[PayloadType::HASH],
    may: &[],
    many: &[PayloadType::NOTIFY, PayloadType::DELETE],
    first: Some(PayloadType::HASH),
};

/// Opens a protected informational.
pub(crate) fn open(protection: &Protection, message: &Message<'_>) -> Result<Vec<Notice>, ExchangeError> {
    let message_id = message.header.message_id;
    let chain = protection.chain(message_id);
    let protected = protection.open(&chain, message, &NOTICES, |rest| {
        informational(protection.sealer.hash, &protection.skeyid_a, message_id, rest)
    })?;
    Ok(protected.notices)
}

/// Makes a protected informational of one payload.
pub(crate) fn seal(
    protection: &Protection,
    message_id: u32,
    payload: (PayloadType, Vec<u8>),
) -> Result<Vec<u8>, ExchangeError> {
    let mut chain: Chain = protection.chain(message_id);
    protection.seal(ExchangeType::INFORMATIONAL, &mut chain, vec![payload], |rest| {
        informational(protection.sealer.hash, &protection.skeyid_a, message_id, rest)
    })
}

/// CONNECTED: our SA is in place (RFC 2408 §3.1, commit bit).
pub(crate) fn connected_notify(inbound: SaName) -> (PayloadType, Vec<u8>) {
    let notify = NotifyPayload {
        doi: DOI_IPSEC,
        protocol: protocol_id(inbound.protocol),
        kind: NotifyType::CONNECTED,
        spi: inbound.spi.0.to_be_bytes().to_vec(),
        data: Vec::new(),
    };
    (PayloadType::NOTIFY, notify.encode())
}

/// DELETE of one of our inbound SAs.
pub(crate) fn delete_child(protocol: Protocol, spi: Spi) -> (PayloadType, Vec<u8>) {
    let delete =
        DeletePayload { doi: DOI_IPSEC, protocol: protocol_id(protocol), spis: vec![spi.0.to_be_bytes().to_vec()] };
    (PayloadType::DELETE, delete.encode())
}

/// DELETE of an ISAKMP SA.
pub(crate) fn delete_isakmp(cookies: Cookies) -> (PayloadType, Vec<u8>) {
    let delete = DeletePayload { doi: DOI_IPSEC, protocol: ProtocolId::ISAKMP, spis: vec![cookies.concat()] };
    (PayloadType::DELETE, delete.encode())
}

/// An error notify about a phase 1 (`spi` empty) or about a proposal of phase 2.
pub(crate) fn error_notify(kind: NotifyType, protocol: ProtocolId, spi: Vec<u8>) -> (PayloadType, Vec<u8>) {
    let notify = NotifyPayload { doi: DOI_IPSEC, protocol, kind, spi, data: Vec::new() };
    (PayloadType::NOTIFY, notify.encode())
}

/// A notify in clear, where there are no keys yet (RFC 2409 §5.7): 40 octets, less than any first message.
pub(crate) fn clear_notify(cookies: Cookies, message_id: u32, kind: NotifyType) -> Vec<u8> {
    let payload = error_notify(kind, ProtocolId::ISAKMP, Vec::new());
    let chain = encode_chain(&[payload]);
    message(cookies, ExchangeType::INFORMATIONAL, message_id, PayloadType::NOTIFY, Flags::NONE, &chain)
}
