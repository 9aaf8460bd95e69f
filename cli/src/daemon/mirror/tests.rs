//! The SPD as keylime's, a gateway's and a careless administrator's scripts make it.

use std::net::IpAddr;

use ike::event::policies::{Companion, Offers};
use policy::model::sa::{Protocol, ReqId, Spi};
use policy::model::selector::{Selector, UpperProtocol};
use xfrm::model::template::{Need, Template};

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn selector(src: &str, dst: &str) -> Selector {
    Selector::between(src.parse().unwrap(), dst.parse().unwrap())
}

fn template(mode: Mode, endpoints: Option<(&str, &str)>, reqid: u32) -> Template {
    Template {
        protocol: Protocol::Esp,
        mode,
        endpoints: endpoints.map(|(src, dst)| (ip(src), ip(dst))),
        spi: Spi(0),
        reqid: ReqId(reqid),
        need: Need::Required,
    }
}

fn policy(index: u32, selector: Selector, direction: Direction, templates: Vec<Template>) -> Policy {
    Policy { index, ..Policy::new(selector, direction, Verdict::Allow, templates) }
}

fn transport(outbound: Selector) -> PolicyQuery {
    PolicyQuery {
        outbound,
        mode: Mode::Transport,
        protocol: Protocol::Esp,
        offers: Offers::default().with(&[Protocol::Esp]),
        local: ip("10.0.0.1"),
        peer: ip("10.0.0.2"),
    }
}

fn esp_match(outbound: Selector) -> PolicyMatch {
    PolicyMatch { protocol: Protocol::Esp, reqid: ReqId(0), companions: Companions::NONE, outbound }
}

fn hosts() -> Selector {
    Selector::hosts(ip("10.0.0.1"), ip("10.0.0.2"))
}

#[test]
fn keylimes_subnet_policy_covers_a_pair_of_hosts() {
    let mut mirror = Mirror::default();
    let wide = selector("0.0.0.0/0", "10.0.0.0/24");
    mirror.replace(vec![
        policy(9, wide, Direction::Out, vec![template(Mode::Transport, None, 0)]),
        policy(8, wide.reversed(), Direction::In, vec![template(Mode::Transport, None, 0)]),
    ]);
    assert_eq!(mirror.find(&transport(hosts())), Some(esp_match(wide)));
    // The other way round only the inbound policy would fit, and that is no answer.
    assert_eq!(mirror.find(&transport(selector("10.0.0.2/32", "10.9.9.9/32"))), None);
}

#[test]
fn exact_selector_wins_then_priority_then_age() {
    let mut mirror = Mirror::default();
    let wide = selector("0.0.0.0/0", "10.0.0.0/24");
    let other = selector("10.0.0.0/24", "10.0.0.0/24");
    let with = |index, selector, priority, reqid| Policy {
        priority,
        ..policy(index, selector, Direction::Out, vec![template(Mode::Transport, None, reqid)])
    };
    for each in [with(1, wide, 5, 11), with(2, other, 5, 12)] {
        mirror.apply(&Notice::PolicyAdded { policy: Box::new(each), requester: 1 });
    }
    assert_eq!(mirror.find(&transport(hosts())).unwrap().reqid, ReqId(11), "first inserted");
    mirror.apply(&Notice::PolicyUpdated { policy: Box::new(with(2, other, 4, 12)), requester: 1 });
    assert_eq!(mirror.find(&transport(hosts())).unwrap().reqid, ReqId(12), "lower priority value");
    mirror.apply(&Notice::PolicyAdded { policy: Box::new(with(3, hosts(), 900, 13)), requester: 1 });
    assert_eq!(mirror.find(&transport(hosts())).unwrap().reqid, ReqId(13), "exact");
    let gone = with(3, hosts(), 900, 13);
    mirror.apply(&Notice::PolicyDeleted { key: gone.key(), policy: Box::new(gone), requester: 1 });
    assert_eq!(mirror.find(&transport(hosts())).unwrap().reqid, ReqId(12), "deleted ones are forgotten");
    mirror.apply(&Notice::PoliciesFlushed { list: List::Main, requester: 1 });
    assert_eq!(mirror.find(&transport(hosts())), None);
}

#[test]
fn dump_is_newest_first() {
    let mut mirror = Mirror::default();
    let wide = selector("0.0.0.0/0", "10.0.0.0/24");
    let other = selector("10.0.0.0/24", "10.0.0.0/24");
    mirror.replace(vec![
        policy(17, other, Direction::Out, vec![template(Mode::Transport, None, 2)]),
        policy(9, wide, Direction::Out, vec![template(Mode::Transport, None, 1)]),
    ]);
    assert_eq!(mirror.find(&transport(hosts())).unwrap().reqid, ReqId(1));
}

#[test]
fn tunnel_ends_must_be_those_of_the_isakmp_sa() {
    let mut mirror = Mirror::default();
    let subnets = selector("10.1.0.0/24", "10.2.0.0/24");
    mirror.replace(vec![
        policy(9, subnets, Direction::Out, vec![template(Mode::Tunnel, Some(("10.0.0.1", "10.0.0.2")), 7)]),
        policy(17, subnets, Direction::Out, vec![template(Mode::Tunnel, Some(("10.0.0.1", "10.0.0.9")), 8)]),
    ]);
    let query = PolicyQuery { mode: Mode::Tunnel, ..transport(subnets) };
    assert_eq!(mirror.find(&query).unwrap().reqid, ReqId(7));
    assert_eq!(mirror.find(&PolicyQuery { peer: ip("10.0.0.3"), ..query }), None);
    assert_eq!(mirror.find(&PolicyQuery { mode: Mode::Transport, ..query }), None);
    assert_eq!(mirror.find(&PolicyQuery { offers: Offers::default().with(&[Protocol::Ah]), ..query }), None);
}

#[test]
fn bypass_socket_and_narrower_policies_want_nothing() {
    let mut mirror = Mirror::default();
    let wide = selector("0.0.0.0/0", "10.0.0.0/24");
    let only_tcp = Selector { protocol: UpperProtocol::TCP, ..wide };
    let on_socket = Policy {
        place: Place::Socket(Direction::Out),
        ..policy(3, wide, Direction::Out, vec![template(Mode::Transport, None, 3)])
    };
    mirror.replace(vec![
        policy(9, wide, Direction::Out, Vec::new()),
        policy(17, only_tcp, Direction::Out, vec![template(Mode::Transport, None, 4)]),
        on_socket,
    ]);
    assert_eq!(mirror.find(&transport(hosts())), None);
    let tcp = Selector { protocol: UpperProtocol::TCP, dst_port: 22, ..hosts() };
    assert_eq!(mirror.find(&transport(tcp)).unwrap().reqid, ReqId(4));
    assert_eq!(mirror.len_ipsec(), 1);
}

#[test]
fn a_bundle_must_be_offered_whole() {
    let mut mirror = Mirror::default();
    let esp = template(Mode::Transport, None, 1);
    let ah = Template { protocol: Protocol::Ah, reqid: ReqId(2), ..esp };
    mirror.replace(vec![policy(9, hosts(), Direction::Out, vec![esp, ah])]);
    assert_eq!(mirror.find(&transport(hosts())), None, "ESP alone is not what the policy wants");
    let both = Offers::default().with(&[Protocol::Esp]).with(&[Protocol::Ah, Protocol::Esp]);
    let found = mirror.find(&PolicyQuery { offers: both, ..transport(hosts()) }).unwrap();
    let companion = Companion { mode: Mode::Transport, reqid: ReqId(2), optional: false };
    assert_eq!((found.protocol, found.reqid), (Protocol::Esp, ReqId(1)));
    assert_eq!(found.companions, Companions { ah: Some(companion), ..Companions::NONE });
}

#[test]
fn optional_compression_may_be_left_out_but_not_a_tunnel() {
    let mut mirror = Mirror::default();
    let esp = template(Mode::Transport, None, 0);
    let optional = Template { protocol: Protocol::Ipcomp, need: Need::Optional, ..esp };
    mirror.replace(vec![policy(9, hosts(), Direction::Out, vec![optional, esp])]);
    assert!(mirror.find(&transport(hosts())).is_some());
    let subnets = selector("10.1.0.0/24", "10.2.0.0/24");
    let ends = Some((ip("10.0.0.1"), ip("10.0.0.2")));
    let tunnel = Template { mode: Mode::Tunnel, endpoints: ends, ..optional };
    mirror.replace(vec![policy(9, subnets, Direction::Out, vec![tunnel, esp])]);
    let query = PolicyQuery { mode: Mode::Tunnel, ..transport(subnets) };
    assert_eq!(mirror.find(&query), None, "without its tunnel ESP would be for other packets");
    let offers = query.offers.with(&[Protocol::Esp, Protocol::Ipcomp]);
    let found = mirror.find(&PolicyQuery { offers, ..query }).unwrap();
    assert!(found.companions.main_in_transport);
    assert_eq!(found.companions.ipcomp.map(|companion| companion.optional), Some(false));
}

#[test]
fn policies_that_no_quick_mode_can_give_want_nothing() {
    let esp = template(Mode::Transport, None, 0);
    let ipcomp = Template { protocol: Protocol::Ipcomp, ..esp };
    assert_eq!(Wanted::of(&[ipcomp]), None, "compression alone");
    assert_eq!(Wanted::of(&[esp, esp]), None, "ESP in ESP");
    let tunnel = |peer| template(Mode::Tunnel, Some(("10.0.0.1", peer)), 0);
    let ah = Template { protocol: Protocol::Ah, ..tunnel("10.0.0.3") };
    assert_eq!(Wanted::of(&[tunnel("10.0.0.2"), ah]), None, "two peers");
}

#[test]
fn an_inbound_sa_has_the_reqid_of_the_inbound_policy() {
    let name = SaName { protocol: Protocol::Esp, spi: Spi(0x1000), src: ip("10.0.0.2"), dst: ip("10.0.0.1") };
    let mut mirror = Mirror::default();
    let inbound = hosts().reversed();
    assert_eq!(mirror.inbound_reqid(&name, Mode::Transport, &inbound), None);
    mirror.replace(vec![
        policy(9, hosts(), Direction::Out, vec![template(Mode::Transport, None, 16385)]),
        policy(8, inbound, Direction::In, vec![template(Mode::Transport, None, 16386)]),
        policy(16, selector("0.0.0.0/0", "10.0.0.1/32"), Direction::In, vec![template(Mode::Transport, None, 7)]),
    ]);
    assert_eq!(mirror.inbound_reqid(&name, Mode::Transport, &inbound), Some(ReqId(16386)));
    assert_eq!(mirror.inbound_reqid(&name, Mode::Tunnel, &inbound), None);
    let tunnel = template(Mode::Tunnel, Some(("10.0.0.2", "10.0.0.1")), 9);
    mirror.replace(vec![policy(8, inbound, Direction::In, vec![tunnel])]);
    assert_eq!(mirror.inbound_reqid(&name, Mode::Tunnel, &inbound), Some(ReqId(9)));
    let elsewhere = SaName { src: ip("10.0.0.3"), ..name };
    assert_eq!(mirror.inbound_reqid(&elsewhere, Mode::Tunnel, &inbound), None);
}
