//! What must hold of the decoders for any octets: they return, and what they accept survives encoding and decoding.
//!
//! Used by the fuzz targets beside, and by the property tests of the workspace (`tests/tests/decoders.rs`).

use ike::wire::attribute::Attribute;
use ike::wire::cert::{CertPayload, CertRequest};
use ike::wire::delete::DeletePayload;
use ike::wire::header::Header;
use ike::wire::identification::IdPayload;
use ike::wire::message::{MAX_PAYLOADS, Tail, decode_chain, encode_chain};
use ike::wire::notify::NotifyPayload;
use ike::wire::number::PayloadType;
use ike::wire::sa::SaPayload;
use ike::wire::vendor;

/// A datagram: header, chain, every payload in it.
pub fn datagram(octets: &[u8]) {
    let Ok(header) = Header::decode(octets) else { return };
    assert_eq!(header.encode().as_slice(), octets.get(..Header::LEN).unwrap_or_default());
    let body = header.body(octets);
    assert!(body.len() + Header::LEN <= octets.len());
    chain(header.next, body, Tail::Exact);
    chain(header.next, body, Tail::Padding);
}

/// A chain of payloads, whatever its first one is said to be.
pub fn chain(first: PayloadType, octets: &[u8], tail: Tail) {
    let Ok(payloads) = decode_chain(first, octets, tail) else { return };
    assert!(payloads.len() <= MAX_PAYLOADS);
    let mut end = 0;
    for found in &payloads {
        assert_eq!(found.range.start, end, "payloads follow each other");
        end = found.range.end;
        assert_eq!(octets.get(found.range.clone()).and_then(|whole| whole.get(4..)), Some(found.body));
        payload(found.kind, found.body);
    }
    assert!(tail == Tail::Padding || [end, end.next_multiple_of(4)].contains(&octets.len()));
    // Reserved octets are let pass and come out as zero, so the second round is compared with the first.
    let owned: Vec<_> = payloads.iter().map(|payload| (payload.kind, payload.body.to_vec())).collect();
    let encoded = encode_chain(&owned);
    let again = decode_chain(first, &encoded, Tail::Exact).expect("what was accepted is accepted again");
    assert!(
        again
            .iter()
            .map(|payload| (payload.kind, payload.body))
            .eq(owned.iter().map(|(kind, body)| (*kind, body.as_slice())))
    );
}

/// The body of one payload.
pub fn payload(kind: PayloadType, body: &[u8]) {
    match kind {
        PayloadType::SA => sa(body),
        PayloadType::ID => identification(body),
        PayloadType::CERT => {
            if let Ok(decoded) = CertPayload::decode(body) {
                assert_eq!(decoded.encode(), body);
            }
        }
        PayloadType::CERTREQ => {
            if let Ok(decoded) = CertRequest::decode(body) {
                assert_eq!(decoded.encode(), body);
            }
        }
        PayloadType::NOTIFY => {
            if let Ok(decoded) = NotifyPayload::decode(body) {
                assert_eq!(decoded.encode(), body);
            }
        }
        PayloadType::DELETE => {
            if let Ok(decoded) = DeletePayload::decode(body) {
                assert_eq!(decoded.encode(), body);
            }
        }
        PayloadType::VENDOR => {
            vendor::name_of(body);
        }
        _ => {}
    }
}

/// An SA payload.
pub fn sa(body: &[u8]) {
    if let Ok(attributes) = Attribute::decode_list(body) {
        assert_eq!(Attribute::encode_list(&attributes), body);
    }
    let Ok(decoded) = SaPayload::decode(body) else { return };
    let encoded = decoded.encode();
    assert_eq!(encoded.len(), body.len());
    assert_eq!(SaPayload::decode(&encoded), Ok(decoded));
}

/// An identification payload.
pub fn identification(body: &[u8]) {
    let Ok(decoded) = IdPayload::decode(body) else { return };
    assert_eq!(decoded.encode(), body);
    let Ok(identity) = decoded.to_identity() else { return };
    let again = IdPayload::from_identity(&identity, decoded.protocol, decoded.port);
    assert_eq!(again.kind, decoded.kind);
    // Host bits below a subnet's mask are dropped, so the second round is compared with the first.
    assert_eq!(again.to_identity(), Ok(identity));
}
