//! Asks the running kernel everything this crate can ask, and prints what it said. Run it as root in a network
//! namespace of its own (`unshare -n`): it flushes what it made. Exits 1 if an answer is not as expected.
//!
//! `try_kernel policies` needs no ESP; `try_kernel sas` does.

use std::net::{IpAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use policy::model::sa::{Direction, Mode, Protocol, ReqId, Spi};
use policy::model::secret::Secret;
use policy::model::selector::Selector;
use xfrm::event_stream::{EventStream, Group};
use xfrm::model::limits::{Lifetimes, Limits};
use xfrm::model::notice::{Notice, Severity};
use xfrm::model::policy::{List, Policy, PolicyKey, Verdict};
use xfrm::model::sa::{Encryption, Integrity, Sa, SaName};
use xfrm::model::template::{Need, Template};
use xfrm::request::{Reply, Request, SpiRequest};
use xfrm::socket::{Connection, Installed};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let what = std::env::args().nth(1).unwrap_or_default();
    let outcome = match what.as_str() {
        "policies" => try_policies(),
        "sas" => try_sas(),
        "many" => try_many(),
        _ => Err("usage: try_kernel policies|sas|many".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("try_kernel: {error}");
            ExitCode::FAILURE
        }
    }
}

fn expect(holds: bool, what: &str) -> Outcome {
    println!("{} {what}", if holds { "ok  " } else { "FAIL" });
    if holds { Ok(()) } else { Err(what.into()) }
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

fn transport_policy(direction: Direction, last: u8) -> Policy {
    let selector = Selector::hosts(addr("10.0.0.1"), IpAddr::from([10, 0, 1, last]));
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        endpoints: None,
        spi: Spi(0),
        reqid: ReqId(0),
        need: Need::Required,
    };
    let mut policy = Policy::new(selector, direction, Verdict::Allow, vec![template]);
    policy.priority = 0x8000_0000;
    policy
}

fn try_policies() -> Outcome {
    let mut events = EventStream::open(&[Group::Policy], None)?;
    let mut kernel = Connection::open()?;
    let policy = transport_policy(Direction::Out, 2);
    let requests = [
        Request::AddPolicy(Box::new(policy.clone())),
        Request::AddPolicy(Box::new(policy.clone())),
        Request::GetPolicy(policy.key()),
        Request::DeletePolicy(PolicyKey::index(0x7777_7771)),
        Request::SpdInfo,
    ];
    let answers = kernel.execute(&requests);
    for answer in &answers {
        match answer {
            Ok(reply) => println!("     {reply:?}"),
            Err(refusal) => println!("     {refusal}"),
        }
    }
    let errno = |index: usize| answers.get(index).and_then(|answer| answer.as_ref().err()).map(|refusal| refusal.errno);
    expect(matches!(answers.first(), Some(Ok(Reply::Done))), "NEWPOLICY")?;
    expect(errno(1) == Some(17), "a second NEWPOLICY is refused: File exists")?;
    expect(matches!(answers.get(2), Some(Ok(Reply::Policy(..)))), "GETPOLICY")?;
    expect(errno(3) == Some(2), "DELPOLICY of an unknown index: No such file or directory")?;
    kernel.release_held(policy.key())?;
    expect(true, "UPDPOLICY with the raw copy")?;

    let mut forbidden = transport_policy(Direction::Out, 3);
    forbidden.templates = vec![Template {
        mode: Mode::Tunnel,
        endpoints: Some((addr("10.0.0.1"), addr("10.0.1.3"))),
        need: Need::Optional,
        ..forbidden.templates[0]
    }];
    let refusal = kernel.execute_one(Request::AddPolicy(Box::new(forbidden)));
    println!("     {refusal:?}");
    expect(refusal.is_err_and(|refusal| refusal.kernel_words.is_some()), "a refusal carries the kernel's words")?;

    let udp = UdpSocket::bind("127.0.0.1:0")?;
    xfrm::socket_policy::bypass(&udp)?;
    let udp6 = UdpSocket::bind("[::]:0")?;
    xfrm::socket_policy::bypass(&udp6)?;
    let sockets = kernel.dump_policies()?.entries.iter().filter(|policy| policy.place.is_socket()).count();
    expect(sockets == 4, "bypass policies of two sockets are listed")?;
    drop((udp, udp6));

    let mut small = EventStream::open(&[Group::Policy], None)?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&small, 4096)?;
    let numbered: Vec<Request> = (0..500).map(|number| Request::AddPolicy(Box::new(numbered_policy(number)))).collect();
    kernel.execute(&numbered);
    expect(drain(&mut small)?.contains(&Notice::Overrun), "too small a buffer: the overrun is told")?;
    let removals: Vec<Request> = (0..500).map(|number| Request::DeletePolicy(numbered_policy(number).key())).collect();
    let refused = kernel.execute(&removals).iter().filter(|answer| answer.is_err()).count();
    let notices = drain(&mut small)?;
    expect(refused == 0, "500 DELPOLICY by selector")?;
    expect(notices.iter().any(|notice| matches!(notice, Notice::PolicyDeleted { .. })), "and notices go on after it")?;

    let many: Vec<Request> =
        (0..10_000u32).map(|number| Request::AddPolicy(Box::new(numbered_policy(number)))).collect();
    let begin = Instant::now();
    let refused = kernel.execute(&many).iter().filter(|answer| answer.is_err()).count();
    println!("     10000 NEWPOLICY in {:?}", begin.elapsed());
    expect(refused == 0, "10000 policies pipelined")?;
    let dump = kernel.dump_policies()?;
    expect(dump.entries.len() == 10_001 && dump.unreadable.is_empty(), "all of them dumped")?;
    kernel.execute_one(Request::FlushPolicies(List::Main))?;
    expect(kernel.dump_policies()?.entries.is_empty(), "FLUSHPOLICY")?;

    let notices = drain(&mut events)?;
    let added = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::PolicyAdded { requester, .. } if *requester == kernel.port()))
        .count();
    let flushed = notices.iter().any(|notice| matches!(notice, Notice::PoliciesFlushed { .. }));
    let overrun = notices.contains(&Notice::Overrun);
    println!("     {} notices, {added} additions by us, overrun: {overrun}", notices.len());
    expect(overrun || (added == 10_501 && flushed), "notices of all of it, or an overrun said")
}

fn numbered_policy(number: u32) -> Policy {
    let mut policy = transport_policy(Direction::Out, 1);
    policy.selector = Selector::hosts(addr("10.0.0.1"), IpAddr::from((0x0b00_0000 + number).to_be_bytes()));
    policy
}

fn drain(events: &mut EventStream) -> Result<Vec<Notice>, Box<dyn std::error::Error>> {
    let mut notices = Vec::new();
    loop {
        let more = events.read()?;
        if more.is_empty() {
            return Ok(notices);
        }
        notices.extend(more);
    }
}

/// Waits for a notice that `wanted` accepts.
fn wait_for(events: &mut EventStream, what: &str, wanted: impl Fn(&Notice) -> bool) -> Result<Notice, String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let notices = events.read().map_err(|refusal| refusal.to_string())?;
        for notice in notices {
            if wanted(&notice) {
                return Ok(notice);
            }
            if let Notice::Unreadable { kind, error } = &notice {
                return Err(format!("message {kind:#x} cannot be read: {error}"));
            }
            println!("     (notice: {notice:?})");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("no notice: {what}"))
}

fn esp(spi: u32, src: &str, dst: &str) -> Sa {
    let name = SaName { protocol: Protocol::Esp, spi: Spi(spi), src: addr(src), dst: addr(dst) };
    let mut sa = Sa::new(name, Mode::Transport);
    sa.reqid = ReqId(7);
    sa.encryption = Some(Encryption { kernel_name: "cbc(aes)".into(), key: Secret::new(vec![0x11; 16]) });
    sa.integrity =
        Some(Integrity { kernel_name: "hmac(sha256)".into(), key: Secret::new(vec![0x22; 32]), icv_bits: 128 });
    sa
}

fn try_sas() -> Outcome {
    let mut events = EventStream::open(&Group::ALL, None)?;
    let mut kernel = Connection::open()?;
    let (us, peer) = ("10.9.0.1", "10.9.0.2");

    let request = SpiRequest::new(Protocol::Esp, addr(peer), addr(us), Mode::Transport, ReqId(7));
    let spi = kernel.allocate_spi(request)?;
    println!("     ALLOCSPI gave {spi}");
    expect(spi >= Spi::MIN, "ALLOCSPI")?;
    let mut inbound = esp(spi.0, peer, us);
    let larval = kernel.sa(inbound.name, None)?;
    expect(larval.stage(0) == xfrm::model::sa::Stage::Larval, "the larval SA is there")?;
    inbound.lifetimes = Lifetimes {
        soft: Limits { since_added: Some(Duration::from_secs(1)), ..Limits::default() },
        hard: Limits { since_added: Some(Duration::from_secs(3)), ..Limits::default() },
    };
    expect(kernel.install_sa(&inbound)? == Installed::Updated, "UPDSA replaces it")?;
    let outbound = esp(0x0123_abcd, us, peer);
    expect(kernel.install_sa(&outbound)? == Installed::Added, "UPDSA without a larval SA becomes NEWSA")?;
    let read = kernel.sa(outbound.name, None)?;
    println!("     {read:?}");
    expect(read.integrity == outbound.integrity && read.encryption == outbound.encryption, "GETSA gives it back")?;
    expect(read.replay_window == 64 && read.reqid == ReqId(7), "with its window of 64 and its reqid")?;
    let mut tunnel = esp(0x777, us, peer);
    tunnel.mode = Mode::Tunnel;
    tunnel.lifetimes.hard.bytes = Some(1 << 20);
    kernel.execute_one(Request::AddSa(Box::new(tunnel.clone())))?;
    let again = kernel.execute_one(Request::AddSa(Box::new(tunnel)));
    println!("     {again:?}");
    expect(again.is_err_and(|refusal| refusal.errno == 17), "a second NEWSA is refused: File exists")?;
    let mut unknown = esp(0x778, us, peer);
    unknown.encryption = Some(Encryption { kernel_name: "cbc(nothing)".into(), key: Secret::new(vec![1; 16]) });
    let refusal = kernel.execute_one(Request::AddSa(Box::new(unknown)));
    println!("     {}", refusal.as_ref().err().map(ToString::to_string).unwrap_or_default());
    expect(refusal.is_err(), "an unknown cipher is refused")?;
    if let Ok(Reply::SadInfo(info)) = kernel.execute_one(Request::SadInfo) {
        println!("     {info:?}");
        expect(info.count == 3, "SADINFO counts three")?;
    }
    println!("--- ip xfrm state");
    std::process::Command::new("ip").args(["-s", "xfrm", "state"]).status()?;
    println!("---");

    let is_expiry = |wanted: Severity| move |notice: &Notice| matches!(notice, Notice::SaExpired { severity, .. } if *severity == wanted);
    let soft = wait_for(&mut events, "soft expiry", is_expiry(Severity::Soft))?;
    expect(soft.sa_name() == Some(inbound.name), "EXPIRE soft")?;
    let hard = wait_for(&mut events, "hard expiry", is_expiry(Severity::Hard))?;
    expect(hard.sa_name() == Some(inbound.name), "EXPIRE hard")?;

    kernel.execute_one(Request::DeleteSa { name: outbound.name, mark: None })?;
    let deleted = wait_for(
        &mut events,
        "DELSA",
        |notice| matches!(notice, Notice::SaDeleted { sa, requester } if sa.name == outbound.name && *requester == kernel.port()),
    )?;
    expect(deleted.sa_name().is_some(), "DELSA is told, with who asked")?;
    let gone = kernel.sa(outbound.name, None);
    println!("     {}", gone.as_ref().err().map(ToString::to_string).unwrap_or_default());
    expect(gone.is_err_and(|refusal| refusal.errno == 3), "GETSA: No such process")?;

    let mut policy = transport_policy(Direction::Out, 2);
    policy.selector = Selector::hosts(addr(us), addr(peer));
    policy.templates[0].reqid = ReqId(9);
    kernel.execute_one(Request::AddPolicy(Box::new(policy.clone())))?;
    let socket = UdpSocket::bind((us, 0))?;
    let _ = socket.send_to(b"x", (peer, 9));
    let Notice::Acquire(acquire) = wait_for(&mut events, "acquire", |notice| matches!(notice, Notice::Acquire(_)))?
    else {
        return Err("not an acquire".into());
    };
    println!("     {acquire:?}");
    expect(acquire.dst == addr(peer) && acquire.src == addr(us), "ACQUIRE names both ends")?;
    expect(acquire.policy.selector == policy.selector && acquire.policy.index != 0, "and the policy")?;
    expect(acquire.templates == policy.templates && acquire.flow.dst_port == 9, "and templates and flow")?;

    println!("--- ip xfrm policy");
    std::process::Command::new("ip").args(["xfrm", "policy"]).status()?;
    println!("---");
    kernel.execute_one(Request::FlushSas(None))?;
    kernel.execute_one(Request::FlushPolicies(List::Main))?;
    wait_for(&mut events, "flush", |notice| matches!(notice, Notice::SasFlushed { .. }))?;
    expect(kernel.dump_sas(None)?.entries.is_empty(), "FLUSHSA")
}

fn try_many() -> Outcome {
    let mut kernel = Connection::open()?;
    kernel.execute_one(Request::FlushSas(None))?;
    kernel.execute_one(Request::AddSa(Box::new(esp(0x200, "10.9.0.1", "10.9.0.2"))))?;
    let count = 10_000u32;
    let sas: Vec<Request> = (0..count)
        .map(|number| {
            let mut sa = esp(0x1000 + number, "10.9.0.1", "10.9.0.2");
            sa.name.dst = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
            Request::AddSa(Box::new(sa))
        })
        .collect();
    let begin = Instant::now();
    let refused = kernel.execute(&sas).iter().filter(|answer| answer.is_err()).count();
    println!("     10000 NEWSA in {:?}", begin.elapsed());
    expect(refused == 0, "10000 SAs pipelined")?;
    let begin = Instant::now();
    let dump = kernel.dump_sas(Some(Protocol::Esp))?;
    println!("     dump in {:?}", begin.elapsed());
    expect(dump.entries.len() == 10_001, "all of them dumped")?;
    let lookups: Vec<Request> =
        dump.entries.iter().take(1000).map(|sa| Request::GetSa { name: sa.name, mark: None }).collect();
    let found = kernel.execute(&lookups).iter().filter(|answer| matches!(answer, Ok(Reply::Sa(_)))).count();
    expect(found == 1000, "1000 GETSA pipelined")?;
    let spis: Vec<Request> = (0..1000)
        .map(|_| {
            Request::AllocateSpi(SpiRequest::new(
                Protocol::Esp,
                addr("10.9.0.2"),
                addr("10.9.0.1"),
                Mode::Transport,
                ReqId(1),
            ))
        })
        .collect();
    let found = kernel.execute(&spis).iter().filter(|answer| matches!(answer, Ok(Reply::Sa(_)))).count();
    expect(found == 1000, "1000 ALLOCSPI pipelined")?;
    kernel.execute_one(Request::FlushSas(None))?;
    expect(kernel.dump_sas(None)?.entries.is_empty(), "FLUSHSA")
}
