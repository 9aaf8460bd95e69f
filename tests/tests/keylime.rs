//! What keylime itself has signed and issued, and what others made of it (`vectors/keylime`).

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cli::report::RevocationReport;
use cli::revocation::crl::store::{CrlStore, Offered, Origin};
use cli::revocation::crl::{CrlError, read_all};
use cli::revocation::deny_list::DenyList;
use cli::revocation::issuer::{Issuer, certificate_id, issuer_among};
use cli::revocation::keylime::message::{MAX_NOTICE, MessageError, Notice, NotifierKey, open};
use cli::revocation::revoke::{By, CutError, CutSa, Cutter, KnownIssuer, Order, revoke};
use cli::revocation::serial;
use ike::event::question::CertificateId;
use openssl::x509::X509;

const NOW: u64 = 1_900_000_000;

fn vector(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/keylime").join(name)).unwrap()
}

fn certificate(name: &str) -> X509 {
    X509::from_pem(&vector(name)).unwrap()
}

fn notifier() -> NotifierKey {
    NotifierKey::from_certificate(&vector("RevocationNotifier-cert.crt")).unwrap()
}

fn serial_in(name: &str) -> String {
    match open(&vector(name), &notifier()).unwrap() {
        Notice::Revocation(revocation) => serial::to_decimal(&revocation.serial),
        Notice::Other { kind } => panic!("{name} is a {kind}"),
    }
}

#[test]
fn notices_that_keylime_signed_are_read() {
    for name in ["revocation.json", "revocation-event.json", "old-metadata.json"] {
        assert_eq!(serial_in(name), "3", "{name}");
    }
    assert_eq!(serial_in("serial-160-bits.json"), "730750818665451459101842416370487188729200839378");
    let other = open(&vector("comm-error.json"), &notifier()).unwrap();
    assert_eq!(other, Notice::Other { kind: "comm_error".to_owned() });
}

#[test]
fn what_the_notifier_did_not_sign_is_refused() {
    for name in ["unsigned-none.json", "unsigned-empty.json"] {
        assert!(matches!(open(&vector(name), &notifier()), Err(MessageError::Unsigned)), "{name}");
    }
    for name in ["wrong-signer.json", "changed-serial.json"] {
        assert!(matches!(open(&vector(name), &notifier()), Err(MessageError::Signature)), "{name}");
    }
    for name in ["truncated.json", "not-json.txt"] {
        assert!(matches!(open(&vector(name), &notifier()), Err(MessageError::NotJson { .. })), "{name}");
    }
    let mut long = vector("revocation.json");
    long.resize(MAX_NOTICE + 1, b' ');
    assert!(matches!(open(&long, &notifier()), Err(MessageError::TooLong(_))));
    // An agent's certificate is of the same CA, and no notifier's.
    let agent = NotifierKey::from_certificate(&vector("agent-cert.crt")).unwrap();
    assert!(matches!(open(&vector("revocation.json"), &agent), Err(MessageError::Signature)));
}

/// Has no SAs, and counts how often it is asked.
struct Counting(usize);

impl Cutter for Counting {
    fn live_issuers(&mut self, _: &[u8]) -> Result<Vec<Issuer>, CutError> {
        Ok(Vec::new())
    }

    fn cut(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        self.0 += certificates.len();
        Ok(Vec::new())
    }
}

#[test]
fn a_thousand_replays_leave_one_entry_and_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let list = Arc::new(Mutex::new(DenyList::open(directory.path().join("revoked")).unwrap()));
    let ca = certificate("cacert.crt");
    let known = [KnownIssuer { issuer: Issuer::of(&ca).unwrap(), certificate: Some(ca.clone()) }];
    let (octets, key) = (vector("revocation.json"), notifier());
    let issuer = issuer_among(&certificate("RevocationNotifier-cert.crt"), [&ca]).unwrap();
    let mut cutter = Counting(0);
    let mut reports: Vec<RevocationReport> = Vec::new();
    for _ in 0..1000 {
        let Notice::Revocation(revocation) = open(&octets, &key).unwrap() else { panic!("no revocation") };
        let source = "zeromq".to_owned();
        let order =
            Order { serial: revocation.serial, issuer: Some(issuer.clone()), certificate: None, source, by: By::Word };
        let mut list = list.lock().unwrap();
        reports.push(revoke(&order, &known, &mut list, &mut cutter, NOW).unwrap().report);
    }
    // Each looks for SAs anew: one may have been made between.
    assert_eq!(cutter.0, 1000);
    assert!(!reports[0].already_revoked && reports[1..].iter().all(|report| report.already_revoked));
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!((read("revoked").lines().count(), read("audit").lines().count()), (1, 1));
    let agent = certificate_id(&certificate("agent-cert.crt"), &ca).unwrap();
    assert!(list.lock().unwrap().contains(&agent), "the entry is the agent's certificate");
}

#[test]
fn crls_that_keylime_issued_count_although_they_are_born_expired() {
    let ca = certificate("cacert.crt");
    let agent = certificate_id(&certificate("agent-cert.crt"), &ca).unwrap();
    let store = CrlStore::open(None, NOW);
    store.trust([&ca], NOW);
    let offer = |name: &str| {
        let crl = read_all(&vector(name)).unwrap().remove(0);
        assert_eq!(Some(crl.this_update), crl.next_update);
        store.offer(crl, Origin::Configured(name.to_owned()), NOW)
    };
    assert!(matches!(offer("cacrl-before.der"), Offered::Accepted(_)));
    assert!(store.lists(&agent).is_none());
    assert!(matches!(offer("cacrl-after.der"), Offered::Accepted(_)));
    assert!(store.lists(&agent).is_some());
    assert!(matches!(offer("cacrl-after.pem"), Offered::Known), "the same list as PEM");
    assert!(matches!(offer("cacrl-before.der"), Offered::Refused(CrlError::Rollback { .. })));
    assert!(store.lists(&agent).is_some());
}
