//! Field names are a promise: the JSON is compared as text.

use std::time::Duration;

use ike::event::question::CertificateId;
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, ReqId};
use policy::model::secret::Secret;
use policy::model::selector::Selector;
use xfrm::model::limits::{Lifetimes, Limits, Usage};
use xfrm::model::sa::Integrity;

use super::*;
use crate::revocation::journal::Deadline;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(spi: u32, src: &str, dst: &str) -> SaName {
    SaName { protocol: Protocol::Esp, spi: Spi(spi), src: ip(src), dst: ip(dst) }
}

fn entry() -> Entry {
    let deadline = Deadline { boottime: Duration::from_secs(1), wall: 1 };
    Entry {
        beside: None,
        inbound: name(0x0123_abcd, "10.0.0.2", "10.0.0.1"),
        outbound: name(0x0456_cdef, "10.0.0.1", "10.0.0.2"),
        mode: Mode::Transport,
        reqid: ReqId(0),
        selector: Selector::hosts(ip("10.0.0.1"), ip("10.0.0.2")),
        owner: Owner {
            local: "10.0.0.1:500".parse().unwrap(),
            peer: "10.0.0.2:500".parse().unwrap(),
            identity: Identity::Fqdn("carol.test".to_owned()),
            certificates: vec![CertificateId { issuer_key: [1; 32], serial: vec![1, 0, 3] }],
            issuer: Some("/CN=ca".to_owned()),
            cookies: ([0x11; 8], [0xab; 8]),
        },
        soft: deadline,
        hard: deadline,
    }
}

fn sa(name: SaName) -> Sa {
    let mut sa = Sa::new(lower::to_kernel(name), Mode::Transport);
    sa.encryption = Some(Encryption { kernel_name: "cbc(aes)".to_owned(), key: Secret::new(vec![0x5a; 32]) });
    sa.integrity =
        Some(Integrity { kernel_name: "hmac(sha256)".to_owned(), key: Secret::new(vec![0x5a; 32]), icv_bits: 128 });
    sa.lifetimes = Lifetimes {
        soft: Limits { since_added: Some(Duration::from_secs(80)), ..Limits::default() },
        hard: Limits::default(),
    };
    sa.usage = Usage { bytes: 840, packets: 10, added_at: 1000, used_at: 0 };
    sa
}

#[test]
fn sa_of_ours_in_json() {
    let known = Known { owners: owners(&[entry()]), local: BTreeSet::new() };
    let report = sa_report(&sa(entry().inbound), &known, 1030);
    let json = serde_json::to_string_pretty(&report).unwrap();
    assert!(!json.contains("5a5a"), "no key");
    insta::assert_snapshot!(json, @r#"
    {
      "direction": "in",
      "src": "10.0.0.2",
      "dst": "10.0.0.1",
      "proto": "esp",
      "spi": "0x0123abcd",
      "mode": "transport",
      "reqid": 0,
      "encryption": "aes-cbc-256",
      "authentication": "hmac-sha256",
      "icv_bits": 128,
      "replay_window": 64,
      "encapsulation": null,
      "age_s": 30,
      "soft_in_s": 50,
      "hard_in_s": null,
      "bytes": 840,
      "packets": 10,
      "peer": "carol.test",
      "cert_serial": "65539",
      "cert_issuer": "/CN=ca",
      "isakmp_cookies": "1111111111111111:abababababababab"
    }
    "#);
}

#[test]
fn direction_of_others_sas_follows_local_addresses() {
    let direction = |local: &[&str]| {
        let known = Known { owners: HashMap::new(), local: local.iter().map(|text| ip(text)).collect() };
        let report = sa_report(&sa(entry().inbound), &known, 1030);
        assert_eq!((report.peer, report.cert_serial, report.isakmp_cookies), (None, None, None));
        report.direction
    };
    assert_eq!(direction(&["10.0.0.1"]), "in");
    assert_eq!(direction(&["10.0.0.2"]), "out");
    assert_eq!(direction(&[]), "unknown");
    assert_eq!(direction(&["10.0.0.1", "10.0.0.2"]), "unknown");
}

#[test]
fn policy_in_json_names_its_peers() {
    let template = Template {
        protocol: Protocol::Esp,
        mode: Mode::Transport,
        endpoints: None,
        spi: Spi(0),
        reqid: ReqId(0),
        need: Need::Required,
    };
    let wide = Selector::between("0.0.0.0/0".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
    let policy = Policy { index: 9, ..Policy::new(wide, Direction::Out, Verdict::Allow, vec![template]) };
    let inbound = Policy { place: Place::Spd(Direction::In), selector: wide.reversed(), ..policy.clone() };
    assert_eq!(policy_report(&inbound, &[entry()]).peers, ["carol.test"]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&policy_report(&policy, &[entry()])).unwrap(), @r#"
    {
      "direction": "out",
      "src": "0.0.0.0/0",
      "dst": "10.0.0.0/24",
      "proto": null,
      "src_port": null,
      "dst_port": null,
      "action": "ipsec",
      "priority": 0,
      "index": 9,
      "templates": [
        {
          "proto": "esp",
          "mode": "transport",
          "src": null,
          "dst": null,
          "reqid": 0,
          "level": "require"
        }
      ],
      "peers": [
        "carol.test"
      ]
    }
    "#);
}
