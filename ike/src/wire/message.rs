//! The chain of payloads behind the header (RFC 2408 §3.2, §5.3).

use std::ops::Range;

use super::error::WireError;
use super::header::Header;
use super::number::PayloadType;
use super::reader::Reader;
use super::writer::Writer;

/// Payloads accepted in one message.
pub const MAX_PAYLOADS: usize = 100;

/// Octets of a generic payload header.
pub const GENERIC_HEADER: usize = 4;

/// One payload as it stands in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPayload<'a> {
    /// Its type.
    pub kind: PayloadType,
    /// What follows the generic header.
    pub body: &'a [u8],
    /// The whole payload, generic header included, counted from the start of the chain.
    pub range: Range<usize>,
}

/// What may follow the last payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but zeros up to the next multiple of four octets: a message in clear. RFC 2408 §3 wants messages aligned,
    /// and libreswan aligns them all unless told `ikepad=no`.
    Exact,
    /// The padding of the cipher, any octets (RFC 2409 appendix B).
    Padding,
}

/// Takes the chain apart. The reserved octet is ignored, as every peer in the field does.
///
/// # Errors
/// [`WireError`] for a payload that is shorter than its header or longer than what is left, an unknown type below the
/// private range, more than [`MAX_PAYLOADS`] payloads, or octets behind the last one that [`Tail::Exact`] does not allow.
pub fn decode_chain(first: PayloadType, octets: &[u8], tail: Tail) -> Result<Vec<RawPayload<'_>>, WireError> {
    let mut reader = Reader::new(octets);
    let mut payloads = Vec::new();
    let mut kind = first;
    while kind != PayloadType::NONE {
        let start = reader.offset();
        if !kind.is_acceptable_in_chain() {
            return Err(WireError::InvalidPayloadType { kind, offset: start });
        }
        if payloads.len() == MAX_PAYLOADS {
            return Err(WireError::TooMany { what: "payloads", limit: MAX_PAYLOADS, offset: start });
        }
        let (next, body) = generic(&mut reader, "payload")?;
        payloads.push(RawPayload { kind, body, range: start..reader.offset() });
        kind = PayloadType(next);
    }
    match tail {
        Tail::Exact => {
            let aligned = reader.offset().next_multiple_of(4) - reader.offset();
            let mut tail = reader.clone();
            if reader.left() != aligned || tail.take(aligned, "padding")?.iter().any(|octet| *octet != 0) {
                reader.finish("the payload chain")?;
            }
        }
        Tail::Padding => {}
    }
    Ok(payloads)
}

/// Reads a generic header and the body it announces; the number is the next-payload field.
pub(super) fn generic<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<(u8, &'a [u8]), WireError> {
    let offset = reader.offset();
    let next = reader.u8(what)?;
    let _reserved = reader.u8(what)?;
    let length = usize::from(reader.u16(what)?);
    let Some(body) = length.checked_sub(GENERIC_HEADER) else {
        return Err(WireError::LengthTooSmall { what, offset, length, least: GENERIC_HEADER });
    };
    Ok((next, reader.take(body, what)?))
}

/// Puts a chain together: bodies without their generic headers.
pub fn encode_chain(payloads: &[(PayloadType, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new();
    let following = payloads.iter().skip(1).map(|(kind, _)| *kind).chain([PayloadType::NONE]);
    for ((_, body), next) in payloads.iter().zip(following) {
        let slot = writer.begin(next.0);
        writer.octets(body);
        writer.end(slot);
    }
    writer.into_octets()
}

/// What the header's next-payload field says of this chain.
pub fn first_kind(payloads: &[(PayloadType, Vec<u8>)]) -> PayloadType {
    payloads.first().map_or(PayloadType::NONE, |(kind, _)| *kind)
}

/// The whole message; the header's length is set to what it comes to.
pub fn encode_message(header: Header, chain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(Header::LEN + chain.len()).unwrap_or(u32::MAX);
    let mut message = Header { length, ..header }.encode().to_vec();
    message.extend_from_slice(chain);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<(PayloadType, Vec<u8>)> {
        vec![(PayloadType::HASH, vec![1; 20]), (PayloadType::NOTIFY, vec![2; 8]), (PayloadType(200), vec![])]
    }

    #[test]
    fn round_trip_with_ranges() {
        let octets = encode_chain(&chain());
        let decoded = decode_chain(first_kind(&chain()), &octets, Tail::Exact).unwrap();
        let again: Vec<_> = decoded.iter().map(|payload| (payload.kind, payload.body.to_vec())).collect();
        assert_eq!(again, chain());
        assert_eq!(decoded.iter().map(|payload| payload.range.clone()).collect::<Vec<_>>(), [0..24, 24..36, 36..40]);
        assert_eq!(decode_chain(PayloadType::NONE, &[], Tail::Exact), Ok(vec![]));
    }

    #[test]
    fn only_an_encrypted_chain_may_be_padded() {
        let mut octets = encode_chain(&chain());
        octets.extend([0xff; 7]);
        assert_eq!(decode_chain(PayloadType::HASH, &octets, Tail::Padding).unwrap().len(), 3);
        let refused = decode_chain(PayloadType::HASH, &octets, Tail::Exact);
        assert_eq!(refused, Err(WireError::Trailing { what: "the payload chain", offset: 40, octets: 7 }));
    }

    #[test]
    fn a_chain_in_clear_may_be_aligned_with_zeros() {
        let chain = [(PayloadType::VENDOR, vec![7; 5])];
        let padded = |tail: &[u8]| [encode_chain(&chain), tail.to_vec()].concat();
        for good in [&[][..], &[0; 3]] {
            assert_eq!(decode_chain(PayloadType::VENDOR, &padded(good), Tail::Exact).unwrap().len(), 1);
        }
        for bad in [&[0; 2][..], &[0, 0, 1], &[0; 4], &[0; 7]] {
            assert!(matches!(
                decode_chain(PayloadType::VENDOR, &padded(bad), Tail::Exact),
                Err(WireError::Trailing { .. })
            ));
        }
    }

    #[test]
    fn lengths_below_four_and_past_the_end_are_refused() {
        for length in 0..4_u8 {
            let octets = [1, 0xff, 0, length];
            let refused = decode_chain(PayloadType::SA, &octets, Tail::Exact);
            let length = usize::from(length);
            assert_eq!(refused, Err(WireError::LengthTooSmall { what: "payload", offset: 0, length, least: 4 }));
        }
        let refused = decode_chain(PayloadType::SA, &[0, 0, 0, 9, 1, 2, 3, 4], Tail::Padding);
        assert_eq!(refused, Err(WireError::Truncated { what: "payload", offset: 4, needed: 5, left: 4 }));
        assert!(matches!(decode_chain(PayloadType::SA, &[], Tail::Padding), Err(WireError::Truncated { .. })));
    }

    #[test]
    fn unknown_types_and_endless_chains_are_refused() {
        let refused = decode_chain(PayloadType::HASH, &[15, 0, 0, 4, 0, 0, 0, 4], Tail::Exact);
        assert_eq!(refused, Err(WireError::InvalidPayloadType { kind: PayloadType(15), offset: 4 }));
        let endless = [13, 0, 0, 4].repeat(MAX_PAYLOADS + 1);
        let refused = decode_chain(PayloadType::VENDOR, &endless, Tail::Exact);
        assert_eq!(refused, Err(WireError::TooMany { what: "payloads", limit: MAX_PAYLOADS, offset: 400 }));
    }

    #[test]
    fn the_header_gets_the_length() {
        let header = Header {
            initiator: super::super::header::Cookie([1; 8]),
            responder: super::super::header::Cookie::ZERO,
            next: PayloadType::HASH,
            version: Header::VERSION,
            exchange: super::super::number::ExchangeType::MAIN,
            flags: super::super::number::Flags::NONE,
            message_id: 0,
            length: 0,
        };
        let message = encode_message(header, &encode_chain(&chain()));
        let decoded = Header::decode(&message).unwrap();
        assert_eq!(decoded, Header { length: 68, ..header });
        assert_eq!(decode_chain(decoded.next, decoded.body(&message), Tail::Exact).unwrap().len(), 3);
    }
}
