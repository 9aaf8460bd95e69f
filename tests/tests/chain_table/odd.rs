//! Odd certificates and CRLs: names, serials and times of, sizes of X-1, CRLs of C-4, C-7 and C-10.

use std::fs;

use cli::revocation::deny_list::{DenyEntry, DenyList};
use ike::event::question::RejectionKind::*;
use openssl::asn1::Asn1Type;
use policy::model::identity::Identity;
use policy::model::remote::CrlStrictness;

use super::maker::{Crl, DAY, Made, NOW, altered, ca, leaf, rsa, wrap};
use super::{Case, key_of};

/// subjectAltName with these dNSNames, whatever they hold.
fn names(names: &[&[u8]]) -> Vec<u8> {
    wrap(0x30, &names.iter().map(|name| wrap(0x82, name)).collect::<Vec<_>>().concat())
}

fn fqdn(name: &str) -> Identity {
    Identity::Fqdn(name.to_owned())
}

#[test]
fn x1_sizes_and_depths() {
    let root = ca("Root").sign_self();
    // Within the bound of what is taken: many names, and deep nesting in an extension that nobody knows.
    let many: Vec<String> = (0..3000).map(|number| format!("host{number}.example")).collect();
    let many: Vec<&[u8]> = many.iter().map(|name| name.as_bytes()).collect();
    let alice = leaf("alice").extension("2.5.29.17", false, &names(&many)).signed_by(&root);
    Case::new(&root, &alice).claiming(fqdn("host2999.example")).accepted();
    let mut nested = Vec::new();
    for _ in 0..60 {
        nested = wrap(0x30, &nested);
    }
    let alice = leaf("alice").extension("1.3.6.1.4.1.99999.2", false, &nested).signed_by(&root);
    Case::new(&root, &alice).accepted();
    let alice = leaf("alice").extension("2.5.29.17", false, &nested).signed_by(&root);
    let verdict = Case::new(&root, &alice).claiming(fqdn("alice")).verdict().unwrap_err();
    assert!([IdentityMismatch, Invalid, Malformed].contains(&verdict.kind), "{verdict:?}");
    assert!(!Case::new(&root, &alice).openssl().is_empty(), "OpenSSL reads it, too");
    // Beyond it.
    let many: Vec<String> = (0..100_000).map(|number| format!("h{number}")).collect();
    let many: Vec<&[u8]> = many.iter().map(|name| name.as_bytes()).collect();
    let alice = leaf("alice").extension("2.5.29.17", false, &names(&many)).signed_by(&root);
    let verdict = Case::new(&root, &alice).verdict().unwrap_err();
    assert!(verdict.reason.contains("too many or too large"), "{verdict:?}");
    let key = rsa(2048);
    let middle = ca("Middle").key(&key).signed_by(&root);
    let alice = leaf("alice").signed_by(&middle);
    let thousand: Vec<&Made> = std::iter::repeat_n(&middle, 999).collect();
    let verdict = Case::new(&root, &alice).also_sent(&thousand).verdict().unwrap_err();
    assert!(verdict.reason.contains("too many or too large"), "{verdict:?}");
}

#[test]
fn x2_names_that_look_like_others() {
    let root = ca("Root").sign_self();
    // A NUL ends no name.
    let evil =
        leaf("alice").extension("2.5.29.17", false, &names(&[b"gw.example.org\0.evil.example"])).signed_by(&root);
    let refused = |made: &Made, identity: Identity| {
        let case = Case::new(&root, made).claiming(identity);
        let verdict = case.verdict().unwrap_err();
        assert_eq!(verdict.kind, IdentityMismatch, "{verdict:?}");
        assert_eq!(case.openssl(), [], "OpenSSL accepts the path");
    };
    refused(&evil, fqdn("gw.example.org"));
    refused(&evil, fqdn("gw.example.org\0.evil.example"));
    let name = |text: &str, kind| {
        let made = leaf("x").named(text, kind).sign_self();
        Identity::Asn1Dn(made.certificate.subject_name().to_der().unwrap())
    };
    let good = name("good", Asn1Type::UTF8STRING);
    let evil = leaf("x").named("good\0.evil", Asn1Type::UTF8STRING).signed_by(&root);
    refused(&evil, good.clone());
    // The same characters in another 8-bit string type are the same name; other characters and wide strings are not.
    let printable = leaf("x").named("good", Asn1Type::PRINTABLESTRING).signed_by(&root);
    Case::new(&root, &printable).accepted();
    Case::new(&root, &printable).claiming(good.clone()).accepted();
    refused(&printable, name("g\u{43e}od", Asn1Type::UTF8STRING));
    let wide = leaf("x").named("good", Asn1Type::BMPSTRING).signed_by(&root);
    refused(&wide, good.clone());
    // A name in letters and its ASCII form are two.
    let ascii = leaf("alice").dns("xn--bcher-kva.example").signed_by(&root);
    Case::new(&root, &ascii).claiming(fqdn("xn--bcher-kva.example")).accepted();
    refused(&ascii, fqdn("b\u{fc}cher.example"));
    // Of a subject with two names neither alone is the subject.
    let two = leaf("alice").signed_by(&root);
    refused(&two, good);
}

#[test]
fn x3_serials_that_are_negative_zero_or_long() {
    let root = ca("Root").sign_self();
    let plain = leaf("alice").serial(0x1122_3344).signed_by(&root);
    // Zero, and the longest that RFC 5280 allows.
    for serial in [vec![0], vec![0x7f; 20], vec![0xff; 20]] {
        let alice = leaf("alice").serial_octets(&serial).signed_by(&root);
        Case::new(&root, &alice).accepted();
        // As an operator writes it, zero has no octets.
        let denied = cli::revocation::serial::parse(&cli::revocation::serial::to_decimal(&serial)).unwrap();
        let reason = Case::new(&root, &alice).denying(key_of(&root), &denied).verdict().unwrap_err();
        assert_eq!(reason.kind, RevokedByDenyList, "{serial:?}: {reason:?}");
    }
    // A negative one counts by its octets: it does not escape its own denial.
    let negative = altered(&plain, &root, &[2, 4, 0x11, 0x22, 0x33, 0x44], &[2, 4, 0x91, 0x22, 0x33, 0x44]);
    let mut case = Case::new(&root, &plain);
    case.sent = vec![negative];
    assert_eq!(case.accepted().chain[0].serial, [0x91, 0x22, 0x33, 0x44]);
    assert_eq!(case.openssl(), []);
    let case = case.denying(key_of(&root), &[0x91, 0x22, 0x33, 0x44]);
    assert_eq!(case.verdict().unwrap_err().kind, RevokedByDenyList);
}

#[test]
fn x4_times_at_the_edges() {
    let root = ca("Root").valid(NOW - DAY, 253_402_300_799).sign_self();
    // The last second of year 9999 is GeneralizedTime; 2050 is the first year of it.
    for until in [253_402_300_799, 2_524_607_999, 2_524_608_000] {
        Case::new(&root, &leaf("alice").valid(NOW - 1, until).signed_by(&root)).accepted();
    }
    Case::new(&root, &leaf("alice").valid(NOW, NOW + 1).signed_by(&root)).accepted();
    // notAfter itself is over, as OpenSSL counts.
    let over = leaf("alice").valid(NOW - 1, NOW).signed_by(&root);
    Case::new(&root, &over).refused(Expired, "certificate has expired(10) at depth:0 SubjectName:/CN=alice");
    let early = leaf("alice").valid(NOW + 1, NOW + DAY).signed_by(&root);
    Case::new(&root, &early).refused(Expired, "certificate is not yet valid(9) at depth:0 SubjectName:/CN=alice");
    // UTCTime of 50 is 1950, of 49 2049.
    let plain = leaf("alice").valid(2_145_916_800, NOW + 30 * DAY).signed_by(&root);
    let text = b"380101000000Z";
    for (year, kind) in [(b"50", None), (b"49", Some(Expired))] {
        let mut to = text.to_vec();
        to[..2].copy_from_slice(year);
        let mut case = Case::new(&root, &plain);
        case.sent = vec![altered(&plain, &root, text, &to)];
        assert_eq!(case.verdict().err().map(|rejection| rejection.kind), kind, "notBefore in year {year:?}");
        assert_eq!(case.openssl().is_empty(), kind.is_none(), "notBefore in year {year:?}");
    }
    for nonsense in [b"381301000000Z", b"380101000099Z", b"3801010000000"] {
        let mut case = Case::new(&root, &plain);
        case.sent = vec![altered(&plain, &root, text, nonsense)];
        assert!(case.verdict().is_err(), "a time that is none: {nonsense:?}");
        assert!(!case.openssl().is_empty(), "OpenSSL takes {nonsense:?} for a time");
    }
}

#[test]
fn c4_crls_that_are_not_whole() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(7).signed_by(&root);
    let distribution = |flag: u8| wrap(0x30, &[flag, 1, 0xff]);
    let partial = [
        ("delta", (27, true, vec![2, 1, 1])),
        ("only CA certificates", (28, true, distribution(0x82))),
        ("only some reasons", (28, true, wrap(0x30, &[0x83, 2, 5, 0x20]))),
        ("only attribute certificates", (28, true, distribution(0x85))),
        ("indirect", (28, true, distribution(0x84))),
        ("a critical extension that nobody knows", (99, true, vec![5, 0])),
    ];
    for (name, extension) in partial {
        let mut crl = Crl::of(&root);
        crl.extensions.push(extension);
        let strict = Case::new(&root, &alice).crl(0, &crl).with(|remote| remote.crl = CrlStrictness::Strict);
        assert!(strict.verdict().is_err(), "{name}: taken for the whole list");
        assert_eq!(strict.openssl().is_empty(), name == "delta", "{name}: what OpenSSL makes of it");
        // Beside a whole one it does no harm.
        let both = Case::new(&root, &alice).crl(0, &Crl::of(&root).revoking(&[7])).crl(1, &crl);
        assert_eq!(both.verdict().unwrap_err().kind, RevokedByCrl, "{name}");
    }
    // For certificates of hosts alone it is whole as far as a host goes.
    let mut crl = Crl::of(&root).revoking(&[7]);
    crl.extensions.push((28, true, distribution(0x81)));
    assert_eq!(Case::new(&root, &alice).crl(0, &crl).verdict().unwrap_err().kind, RevokedByCrl);
}

#[test]
fn c7_entries_of_the_future_and_removals() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(7).signed_by(&root);
    let revoked = "certificate revoked(23) at depth:0 SubjectName:/CN=alice";
    let mut future = Crl::of(&root).revoking(&[7]);
    future.revoked_at = NOW + DAY;
    Case::new(&root, &alice).crl(0, &future).refused(RevokedByCrl, revoked);
    // removeFromCRL is for delta CRLs: OpenSSL takes such an entry for none.
    let mut removed = Crl::of(&root).revoking(&[7]);
    removed.of_entries.push((21, false, vec![10, 1, 8]));
    Case::new(&root, &alice).crl(0, &removed).accepted();
    let mut held = Crl::of(&root).revoking(&[7]);
    held.of_entries.push((21, false, vec![10, 1, 6]));
    Case::new(&root, &alice).crl(0, &held).refused(RevokedByCrl, revoked);
}

#[test]
fn c10_a_crl_that_disappears() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(7).signed_by(&root);
    let case = Case::new(&root, &alice)
        .crl(0, &Crl::of(&root).revoking(&[9]))
        .with(|remote| remote.crl = CrlStrictness::Strict);
    let (judge, request) = (case.judge(), case.request());
    judge.judge(&request).unwrap();
    let hash = root.certificate.subject_name_hash();
    fs::remove_file(case.folder.path().join(format!("{hash:08x}.r0"))).unwrap();
    // What was read stands until its nextUpdate; a judge that never saw it has none.
    judge.judge(&request).unwrap();
    let verdict = case.judge().judge(&request).unwrap_err();
    assert!(verdict.reason.starts_with("unable to get certificate CRL(3)"), "{verdict:?}");
    assert_eq!(case.openssl().iter().map(|fault| fault.code).collect::<Vec<_>>(), [3]);
    // Whoever it listed stays out, strict or not.
    let case = Case::new(&root, &alice).crl(0, &Crl::of(&root).revoking(&[7]));
    let (judge, request) = (case.judge(), case.request());
    assert_eq!(judge.judge(&request).unwrap_err().kind, RevokedByCrl);
    fs::remove_file(case.folder.path().join(format!("{hash:08x}.r0"))).unwrap();
    assert_eq!(judge.judge(&request).unwrap_err().kind, RevokedByCrl);
}

/// The list of a million: whoever it names is refused, whoever stands between two of its entries is not.
#[test]
fn c5_a_million_entries() {
    const MANY: u32 = 1_000_000;
    let root = ca("Root").sign_self();
    let (inside, beside) = (leaf("alice").serial(0x0100_0002 + 500_000), leaf("alice").serial(0x0100_0003));
    let mut crl = Crl::of(&root);
    crl.revoked = (0..MANY).map(|number| (0x0100_0002 + 2 * number).to_be_bytes().to_vec()).collect();
    let der = crl.der();
    assert!(der.len() > 20_000_000, "{}", der.len());
    let hash = root.certificate.subject_name_hash();
    let with = |leaf: &Made| {
        let case = Case::new(&root, leaf);
        fs::write(case.folder.path().join(format!("{hash:08x}.r0")), &der).unwrap();
        case
    };
    let revoked = "certificate revoked(23) at depth:0 SubjectName:/CN=alice";
    with(&inside.signed_by(&root)).refused(RevokedByCrl, revoked);
    with(&beside.signed_by(&root)).accepted();
}

/// A connected peer's serial: OpenSSL would let it in, and keeps no connections. Here the next verdict refuses.
#[test]
fn c8_a_peer_that_was_let_in_before() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(7).signed_by(&root);
    let case = Case::new(&root, &alice);
    let (judge, request) = (case.judge(), case.request());
    let before = judge.judge(&request).unwrap();
    assert_eq!(case.openssl(), []);
    let mut by_operator = DenyList::open(case.folder.path().join("revoked")).unwrap();
    let (issuer, serial) = (key_of(&root), before.chain[0].serial.clone());
    let entry = DenyEntry { issuer, serial, time: 0, source: "t".to_owned(), issuer_name: String::new() };
    by_operator.add(entry).unwrap();
    assert_eq!(judge.judge(&request).unwrap_err().kind, RevokedByDenyList);
    assert_eq!(case.openssl(), [], "OpenSSL knows no deny list");
}
