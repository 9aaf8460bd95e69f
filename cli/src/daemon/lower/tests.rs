//! Both ways with constructed values.

use std::net::IpAddr;
use std::sync::Arc;

use ike::event::sa::{ChildId, Owner, UdpEncapsulation};
use policy::model::algorithm::{Cipher, Hash, Integrity, SizedCipher};
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::selector::Selector;
use xfrm::model::policy::Verdict;
use xfrm::model::template::Need;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn install(direction: SaDirection) -> SaInstall {
    let (us, them) = (ip("10.0.0.1"), ip("10.0.0.2"));
    let (src, dst, spi, twin) = match direction {
        SaDirection::Inbound => (them, us, Spi(0x1111), Spi(0x2222)),
        SaDirection::Outbound => (us, them, Spi(0x2222), Spi(0x1111)),
    };
    SaInstall {
        child: ChildId(1),
        direction,
        name: event::sa::SaName { protocol: Protocol::Esp, spi, src, dst },
        mode: Mode::Transport,
        reqid: ReqId(0),
        selector: Selector::hosts(src, dst),
        cipher: Some(SizedCipher { cipher: Cipher::Aes, key_bits: Some(256) }),
        cipher_key: Secret::new(vec![1; 32]),
        integrity: Some(Integrity::Hmac(Hash::Sha256)),
        integrity_key: Secret::new(vec![2; 32]),
        icv_bits: 128,
        esn: false,
        beside: None,
        soft: Duration::from_secs(80),
        hard: Duration::from_secs(100),
        hard_octets: Some(1000),
        replay_window: 0,
        encapsulation: None,
        owner: Arc::new(Owner {
            local: (us, 500).into(),
            peer: (them, 500).into(),
            identity: Identity::Address(them),
            certificates: vec![],
            issuer: None,
            cookies: ([1; 8], [2; 8]),
        }),
        twin,
    }
}

#[test]
fn sa_carries_everything_the_core_said() {
    let lowered = sa(&install(SaDirection::Inbound));
    assert_eq!(to_core(lowered.name), install(SaDirection::Inbound).name);
    assert_eq!(lowered.selector, Some(Selector::hosts(ip("10.0.0.2"), ip("10.0.0.1"))));
    let encryption = lowered.encryption.unwrap();
    assert_eq!((encryption.kernel_name.as_str(), encryption.key.len()), ("cbc(aes)", 32));
    let integrity = lowered.integrity.unwrap();
    assert_eq!((integrity.kernel_name.as_str(), integrity.icv_bits), ("hmac(sha256)", 128));
    assert_eq!(lowered.lifetimes.soft.since_added, Some(Duration::from_secs(80)));
    assert_eq!(lowered.lifetimes.hard.since_added, Some(Duration::from_secs(100)));
    assert_eq!((lowered.lifetimes.soft.bytes, lowered.lifetimes.hard.bytes), (Some(800), Some(1000)));
    assert_eq!(lowered.replay_window, 64, "never without replay protection");
    assert_eq!(lowered.encapsulation, None);
}

#[test]
fn encapsulation_and_null_integrity() {
    let lowered = sa(&SaInstall {
        encapsulation: Some(UdpEncapsulation { src_port: 4500, dst_port: 1024, original_address: None }),
        integrity: None,
        ..install(SaDirection::Outbound)
    });
    let encapsulation = lowered.encapsulation.unwrap();
    assert_eq!((encapsulation.kind, encapsulation.src_port, encapsulation.dst_port), (EncapKind::EspInUdp, 4500, 1024));
    assert_eq!(lowered.integrity.unwrap().kernel_name, "digest_null");
}

#[test]
fn journal_entry_is_the_same_from_either_side_and_comes_back() {
    let now = Now { monotonic: Duration::from_secs(1000), wall: 5000 };
    let inbound = journal_entry(&install(SaDirection::Inbound), now);
    let outbound = journal_entry(&install(SaDirection::Outbound), now);
    assert_eq!(inbound, outbound);
    assert_eq!(inbound.selector, Selector::hosts(ip("10.0.0.1"), ip("10.0.0.2")), "outbound");
    assert_eq!((inbound.hard.boottime, inbound.hard.wall), (Duration::from_secs(1100), 5100));
    let child = adopted(&inbound, None, Duration::from_secs(1090), false);
    assert_eq!((child.inbound.spi, child.outbound.spi), (Spi(0x1111), Spi(0x2222)));
    assert_eq!((child.soft_in, child.hard_in), (Duration::ZERO, Duration::from_secs(10)));
}

#[test]
fn moved_child_keeps_all_but_the_peer_s_place() {
    let now = Now { monotonic: Duration::from_secs(1000), wall: 5000 };
    let udp = UdpEncapsulation { src_port: 4500, dst_port: 1024, original_address: None };
    let before = sa(&SaInstall { encapsulation: Some(udp), ..install(SaDirection::Outbound) });
    let mut child =
        adopted(&journal_entry(&install(SaDirection::Outbound), now), encapsulation(&before), now.monotonic, false);
    assert_eq!(child.encapsulation, Some(udp));
    child.encapsulation = Some(UdpEncapsulation { dst_port: 2048, ..udp });
    (child.outbound.dst, child.inbound.src) = (ip("10.0.0.9"), ip("10.0.0.9"));
    let after = moved(before.clone(), child.outbound, SaDirection::Outbound, &child);
    let ports = after.encapsulation.map(|udp| (udp.src_port, udp.dst_port));
    assert_eq!((after.name.dst, ports), (ip("10.0.0.9"), Some((4500, 2048))));
    assert_eq!(
        (&after.encryption, after.replay, after.lifetimes),
        (&before.encryption, before.replay, before.lifetimes)
    );
    let inbound = moved(before, child.inbound, SaDirection::Inbound, &child);
    assert_eq!(inbound.encapsulation.map(|udp| (udp.src_port, udp.dst_port)), Some((2048, 4500)));
    assert_eq!(moved_entry(&child, now).hard.boottime, Duration::from_secs(1100));
}

fn kernel_acquire(direction: Direction) -> notice::Acquire {
    let wide = Selector::between("0.0.0.0/0".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        endpoints: None,
        spi: Spi(0),
        reqid: ReqId(7),
        need: Need::Required,
    };
    notice::Acquire {
        protocol: Protocol::Esp,
        src: ip("10.0.0.1"),
        dst: ip("10.0.0.2"),
        flow: Selector::hosts(ip("10.0.0.1"), ip("10.0.0.2")),
        policy: Policy { index: 9, ..Policy::new(wide, direction, Verdict::Allow, vec![]) },
        templates: vec![Template { protocol: Protocol::Ah, reqid: ReqId(6), ..template }, template],
        seq: 1,
        mark: None,
        if_id: None,
    }
}

#[test]
fn acquire_takes_the_template_of_its_protocol() {
    let kernel = kernel_acquire(Direction::Out);
    let told = acquire(&kernel).unwrap();
    assert_eq!((told.local, told.peer), (ip("10.0.0.1"), ip("10.0.0.2")));
    assert_eq!((told.policy_index, told.reqid, told.mode), (9, ReqId(7), Mode::Transport));
    assert_eq!((told.flow, told.policy), (kernel.flow, kernel.policy.selector));
    assert_eq!(acquire(&kernel_acquire(Direction::In)), None, "inbound policies ask for nothing");
}

#[test]
fn larval_sa_stands_for_a_lost_acquire() {
    let kernel = kernel_acquire(Direction::Out);
    let policy = Policy { templates: kernel.templates.clone(), ..kernel.policy.clone() };
    let name = SaName { protocol: Protocol::Esp, spi: Spi(0), src: kernel.src, dst: kernel.dst };
    let larval = Sa { selector: Some(kernel.flow), ..Sa::new(name, Mode::Transport) };
    assert_eq!(acquire_of_larval(&larval, &policy), acquire(&kernel));
}
