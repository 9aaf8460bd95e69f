//! Quick mode identities: selectors to ID payloads and back (RFC 2407 §4.6.2, RFC 2409 §5.5).

use std::net::IpAddr;

use policy::model::addr::{IpNet, host_net};
use policy::model::identity::Identity;
use policy::model::selector::{Selector, UpperProtocol};

use crate::error::ExchangeError;
use crate::wire::identification::IdPayload;

/// One side of a selector as an ID: a host is an address, anything else a subnet.
pub(crate) fn side_identity(net: IpNet) -> Identity {
    if net.prefix_len() == net.max_prefix_len() { Identity::Address(net.addr()) } else { Identity::Subnet(net.trunc()) }
}

/// The ID payloads of a selector: source side first.
pub(crate) fn to_ids(selector: &Selector) -> (IdPayload, IdPayload) {
    let side = |net, port| IdPayload::from_identity(&side_identity(net), selector.protocol.0, port);
    (side(selector.src, selector.src_port), side(selector.dst, selector.dst_port))
}

/// The selector that the initiator's IDs make, source side the initiator's; without IDs it is the two ends themselves.
///
/// # Errors
/// [`ExchangeError::InvalidId`] for IDs that are no address, subnet or one-subnet range, or whose protocols disagree
/// (ATTACKS A-21).
pub(crate) fn from_ids(
    ids: Option<&(IdPayload, IdPayload)>,
    initiator: IpAddr,
    responder: IpAddr,
) -> Result<Selector, ExchangeError> {
    let Some((source, destination)) = ids else { return Ok(Selector::hosts(initiator, responder)) };
    if source.protocol != destination.protocol {
        return Err(ExchangeError::InvalidId(format!(
            "protocol {} on one side, {} on the other",
            source.protocol, destination.protocol
        )));
    }
    let (src, dst) = (network(source)?, network(destination)?);
    if src.addr().is_ipv4() != dst.addr().is_ipv4() {
        return Err(ExchangeError::InvalidId("the two sides are of different address families".to_owned()));
    }
    let protocol = UpperProtocol(source.protocol);
    Ok(Selector { src, dst, protocol, src_port: source.port, dst_port: destination.port })
}

fn network(id: &IdPayload) -> Result<IpNet, ExchangeError> {
    match id.to_identity() {
        Ok(Identity::Address(addr)) => Ok(host_net(addr)),
        Ok(Identity::Subnet(net)) => Ok(net.trunc()),
        Ok(Identity::Range(first, last)) => one_subnet(first, last).ok_or_else(|| {
            ExchangeError::InvalidId(format!("the range {first}-{last} is not one subnet; the kernel has no ranges"))
        }),
        Ok(other) => Err(ExchangeError::InvalidId(format!("a {} selects no packets", other.kind()))),
        Err(error) => Err(ExchangeError::InvalidId(error.to_string())),
    }
}

/// The subnet that is exactly this range.
pub(crate) fn one_subnet(first: IpAddr, last: IpAddr) -> Option<IpNet> {
    let widest = host_net(first).max_prefix_len();
    (0..=widest)
        .filter_map(|prefix| IpNet::new(first, prefix).ok())
        .find(|net| net.network() == first && net.broadcast() == last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::number::{IdType, NotifyType};

    fn subnet(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn selectors_survive_the_wire() {
        let selector = Selector {
            src: subnet("10.1.0.0/16"),
            dst: subnet("10.2.3.4/32"),
            protocol: UpperProtocol::UDP,
            src_port: 1701,
            dst_port: 0,
        };
        let ends = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(from_ids(Some(&to_ids(&selector)), ends.0, ends.1), Ok(selector));
        assert_eq!(from_ids(None, ends.0, ends.1), Ok(Selector::hosts(ends.0, ends.1)));
    }

    #[test]
    fn ranges_count_when_they_are_one_subnet() {
        let id = |first: [u8; 4], last: [u8; 4]| IdPayload {
            kind: IdType::IPV4_ADDR_RANGE,
            protocol: 0,
            port: 0,
            data: [first, last].concat(),
        };
        assert_eq!(network(&id([10, 0, 0, 0], [10, 0, 0, 255])), Ok(subnet("10.0.0.0/24")));
        assert!(matches!(network(&id([10, 0, 0, 1], [10, 0, 0, 9])), Err(ExchangeError::InvalidId(_))));
    }

    #[test]
    fn whatever_selects_no_packets_is_an_invalid_id() {
        let good = IdPayload { kind: IdType::IPV4_ADDR, protocol: 17, port: 1701, data: vec![10, 0, 0, 1] };
        let ends = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let outcome = |bad: &IdPayload| {
            [(bad.clone(), good.clone()), (good.clone(), bad.clone())].map(|ids| from_ids(Some(&ids), ends.0, ends.1))
        };
        let of = |kind: u8, data: &[u8]| IdPayload { kind: IdType(kind), protocol: 17, port: 0, data: data.to_vec() };
        for kind in (0..=12).chain([255]) {
            for length in [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 255] {
                // All zeros: an address, or a network of everything; IPv6 does not go with the other side.
                let legal = matches!((kind, length), (1, 4) | (4, 8) | (7, 8));
                for outcome in outcome(&of(kind, &vec![0; length])) {
                    assert_eq!(outcome.is_ok(), legal, "type {kind}, {length} octets: {outcome:?}");
                    if let Err(error) = outcome {
                        assert_eq!(error.notify(), Some(NotifyType::INVALID_ID_INFORMATION), "{error}");
                    }
                }
            }
        }
        let others = [
            of(4, &[10, 0, 0, 0, 255, 0, 255, 0]),
            of(7, &[10, 0, 0, 9, 10, 0, 0, 1]),
            IdPayload { protocol: 6, ..good.clone() },
            IdPayload { protocol: 0, port: 0, ..good.clone() },
        ];
        for bad in others {
            assert!(outcome(&bad).iter().all(|outcome| matches!(outcome, Err(ExchangeError::InvalidId(_)))), "{bad:?}");
        }
        // 17/1701 on one side, 17/0 on the other is what L2TP clients send (RFC 3193 section 4).
        assert!(outcome(&of(1, &[10, 0, 0, 2])).iter().all(Result::is_ok));
    }

    #[test]
    fn names_select_no_packets() {
        let id = IdPayload { kind: IdType::FQDN, protocol: 0, port: 0, data: b"host.example".to_vec() };
        assert!(matches!(network(&id), Err(ExchangeError::InvalidId(_))));
    }
}
