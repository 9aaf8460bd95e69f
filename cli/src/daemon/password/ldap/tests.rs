//! Logins against a server that answers from a script.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use policy::model::secret::Secret;

use super::*;

fn tlv(identifier: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80);
    [vec![identifier, length], content].concat()
}

fn ended(id: u8, operation: u8, code: u8) -> Vec<u8> {
    tlv(0x30, &[&[2, 1, id], &tlv(operation, &[&[0x0a, 1, code], &[4, 0], &[4, 0]])])
}

fn bound(id: u8, code: u8) -> Vec<u8> {
    ended(id, 0x61, code)
}

fn done(id: u8) -> Vec<u8> {
    ended(id, 0x65, 0)
}

fn entry(id: u8, dn: &str, attributes: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| tlv(4, &[text.as_bytes()]);
    let list: Vec<u8> =
        attributes.iter().flat_map(|(name, value)| tlv(0x30, &[&text(name), &tlv(0x31, &[&text(value)])])).collect();
    tlv(0x30, &[&[2, 1, id], &tlv(0x64, &[&text(dn), &tlv(0x30, &[&list])])])
}

/// Answers each request with the next of `answers`; gives back the requests.
fn serve(answers: Vec<Vec<u8>>) -> (LdapConfig, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut requests = Vec::new();
        for answer in answers {
            let mut buffer = [0; 2048];
            let count = socket.read(&mut buffer).unwrap();
            requests.push(buffer[..count].to_vec());
            socket.write_all(&answer).unwrap();
        }
        // Until the client is done.
        let _goodbye = socket.read(&mut [0; 64]);
        requests
    });
    let ldap = LdapConfig { host: "127.0.0.1".to_owned(), port, attr_user: "uid".to_owned(), ..LdapConfig::default() };
    (ldap, server)
}

fn ask_for(ldap: &LdapConfig, mode_cfg: &ModeConfig, user: &str, password: &str) -> Result<Account, String> {
    let asked = PasswordCheck {
        user: user.to_owned(),
        password: Secret::new(password.into()),
        peer: "192.0.2.1".parse().unwrap(),
    };
    check(ldap, mode_cfg, &asked)
}

#[test]
fn a_user_with_address_and_groups() {
    let carol = entry(2, "uid=carol,o=x", &[("racoon-address", "10.3.0.7"), ("racoon-netmask", "255.255.0.0")]);
    let answers = vec![
        bound(1, 0),
        [carol, done(2)].concat(),
        [entry(3, "cn=vpn,o=x", &[("cn", "vpn")]), done(3)].concat(),
        [entry(4, "cn=STAFF,o=x", &[]), done(4)].concat(),
        bound(5, 0),
    ];
    let (ldap, server) = serve(answers);
    let ldap = LdapConfig { bind_dn: "cn=racoon".to_owned(), bind_password: Some(Secret::new(b"pw".to_vec())), ..ldap };
    let mode_cfg = ModeConfig {
        conf_source: ConfSource::Ldap,
        group_source: GroupSource::Ldap,
        auth_groups: vec!["vpn".to_owned(), "staff".to_owned()],
        ..ModeConfig::default()
    };
    let account = ask_for(&ldap, &mode_cfg, "carol", "secret").unwrap();
    assert_eq!(account.address, Some(Ipv4Addr::new(10, 3, 0, 7)));
    assert_eq!(account.netmask, Some(Ipv4Addr::new(255, 255, 0, 0)));
    assert_eq!(account.groups, ["vpn", "staff"]);
    let requests = server.join().unwrap();
    let holds =
        |number: usize, text: &str| requests[number].windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(0, "cn=racoon") && holds(1, "racoon-netmask") && holds(2, "uid=carol,o=x"));
    assert!(holds(4, "uid=carol,o=x") && holds(4, "secret"));
}

#[test]
fn nobody_comes_in_without_proof() {
    let mode_cfg = ModeConfig::default();
    // Without a single request.
    let nowhere = LdapConfig { port: 1, ..LdapConfig::default() };
    assert_eq!(ask_for(&nowhere, &mode_cfg, "carol", ""), Err("an empty password".to_owned()));

    let wrong = vec![[entry(1, "uid=carol,o=x", &[]), done(1)].concat(), bound(2, 49)];
    let nobody = vec![done(1)];
    let two = vec![[entry(1, "uid=a,o=x", &[]), entry(1, "uid=b,o=x", &[]), ended(1, 0x65, 4)].concat()];
    let nameless = vec![[entry(1, "", &[]), done(1)].concat()];
    let unwilling = vec![[entry(1, "uid=carol,o=x", &[]), done(1)].concat(), bound(2, 53)];
    for (answers, why) in [
        (wrong, "wrong password"),
        (nobody, "no such user in the directory"),
        (two, "more than one such user in the directory"),
        (nameless, "more than one such user in the directory"),
        (unwilling, "the bind as uid=carol,o=x is refused with code 53"),
    ] {
        let (ldap, server) = serve(answers);
        assert_eq!(ask_for(&ldap, &mode_cfg, "carol", "secret"), Err(why.to_owned()));
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_talks_nonsense_or_nothing_is_left() {
    let mode_cfg = ModeConfig::default();
    let (ldap, server) = serve(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]);
    let why = ask_for(&ldap, &mode_cfg, "carol", "secret").unwrap_err();
    assert!(why.contains("no message of LDAP"), "{why}");
    server.join().unwrap();

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ldap = LdapConfig {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
        timeout: Duration::from_millis(50),
        ..LdapConfig::default()
    };
    let why = ask_for(&ldap, &mode_cfg, "carol", "secret").unwrap_err();
    assert!(why.contains("timed out"), "{why}");
}

#[test]
fn the_next_directory_is_asked_where_one_is_away() {
    let (ldap, server) = serve(vec![[entry(1, "uid=carol,o=x", &[]), done(1)].concat(), bound(2, 0)]);
    let uri = format!("ldap://127.0.0.1:1 ldap://127.0.0.1:{}", ldap.port);
    let ldap = LdapConfig { uri: Some(uri), ..ldap };
    assert_eq!(ask_for(&ldap, &ModeConfig::default(), "carol", "secret"), Ok(Account::default()));
    server.join().unwrap();
}
