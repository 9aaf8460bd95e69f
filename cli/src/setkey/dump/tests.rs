//! The text of `setkey -D` and `-DP`, octet by octet. The trailing blanks are the original's.

use policy::model::addr::host_net;
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::secret::Secret;
use xfrm::model::limits::Usage;
use xfrm::model::mark::Mark;
use xfrm::model::sa::{Encryption, Integrity, STATE_AF_UNSPEC, STATE_ESN, SaName};

use super::*;

const NOW: u64 = 1_000_004;

/// A calendar of its own, so that no time zone matters: seconds since 1 000 000 count from 02:35:35.
fn calendar(unix: u64) -> Civil {
    let second = 35 + u8::try_from(unix.saturating_sub(1_000_000)).expect("a few seconds");
    Civil { year: 2026, month: 11, day: 2, hour: 2, minute: 35, second }
}

fn print(ports: bool, print: impl FnOnce(&Printer<'_>) -> String) -> String {
    let protocols = Protocols::built_in();
    print(&Printer { now: NOW, pid: 1174, local: calendar, protocols: &protocols, ports })
}

fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn sa() -> Sa {
    let name = SaName { protocol: Protocol::Esp, spi: Spi(62_044_438), src: addr("10.0.0.1"), dst: addr("10.0.0.2") };
    let mut sa = Sa::new(name, Mode::Transport);
    sa.encryption = Some(Encryption { kernel_name: "cbc(aes)".into(), key: Secret::new((0..16).collect()) });
    sa.integrity =
        Some(Integrity { kernel_name: "hmac(sha256)".into(), key: Secret::new((0..40).collect()), icv_bits: 128 });
    sa.replay_window = 4;
    sa.lifetimes.hard.since_added = Some(Duration::from_secs(1800));
    sa.lifetimes.soft.since_added = Some(Duration::from_secs(1440));
    sa.usage = Usage { bytes: 768, packets: 12, added_at: 1_000_000, used_at: 1_000_001 };
    sa
}

fn policy(direction: Direction, templates: Vec<Template>) -> Policy {
    let selector = Selector::hosts(addr("10.0.0.1"), addr("10.0.0.2"));
    let mut policy = Policy::new(selector, direction, Verdict::Allow, templates);
    policy.priority = PRIORITY_DEFAULT;
    policy.index = 128;
    policy.usage.added_at = 1_000_000;
    policy
}

fn template(mode: Mode, need: Need, reqid: u32) -> Template {
    let ends = (addr("192.0.2.1"), addr("192.0.2.2"));
    let endpoints = (mode == Mode::Tunnel).then_some(ends);
    Template { protocol: Protocol::Esp, mode, endpoints, spi: Spi(0), reqid: ReqId(reqid), need }
}

#[test]
fn an_sa_in_use() {
    let mut second = sa();
    second.name.spi = Spi(0x100);
    second.usage = Usage { added_at: 1_000_002, ..Usage::default() };
    let text = print(false, |printer| printer.sas(&[sa(), second]));
    assert_eq!(
        text,
        "10.0.0.1 10.0.0.2 \n\
         \tesp mode=transport spi=62044438(0x03b2b916) reqid=0(0x00000000)\n\
         \tE: aes-cbc  00010203 04050607 08090a0b 0c0d0e0f\n\
         \tA: hmac-sha256  00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f\n \
         20212223 24252627\n\
         \tseq=0x00000000 replay=4 flags=0x00000000 state=mature \n\
         \tcreated: Nov  2 02:35:35 2026\tcurrent: Nov  2 02:35:39 2026\n\
         \tdiff: 4(s)\thard: 1800(s)\tsoft: 1440(s)\n\
         \tlast: Nov  2 02:35:36 2026\thard: 0(s)\tsoft: 0(s)\n\
         \tcurrent: 768(bytes)\thard: 0(bytes)\tsoft: 0(bytes)\n\
         \tallocated: 12\thard: 0\tsoft: 0\n\
         \tsadb_seq=1 pid=1174 refcnt=0\n\
         10.0.0.1 10.0.0.2 \n\
         \tesp mode=transport spi=256(0x00000100) reqid=0(0x00000000)\n\
         \tE: aes-cbc  00010203 04050607 08090a0b 0c0d0e0f\n\
         \tA: hmac-sha256  00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f\n \
         20212223 24252627\n\
         \tseq=0x00000000 replay=4 flags=0x00000000 state=mature \n\
         \tcreated: Nov  2 02:35:37 2026\tcurrent: Nov  2 02:35:39 2026\n\
         \tdiff: 2(s)\thard: 1800(s)\tsoft: 1440(s)\n\
         \tlast:                     \thard: 0(s)\tsoft: 0(s)\n\
         \tcurrent: 0(bytes)\thard: 0(bytes)\tsoft: 0(bytes)\n\
         \tallocated: 0\thard: 0\tsoft: 0\n\
         \tsadb_seq=0 pid=1174 refcnt=0\n"
    );
}

#[test]
fn no_entries() {
    assert_eq!(print(false, |printer| printer.sas(&[])), "No SAD entries.\n");
    assert_eq!(print(false, |printer| printer.policies(&[])), "No SPD entries.\n");
}

fn head(text: &str, lines: usize) -> String {
    text.split_inclusive('\n').take(lines).collect()
}

#[test]
fn esp_in_udp_with_and_without_ports() {
    let mut sa = sa();
    let original_address = Some(addr("10.9.9.9"));
    sa.encapsulation =
        Some(Encapsulation { kind: EncapKind::EspInUdp, src_port: 4500, dst_port: 61000, original_address });
    let expected = "10.0.0.1[4500] 10.0.0.2[61000] \n\
                    \tesp-udp mode=transport spi=62044438(0x03b2b916) reqid=0(0x00000000)\n\
                    \tNAT OA=10.9.9.9\n";
    assert_eq!(head(&print(false, |printer| printer.sas(&[sa.clone()])), 3), expected);
    let with_ports = print(true, |printer| printer.sas(&[sa]));
    assert_eq!(head(&with_ports, 1), "10.0.0.1[0][4500] 10.0.0.2[0][61000] \n");
}

#[test]
fn ipcomp_null_and_larval() {
    let mut ipcomp = sa();
    (ipcomp.encryption, ipcomp.integrity) = (None, None);
    ipcomp.name.protocol = Protocol::Ipcomp;
    ipcomp.compression = Some("deflate".into());
    let text = print(false, |printer| printer.sas(&[ipcomp.clone()]));
    assert!(text.contains("\n\tC: deflate \tseq=0x00000000 "), "{text}");

    let mut null = sa();
    null.encryption = Some(Encryption { kernel_name: "ecb(cipher_null)".into(), key: Secret::new(Vec::new()) });
    let text = print(false, |printer| printer.sas(&[null]));
    assert!(!text.contains("\tE:") && text.contains("\tA: hmac-sha256 "), "{text}");

    ipcomp.compression = None;
    let text = print(false, |printer| printer.sas(&[ipcomp]));
    assert!(text.contains("state=larval \n"), "{text}");
}

#[test]
fn past_the_soft_limit_an_sa_is_dying() {
    let mut sa = sa();
    sa.lifetimes.soft.since_added = Some(Duration::from_secs(4));
    assert!(print(false, |printer| printer.sas(&[sa])).contains("state=dying \n"));
}

#[test]
fn a_policy_with_its_request() {
    let text = print(false, |printer| {
        printer.policies(&[policy(Direction::Out, vec![template(Mode::Transport, Need::Required, 0)])])
    });
    assert_eq!(
        text,
        "10.0.0.1[any] 10.0.0.2[any] 255\n\
         \tout prio def ipsec\n\
         \tesp/transport//require\n\
         \tcreated: Nov  2 02:35:35 2026  lastused:                     \n\
         \tlifetime: 0(s) validtime: 0(s)\n\
         \tspid=128 seq=0 pid=1174\n\
         \trefcnt=2\n"
    );
}

#[test]
fn requests_of_every_level() {
    let templates = vec![
        template(Mode::Tunnel, Need::Required, 5),
        template(Mode::Tunnel, Need::Required, 16384),
        template(Mode::Transport, Need::Optional, 0),
    ];
    let policies = [policy(Direction::In, templates)];
    let text = print(false, |printer| printer.policies(&policies));
    let requests: Vec<&str> = text.lines().skip(2).take(3).collect();
    assert_eq!(
        requests,
        [
            "\tesp/tunnel/192.0.2.1-192.0.2.2/unique:5",
            "\tesp/tunnel/192.0.2.1-192.0.2.2/unique#16384",
            "\tesp/transport//use"
        ]
    );
    let text = print(true, |printer| printer.policies(&policies));
    assert!(text.contains("\tesp/tunnel/192.0.2.1[0]-192.0.2.2[0]/unique:5\n"), "{text}");
}

#[test]
fn selectors_as_the_original_shows_them() {
    let first_line = |change: fn(&mut Selector)| {
        let mut policy = policy(Direction::Out, Vec::new());
        change(&mut policy.selector);
        let text = print(false, |printer| printer.policies(&[policy]));
        text.lines().next().map(str::to_owned)
    };
    let shown = [
        first_line(|selector| (selector.protocol, selector.dst_port) = (UpperProtocol::TCP, 80)),
        first_line(|selector| {
            selector.src = "10.0.0.0/24".parse().expect("a network");
            (selector.protocol, selector.src_port) = (UpperProtocol::ICMP, 8);
        }),
        first_line(|selector| selector.protocol = UpperProtocol::ICMP),
        first_line(|selector| selector.protocol = UpperProtocol(47)),
        first_line(|selector| selector.protocol = UpperProtocol(200)),
        first_line(|selector| {
            *selector = Selector::between("::/0".parse().expect("a network"), host_net(addr("2001:db8::1")));
        }),
    ];
    assert_eq!(
        shown.map(Option::unwrap_or_default),
        [
            "10.0.0.1[any] 10.0.0.2[80] tcp",
            "10.0.0.0/24 10.0.0.2 icmp 8,0",
            "10.0.0.1 10.0.0.2 icmp",
            "10.0.0.1 10.0.0.2 gre",
            "10.0.0.1[any] 10.0.0.2[any] 200",
            "::/0[any] 2001:db8::1[any] 255",
        ]
    );
}

#[test]
fn actions_priorities_and_places() {
    let second_line = |change: fn(&mut Policy)| {
        let mut policy = policy(Direction::Out, Vec::new());
        change(&mut policy);
        let text = print(false, |printer| printer.policies(&[policy]));
        text.lines().take(2).collect::<Vec<_>>().join("|")
    };
    assert_eq!(second_line(|_| {}), "10.0.0.1[any] 10.0.0.2[any] 255|\tout prio def none");
    let discard = second_line(|policy| {
        policy.verdict = Verdict::Block;
        policy.priority = PRIORITY_DEFAULT - 100;
    });
    assert_eq!(discard, "10.0.0.1[any] 10.0.0.2[any] 255|\tout prio def + 100 discard");
    let low = second_line(|policy| policy.priority = PRIORITY_LOW + 7);
    assert_eq!(low, "10.0.0.1[any] 10.0.0.2[any] 255|\tout prio low - 7 none");
    let high = second_line(|policy| policy.priority = PRIORITY_HIGH);
    assert_eq!(high, "10.0.0.1[any] 10.0.0.2[any] 255|\tout prio high none");
    let socket = second_line(|policy| {
        policy.place = Place::Socket(Direction::Out);
        policy.priority = 0;
    });
    assert_eq!(socket, "(per-socket policy) |\tout(socket) none");
}

#[test]
fn what_only_some_sas_have() {
    let first = |change: fn(&mut Sa)| {
        let mut sa = sa();
        change(&mut sa);
        print(false, |printer| printer.sas(&[sa]))
    };
    let text = first(|sa| sa.flags = 1 | 4);
    assert!(text.contains("\tseq=0x00000000 replay=4 flags=0xa0000000 state=mature \n"), "{text}");
    let text = first(|sa| {
        let kind = EncapKind::EspInTcp;
        sa.encapsulation = Some(Encapsulation { kind, src_port: 4500, dst_port: 4500, original_address: None });
    });
    assert!(text.contains("\n\tnatt+esp mode=transport "), "{text}");
    let text = first(|sa| sa.lifetimes.hard.since_added = Some(Duration::from_secs(4)));
    assert!(text.contains("state=dead \n"), "{text}");
    let text = first(|sa| (sa.encryption, sa.integrity) = (None, None));
    assert!(text.contains("reqid=0(0x00000000)\n\tseq=0x00000000 replay=4 flags=0x00000000 state=larval \n"), "{text}");
    let text = first(|sa| {
        sa.integrity = None;
        sa.encryption = None;
        let (kernel_name, key) = ("rfc4106(gcm(aes))".into(), Secret::new(vec![0xab; 4]));
        sa.aead = Some(Aead { kernel_name, key, icv_bits: 128 });
    });
    assert!(text.contains("\tE: aes-gcm-16  abababab\n\tseq="), "{text}");
    let text = first(|sa| {
        sa.integrity.as_mut().expect("it has one").kernel_name = "hmac(sm3)".into();
        sa.encryption.as_mut().expect("it has one").kernel_name = "cbc(sm4)".into();
    });
    assert!(text.contains("\tE: cbc(sm4)  0001") && text.contains("\tA: hmac(sm3)  0001"), "{text}");
    let text = first(|sa| {
        let label = "system_u:object_r:ipsec_t:s0".to_owned();
        sa.context = Some(SecurityContext { doi: 1, algorithm: 1, label });
    });
    assert!(
        text.contains(
            "\tallocated: 12\thard: 0\tsoft: 0\n\tsecurity context doi: 1\n\tsecurity context algorithm: 1\n\
             \tsecurity context length: 29\n\tsecurity context: system_u:object_r:ipsec_t:s0\n\tsadb_seq=0 "
        ),
        "{text}"
    );
    let text = first(|sa| {
        sa.lifetimes.hard.bytes = Some(1000);
        sa.lifetimes.soft.bytes = Some(900);
        sa.lifetimes.hard.packets = Some(50);
        sa.lifetimes.soft.since_used = Some(Duration::from_secs(60));
    });
    assert!(text.contains("\tlast: Nov  2 02:35:36 2026\thard: 0(s)\tsoft: 60(s)\n"), "{text}");
    assert!(text.contains("\tcurrent: 768(bytes)\thard: 1000(bytes)\tsoft: 900(bytes)\n"), "{text}");
    assert!(text.contains("\tallocated: 12\thard: 50\tsoft: 0\n"), "{text}");
}

/// PF_KEY had no words for these: they stand in a line of ours, in front of the last one.
#[test]
fn what_setkey_could_not_tell_has_a_line_of_its_own() {
    let shown = |change: fn(&mut Sa)| {
        let mut sa = sa();
        change(&mut sa);
        let text = print(false, |printer| printer.sas(&[sa]));
        text.lines().find(|line| line.starts_with("\txfrm:")).map(str::to_owned)
    };
    assert_eq!(shown(|_| {}), None);
    let narrow = shown(|sa| sa.integrity.as_mut().expect("it has one").icv_bits = 96);
    assert_eq!(narrow.as_deref(), Some("\txfrm: icv=96"));
    assert_eq!(shown(|sa| sa.flags = 1 | 2 | 4), None, "PF_KEY has flags for these");
    assert_eq!(shown(|sa| sa.flags = STATE_ESN).as_deref(), Some("\txfrm: flags=0x80"));
    assert_eq!(shown(|sa| (sa.mode, sa.flags) = (Mode::Tunnel, STATE_AF_UNSPEC)), None, "as setkey makes tunnels");
    assert_eq!(shown(|sa| sa.mode = Mode::Tunnel).as_deref(), Some("\txfrm: sel=0.0.0.0/0[0],0.0.0.0/0[0],0"));
    let policy = policy(Direction::Out, vec![template(Mode::Transport, Need::Optional, 16_386)]);
    let text = print(false, |printer| printer.policies(&[policy]));
    assert!(text.contains("\tesp/transport//use#16386\n") && !text.contains("xfrm:"), "{text}");
}

#[test]
fn a_short_line() {
    let line = print(false, |printer| printer.short(&sa()));
    assert_eq!(SHORT_HEAD, "time p   s spi      ltime   src -> dst\n");
    assert_eq!(line, "3539 esp M 03b2b916   4/1800 10.0.0.1 -> 10.0.0.2\n");
}

#[test]
fn policies_of_every_place_and_shape() {
    let shown = |change: fn(&mut Policy)| {
        let mut policy = policy(Direction::Fwd, vec![template(Mode::Transport, Need::Required, 0)]);
        change(&mut policy);
        print(false, |printer| printer.policies(&[policy]))
    };
    assert_eq!(head(&shown(|_| {}), 2), "10.0.0.1[any] 10.0.0.2[any] 255\n\tfwd prio def ipsec\n");
    assert_eq!(
        head(&shown(|policy| policy.priority = 0), 2),
        "10.0.0.1[any] 10.0.0.2[any] 255\n\tfwd ipsec\n",
        "the kernel's 0 is shown as nothing"
    );
    let text = shown(|policy| {
        policy.templates =
            vec![template(Mode::Transport, Need::Optional, 0), template(Mode::Tunnel, Need::Required, 0)];
        policy.templates.iter_mut().zip([Protocol::Ipcomp, Protocol::Ah]).for_each(|(one, of)| one.protocol = of);
    });
    assert!(text.contains("\tipcomp/transport//use\n\tah/tunnel/192.0.2.1-192.0.2.2/require\n"), "{text}");
    let socket = shown(|policy| (policy.place, policy.priority) = (Place::Socket(Direction::In), 0));
    assert_eq!(head(&socket, 2), "(per-socket policy) \n\tin(socket) ipsec\n");
    for (number, name) in [(50, "esp"), (51, "ah"), (47, "gre"), (135, "135"), (58, "ipv6-icmp")] {
        let mut policy = policy(Direction::Out, Vec::new());
        policy.selector.protocol = UpperProtocol(number);
        let text = print(false, |printer| printer.policies(&[policy]));
        assert_eq!(head(&text, 1), format!("10.0.0.1 10.0.0.2 {name}\n"));
    }
    let text = shown(|policy| {
        policy.lifetimes.hard.since_added = Some(Duration::from_secs(10));
        policy.lifetimes.hard.since_used = Some(Duration::from_secs(20));
        policy.usage.used_at = 1_000_003;
    });
    assert!(text.contains("\tcreated: Nov  2 02:35:35 2026  lastused: Nov  2 02:35:38 2026\n"), "{text}");
    assert!(text.contains("\tlifetime: 10(s) validtime: 20(s)\n"), "{text}");
}

/// The scripts that take this text apart can put it together again, and so can we.
#[test]
fn what_is_printed_reads_back_as_it_was() {
    use policy::setkey::parser::{Form, parse};
    use policy::setkey::statement::StatementKind;

    use super::super::lower;
    use super::super::options::PolicyMode;

    let mut sas = vec![sa(), sa(), sa(), sa(), sa()];
    sas[1].name.spi = Spi(0x100);
    sas[1].mode = Mode::Tunnel;
    sas[1].lifetimes.hard.packets = Some(70);
    let (src_port, dst_port) = (4500, 61000);
    let original_address = Some(addr("10.9.9.9"));
    sas[1].encapsulation = Some(Encapsulation { kind: EncapKind::EspInUdp, src_port, dst_port, original_address });
    sas[2].name.protocol = Protocol::Ipcomp;
    (sas[2].encryption, sas[2].integrity, sas[2].compression) = (None, None, Some("deflate".into()));
    sas[3].integrity.as_mut().expect("it has one").icv_bits = 96;
    (sas[3].flags, sas[3].extra_flags, sas[3].replay_window) = (STATE_ESN | 1, 2, 64);
    sas[3].mark = Some(Mark { value: 1, mask: 0xff });
    sas[3].output_mark = Some(Mark { value: 2, mask: u32::MAX });
    sas[3].if_id = Some(7);
    sas[3].selector = Some(Selector::hosts(addr("10.0.0.1"), addr("10.0.0.2")));
    // A tunnel of the outer family alone, as `ip xfrm` makes it.
    sas[4].mode = Mode::Tunnel;
    sas[1].flags |= STATE_AF_UNSPEC;
    for sa in &mut sas {
        // An HMAC's key is as long as its output.
        let key = Secret::new((0..32).collect());
        sa.integrity.iter_mut().for_each(|integrity| integrity.key = key.clone());
    }
    for ports in [false, true] {
        let script = parse("dump", print(ports, |printer| printer.sas(&sas)).as_bytes());
        assert_eq!((script.form, script.render()), (Form::Dump, String::new()));
        let mut read: Vec<Sa> = Vec::new();
        for statement in script.statements.iter().rev() {
            let StatementKind::Add(new) = &statement.kind else { panic!("not an SA: {:?}", statement.kind) };
            read.push(lower::sa(new));
        }
        // An SA that is put back begins anew.
        let mut begun: Vec<Sa> = sas.iter().map(|sa| Sa { usage: Usage::default(), ..sa.clone() }).collect();
        // The codec writes this flag, and the selector that stands for its absence.
        begun[1].flags = 0;
        let everything = "0.0.0.0/0".parse().expect("a network");
        begun[4].selector = Some(Selector::between(everything, everything));
        assert_eq!(read, begun);
    }

    let levels = [(Need::Required, 0), (Need::Required, 5), (Need::Required, 16_400), (Need::Optional, 0)];
    let more = [(Need::Optional, 7), (Need::Optional, 20_000)];
    let templates = levels.iter().chain(&more).map(|(need, reqid)| template(Mode::Tunnel, *need, *reqid)).collect();
    let ends = Some((addr("fd01::1"), addr("fd01::2")));
    let narrow = Template { endpoints: ends, spi: Spi(0x1000), ..template(Mode::Transport, Need::Required, 0) };
    let mut policies = vec![
        policy(Direction::Fwd, templates),
        policy(Direction::In, Vec::new()),
        policy(Direction::Out, vec![narrow]),
    ];
    policies[2].mark = Some(Mark { value: 5, mask: 7 });
    (policies[2].if_id, policies[2].interface, policies[2].flags) = (Some(9), 3, 1);
    policies[0].selector.protocol = UpperProtocol::TCP;
    policies[0].selector.dst_port = 443;
    policies[1].priority = 0;
    policies[1].verdict = Verdict::Block;
    policies[0].context = Some(SecurityContext { doi: 1, algorithm: 1, label: "a/b hard: 3".to_owned() });
    let script = parse("dump", print(false, |printer| printer.policies(&policies)).as_bytes());
    assert_eq!((script.form, script.render()), (Form::Dump, String::new()));
    for policy in &mut policies {
        (policy.index, policy.usage) = (0, Usage::default());
    }
    let read: Vec<Policy> = script
        .statements
        .iter()
        .rev()
        .flat_map(|statement| match &statement.kind {
            StatementKind::SpdAdd(spec) => lower::policies(spec, PolicyMode::Kernel, Default::default),
            other => panic!("not a policy: {other:?}"),
        })
        .collect();
    assert_eq!(read, policies);
}
