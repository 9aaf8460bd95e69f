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
    use crate::wire::number::IdType;

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
    fn names_select_no_packets() {
        let id = IdPayload { kind: IdType::FQDN, protocol: 0, port: 0, data: b"host.example".to_vec() };
        assert!(matches!(network(&id), Err(ExchangeError::InvalidId(_))));
    }
}
