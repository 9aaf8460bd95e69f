//! Every line that people grep for, as racoon worded it (policy/docs/undocumented-racoon.md says where ours go on).

use std::net::SocketAddr;

use policy::model::addr::host_net;
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, Spi};
use policy::model::selector::{Selector, UpperProtocol};

use super::*;
use crate::wire::number::NotifyType;

fn ends() -> Ends {
    Ends { local: at(1, 500), peer: at(2, 500) }
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

fn cookies() -> CookiePair {
    CookiePair(Cookie([1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]), Cookie([0xfe; 8]))
}

fn sa() -> SaName {
    SaName { src: at(1, 0).ip(), dst: at(2, 0).ip(), protocol: Protocol::Esp, spi: Spi(140_411_282) }
}

fn selector() -> Selector {
    Selector {
        src: host_net(at(1, 0).ip()),
        dst: host_net(at(2, 0).ip()),
        protocol: UpperProtocol(0),
        src_port: 0,
        dst_port: 0,
    }
}

#[test]
fn negotiations_begin_in_racoons_words() {
    let peer = at(2, 0).ip();
    for (event, line) in [
        (Event::Queued { peer }, "IPsec-SA request for 10.0.0.2 queued due to no phase1 found."),
        (Event::Phase1Initiated(ends()), "initiate new phase 1 negotiation: 10.0.0.1[500]<=>10.0.0.2[500]"),
        (Event::Phase1Responded(ends()), "respond new phase 1 negotiation: 10.0.0.1[500]<=>10.0.0.2[500]"),
        (Event::BeginMainMode, "begin Identity Protection mode."),
        (Event::BeginAggressiveMode, "begin Aggressive mode."),
        (Event::VendorId("RFC 3947"), "received Vendor ID: RFC 3947"),
        (Event::VendorId("FRAGMENTATION"), "received broken Microsoft ID: FRAGMENTATION"),
        (Event::Phase2Initiated(ends()), "initiate new phase 2 negotiation: 10.0.0.1[500]<=>10.0.0.2[500]"),
        (Event::Phase2Responded(ends()), "respond new phase 2 negotiation: 10.0.0.1[500]<=>10.0.0.2[500]"),
    ] {
        assert_eq!(event.to_string(), line);
    }
}

#[test]
fn nat_traversal_in_racoons_words() {
    for (event, line) in [
        (Event::NatDialect("RFC 3947"), "Selected NAT-T version: RFC 3947"),
        (Event::NatHashing { at: at(2, 500), hash: 4, forced: false }, "Hashing 10.0.0.2[500] with algo #4 "),
        (
            Event::NatHashing { at: at(2, 500), hash: 4, forced: true },
            "Hashing 10.0.0.2[500] with algo #4 (NAT-T forced)",
        ),
        (Event::NatDiscovery, "Adding remote and local NAT-D payloads."),
        (Event::NatVerdict { number: 0, verified: true }, "NAT-D payload #0 verified"),
        (Event::NatVerdict { number: 1, verified: false }, "NAT-D payload #1 doesn't match"),
        (Event::NatDetected { own: false, peer: false }, "NAT not detected "),
        (Event::NatDetected { own: true, peer: false }, "NAT detected: ME "),
        (Event::NatDetected { own: false, peer: true }, "NAT detected: PEER"),
        (Event::NatDetected { own: true, peer: true }, "NAT detected: ME PEER"),
        (Event::PortsChanged(ends()), "NAT-T: ports changed to: 10.0.0.1[500]<->10.0.0.2[500]"),
        (Event::KeepaliveBegun(ends()), "KA list add: 10.0.0.1[500]->10.0.0.2[500]"),
        (Event::KeepaliveEnded(ends()), "KA remove: 10.0.0.1[500]->10.0.0.2[500]"),
        (Event::UdpEncapsulation { plain: 2, udp: 4 }, "NAT detected -> UDP encapsulation (ENC_MODE 2->4)."),
    ] {
        assert_eq!(event.to_string(), line);
    }
}

#[test]
fn lives_of_sas_in_racoons_words() {
    let identity = Identity::Fqdn("bob".to_owned());
    let spi = "spi=0123456789abcdef:fefefefefefefefe";
    let pair = "10.0.0.1[500]-10.0.0.2[500] spi:0123456789abcdef:fefefefefefefefe";
    for (event, line) in [
        (
            Event::Phase1Established { ends: ends(), cookies: cookies(), identity },
            format!("ISAKMP-SA established {pair}"),
        ),
        (Event::Phase1Expired { ends: ends(), cookies: cookies() }, format!("ISAKMP-SA expired {pair}")),
        (Event::Phase1Deleted { ends: ends(), cookies: cookies() }, format!("ISAKMP-SA deleted {pair}")),
        (Event::Phase1Purged { cookies: cookies() }, format!("purged ISAKMP-SA {spi}.")),
        (Event::Phase1Purging { cookies: cookies() }, format!("purging ISAKMP-SA {spi}.")),
        (
            Event::ChildKept { sa: sa(), cookies: cookies() },
            format!("keeping IPsec-SA spi=140411282 - found valid ISAKMP-SA {spi}."),
        ),
        (
            Event::ChildrenPurging { protocol: Protocol::Esp, ends: ends() },
            "purging ESP SAs for 10.0.0.1 -> 10.0.0.2".to_owned(),
        ),
        (
            Event::Phase1Renegotiating { peer: at(2, 0).ip() },
            "renegotiating phase1 to 10.0.0.2 due to active phase2".to_owned(),
        ),
        (
            Event::ChildEstablished { from: at(1, 500), to: at(2, 500), mode: Mode::Transport, sa: sa() },
            "IPsec-SA established: ESP/Transport 10.0.0.1[500]->10.0.0.2[500] spi=140411282(0x85e8192)".to_owned(),
        ),
        (
            Event::ChildExpired { mode: Mode::Tunnel, sa: sa() },
            "IPsec-SA expired: ESP/Tunnel 10.0.0.1->10.0.0.2 spi=140411282(0x85e8192)".to_owned(),
        ),
        (Event::ChildPurged { sa: sa() }, "purged IPsec-SA proto_id=ESP spi=140411282.".to_owned()),
        (Event::PeerFlushed { peer: at(2, 0).ip() }, "Flushing all SAs for peer 10.0.0.2".to_owned()),
        (Event::InitialContact, "received INITIAL-CONTACT".to_owned()),
        (Event::ResponderLifetime { seconds: 600 }, "received RESPONDER-LIFETIME: 600 seconds".to_owned()),
        (Event::OwnLifetime { seconds: 600, peer: 3600 }, "use own lifetime: my:600 peer:3600".to_owned()),
        (
            Event::PeerDead { ends: ends(), cookies: cookies() },
            format!("DPD: remote (ISAKMP-SA {spi}) seems to be dead."),
        ),
    ] {
        assert_eq!(event.to_string(), line);
    }
    let generated = Event::PolicyGenerated { outbound: selector() }.to_string();
    assert!(generated.starts_with("no policy found, try to generate the policy : 10.0.0.1/32"), "{generated}");
    let deleted = Event::PolicyDeleted { outbound: selector() }.to_string();
    assert!(deleted.starts_with("deleting a generated policy."), "{deleted}");
}

/// What is behind racoon's words says more; what scripts look for is at the beginning.
#[test]
fn failures_begin_with_racoons_words() {
    let peer = at(2, 0).ip();
    let reason = || "why".to_owned();
    for (event, words) in [
        (
            Event::Phase1Failed { reason: reason(), timed_out: true, no_proposal: false, cookies: cookies() },
            "phase1 negotiation failed due to time up. 0123456789abcdef:fefefefefefefefe",
        ),
        (
            Event::Phase1Failed { reason: reason(), timed_out: false, no_proposal: false, cookies: cookies() },
            "phase1 negotiation failed. ",
        ),
        (
            Event::Phase2Failed { peer, reason: reason(), timed_out: true },
            "10.0.0.2 give up to get IPsec-SA due to time up to wait.",
        ),
        (Event::Phase2Failed { peer, reason: reason(), timed_out: false }, "phase2 negotiation failed. "),
        (Event::GaveUp { peer }, "phase2 negotiation failed due to time up waiting for phase1. ESP 10.0.0.2[0]"),
        (Event::UnknownPeer { peer }, "couldn't find configuration. "),
        (Event::NoValidProposal, "failed to get valid proposal."),
        (Event::FirstMessageRefused, "failed to pre-process ph1 packet (side: 1, status 1)."),
        (Event::NoConfiguration { peer }, "no configuration found for 10.0.0.2."),
        (Event::NoPreSharedKey { peer }, "couldn't find the pskey for 10.0.0.2."),
        (Event::PreSharedKeyByAddress, "couldn't find the proper pskey, try to get one by the peer's address."),
        (Event::Retransmitted { peer: at(2, 500) }, "the packet is retransmitted by 10.0.0.2[500] (1)."),
        (
            Event::UnprotectedNotify { kind: NotifyType::NO_PROPOSAL_CHOSEN },
            "ignore information because ISAKMP-SA has not been established yet.",
        ),
        (Event::UnprotectedDelete, "Ignoring unencrypted delete payload (check the weak_phase1_check option)"),
    ] {
        let line = event.to_string();
        assert!(line.starts_with(words), "{line}");
    }
    let chosen = crate::error::ExchangeError::NoProposalChosen(reason()).to_string();
    assert_eq!(chosen, "no suitable proposal found. why");
    assert_eq!(crate::error::ExchangeError::NoSainfo.to_string(), "failed to get sainfo.");
    assert!(crate::error::ExchangeError::NoPolicy(reason()).to_string().starts_with("no policy found: "));
    assert_eq!(crate::error::ExchangeError::HashMismatch.to_string(), "HASH mismatched");
}

#[test]
fn logins_and_addresses_in_racoons_words() {
    let user = || "carol".to_owned();
    let address = Ipv4Addr::new(10, 3, 0, 8);
    for (event, line) in [
        (Event::XauthRequested, "Sending Xauth request"),
        (Event::LoginSucceeded { user: user() }, "login succeeded for user \"carol\""),
        (
            Event::LoginFailed { user: user(), reason: "wrong password".to_owned() },
            "login failed for user \"carol\": wrong password",
        ),
        (Event::XauthMessage { text: "hello".to_owned() }, "XAUTH Message: 'hello'."),
        (Event::AddressLent { port: 7, address }, "Using port 7 (10.3.0.8)"),
        (Event::AddressReleased { port: 7, address }, "Released port 7 (10.3.0.8)"),
        (Event::PoolResized { from: 255, to: 20 }, "Resize address pool from 255 to 20"),
    ] {
        assert_eq!(event.to_string(), line);
    }
}
