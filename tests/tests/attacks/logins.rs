//! what a peer that has to log in tries before and instead of it.

use ike::wire::header::Header;
use ike::wire::number::{ExchangeType, PayloadType};
use policy::model::algorithm::{AuthMethod, XauthSide};
use tests::sim::node::{PASSWORD, Settings, USER};
use tests::sim::puppet::{Begins, Payloads, Puppet};

const SET: u8 = 3;
const REPLY: u8 = 2;
const ACK: u8 = 4;

fn settings() -> Settings {
    Settings { auth: AuthMethod::XauthPsk(XauthSide::Client), ..Settings::default() }
}

/// A transaction payload with attributes in the long form.
fn transaction(kind: u8, identifier: [u8; 2], attributes: &[(u16, &[u8])]) -> Payloads {
    let mut body = vec![kind, 0, identifier[0], identifier[1]];
    for (number, value) in attributes {
        body.extend(number.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
    }
    vec![(PayloadType(14), body)]
}

/// After phase 1: the message ID and the identifier of the server's request.
fn asked() -> (Puppet, u32, [u8; 2]) {
    let mut puppet = Puppet::new(&settings(), Begins::Puppet, 1);
    puppet.main_up_to(5);
    let payloads = puppet.main_payloads(5);
    let datagram = puppet.main_message(5, &payloads, true);
    let sent = puppet.send(datagram);
    puppet.take_in(&sent);
    assert_eq!(puppet.victim_sas(), 1, "{}", puppet.world.log());
    let asks =
        |octets: &&Vec<u8>| Header::decode(octets).is_ok_and(|header| header.exchange == ExchangeType::TRANSACTION);
    let request = sent.iter().find(asks).expect("a request for the login").clone();
    let (header, payloads) = puppet.open(&request);
    let (_, body) = payloads.iter().find(|(kind, _)| *kind == PayloadType(14)).expect("attributes");
    assert_eq!(body[0], 1, "a request");
    (puppet, header.message_id, [body[2], body[3]])
}

fn no_child(puppet: &mut Puppet, message_id: u32, what: &str) {
    let proposal = puppet.esp_proposal([0xc0, 0, 4, message_id as u8]);
    let rest = puppet.quick_payloads(vec![proposal]);
    assert!(!puppet.quick_mode(message_id, rest), "{what}: a quick mode was answered\n{}", puppet.world.log());
    assert_eq!(puppet.victim_kernel(), 0, "{what}");
}

/// Numbers and values.
type Attributes<'a> = Vec<(u16, &'a [u8])>;

fn credentials(password: &[u8]) -> Attributes<'_> {
    vec![(16521, USER.as_bytes()), (16522, password)]
}

#[test]
fn a45_the_legal_login() {
    let (mut puppet, message_id, identifier) = asked();
    let reply = transaction(REPLY, identifier, &credentials(PASSWORD));
    let datagram = puppet.protect(ExchangeType::TRANSACTION, message_id, reply, true);
    let sent = puppet.send(datagram);
    let (header, payloads) = puppet.open(sent.first().expect("the status"));
    let body = payloads.iter().find(|(kind, _)| *kind == PayloadType(14)).expect("attributes").1.clone();
    assert_eq!((header.exchange, body[0]), (ExchangeType::TRANSACTION, SET));
    let ack = transaction(ACK, [body[2], body[3]], &[]);
    let datagram = puppet.protect(ExchangeType::TRANSACTION, header.message_id, ack, true);
    puppet.send(datagram);
    puppet.legal_quick_mode(9);
}

#[test]
fn a45_no_quick_mode_before_the_login() {
    let (mut puppet, message_id, identifier) = asked();
    no_child(&mut puppet, 1, "before the reply");
    // The client says itself that all is well.
    for (number, kind) in [(2, SET), (3, ACK), (4, REPLY)] {
        let claim = transaction(kind, identifier, &[(16527, &[0, 1])]);
        let datagram = puppet.protect(ExchangeType::TRANSACTION, number, claim, true);
        puppet.send(datagram);
        no_child(&mut puppet, 10 + number, "a status of the client's own");
    }
    // The right password under another message ID, and with another identifier.
    let reply = transaction(REPLY, identifier, &credentials(PASSWORD));
    let datagram = puppet.protect(ExchangeType::TRANSACTION, message_id ^ 1, reply, true);
    puppet.send(datagram);
    no_child(&mut puppet, 20, "a reply under another message ID");
    let (mut puppet, message_id, identifier) = asked();
    let other = [identifier[0] ^ 1, identifier[1]];
    let reply = transaction(REPLY, other, &credentials(PASSWORD));
    let datagram = puppet.protect(ExchangeType::TRANSACTION, message_id, reply, false);
    puppet.send(datagram);
    no_child(&mut puppet, 21, "a reply with another identifier");
}

#[test]
fn a45_a_login_that_is_wrong_or_not_whole() {
    let wrong: [(&str, Attributes<'_>); 7] = [
        ("wrong password", credentials(b"knows it not")),
        ("empty password", credentials(b"")),
        ("no password", vec![(16521, USER.as_bytes())]),
        ("no user", vec![(16522, PASSWORD)]),
        ("nothing", Vec::new()),
        ("another user", vec![(16521, b"mallory"), (16522, PASSWORD)]),
        ("a status beside it", vec![(16521, USER.as_bytes()), (16522, b"x"), (16527, &[0, 1])]),
    ];
    for (name, attributes) in wrong {
        let (mut puppet, message_id, identifier) = asked();
        let reply = transaction(REPLY, identifier, &attributes);
        let datagram = puppet.protect(ExchangeType::TRANSACTION, message_id, reply, true);
        puppet.send(datagram);
        if puppet.victim_sas() == 1 {
            no_child(&mut puppet, 5, name);
        }
        puppet.world.run(puppet.world.now + std::time::Duration::from_secs(120));
        assert_eq!(puppet.victim_kernel(), 0, "{name}");
        assert!(!puppet.logged("knows it"), "a password in the log\n{}", puppet.world.log());
    }
}
