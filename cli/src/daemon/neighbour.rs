//! Neighbour discovery passes IPv6 policies in clear (RFC 4861 types 135 and 136).
//!
//! A policy for all packets between two IPv6 hosts covers their neighbour advertisements too. Without this exception
//! each host would wait for an SA before it tells the other its link-layer address, and no IKE packet could ever be
//! sent. racoon left that to its administrators; libreswan installs the same exception.

use policy::model::addr::IpNet;
use policy::model::sa::Direction;
use policy::model::selector::{Selector, UpperProtocol};
use std::net::{IpAddr, Ipv6Addr};
use xfrm::model::policy::{Place, Policy, Verdict};

/// Neighbour solicitation and advertisement.
const TYPES: [u16; 2] = [135, 136];

/// In front of what setkey scripts write, and telling ours from everybody else's.
const PRIORITY: u32 = 135;

/// The exceptions, each for half of all destinations: a script that writes the same exception itself writes it for all
/// of them, and the kernel refuses a second policy with an equal selector.
pub fn bypasses() -> impl Iterator<Item = Policy> {
    let net = |first: u16, prefix| IpNet::new(IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix);
    let everywhere = net(0, 0);
    let halves = [net(0, 1), net(0x8000, 1)].into_iter().flatten();
    let pairs = halves.filter_map(move |half| Some((everywhere.as_ref().ok().copied()?, half)));
    pairs.flat_map(|(src, dst)| {
        TYPES.into_iter().flat_map(move |kind| {
            let selector = Selector {
                protocol: UpperProtocol::ICMPV6,
                // The kernel keeps the ICMP type where ports have the source.
                src_port: kind,
                ..Selector::between(src, dst)
            };
            [Direction::Out, Direction::In].into_iter().map(move |direction| Policy {
                priority: PRIORITY,
                ..Policy::new(selector, direction, Verdict::Allow, Vec::new())
            })
        })
    })
}

/// Is this policy one of the exceptions?
pub fn is_bypass(policy: &Policy) -> bool {
    policy.priority == PRIORITY
        && policy.templates.is_empty()
        && bypasses().any(|bypass| bypass.selector == policy.selector && bypass.place == policy.place)
}

/// Does this policy ask for SAs for neighbour discovery, if nothing is excepted?
pub fn swallows(policy: &Policy) -> bool {
    let Place::Spd(_) = policy.place else { return false };
    let Selector { src, protocol, .. } = policy.selector;
    src.addr().is_ipv6() && !policy.templates.is_empty() && (protocol.is_any() || protocol == UpperProtocol::ICMPV6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::model::sa::{Mode, Protocol, ReqId, Spi};
    use xfrm::model::template::{Need, Template};

    fn host_policy(text: &str) -> Policy {
        let net: IpNet = text.parse().expect("a network");
        let template = Template {
            protocol: Protocol::Esp,
            mode: Mode::Transport,
            endpoints: None,
            spi: Spi(0),
            reqid: ReqId(0),
            need: Need::Required,
        };
        Policy::new(Selector::between(net, net), Direction::Out, Verdict::Allow, vec![template])
    }

    #[test]
    fn only_ipv6_policies_need_the_exception() {
        assert!(swallows(&host_policy("2001:db8::1/128")));
        assert!(!swallows(&host_policy("192.0.2.1/32")));
        assert_eq!(bypasses().count(), 8);
        assert!(bypasses().all(|policy| is_bypass(&policy) && !swallows(&policy)));
        assert!(!is_bypass(&host_policy("2001:db8::1/128")));
    }
}
