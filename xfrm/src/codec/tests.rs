//! Round trips, short buffers and hostile ones. No socket, no root.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_xfrm::constants::{XFRM_MSG_BASE, XFRMA_ALG_CRYPT};
use policy::model::sa::{Direction, Mode, Protocol, ReqId, SecurityContext, Spi};
use policy::model::secret::Secret;
use policy::model::selector::{Selector, UpperProtocol};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::attribute::{AlgorithmLayout, read_algorithm, write_algorithm};
use super::error::CodecError;
use super::notice::read_notice;
use super::policy::{read_policy, write_policy};
use super::reader::{Attributes, Message, Messages};
use super::sa::{read_sa, write_sa};
use super::writer::MessageWriter;
use crate::abi::{HEADER_LEN, Kind};
use crate::model::limits::{Lifetimes, Limits};
use crate::model::mark::Mark;
use crate::model::notice::Notice;
use crate::model::policy::{List, Place, Policy, Verdict};
use crate::model::sa::{Aead, EncapKind, Encapsulation, Encryption, Integrity, Sa, SaName};
use crate::model::template::{Need, Template};

const AF_UNSPEC_FLAG: u8 = 32;

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
    ]
}

fn selectors() -> impl Strategy<Value = Selector> {
    (addresses(), any::<(u8, u8, u8, u16, u16)>()).prop_map(
        |((src, dst), (src_bits, dst_bits, protocol, sport, dport))| {
            let net = |addr: IpAddr, bits: u8| {
                let width = if addr.is_ipv4() { 33 } else { 129 };
                IpNet::new(addr, bits % width).expect("within the width").trunc()
            };
            Selector {
                src: net(src, src_bits),
                dst: net(dst, dst_bits),
                protocol: UpperProtocol(protocol),
                src_port: sport,
                dst_port: dport,
            }
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let seconds = || option::of((1..u64::MAX).prop_map(Duration::from_secs));
    let count = || option::of(0..u64::MAX);
    (seconds(), seconds(), count(), count()).prop_map(|(since_added, since_used, bytes, packets)| Limits {
        since_added,
        since_used,
        bytes,
        packets,
    })
}

fn lifetimes() -> impl Strategy<Value = Lifetimes> {
    (limits(), limits()).prop_map(|(soft, hard)| Lifetimes { soft, hard })
}

fn marks() -> impl Strategy<Value = Option<Mark>> {
    option::of(any::<(u32, u32)>().prop_map(|(value, mask)| Mark { value, mask }))
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Esp), Just(Protocol::Ah)]
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Transport), Just(Mode::Tunnel)]
}

fn contexts() -> impl Strategy<Value = Option<SecurityContext>> {
    let parts = (any::<(u8, u8)>(), "[a-z_:0-9]{1,99}");
    option::of(parts.prop_map(|((doi, algorithm), label)| SecurityContext { doi, algorithm, label }))
}

fn algorithms() -> impl Strategy<Value = (String, Secret)> {
    ("[a-z0-9()]{1,63}", vec(any::<u8>(), 0..80)).prop_map(|(name, key)| (name, Secret::new(key)))
}

prop_compose! {
    fn sas()(
        (src, dst) in addresses(),
        protocol in protocols(),
        mode in modes(),
        (spi, reqid, seq, extra_flags, flags) in any::<(u32, u32, u32, u32, u8)>(),
        selector in option::of(selectors()),
        encryption in option::of(algorithms()),
        integrity in option::of((algorithms(), any::<u32>())),
        aead in option::of((algorithms(), any::<u32>())),
        replay_window in 0..=4096u32,
        lifetimes in lifetimes(),
        (mark, output_mark) in (marks(), marks()),
        (if_id, encapsulation) in (option::of(any::<u32>()), option::of(any::<(u16, u16, u16)>())),
        context in contexts(),
    ) -> Sa {
        let mut sa = Sa::new(SaName { protocol, spi: Spi(spi), src, dst }, mode);
        sa.reqid = ReqId(reqid);
        sa.selector = selector;
        sa.encryption = encryption.map(|(kernel_name, key)| Encryption { kernel_name, key });
        sa.integrity = integrity.map(|((kernel_name, key), icv_bits)| Integrity { kernel_name, key, icv_bits });
        sa.aead = aead.map(|((kernel_name, key), icv_bits)| Aead { kernel_name, key, icv_bits });
        sa.replay_window = replay_window;
        sa.context = context;
        sa.lifetimes = lifetimes;
        sa.encapsulation = encapsulation.map(|(kind, src_port, dst_port)| Encapsulation {
            kind: if kind % 2 == 0 { EncapKind::EspInUdp } else { EncapKind::Other(kind.max(8)) },
            src_port,
            dst_port,
            original_address: None,
        });
        sa.mark = mark;
        sa.output_mark = output_mark;
        sa.if_id = if_id;
        sa.flags = flags;
        sa.extra_flags = extra_flags;
        sa.seq = seq;
        sa
    }
}

prop_compose! {
    fn templates()(
        protocol in protocols(),
        mode in modes(),
        (src, dst) in addresses(),
        (spi, reqid, optional) in any::<(u32, u32, bool)>(),
    ) -> Template {
        let need = if optional { Need::Optional } else { Need::Required };
        Template { protocol, mode, endpoints: Some((src, dst)), spi: Spi(spi), reqid: ReqId(reqid), need }
    }
}

prop_compose! {
    fn policies()(
        selector in selectors(),
        direction in prop_oneof![Just(Direction::In), Just(Direction::Out), Just(Direction::Fwd)],
        block in any::<bool>(),
        (priority, index, interface, flags, share) in (any::<u32>(), any::<u32>(), 0..0x7fff_ffffu32, any::<u8>(), any::<u8>()),
        templates in vec(templates(), 0..=6),
        (mark, if_id) in (marks(), option::of(any::<u32>())),
        lifetimes in lifetimes(),
        sub in any::<bool>(),
        context in contexts(),
    ) -> Policy {
        let mut policy = Policy::new(selector, direction, if block { Verdict::Block } else { Verdict::Allow }, templates);
        policy.priority = priority;
        policy.index = index;
        policy.interface = interface;
        policy.flags = flags;
        policy.share = share;
        policy.mark = mark;
        policy.if_id = if_id;
        policy.context = context;
        policy.lifetimes = lifetimes;
        policy.list = if sub { List::Sub } else { List::Main };
        policy
    }
}

fn payload_of(write: impl FnOnce(&mut MessageWriter) -> Result<(), CodecError>) -> Vec<u8> {
    let mut writer = MessageWriter::with_room(1);
    writer.begin(XFRM_MSG_BASE, 0, 1);
    write(&mut writer).expect("a value that can be written");
    writer.finish();
    writer.octets().get(HEADER_LEN..).expect("a header").to_vec()
}

fn message(kind: u16, payload: &[u8]) -> Message<'_> {
    Message { kind: Kind(kind), flags: 0, sequence: 0, port: 0, payload }
}

/// "Everything" and "not said" are one thing to the kernel.
fn is_everything(selector: &Selector) -> bool {
    *selector == Selector::between(selector.src.trunc(), selector.dst.trunc())
        && selector.src.prefix_len() == 0
        && selector.dst.prefix_len() == 0
}

proptest! {
    #[test]
    fn an_sa_survives_the_round_trip(sa in sas()) {
        let read = read_sa(&payload_of(|writer| write_sa(writer, &sa))).expect("what we wrote");
        let mut expected = sa;
        if expected.selector.is_none() && expected.mode == Mode::Tunnel {
            expected.flags |= AF_UNSPEC_FLAG;
        }
        if expected.selector.as_ref().is_some_and(is_everything) {
            expected.selector = None;
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_policy_survives_the_round_trip(policy in policies()) {
        let read = read_policy(&payload_of(|writer| write_policy(writer, &policy))).expect("what we wrote");
        prop_assert_eq!(read, policy);
    }

    #[test]
    fn octets_at_random_never_panic(kind in 0x0fu16..0x2b, payload in vec(any::<u8>(), 0..600)) {
        read_notice(&message(kind, &payload));
    }

    #[test]
    fn a_datagram_at_random_never_panics(datagram in vec(any::<u8>(), 0..200)) {
        for message in Messages::new(&datagram).flatten() {
            read_notice(&message);
        }
    }

    #[test]
    fn one_wrong_octet_never_panics(sa in sas(), at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let mut payload = payload_of(|writer| write_sa(writer, &sa));
        *at.get_mut(&mut payload) = octet;
        let _ = read_sa(&payload);
    }
}

fn example_sa() -> Sa {
    let name = SaName {
        protocol: Protocol::Esp,
        spi: Spi(0x0123_abcd),
        src: "10.0.0.1".parse().expect("an address"),
        dst: "10.0.0.2".parse().expect("an address"),
    };
    let mut sa = Sa::new(name, Mode::Transport);
    sa.encryption = Some(Encryption { kernel_name: "cbc(aes)".into(), key: Secret::new(vec![0x5a; 16]) });
    sa.integrity =
        Some(Integrity { kernel_name: "hmac(sha256)".into(), key: Secret::new(vec![0xa5; 32]), icv_bits: 128 });
    sa
}

#[test]
fn a_payload_cut_at_any_length_is_refused_or_read_but_never_panics() {
    let sa = payload_of(|writer| write_sa(writer, &example_sa()));
    let selector = Selector::hosts("10.0.0.1".parse().expect("an address"), "10.0.0.2".parse().expect("an address"));
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        endpoints: None,
        spi: Spi(0),
        reqid: ReqId(0),
        need: Need::Required,
    };
    let policy = Policy::new(selector, Direction::Out, Verdict::Allow, vec![template]);
    let policy = payload_of(|writer| write_policy(writer, &policy));
    for payload in [sa, policy, vec![0xff; 400], vec![0; 400]] {
        for kind in 0x10..0x2a {
            for len in 0..=payload.len() {
                let cut = payload.get(..len).expect("within");
                let notice = read_notice(&message(kind, cut));
                if len < Kind(kind).fixed_len().unwrap_or(0) {
                    assert!(matches!(notice, Notice::Unreadable { .. }), "{} of {len} octets", Kind(kind));
                }
            }
        }
    }
}

#[test]
fn a_key_length_beyond_the_octets_is_refused() {
    let mut writer = MessageWriter::with_room(1);
    writer.begin(XFRM_MSG_BASE, 0, 1);
    write_algorithm(&mut writer, XFRMA_ALG_CRYPT, "cbc(aes)", &[7; 16], None).expect("a good algorithm");
    writer.finish();
    let payload = writer.octets().get(HEADER_LEN..).expect("a header");
    let value = Attributes::after(payload, 0).next().expect("one attribute").expect("well formed").value;

    let mut value = value.to_vec();
    let read = read_algorithm(&value, AlgorithmLayout::Plain).expect("what we wrote");
    assert_eq!((read.name.as_str(), read.key.expose()), ("cbc(aes)", [7; 16].as_slice()));

    value.splice(64..68, 129u32.to_ne_bytes());
    let refused = read_algorithm(&value, AlgorithmLayout::Plain).expect_err("one bit too many");
    assert_eq!(refused, CodecError::KeyLength { name: "cbc(aes)".into(), bits: 129, octets: 16 });
    value.splice(64..68, u32::MAX.to_ne_bytes());
    assert!(read_algorithm(&value, AlgorithmLayout::Plain).is_err());
}

#[test]
fn names_the_kernel_could_not_hold_are_refused() {
    let mut writer = MessageWriter::with_room(1);
    for name in ["", "a\u{e9}", &"x".repeat(64)] {
        let refused = write_algorithm(&mut writer, XFRMA_ALG_CRYPT, name, &[], None);
        assert_eq!(refused, Err(CodecError::AlgorithmName(name.to_owned())));
    }
}

#[test]
fn sha256_is_always_written_with_its_icv_length() {
    let payload = payload_of(|writer| write_sa(writer, &example_sa()));
    let kinds: Vec<u16> =
        Attributes::after(&payload, 224).map(|attribute| attribute.expect("well formed").kind).collect();
    // XFRMA_REPLAY_ESN_VAL, XFRMA_ALG_CRYPT, XFRMA_ALG_AUTH_TRUNC, and no XFRMA_ALG_AUTH (1).
    assert_eq!(kinds, [23, 2, 20]);
}

#[test]
fn a_window_of_64_needs_a_bitmap_and_one_of_32_does_not() {
    let mut sa = example_sa();
    sa.replay_window = 32;
    let payload = payload_of(|writer| write_sa(writer, &sa));
    assert!(!Attributes::after(&payload, 224).flatten().any(|attribute| attribute.kind == 23));
    // Offset of `replay_window` in xfrm_usersa_info.
    assert_eq!(payload.get(215), Some(&32));

    sa.replay_window = 64;
    let payload = payload_of(|writer| write_sa(writer, &sa));
    assert_eq!(payload.get(215), Some(&0), "the kernel refuses both at once");
    let bitmap = Attributes::after(&payload, 224).flatten().find(|attribute| attribute.kind == 23).expect("a bitmap");
    assert_eq!(bitmap.value.len(), 24 + 8);
}

#[test]
fn mixed_families_are_refused() {
    let mut sa = example_sa();
    sa.name.src = "2001:db8::1".parse().expect("an address");
    let mut writer = MessageWriter::with_room(1);
    assert_eq!(write_sa(&mut writer, &sa), Err(CodecError::MixedFamilies("an SA")));
}

#[test]
fn a_policy_of_a_socket_is_read_and_not_written() {
    let selector = Selector::hosts("::1".parse().expect("an address"), "::2".parse().expect("an address"));
    let mut policy = Policy::new(selector, Direction::Out, Verdict::Allow, Vec::new());
    let mut payload = payload_of(|writer| write_policy(writer, &policy));
    // `dir` in xfrm_userpolicy_info: 4 is outbound of a socket.
    payload.splice(160..161, [4]);
    let read = read_policy(&payload).expect("a policy");
    assert_eq!(read.place, Place::Socket(Direction::Out));

    policy.place = read.place;
    let mut writer = MessageWriter::with_room(1);
    assert_eq!(write_policy(&mut writer, &policy), Err(CodecError::SocketPolicy));
}

#[test]
fn debug_shows_no_key() {
    let text = format!("{:?}", example_sa());
    assert!(text.contains("Secret(16 octets)") && !text.contains("90") && !text.contains("5a"), "{text}");
}

#[test]
fn unknown_messages_survive() {
    let notice = read_notice(&message(0x77, &[1, 2, 3]));
    assert_eq!(notice, Notice::Other { kind: 0x77, octets: vec![1, 2, 3] });
}
