//! The layout to the octet, as a compiler for 64-bit Linux makes it.
#![cfg(all(target_endian = "little", target_pointer_width = "64"))]

use super::*;

fn header(length: u16, command: u16, proto: u16) -> Header {
    Header::read(
        [length.to_le_bytes(), command.to_le_bytes(), [0, 0], proto.to_le_bytes()].concat().try_into().unwrap(),
    )
    .unwrap()
}

/// A `sockaddr_in` of 10.0.0.`last`, port 500.
fn end(last: u8, port: u16) -> Vec<u8> {
    let mut out = vec![2, 0, (port >> 8) as u8, (port & 0xff) as u8, 10, 0, 0, last];
    out.resize(128, 0);
    out
}

fn two_ends(numbers: [u8; 3], ports: [u16; 2]) -> Vec<u8> {
    let mut out = numbers.to_vec();
    out.extend([0; 5]);
    out.extend(end(1, ports[0]));
    out.extend(end(2, ports[1]));
    assert_eq!(out.len(), 264);
    out
}

fn asked(command: u16, proto: u16, body: &[u8]) -> Result<Asked, Vec<u8>> {
    header(u16::try_from(8 + body.len()).unwrap(), command, proto).request(body)
}

fn racoon(command: u16, proto: u16, body: &[u8]) -> RacoonRequest {
    match asked(command, proto, body).unwrap().request {
        Request::Racoon(request) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_command_is_understood() {
    let (one, two): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    assert_eq!(asked(0x0001, 0, &[]).unwrap().request, Request::Reload);
    assert_eq!(racoon(0x8002, 0, &[]), RacoonRequest::ShowSchedule);
    assert_eq!(racoon(0x0003, 0, &[]), RacoonRequest::Events);
    assert_eq!(racoon(0x8101, 0x01ff, &[]), RacoonRequest::ShowIsakmp);
    assert_eq!(racoon(0x0102, 0x0202, &[]), RacoonRequest::Flush { family: Family::Esp });
    let pair = two_ends([0, 0, 255], [0, 0]);
    assert_eq!(racoon(0x0201, 0x01ff, &pair), RacoonRequest::DeletePeer { local: Some(one), peer: two });
    assert_eq!(racoon(0x0204, 0x01ff, &pair), RacoonRequest::DeletePeer { local: None, peer: two });
    assert_eq!(racoon(0x0206, 0x01ff, &pair), RacoonRequest::Certificate { local: one, peer: two });
    assert_eq!(racoon(0x0205, 0, b"carol\0"), RacoonRequest::Logout { user: "carol".to_owned() });
    assert_eq!(racoon(0x0101, 0x0202, &[]), RacoonRequest::ShowIpsec { family: Family::Esp });
    let named = [two_ends([0, 0, 255], [0, 0]), b"office\0".to_vec()].concat();
    let RacoonRequest::EstablishIsakmp { how, .. } = racoon(0x8202, 0x01ff, &named) else { panic!("no establish-sa") };
    assert_eq!(how.remote.as_deref(), Some("office"));
    let RacoonRequest::EstablishIpsec { flow, .. } = racoon(0x0202, 0x0202, &two_ends([24, 32, 6], [0, 80])) else {
        panic!("no establish-sa esp");
    };
    assert_eq!((flow.src.to_string().as_str(), flow.dst.to_string().as_str()), ("10.0.0.0/24", "10.0.0.2/32"));
    assert_eq!((flow.protocol, flow.src_port, flow.dst_port), (6, 0, 80));
}

#[test]
fn a_login_stands_behind_the_ends() {
    let mut body = two_ends([0, 0, 255], [0, 0]);
    body.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    body.extend(5_u64.to_le_bytes());
    body.extend(6_u64.to_le_bytes());
    body.extend(b"carolsecret");
    let RacoonRequest::EstablishIsakmp { how, .. } = racoon(0x8203, 0x01ff, &body) else { panic!("no login") };
    let login = how.login.unwrap();
    assert_eq!((login.user.as_str(), login.password.as_str()), ("carol", "secret"));
    assert!(!format!("{login:?}").contains("secret"));
    // A length beyond the end.
    body[272] = 200;
    assert_eq!(asked(0x0203, 0x01ff, &body).unwrap_err(), [8, 0, 3, 2, 22, 0, 0xff, 1]);
}

#[test]
fn what_makes_no_sense_is_answered_by_a_number() {
    assert_eq!(asked(0x0201, 0x01ff, &[0; 20]).unwrap_err(), [8, 0, 1, 2, 22, 0, 0xff, 1]);
    assert_eq!(asked(0x0201, 0x01ff, &[0; 264]).unwrap_err()[4], 22, "an address of no family");
    assert_eq!(asked(0x7777, 0, &[]).unwrap_err()[4], 95);
    assert_eq!(Header::read([7, 0, 1, 0, 0, 0, 0, 0]), None, "shorter than itself");
    assert_eq!(Header::read(*b"{\"comman"), None, "JSON is none");
}

#[test]
fn replies_are_laid_out_as_the_originals() {
    let sa = IsakmpReport {
        local: [10, 0, 0, 1].into(),
        local_port: 500,
        peer: [10, 0, 0, 2].into(),
        peer_port: 4500,
        cookies: "0123456789abcdef:fedcba9876543210".to_owned(),
        initiator: false,
        exchange: Exchange::Aggressive,
        established: Some(0x1122_3344),
        children: 3,
    };
    let reply = asked(0x8101, 0x01ff, &[]).unwrap().isakmp(&[sa]);
    assert_eq!(reply.len(), 8 + 304);
    assert_eq!(reply[..8], [0x38, 1, 1, 1, 0, 0, 0xff, 1]);
    assert_eq!(
        reply[8..24],
        [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10]
    );
    assert_eq!(reply[24..32], [9, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(reply[32..40], [2, 0, 0x11, 0x94, 10, 0, 0, 2]);
    assert_eq!(reply[160..168], [2, 0, 1, 0xf4, 10, 0, 0, 1]);
    assert_eq!(reply[288..290], [0x10, 4]);
    assert_eq!(reply[296..312], [0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);

    let timers = [ScheduledReport { number: 7, what: String::new(), created: 1000, fires: 1060 }];
    let reply = asked(0x0002, 0, &[]).unwrap().schedule(&timers);
    assert_eq!(reply[..8], [40, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!((reply[8..10].to_vec(), reply[16], reply[24..26].to_vec()), (vec![0x24, 4], 7, vec![0xe8, 3]));
    assert_eq!(reply[32], 60);

    let event = EventReport {
        what: "Phase 2 established".to_owned(),
        local: Some("10.0.0.1[500]".to_owned()),
        peer: Some("10.0.0.2[500]".to_owned()),
    };
    let reply = asked(0x8003, 0, &[]).unwrap().event(&event, 7);
    assert_eq!(reply.len(), 8 + 280);
    assert_eq!((reply[..4].to_vec(), reply[8..10].to_vec(), reply[16]), (vec![0x20, 1, 3, 0], vec![1, 2], 7));
    assert_eq!(reply[24..32], end(1, 500)[..8]);
    assert_eq!(reply[152..160], end(2, 500)[..8]);
}

#[test]
fn a_long_reply_says_so_to_those_who_understand() {
    let data = vec![7; 0x1_0000];
    let reply = asked(0x8206, 0, &two_ends([0, 0, 0], [0, 0])).unwrap().octets(&data);
    assert_eq!(reply[..8], [8, 0, 6, 0x82, 1, 0, 0, 0]);
    let reply = asked(0x0206, 0, &two_ends([0, 0, 0], [0, 0])).unwrap().octets(&data);
    assert_eq!(reply, [8, 0, 6, 2, 22, 0, 0, 0]);
}
