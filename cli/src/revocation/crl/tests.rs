use ike::identity::der::{INTEGER, SEQUENCE};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, KeyUsage};
use openssl::x509::{X509, X509NameBuilder};
use tempfile::TempDir;

use super::shelf::Shelf;
use super::store::{CrlStore, Offered, Origin};
use super::*;
use crate::revocation::issuer;

const NOW: u64 = 1_800_000_000;

/// A CA whose CRLs may look as they like.
pub(crate) struct Ca {
    pub(crate) key: PKey<Private>,
    pub(crate) certificate: X509,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_usage(name, None)
    }

    fn with_usage(name: &str, usage: Option<&mut KeyUsage>) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        let mut names = X509NameBuilder::new().unwrap();
        names.append_entry_by_text("CN", name).unwrap();
        let names = names.build();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&names).unwrap();
        builder.set_issuer_name(&names).unwrap();
        builder.set_serial_number(&number_of(1)).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(4_000_000_000).unwrap()).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        if let Some(usage) = usage {
            builder.append_extension(usage.build().unwrap()).unwrap();
        }
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    pub(crate) fn id(&self, serial: &[u8]) -> ike::event::question::CertificateId {
        let issuer_key = issuer::key_id(&self.certificate).unwrap();
        ike::event::question::CertificateId { issuer_key, serial: serial.to_vec() }
    }

    /// A CRL in DER.
    pub(crate) fn crl(&self, shape: &Shape<'_>) -> Vec<u8> {
        // sha256WithRSAEncryption
        let algorithm = tlv(SEQUENCE, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00");
        let entries: Vec<u8> = shape.entries.iter().flat_map(|entry| entry.der()).collect();
        let entries = if entries.is_empty() { Vec::new() } else { tlv(SEQUENCE, &entries) };
        let extensions = if shape.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(EXTENSIONS, &tlv(SEQUENCE, &shape.extensions.concat()))
        };
        let body = [
            tlv(INTEGER, &[1]),
            algorithm.clone(),
            self.certificate.subject_name().to_der().unwrap(),
            time(shape.this_update),
            time(shape.next_update),
            entries,
            extensions,
        ];
        let body = tlv(SEQUENCE, &body.concat());
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        signer.update(&body).unwrap();
        let signature = tlv(3, &[&[0][..], &signer.sign_to_vec().unwrap()].concat());
        tlv(SEQUENCE, &[body, algorithm, signature].concat())
    }
}

fn number_of(number: u32) -> Asn1Integer {
    BigNum::from_u32(number).unwrap().to_asn1_integer().unwrap()
}

pub(crate) struct Shape<'a> {
    pub(crate) this_update: u64,
    pub(crate) next_update: u64,
    pub(crate) entries: &'a [Entry<'a>],
    pub(crate) extensions: &'a [Vec<u8>],
}

pub(crate) struct Entry<'a> {
    pub(crate) serial: &'a [u8],
    pub(crate) reason: Option<u8>,
}

pub(crate) const fn revoked(serial: &[u8]) -> Entry<'_> {
    Entry { serial, reason: None }
}

impl Entry<'_> {
    fn der(&self) -> Vec<u8> {
        let reason = match self.reason {
            None => Vec::new(),
            Some(reason) => {
                let value = tlv(4, &tlv(10, &[reason]));
                tlv(SEQUENCE, &tlv(SEQUENCE, &[b"\x06\x03\x55\x1d\x15".to_vec(), value].concat()))
            }
        };
        static WHEN: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let when = WHEN.get_or_init(|| time(1_700_000_000)).clone();
        tlv(SEQUENCE, &[tlv(INTEGER, self.serial), when, reason].concat())
    }
}

pub(crate) fn of(this_update: u64, entries: &[Entry<'_>], ca: &Ca) -> Vec<u8> {
    ca.crl(&Shape { this_update, next_update: this_update + 86_400, entries, extensions: &[] })
}

fn numbered(this_update: u64, number: u8, ca: &Ca) -> Crl {
    let extension = extension(b"\x55\x1d\x14", false, &tlv(INTEGER, &[number]));
    let shape = Shape { this_update, next_update: this_update, entries: &[], extensions: &[extension] };
    Crl::parse(&ca.crl(&shape)).unwrap()
}

fn extension(name: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(BOOLEAN, &[0xff]) } else { Vec::new() };
    tlv(SEQUENCE, &[tlv(OBJECT_IDENTIFIER, name), critical, tlv(4, value)].concat())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(u8::try_from(length).unwrap()),
        _ => {
            out.push(0x84);
            out.extend(u32::try_from(length).unwrap().to_be_bytes());
            // The shortest form is the only one that is read.
            let digits = out[2..].iter().take_while(|octet| **octet == 0).count();
            out.drain(2..2 + digits);
            out[1] = 0x84 - u8::try_from(digits).unwrap();
        }
    }
    out.extend(value);
    out
}

/// GeneralizedTime would be wrong before 2050, and nobody here minds: OpenSSL reads both.
fn time(unix: u64) -> Vec<u8> {
    let text = Asn1Time::from_unix(i64::try_from(unix).unwrap()).unwrap().to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|name| *name == words[0])
        .unwrap();
    let day: u8 = words[1].parse().unwrap();
    tlv(24, format!("{}{:02}{day:02}{}Z", words[3], month + 1, words[2].replace(':', "")).as_bytes())
}

fn store_for(cas: &[&Ca]) -> CrlStore {
    let store = CrlStore::open(None, NOW);
    store.trust(cas.iter().map(|ca| &ca.certificate), NOW);
    store
}

fn origin(name: &str) -> Origin {
    Origin::Configured(name.to_owned())
}

fn offer(store: &CrlStore, der: &[u8]) -> Offered {
    store.offer(Crl::parse(der).unwrap(), origin("test"), NOW)
}

#[test]
fn serials_are_whole_numbers_of_any_size() {
    let ca = Ca::new("ca");
    let long = [0x7f; 20];
    let longer = [0x55; 32];
    // 0x00 0x80 in the list is the integer 128, as is 0x80 without its sign octet in our notation (ATTACKS C-11).
    let entries = [revoked(&[3]), revoked(&[0, 0x80]), revoked(&long), revoked(&longer)];
    let crl = Crl::parse(&of(NOW, &entries, &ca)).unwrap();
    for serial in [&[3][..], &[0x80], &long, &longer] {
        assert_eq!(crl.lists(serial), Listed::Revoked, "{serial:?}");
    }
    for serial in [&[4][..], &[0x7f], &[3, 0], &[]] {
        assert_eq!(crl.lists(serial), Listed::No, "{serial:?}");
    }
    assert_eq!((crl.entries, crl.this_update, crl.next_update), (4, NOW, Some(NOW + 86_400)));
}

#[test]
fn a_hold_is_told_from_a_revocation() {
    let ca = Ca::new("ca");
    let entries = [Entry { serial: &[3], reason: Some(6) }, Entry { serial: &[4], reason: Some(1) }];
    let entries = [entries, [Entry { serial: &[5], reason: Some(8) }, revoked(&[6])]];
    let crl = Crl::parse(&of(NOW, &entries.into_iter().flatten().collect::<Vec<_>>(), &ca)).unwrap();
    let found = [3, 4, 5, 6].map(|serial| crl.lists(&[serial]));
    assert_eq!(found, [Listed::Held, Listed::Revoked, Listed::No, Listed::Revoked]);
}

#[test]
fn pem_and_der_whole_and_half_written() {
    let ca = Ca::new("ca");
    let der = of(NOW, &[revoked(&[3])], &ca);
    assert_eq!(read_all(&der).unwrap().len(), 1);
    let pem = String::from_utf8(X509Crl::from_der(&der).unwrap().to_pem().unwrap()).unwrap();
    let two = format!("the old one:\n{pem}\nthe new one:\n{pem}");
    assert_eq!(read_all(two.as_bytes()).unwrap().len(), 2);
    for length in (1..pem.trim_end().len()).step_by(7) {
        assert!(read_all(&pem.as_bytes()[..length]).is_err(), "{length} octets of PEM");
    }
    for length in (0..der.len()).step_by(7) {
        assert!(read_all(&der[..length]).is_err(), "{length} octets of DER");
    }
    // The first is whole, the second is being written.
    assert!(read_all(&two.as_bytes()[..two.len() - 40]).is_err());
    assert!(read_all(b"not a CRL at all").is_err());
}

#[test]
fn only_its_issuers_key_makes_a_crl_count() {
    let (ca, namesake, stranger) = (Ca::new("ca"), Ca::new("ca"), Ca::new("other"));
    let store = store_for(&[&ca]);
    // Signed by another CA of the same name (ATTACKS C-3).
    let forged = of(NOW, &[revoked(&[3])], &namesake);
    assert!(matches!(offer(&store, &forged), Offered::Refused(CrlError::Signature(_))));
    assert!(store.lists(&ca.id(&[3])).is_none());
    let good = of(NOW, &[revoked(&[3])], &ca);
    assert!(matches!(offer(&store, &good), Offered::Accepted(_)));
    assert!(matches!(offer(&store, &good), Offered::Known));
    assert!(store.lists(&ca.id(&[3])).is_some());
    assert!(store.lists(&namesake.id(&[3])).is_none(), "the same serial of another key");
    // Of somebody nobody has seen yet: it waits, and counts as soon as its issuer is known.
    assert!(matches!(offer(&store, &of(NOW, &[revoked(&[9])], &stranger)), Offered::Waiting));
    assert!(store.lists(&stranger.id(&[9])).is_none());
    let accepted = store.trust([&stranger.certificate], NOW);
    assert_eq!(accepted.len(), 1);
    assert!(store.lists(&stranger.id(&[9])).is_some());
    // A namesake's list that waited for the right one of two.
    assert!(matches!(store.trust([&namesake.certificate], NOW).len(), 0));
    assert!(matches!(offer(&store, &forged), Offered::Accepted(_)));
    assert!(store.lists(&namesake.id(&[3])).is_some());
}

#[test]
fn what_may_not_or_cannot_be_taken_as_a_whole_list_is_refused() {
    let mut usage = KeyUsage::new();
    let silent = Ca::with_usage("silent", Some(usage.critical().key_cert_sign()));
    let mut usage = KeyUsage::new();
    let ca = Ca::with_usage("ca", Some(usage.critical().key_cert_sign().crl_sign()));
    let store = store_for(&[&silent, &ca]);
    assert!(matches!(offer(&store, &of(NOW, &[], &silent)), Offered::Refused(CrlError::Usage(_))));
    // A delta CRL indicator, a critical issuingDistributionPoint, and one nobody knows (ATTACKS C-4).
    for name in [&b"\x55\x1d\x1b"[..], b"\x55\x1d\x1c", b"\x2a\x03\x04"] {
        let extensions = [extension(name, true, &tlv(SEQUENCE, &[]))];
        let shape = Shape { this_update: NOW, next_update: NOW + 9, entries: &[], extensions: &extensions };
        assert!(matches!(offer(&store, &ca.crl(&shape)), Offered::Refused(CrlError::Critical)), "{name:?}");
    }
    let not_critical = [extension(b"\x2a\x03\x04", false, &tlv(SEQUENCE, &[]))];
    let shape = Shape { this_update: NOW, next_update: NOW + 9, entries: &[], extensions: &not_critical };
    assert!(matches!(offer(&store, &ca.crl(&shape)), Offered::Accepted(_)));
    let tomorrow = of(NOW + 86_400, &[], &ca);
    assert!(matches!(offer(&store, &tomorrow), Offered::Refused(CrlError::Future)));
}

#[test]
fn an_older_list_never_replaces_a_newer_one_not_even_after_a_restart() {
    let ca = Ca::new("ca");
    let directory = TempDir::new().unwrap();
    let open = || {
        let store = CrlStore::open(Some(Shelf::new(directory.path())), NOW);
        store.trust([&ca.certificate], NOW);
        store
    };
    let (old, new) = (of(NOW - 100, &[], &ca), of(NOW - 50, &[revoked(&[3])], &ca));
    let store = open();
    let Offered::Accepted(entry) = offer(&store, &new) else { panic!("a good CRL") };
    store.keep(&entry).unwrap();
    assert!(matches!(offer(&store, &old), Offered::Refused(CrlError::Rollback { .. })));
    drop(store);
    let store = open();
    assert!(store.lists(&ca.id(&[3])).is_some(), "kept");
    assert!(matches!(offer(&store, &old), Offered::Refused(CrlError::Rollback { .. })));
    assert!(store.lists(&ca.id(&[3])).is_some());
    // In the same second the longer list is the newer one: keylime's have no number.
    let same = of(NOW - 50, &[revoked(&[3]), revoked(&[4])], &ca);
    assert!(matches!(offer(&store, &same), Offered::Accepted(_)));
    assert!(matches!(offer(&store, &new), Offered::Refused(CrlError::Rollback { .. })));
    assert!(store.problems().is_empty());
    let file = std::fs::read_dir(directory.path().join("crls")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, "torn").unwrap();
    assert_eq!(open().problems().len(), 1, "a torn file is told");
}

#[test]
fn numbers_count_before_times() {
    let ca = Ca::new("ca");
    let crl = |time, number| numbered(time, number, &ca);
    assert!(crl(NOW, 4).is_older_than(&crl(NOW, 5)));
    assert!(!crl(NOW, 5).is_older_than(&crl(NOW, 4)));
    assert!(crl(NOW - 1, 6).is_older_than(&crl(NOW, 5)), "a time that goes back is no newer list");
    assert!(crl(NOW + 1, 4).is_older_than(&crl(NOW, 5)));
    assert!(!crl(NOW + 1, 6).is_older_than(&crl(NOW, 5)));
    assert_eq!(crl(NOW, 5).number, Some(vec![5]));
}

/// A million entries: what it takes is printed, and bounded by what the machine can do at its worst.
#[test]
fn a_million_entries_are_one_list_and_lookups_do_not_walk() {
    const MANY: u32 = 1_000_000;
    let ca = Ca::new("ca");
    let serials: Vec<[u8; 4]> = (0..MANY).map(|number| (0x1000_0000 + number).to_be_bytes()).collect();
    let entries: Vec<Entry<'_>> = serials.iter().map(|serial| revoked(serial)).collect();
    let der = of(NOW, &entries, &ca);
    assert!(der.len() < MAX_CRL, "{}", der.len());
    let before = resident();
    let begun = std::time::Instant::now();
    let crl = Crl::parse(&der).unwrap();
    let parsed = begun.elapsed();
    let store = store_for(&[&ca]);
    assert!(matches!(store.offer(crl, origin("test"), NOW), Offered::Accepted(_)));
    let (taken, memory) = (begun.elapsed(), resident().saturating_sub(before) / 1024);
    let lookups = |store: &CrlStore, first: u32| {
        let mut id = ca.id(&[]);
        let begun = std::time::Instant::now();
        for number in (0..10_000).map(|step| first + step * 50) {
            id.serial = (0x1000_0000 + number).to_be_bytes().to_vec();
            let found = store.lists(&id);
            assert_eq!(found.is_some(), number < MANY);
        }
        begun.elapsed()
    };
    let large = lookups(&store, 0).min(lookups(&store, 0)).min(lookups(&store, MANY / 2 + 1));
    let small_store = store_for(&[&ca]);
    let few: Vec<Entry<'_>> = serials.iter().step_by(50).take(10_000).map(|serial| revoked(serial)).collect();
    offer(&small_store, &of(NOW, &few, &ca));
    let small = lookups(&small_store, 0).min(lookups(&small_store, 0));
    println!(
        "{} octets: parsed in {parsed:?}, in use after {taken:?}, {memory} MiB; 10,000 lookups {large:?} of a million \
         entries, {small:?} of ten thousand",
        der.len()
    );
    // A hundred times the entries, and no more than a few more halvings: a walk would be a hundred times as long.
    assert!(large < small * 10, "{large:?} against {small:?}");
}

/// KiB of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse().unwrap()
}
