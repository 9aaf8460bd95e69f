//! Who is meant, and in which order things happen.

use policy::model::sa::{Protocol, Spi};

use super::*;

/// Live certificates by issuer, one child each.
struct Fake {
    live: Vec<Issuer>,
    deny_list: std::path::PathBuf,
    asked: Vec<CertificateId>,
}

impl Cutter for Fake {
    fn live_issuers(&mut self, _serial: &[u8]) -> Result<Vec<Issuer>, CutError> {
        Ok(self.live.clone())
    }

    fn cut(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        let durable = DenyList::open(&self.deny_list).unwrap();
        assert!(certificates.iter().all(|certificate| durable.contains(certificate)), "denied before cut");
        self.asked = certificates.to_vec();
        let name = SaName {
            protocol: Protocol::Esp,
            spi: Spi(0x0123_abcd),
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
        };
        let sa = CutSa { name, direction: SaDirection::Outbound, peer: "carol".to_owned() };
        Ok(certificates.iter().map(|_| sa.clone()).collect())
    }
}

fn issuer(number: u8) -> Issuer {
    Issuer { key: [number; 32], name: format!("/CN=ca{number}") }
}

fn run(known: &[u8], live: &[u8], named: Option<u8>) -> (Result<Revoked, RevokeError>, Vec<CertificateId>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("revoked");
    let mut deny_list = DenyList::open(&path).unwrap();
    let known: Vec<KnownIssuer> =
        known.iter().map(|number| KnownIssuer { issuer: issuer(*number), certificate: None }).collect();
    let mut fake = Fake { live: live.iter().map(|number| issuer(*number)).collect(), deny_list: path, asked: vec![] };
    let order = Order {
        serial: vec![3],
        issuer: named.map(issuer),
        certificate: None,
        source: "xfrmctl".to_owned(),
        by: By::Word,
    };
    let result = revoke(&order, &known, &mut deny_list, &mut fake, 77);
    (result, fake.asked)
}

fn ids(numbers: &[u8]) -> Vec<CertificateId> {
    numbers.iter().map(|number| CertificateId { issuer_key: [*number; 32], serial: vec![3] }).collect()
}

#[test]
fn only_issuer_known_is_meant() {
    let (result, asked) = run(&[1], &[], None);
    assert_eq!(asked, ids(&[1]));
    let report = result.unwrap().report;
    assert_eq!((report.serial.as_str(), report.issuer.as_str(), report.sas_deleted), ("3", "/CN=ca1", 1));
    assert_eq!((report.sas[0].spi.as_str(), report.sas[0].direction.as_str()), ("0x0123abcd", "out"));
}

#[test]
fn of_several_the_one_with_sas_is_meant() {
    assert_eq!(run(&[1, 2], &[2], None).1, ids(&[2]));
    assert_eq!(run(&[1], &[2], None).1, ids(&[2]), "known from the journal only");
}

#[test]
fn doubt_is_an_error_that_names_the_issuers_and_denies_nothing() {
    for (known, live) in [(&[1, 2][..], &[][..]), (&[], &[1, 2]), (&[1, 2], &[1, 2])] {
        let (result, asked) = run(known, live, None);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("--issuer") && error.contains("/CN=ca1") && error.contains("/CN=ca2"), "{error}");
        assert!(asked.is_empty());
    }
    assert_eq!(run(&[1, 2], &[1, 2], Some(2)).1, ids(&[2]), "unless one is named");
}

#[test]
fn without_any_issuer_the_serial_alone_is_denied() {
    let (result, _) = run(&[], &[], None);
    let revoked = result.unwrap();
    assert_eq!(revoked.issuer, DeniedIssuer::Any);
    assert_eq!(revoked.report.issuer, "*");
}

#[test]
fn unrevoke_takes_what_is_named_or_every_entry_of_the_serial() {
    let directory = tempfile::tempdir().unwrap();
    let mut deny_list = DenyList::open(directory.path().join("revoked")).unwrap();
    for number in [1, 2] {
        let entry = DenyEntry {
            issuer: DeniedIssuer::Key([number; 32]),
            serial: vec![3],
            time: 1,
            source: "xfrmctl".to_owned(),
            issuer_name: String::new(),
        };
        deny_list.add(entry).unwrap();
    }
    assert_eq!(unrevoke(&[4], None, &mut deny_list, "xfrmctl", 9).unwrap(), 0);
    assert_eq!(unrevoke(&[3], Some([2; 32]), &mut deny_list, "xfrmctl", 9).unwrap(), 1);
    assert_eq!(unrevoke(&[3], None, &mut deny_list, "xfrmctl", 9).unwrap(), 1);
    assert!(deny_list.is_empty());
}

/// A kernel that keeps one of two SAs.
struct Stubborn(Vec<CutSa>);

impl Cutter for Stubborn {
    fn live_issuers(&mut self, _serial: &[u8]) -> Result<Vec<Issuer>, CutError> {
        Ok(Vec::new())
    }

    fn cut(&mut self, _certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        Err(CutError { text: "DELSA: no buffer space".to_owned(), denied: false, done: self.0.clone() })
    }
}

fn one_cut() -> Vec<CutSa> {
    let (src, dst) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let name = SaName { protocol: Protocol::Esp, spi: Spi(7), src, dst };
    vec![CutSa { name, direction: SaDirection::Inbound, peer: "carol".to_owned() }]
}

fn order_for(number: u8) -> Order {
    let source = "xfrmctl".to_owned();
    Order { serial: vec![3], issuer: Some(issuer(number)), certificate: None, source, by: By::Word }
}

/// Counts, and has an SA for everybody.
struct Willing(usize);

impl Cutter for Willing {
    fn live_issuers(&mut self, _serial: &[u8]) -> Result<Vec<Issuer>, CutError> {
        Ok(Vec::new())
    }

    fn cut(&mut self, _certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        self.0 += 1;
        Ok(one_cut())
    }
}

#[test]
fn a_list_that_cannot_be_written_keeps_no_sa_alive() {
    let directory = tempfile::tempdir().unwrap();
    // A file where the list's directory should be: nobody can write there, root included.
    let mut deny_list = DenyList::open(directory.path().join("none/revoked")).unwrap();
    std::fs::write(directory.path().join("none"), "").unwrap();
    let mut cutter = Willing(0);
    let error = revoke(&order_for(1), &[], &mut deny_list, &mut cutter, 77).unwrap_err();
    assert_eq!(cutter.0, 1, "{error}");
    let text = error.to_string();
    assert!(text.contains("1 SAs deleted") && text.contains("revoke it again") && text.contains("none"), "{text}");
    let RevokeError::InPart { done, shortfalls } = error else { panic!("{text}") };
    assert_eq!((done.report.sas_deleted, done.certificates.len(), shortfalls.len()), (1, 1, 1));
    // As long as this process lives it is refused.
    let id = CertificateId { issuer_key: [1; 32], serial: vec![3] };
    assert!(deny_list.contains(&id));
    // There is room again: the next entry brings it along.
    std::fs::remove_file(directory.path().join("none")).unwrap();
    revoke(&order_for(2), &[], &mut deny_list, &mut cutter, 78).unwrap();
    let durable = DenyList::open(directory.path().join("none/revoked")).unwrap();
    assert!(durable.contains(&id) && durable.len() == 2 && durable.problems().is_empty());
    let again = revoke(&order_for(1), &[], &mut deny_list, &mut cutter, 79).unwrap();
    assert!(again.report.already_revoked);
}

#[test]
fn an_sa_that_stays_is_an_error_that_tells_what_went() {
    let directory = tempfile::tempdir().unwrap();
    let mut deny_list = DenyList::open(directory.path().join("revoked")).unwrap();
    let error = revoke(&order_for(1), &[], &mut deny_list, &mut Stubborn(one_cut()), 77).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("1 SAs deleted") && text.contains("DELSA: no buffer space"), "{text}");
    assert_eq!(deny_list.len(), 1, "denied all the same");
    let audit = AuditLog::beside(deny_list.path()).entries();
    assert_eq!((audit.len(), audit[0].sas_deleted), (1, 1));
}
