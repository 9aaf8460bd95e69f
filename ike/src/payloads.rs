//! Which payloads a message must, may and must not carry: a table per state, checked here for all of them.

use crate::error::ExchangeError;
use crate::wire::message::RawPayload;
use crate::wire::number::PayloadType;

/// What one message may look like.
pub(crate) struct Shape {
    /// Exactly once each.
    pub(crate) must: &'static [PayloadType],
    /// At most once each.
    pub(crate) may: &'static [PayloadType],
    /// Any number.
    pub(crate) many: &'static [PayloadType],
    /// Must stand first.
    pub(crate) first: Option<PayloadType>,
}

/// Payloads that carry nothing this version acts on and that peers send in any message of phase 1 and 2: vendor IDs,
/// NAT discovery (RFC 3947 and the drafts' numbers) and private ones.
fn is_ignored(kind: PayloadType) -> bool {
    matches!(kind, PayloadType::VENDOR | PayloadType::NAT_D | PayloadType::NAT_OA) || kind.0 >= 128
}

impl Shape {
    /// Checks a chain against the table.
    pub(crate) fn check(&self, payloads: &[RawPayload<'_>]) -> Result<(), ExchangeError> {
        if let Some(first) = self.first
            && payloads.first().map(|payload| payload.kind) != Some(first)
        {
            return Err(ExchangeError::WrongOrder(first));
        }
        for (index, payload) in payloads.iter().enumerate() {
            let kind = payload.kind;
            if is_ignored(kind) || self.many.contains(&kind) {
                continue;
            }
            if !self.must.contains(&kind) && !self.may.contains(&kind) {
                return Err(ExchangeError::UnexpectedPayload(kind));
            }
            if payloads.iter().take(index).any(|earlier| earlier.kind == kind) {
                return Err(ExchangeError::RepeatedPayload(kind));
            }
        }
        match self.must.iter().find(|kind| !payloads.iter().any(|payload| payload.kind == **kind)) {
            Some(missing) => Err(ExchangeError::MissingPayload(*missing)),
            None => Ok(()),
        }
    }
}

/// The body of the first payload of a kind.
pub(crate) fn body<'a>(payloads: &[RawPayload<'a>], kind: PayloadType) -> Result<&'a [u8], ExchangeError> {
    bodies(payloads, kind).next().ok_or(ExchangeError::MissingPayload(kind))
}

/// The bodies of all payloads of a kind, in order.
pub(crate) fn bodies<'a, 'b>(
    payloads: &'b [RawPayload<'a>],
    kind: PayloadType,
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'b> {
    payloads.iter().filter(move |payload| payload.kind == kind).map(|payload| payload.body)
}

/// The nonce, of legal length.
pub(crate) fn nonce(payloads: &[RawPayload<'_>]) -> Result<Vec<u8>, ExchangeError> {
    legal_nonce(body(payloads, PayloadType::NONCE)?)
}

/// A nonce has 8 to 256 octets (RFC 2409 §5).
pub(crate) fn legal_nonce(nonce: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    if (8..=256).contains(&nonce.len()) { Ok(nonce.to_vec()) } else { Err(ExchangeError::NonceLength(nonce.len())) }
}
