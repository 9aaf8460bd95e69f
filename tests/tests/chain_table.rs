//! The table of certificate paths: what a judge must make of each, by kind of refusal and by its words.
//!
//! Keys and certificates are made here, each case with one thing wrong. RFC 5280 §6, RFC 4945 §5, ATTACKS
//! and C-1..C-11. Each verdict stands beside that of OpenSSL by itself on the same input (`opinion`).

#[path = "chain_table/maker.rs"]
mod maker;
#[path = "chain_table/odd.rs"]
mod odd;
#[path = "chain_table/opinion.rs"]
mod opinion;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use cli::pki::judge::Judge;
use cli::revocation::deny_list::{DeniedIssuer, DenyEntry, DenyList};
use cli::revocation::issuer;
use ike::config::{RemoteConfig, RemoteId};
use ike::crypto::provider::{PublicKey, RsaPublicKey};
use ike::event::question::RejectionKind::{self, *};
use ike::event::question::{JudgeRequest, PeerCertificate, Rejection};
use maker::{Crl, DAY, Made, Maker, NOW, ca, leaf, rsa};
use openssl::hash::MessageDigest;
use opinion::Fault;
use policy::model::identity::Identity;
use policy::model::remote::{CrlStrictness, Remote};
use tempfile::TempDir;

/// One peer against one configuration.
struct Case {
    folder: TempDir,
    sent: Vec<Vec<u8>>,
    identity: Identity,
    remote: Remote,
    denied: Vec<DenyEntry>,
}

impl Case {
    /// `leaf` sent alone, claiming its own subject; `root` in the `ca_type` file.
    fn new(root: &Made, leaf: &Made) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), root.certificate.to_pem().unwrap()).unwrap();
        let ca_file = Some(folder.path().join("ca.pem").to_string_lossy().into_owned());
        let remote = Remote { ca_file, ..Remote::default() };
        Self {
            identity: Identity::Asn1Dn(leaf.certificate.subject_name().to_der().unwrap()),
            sent: vec![leaf.der()],
            folder,
            remote,
            denied: Vec::new(),
        }
    }

    fn also_sent(mut self, others: &[&Made]) -> Self {
        self.sent.extend(others.iter().map(|other| other.der()));
        self
    }

    fn claiming(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Remote)) -> Self {
        change(&mut self.remote);
        self
    }

    fn pinning(self, pinned: &Made) -> Self {
        let path = self.folder.path().join("peer.pem");
        fs::write(&path, pinned.certificate.to_pem().unwrap()).unwrap();
        self.with(|remote| remote.peers_certfile = Some(path.to_string_lossy().into_owned()))
    }

    /// The CRL as `<hash of its issuer>.rN`.
    fn crl(self, number: u8, crl: &Crl<'_>) -> Self {
        write_crl(self.folder.path(), number, crl);
        self
    }

    fn denying(mut self, issuer: DeniedIssuer, serial: &[u8]) -> Self {
        let entry = DenyEntry {
            issuer,
            serial: serial.to_vec(),
            time: 0,
            source: "test".to_owned(),
            issuer_name: "/CN=Root".to_owned(),
        };
        self.denied.push(entry);
        self
    }

    fn request(&self) -> JudgeRequest {
        JudgeRequest {
            remote: Arc::new(RemoteConfig {
                id: RemoteId(0),
                remote: self.remote.clone(),
                my_identity: None,
                credential: None,
                raw_keys: Arc::default(),
                accepted_issuers: Vec::new(),
            }),
            certificates: self.sent.clone(),
            pkcs7: Vec::new(),
            identity: self.identity.clone(),
            peer: "192.0.2.7".parse().unwrap(),
            wall: NOW,
        }
    }

    fn judge(&self) -> Judge {
        let mut list = DenyList::open(self.folder.path().join("revoked")).unwrap();
        for entry in &self.denied {
            list.add(entry.clone()).unwrap();
        }
        Judge::of_directory(Some(self.folder.path()), Arc::new(Mutex::new(list)))
    }

    fn verdict(&self) -> Result<Arc<PeerCertificate>, Rejection> {
        self.judge().judge(&self.request())
    }

    /// Accepted; returns what was only warned about. OpenSSL by itself accepts it too, or finds fault with no more than
    /// what is warned about.
    #[track_caller]
    fn accepted(&self) -> Arc<PeerCertificate> {
        let accepted = self.verdict().unwrap_or_else(|rejection| panic!("refused: {rejection:?}"));
        if self.remote.verify_cert && self.remote.peers_certfile.is_none() {
            let warned =
                |fault: &Fault| accepted.warnings.iter().any(|line| Fault::of(line).is_some_and(|said| said == *fault));
            let faults = opinion::faults(self);
            assert!(faults.iter().all(warned), "OpenSSL says {faults:?}, we warn of {:?}", accepted.warnings);
        }
        accepted
    }

    /// Refused, for this reason. Where the reason is one of OpenSSL's, OpenSSL by itself has it too; a reason of our own is
    /// a rule beyond it, and it is listed as such.
    #[track_caller]
    fn refused(&self, kind: RejectionKind, reason: &str) {
        let rejection = self.verdict().expect_err(reason);
        assert_eq!((rejection.kind, rejection.reason.as_str()), (kind, reason));
        let pinned = self.remote.peers_certfile.is_some();
        match Fault::of(reason) {
            Some(fault) if self.remote.verify_cert && !pinned => {
                let faults = opinion::faults(self);
                let told = |found: &Fault| *found == fault || (found.hides_the_list() && found.depth <= fault.depth);
                assert!(faults.iter().any(told), "OpenSSL says {faults:?} where we say {reason}");
            }
            Some(_) => {}
            None => {
                let rule = BEYOND_OPENSSL.iter().find(|(rule, _)| reason.contains(rule));
                let (_, told) = rule.unwrap_or_else(|| panic!("no rule of ours: {reason}"));
                // With certificates to look at it accepts; a list that is not there, or is born expired, is another matter.
                if *told == Told::Accepts && self.remote.verify_cert && !pinned {
                    let faults = opinion::faults(self);
                    assert!(faults.iter().all(|fault| fault.hides_the_list()), "OpenSSL says {faults:?}: {reason}");
                }
            }
        }
    }

    /// OpenSSL's own verdict.
    fn openssl(&self) -> Vec<Fault> {
        opinion::faults(self)
    }
}

/// What OpenSSL says where a rule of ours refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It would let the peer in.
    Accepts,
    /// There is nothing to ask it about.
    NotAsked,
}

/// What we refuse though OpenSSL, asked for no purpose, accepts it.
const BEYOND_OPENSSL: [(&str, Told); 14] = [
    ("is on the deny list", Told::Accepts),
    ("certificate of a CA used as a host's", Told::Accepts),
    ("has neither digitalSignature nor nonRepudiation", Told::Accepts),
    ("does not allow IKE", Told::Accepts),
    ("is too weak", Told::Accepts),
    ("which is broken", Told::Accepts),
    ("RSA key out of bounds", Told::Accepts),
    ("no peer's CERT payload", Told::NotAsked),
    ("is no certificate", Told::NotAsked),
    ("too many or too large", Told::NotAsked),
    ("ID mismatched", Told::Accepts),
    ("Improper ID type", Told::Accepts),
    ("does not exist", Told::NotAsked),
    ("was revoked meanwhile", Told::NotAsked),
];

fn write_crl(folder: &Path, number: u8, crl: &Crl<'_>) {
    let hash = crl.issuer.certificate.subject_name_hash();
    fs::write(folder.join(format!("{hash:08x}.r{number}")), crl.der()).unwrap();
}

fn key_of(made: &Made) -> DeniedIssuer {
    DeniedIssuer::Key(issuer::key_id(&made.certificate).unwrap())
}

const NO_CRL_LEAF: &str = "unable to get certificate CRL(3) at depth:0 SubjectName:/CN=alice";

#[test]
fn good() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(0x1234).signed_by(&root);
    let accepted = Case::new(&root, &alice).accepted();
    assert_eq!(accepted.subject, "/CN=alice");
    assert_eq!(accepted.issuer, "/CN=Root");
    assert_eq!(accepted.not_after, NOW + 30 * DAY);
    let rsa = alice.key.rsa().unwrap();
    let key = RsaPublicKey { modulus: rsa.n().to_vec(), exponent: rsa.e().to_vec() };
    assert_eq!(accepted.public_key, key.into());
    let id = |of: &Made| issuer::certificate_id(&of.certificate, &root.certificate).unwrap();
    assert_eq!(accepted.chain, [id(&alice), id(&root)]);
    assert_eq!(accepted.chain[0].serial, [0x12, 0x34]);
    // No CRL: said, let pass.
    assert_eq!(accepted.warnings, [NO_CRL_LEAF, "unable to get certificate CRL(3) at depth:1 SubjectName:/CN=Root"]);
    let case = Case::new(&root, &alice).crl(0, &Crl::of(&root));
    assert_eq!(case.accepted().warnings, Vec::<String>::new());
}

#[test]
fn an_anchor_in_the_hashed_directory() {
    let (root, other) = (ca("Root").sign_self(), ca("Other").sign_self());
    let alice = leaf("alice").signed_by(&root);
    let case = Case::new(&other, &alice);
    case.refused(Untrusted, "unable to get local issuer certificate(20) at depth:0 SubjectName:/CN=alice");
    let hash = root.certificate.subject_name_hash();
    fs::write(case.folder.path().join(format!("{hash:08x}.0")), root.certificate.to_pem().unwrap()).unwrap();
    case.accepted();
}

#[test]
fn validity() {
    let root = ca("Root").sign_self();
    let expired = leaf("alice").valid(NOW - 9 * DAY, NOW - 1).signed_by(&root);
    Case::new(&root, &expired).refused(Expired, "certificate has expired(10) at depth:0 SubjectName:/CN=alice");
    let early = leaf("alice").valid(NOW + 1, NOW + DAY).signed_by(&root);
    Case::new(&root, &early).refused(Expired, "certificate is not yet valid(9) at depth:0 SubjectName:/CN=alice");
    let old = ca("Root").valid(NOW - 9 * DAY, NOW - 1).sign_self();
    let alice = leaf("alice").signed_by(&old);
    Case::new(&old, &alice).refused(Expired, "certificate has expired(10) at depth:1 SubjectName:/CN=Root");
}

#[test]
fn other_authorities() {
    let root = ca("Root").sign_self();
    let other = ca("Other").sign_self();
    let alice = leaf("alice").signed_by(&other);
    let reason = "unable to get local issuer certificate(20) at depth:0 SubjectName:/CN=alice";
    Case::new(&root, &alice).refused(Untrusted, reason);
    // Sending the other authority along does not make it trusted.
    let reason = "self-signed certificate in certificate chain(19) at depth:1 SubjectName:/CN=Other";
    Case::new(&root, &alice).also_sent(&[&other]).refused(Untrusted, reason);
    // The same name with another key.
    let twin = ca("Root").sign_self();
    let alice = leaf("alice").signed_by(&twin);
    let reason = "certificate signature failure(7) at depth:0 SubjectName:/CN=alice";
    Case::new(&root, &alice).refused(Untrusted, reason);
    let alone = leaf("alice").sign_self();
    let reason = "self-signed certificate(18) at depth:0 SubjectName:/CN=alice";
    Case::new(&root, &alone).refused(Untrusted, reason);
}

#[test]
fn a_changed_certificate() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").signed_by(&root);
    let mut case = Case::new(&root, &alice);
    *case.sent[0].last_mut().unwrap() ^= 1;
    case.refused(Untrusted, "certificate signature failure(7) at depth:0 SubjectName:/CN=alice");
}

#[test]
fn leaves_not_made_for_ike() {
    let root = ca("Root").sign_self();
    let case = |maker: Maker| Case::new(&root, &maker.signed_by(&root));
    case(leaf("alice").authority())
        .refused(Invalid, "certificate of a CA used as a host's at depth:0 SubjectName:/CN=alice");
    let reason =
        "keyUsage of the certificate has neither digitalSignature nor nonRepudiation at depth:0 SubjectName:/CN=alice";
    case(leaf("alice").usage(|usage| usage.key_encipherment())).refused(Invalid, reason);
    case(leaf("alice").usage(|usage| usage.digital_signature())).accepted();
    case(leaf("alice").usage(|usage| usage.non_repudiation())).accepted();
    let reason = "extendedKeyUsage of the certificate does not allow IKE at depth:0 SubjectName:/CN=alice";
    case(leaf("alice").purpose("codeSigning")).refused(Invalid, reason);
    for purpose in ["1.3.6.1.5.5.7.3.17", "anyExtendedKeyUsage", "serverAuth", "clientAuth", "1.3.6.1.5.5.7.3.5"] {
        case(leaf("alice").purpose(purpose)).accepted();
    }
}

#[test]
fn intermediates() {
    let root = ca("Root").sign_self();
    let middle = ca("Middle").signed_by(&root);
    let alice = leaf("alice").signed_by(&middle);
    let accepted = Case::new(&root, &alice).also_sent(&[&middle]).accepted();
    assert_eq!(
        accepted.chain,
        [
            issuer::certificate_id(&alice.certificate, &middle.certificate).unwrap(),
            issuer::certificate_id(&middle.certificate, &root.certificate).unwrap(),
            issuer::certificate_id(&root.certificate, &root.certificate).unwrap()
        ]
    );
    // Without it there is no path.
    let reason = "unable to get local issuer certificate(20) at depth:0 SubjectName:/CN=alice";
    Case::new(&root, &alice).refused(Untrusted, reason);

    let no_ca = leaf("Middle").signed_by(&root);
    let alice = leaf("alice").signed_by(&no_ca);
    let reason = "invalid CA certificate(79) at depth:1 SubjectName:/CN=Middle";
    Case::new(&root, &alice).also_sent(&[&no_ca]).refused(Invalid, reason);

    let no_sign = ca("Middle").usage(|usage| usage.digital_signature().crl_sign()).signed_by(&root);
    let alice = leaf("alice").signed_by(&no_sign);
    let reason = "invalid CA certificate(79) at depth:1 SubjectName:/CN=Middle";
    Case::new(&root, &alice).also_sent(&[&no_sign]).refused(Invalid, reason);

    let short = ca("Short").path_length(0).sign_self();
    let middle = ca("Middle").signed_by(&short);
    let alice = leaf("alice").signed_by(&middle);
    let reason = "path length constraint exceeded(25) at depth:2 SubjectName:/CN=Short";
    Case::new(&short, &alice).also_sent(&[&middle]).refused(Invalid, reason);
    Case::new(&short, &leaf("alice").signed_by(&short)).accepted();
}

#[test]
fn too_long_a_path() {
    let root = ca("Root").sign_self();
    let key = rsa(2048);
    let mut path = vec![ca("M0").key(&key).signed_by(&root)];
    for depth in 1..20 {
        let next = ca(&format!("M{depth}")).key(&key).signed_by(&path[depth - 1]);
        path.push(next);
    }
    for (length, good) in [(6, true), (7, false), (20, false)] {
        let alice = leaf("alice").signed_by(&path[length - 1]);
        let others: Vec<&Made> = path[..length].iter().collect();
        let case = Case::new(&root, &alice).also_sent(&others);
        if good {
            assert_eq!(case.accepted().chain.len(), 8);
        } else {
            let rejection = case.verdict().unwrap_err();
            assert!(rejection.reason.starts_with("certificate chain too long(22)"), "{rejection:?}");
        }
    }
    // Two that sign each other.
    let one = ca("One").key(&key).signed_by(&ca("Two").key(&key).sign_self());
    let two = ca("Two").key(&key).signed_by(&one);
    let alice = leaf("alice").signed_by(&one);
    let rejection = Case::new(&root, &alice).also_sent(&[&one, &two]).verdict().unwrap_err();
    assert_ne!(rejection.kind, RevokedByCrl, "{rejection:?}");
}

#[test]
fn name_constraints() {
    let root = ca("Root").permits_dns("example.org").sign_self();
    let inside = leaf("alice").dns("gw.example.org").signed_by(&root);
    Case::new(&root, &inside).accepted();
    let outside = leaf("alice").dns("gw.example.net").signed_by(&root);
    Case::new(&root, &outside).refused(Invalid, "permitted subtree violation(47) at depth:0 SubjectName:/CN=alice");
}

#[test]
fn unknown_extensions() {
    let root = ca("Root").sign_self();
    let garbage = b"\xff\xfe not DER at all";
    let critical = leaf("alice").extension("1.3.6.1.4.1.99999.1", true, garbage).signed_by(&root);
    Case::new(&root, &critical).refused(Invalid, "unhandled critical extension(34) at depth:0 SubjectName:/CN=alice");
    let plain = leaf("alice").extension("1.3.6.1.4.1.99999.1", false, garbage).signed_by(&root);
    Case::new(&root, &plain).accepted();
}

/// A leaf as keylime's CA makes them: no usage of any kind, a Netscape comment that is no DER, a CA whose basic
/// constraints are not critical and which has no key identifiers.
#[test]
fn keylime() {
    let root = Maker::new("keylime CA").extension("2.5.29.19", false, &[0x30, 0x03, 0x01, 0x01, 0xff]).sign_self();
    let agent = leaf("d432fbb3-d2f1-4a97-9ef7-75bd81c00000")
        .dns("d432fbb3-d2f1-4a97-9ef7-75bd81c00000")
        .extension("2.16.840.1.113730.1.13", false, b"OpenSSL Generated Certificate")
        .serial(2)
        .signed_by(&root);
    let case = Case::new(&root, &agent);
    case.accepted();
    // The same name and serial by another such CA is another certificate.
    let twin = Maker::new("keylime CA").extension("2.5.29.19", false, &[0x30, 0x03, 0x01, 0x01, 0xff]).sign_self();
    Case::new(&root, &agent).denying(key_of(&twin), &[2]).accepted();
    let reason = "certificate serial 2 of /CN=keylime CA is on the deny list";
    Case::new(&root, &agent).denying(key_of(&root), &[2]).refused(RevokedByDenyList, reason);
    // Its CRLs are born stale.
    let mut crl = Crl::of(&root).revoking(&[9]);
    crl.next_update = NOW - 1;
    let mut case = Case::new(&root, &agent).crl(0, &crl);
    case.refused(Invalid, "CRL has expired(12) at depth:0 SubjectName:/CN=d432fbb3-d2f1-4a97-9ef7-75bd81c00000");
    case.remote.crl = CrlStrictness::Lax;
    assert!(case.accepted().warnings[0].starts_with("CRL has expired(12) at depth:0"));
    case.remote.crl = CrlStrictness::Strict;
    case.refused(Invalid, "CRL has expired(12) at depth:0 SubjectName:/CN=d432fbb3-d2f1-4a97-9ef7-75bd81c00000");
    let mut without = Case::new(&root, &agent);
    assert!(without.accepted().warnings[0].starts_with("unable to get certificate CRL(3)"));
    without.remote.crl = CrlStrictness::Strict;
    without.refused(
        Invalid,
        "unable to get certificate CRL(3) at depth:0 SubjectName:/CN=d432fbb3-d2f1-4a97-9ef7-75bd81c00000",
    );
    case.remote.crl = CrlStrictness::Lax;
    let reason = "certificate revoked(23) at depth:0 SubjectName:/CN=d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
    crl.revoked = vec![vec![2]];
    case.crl(0, &crl).refused(RevokedByCrl, reason);
}

#[test]
fn revoked_by_crl() {
    let root = ca("Root").sign_self();
    let middle = ca("Middle").serial(5).signed_by(&root);
    let alice = leaf("alice").serial(0x80).signed_by(&middle);
    let (root_crl, middle_crl) = (Crl::of(&root), Crl::of(&middle));
    let case = || Case::new(&root, &alice).also_sent(&[&middle]);
    assert_eq!(case().crl(0, &root_crl).crl(0, &middle_crl).accepted().warnings, Vec::<String>::new());
    let revoked = "certificate revoked(23) at depth:0 SubjectName:/CN=alice";
    case().crl(0, &root_crl).crl(0, &Crl::of(&middle).revoking(&[0x80])).refused(RevokedByCrl, revoked);
    case().crl(0, &Crl::of(&middle).revoking(&[0x80])).refused(RevokedByCrl, revoked);
    case().crl(0, &Crl::of(&root).revoking(&[0x80])).accepted();
    let revoked = "certificate revoked(23) at depth:1 SubjectName:/CN=Middle";
    case().crl(0, &Crl::of(&root).revoking(&[5])).refused(RevokedByCrl, revoked);
    // The root itself, in its own list.
    let revoked = "certificate revoked(23) at depth:2 SubjectName:/CN=Root";
    let crl = Crl::of(&root).revoking(&[1]);
    case().crl(0, &crl).crl(0, &middle_crl).refused(RevokedByCrl, revoked);
}

#[test]
fn crls_that_cannot_be_trusted() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").signed_by(&root);
    let mut stale = Crl::of(&root);
    stale.next_update = NOW - 1;
    let reason = "CRL has expired(12) at depth:0 SubjectName:/CN=alice";
    Case::new(&root, &alice).crl(0, &stale).refused(Invalid, reason);
    let twin = ca("Root").sign_self();
    let reason = "CRL signature failure(8) at depth:0 SubjectName:/CN=alice";
    Case::new(&root, &alice).crl(0, &Crl::of(&twin)).refused(Invalid, reason);
    // Empty (keylime before its first revocation) and unreadable files are no CRL.
    for content in ["", "-----BEGIN X509 CRL-----\nMIIB"] {
        let case = Case::new(&root, &alice);
        let hash = root.certificate.subject_name_hash();
        fs::write(case.folder.path().join(format!("{hash:08x}.r0")), content).unwrap();
        assert!(case.accepted().warnings.contains(&NO_CRL_LEAF.to_owned()));
    }
}

#[test]
fn a_crl_put_in_place_counts_at_once_and_never_goes_back() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(7).signed_by(&root);
    let case = Case::new(&root, &alice);
    let (judge, request) = (case.judge(), case.request());
    judge.judge(&request).unwrap();
    judge.judge(&request).unwrap();
    let folder = case.folder.path();
    write_crl(folder, 0, &Crl::of(&root).revoking(&[7]));
    let revoked = judge.judge(&request).unwrap_err();
    assert_eq!(revoked.kind, RevokedByCrl);
    // Half written: what was known stays.
    let path = folder.join(format!("{:08x}.r0", root.certificate.subject_name_hash()));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(judge.judge(&request).unwrap_err(), revoked);
    // An older one without the serial.
    let mut older = Crl::of(&root);
    older.last_update -= DAY;
    write_crl(folder, 0, &older);
    assert_eq!(judge.judge(&request).unwrap_err(), revoked);
    // A newer one without it: its issuer has spoken.
    let mut newer = Crl::of(&root);
    newer.last_update += 1;
    write_crl(folder, 0, &newer);
    judge.judge(&request).unwrap();
}

#[test]
fn deny_list() {
    let root = ca("Root").sign_self();
    let middle = ca("Middle").serial(5).signed_by(&root);
    let alice = leaf("alice").serial(7).signed_by(&middle);
    let case = || Case::new(&root, &alice).also_sent(&[&middle]);
    case().denying(key_of(&root), &[7]).denying(key_of(&middle), &[5]).accepted();
    let reason = "certificate serial 7 of /CN=Middle is on the deny list";
    case().denying(key_of(&middle), &[7]).refused(RevokedByDenyList, reason);
    case().denying(DeniedIssuer::Any, &[7]).refused(RevokedByDenyList, reason);
    let reason = "certificate serial 5 of /CN=Root is on the deny list";
    case().denying(key_of(&root), &[5]).refused(RevokedByDenyList, reason);
    // The root: all below it.
    let reason = "certificate serial 1 of /CN=Root is on the deny list";
    case().denying(key_of(&root), &[1]).refused(RevokedByDenyList, reason);
    // Neither leniency helps.
    let reason = "certificate serial 7 of /CN=Middle is on the deny list";
    case().with(|remote| remote.verify_cert = false).denying(key_of(&middle), &[7]).refused(RevokedByDenyList, reason);
    case().pinning(&alice).denying(DeniedIssuer::Any, &[7]).refused(RevokedByDenyList, reason);
    // An issuer that nobody shows: its name must do.
    let alone = Case::new(&root, &leaf("alice").serial(7).signed_by(&ca("Root").sign_self()));
    let reason = "certificate serial 7 of /CN=Root is on the deny list";
    alone.with(|remote| remote.verify_cert = false).denying(key_of(&root), &[7]).refused(RevokedByDenyList, reason);
}

#[test]
fn a_denial_by_another_process_ends_a_remembered_verdict() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").serial(7).signed_by(&root);
    let case = Case::new(&root, &alice);
    let (judge, request) = (case.judge(), case.request());
    judge.judge(&request).unwrap();
    let mut other = DenyList::open(case.folder.path().join("revoked")).unwrap();
    other
        .add(DenyEntry {
            issuer: key_of(&root),
            serial: vec![7],
            time: 0,
            source: "t".into(),
            issuer_name: String::new(),
        })
        .unwrap();
    assert_eq!(judge.judge(&request).unwrap_err().kind, RevokedByDenyList);
    other.remove(key_of(&root), &[7]).unwrap();
    judge.judge(&request).unwrap();
    // Nor does a verdict outlive the certificate.
    let later = JudgeRequest { wall: NOW + 31 * DAY, ..request };
    assert_eq!(judge.judge(&later).unwrap_err().kind, Expired);
}

#[test]
fn keys_and_signatures_too_weak() {
    let root = ca("Root").sign_self();
    let weak = leaf("alice").key(&rsa(1024)).signed_by(&root);
    let warning = "RSA key of 1024 bits is weak at depth:0 SubjectName:/CN=alice".to_owned();
    assert!(Case::new(&root, &weak).accepted().warnings.contains(&warning));
    let tiny = leaf("alice").key(&rsa(768)).signed_by(&root);
    Case::new(&root, &tiny).refused(Invalid, "RSA key of 768 bits is too weak at depth:0 SubjectName:/CN=alice");
    for digest in [MessageDigest::sha1(), MessageDigest::md5()] {
        let old = leaf("alice").digest(digest).signed_by(&root);
        let rejection = Case::new(&root, &old).verdict().unwrap_err();
        assert_eq!(rejection.kind, Invalid);
        assert!(rejection.reason.contains(", which is broken at depth:0 SubjectName:/CN=alice"), "{rejection:?}");
    }
    // The anchor's own signature proves nothing anyway.
    let old = ca("Root").digest(MessageDigest::sha1()).sign_self();
    Case::new(&old, &leaf("alice").signed_by(&old)).accepted();
}

#[test]
fn keys_that_cost_too_much_or_are_none() {
    let root = ca("Root").sign_self();
    let bounds = "RSA key out of bounds (modulus or exponent) at depth:0 SubjectName:/CN=alice";
    for (modulus, exponent) in [
        (vec![0xc1; 2048], vec![3]), // 16,384 bits
        (vec![0xc1; 256], vec![1]),
        (vec![0xc1; 256], vec![0x01, 0x00, 0x00]),       // even
        (vec![0xc1; 256], vec![2, 0, 0, 0, 1]),          // above 2^33
        (vec![0xc1; 256], vec![1, 0, 0, 0, 0, 0, 0, 1]), // about 2^56
    ] {
        let odd = leaf("alice").public(&modulus, &exponent).signed_by(&root);
        Case::new(&root, &odd).refused(Invalid, bounds);
    }
    let curve = leaf("alice").key(&maker::ec()).signed_by(&root);
    assert!(matches!(Case::new(&root, &curve).accepted().public_key, PublicKey::Ec(_)));
    // An authority may have one.
    let curve = ca("Root").key(&maker::ec()).sign_self();
    Case::new(&curve, &leaf("alice").signed_by(&curve)).accepted();
}

#[test]
fn what_is_sent() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice").signed_by(&root);
    let mut case = Case::new(&root, &alice);
    case.sent.clear();
    case.refused(Missing, "no peer's CERT payload found.");
    for octets in
        [vec![], vec![0x30, 0x80], vec![0x30; 500], [alice.der(), vec![0]].concat(), alice.der()[..300].to_vec()]
    {
        case.sent = vec![octets];
        case.refused(Malformed, "peer's CERT payload is no certificate.");
    }
    case.sent = vec![alice.der(); 65];
    let reason = format!("peer's CERT payloads are too many or too large (65, {} octets).", 65 * alice.der().len());
    case.refused(Malformed, &reason);
    case.sent = vec![alice.der(), vec![0x30; 65_536]];
    assert_eq!(case.verdict().unwrap_err().kind, Malformed);
    case.sent = vec![alice.der(), b"junk".to_vec()];
    assert!(case.accepted().warnings[0].starts_with("1 of the peer's CERT payloads are unreadable"));
    // The one the identity belongs to is the leaf, wherever it stands.
    let middle = ca("Middle").signed_by(&root);
    let bob = leaf("bob").signed_by(&middle);
    let mut case = Case::new(&root, &bob);
    case.sent = vec![middle.der(), bob.der()];
    assert_eq!(case.accepted().subject, "/CN=bob");
}

#[test]
fn a_pkcs7_bundle() {
    let root = ca("Root").sign_self();
    let middle = ca("Middle").signed_by(&root);
    let bob = leaf("bob").signed_by(&middle);
    let case = Case::new(&root, &bob);
    let mut request = case.request();
    request.certificates.clear();
    request.pkcs7 = vec![maker::bundle(&[&middle, &bob])];
    assert_eq!(case.judge().judge(&request).unwrap().chain.len(), 3);
    request.pkcs7 = vec![vec![0x30, 0x03, 1, 2, 3]];
    assert_eq!(case.judge().judge(&request).unwrap_err().kind, Malformed);
}

#[test]
fn identities() {
    let root = ca("Root").sign_self();
    let alice = leaf("alice")
        .dns("other.example.org")
        .dns("gw.example.org")
        .email("ops@example.org")
        .ip("192.0.2.7")
        .signed_by(&root);
    let claim = |identity: Identity| Case::new(&root, &alice).claiming(identity);
    let name =
        |text: &str| Identity::Asn1Dn(ike::identity::dn::Pattern::parse(text).unwrap().to_name().unwrap().to_der());
    claim(name("CN=ALICE")).accepted();
    claim(name("CN=alice, CN=alice")).refused(IdentityMismatch, "ID mismatched with ASN1 SubjectName.");
    claim(Identity::Asn1Dn(vec![0x30, 0x80])).refused(IdentityMismatch, "ID mismatched with ASN1 SubjectName.");
    claim(Identity::Fqdn("GW.example.org".to_owned())).accepted();
    for wrong in ["alice", "gw.example.or", "example.org", "*.example.org", "gw.example.org.evil"] {
        let reason = format!("ID mismatched with subjectAltName: the certificate is not for fqdn {wrong:?}.");
        claim(Identity::Fqdn(wrong.to_owned())).refused(IdentityMismatch, &reason);
    }
    claim(Identity::UserFqdn("ops@example.org".to_owned())).accepted();
    let reason = "ID mismatched with subjectAltName: the certificate is not for user_fqdn \"gw.example.org\".";
    claim(Identity::UserFqdn("gw.example.org".to_owned())).refused(IdentityMismatch, reason);
    claim(Identity::Address("192.0.2.7".parse().unwrap())).with(|remote| remote.verify_identifier = true).accepted();
    let reason = "ID mismatched with subjectAltName: the certificate is not for address 192.0.2.8.";
    let wrong = || claim(Identity::Address("192.0.2.8".parse().unwrap()));
    assert!(wrong().accepted().warnings.contains(&reason.to_owned()));
    wrong().with(|remote| remote.verify_identifier = true).refused(IdentityMismatch, reason);
    let keyid = || claim(Identity::KeyId(b"k".to_vec()));
    keyid().refused(IdentityMismatch, "Improper ID type passed: keyid says nothing about a certificate.");
    // verify_cert off asks for none of this.
    keyid().with(|remote| remote.verify_cert = false).accepted();
}

#[test]
fn pinned() {
    let root = ca("Root").sign_self();
    // As the LARTC's recipe makes them: self-signed, in time or out of it, an authority of its own.
    let maker = leaf("alice").authority().valid(NOW - 9 * DAY, NOW - 1).digest(MessageDigest::sha1());
    let alice = maker.sign_self();
    let case = Case::new(&root, &alice).pinning(&alice);
    let accepted = case.accepted();
    for warning in
        ["self-signed certificate(18)", "certificate has expired(10)", "certificate of a CA used as a host's"]
    {
        assert!(accepted.warnings.iter().any(|line| line.starts_with(warning)), "{warning}: {:?}", accepted.warnings);
    }
    assert_eq!(accepted.chain[0].issuer_key, issuer::key_id(&alice.certificate).unwrap());
    // What the peer sends does not count.
    let mut other = Case::new(&root, &leaf("mallory").sign_self()).pinning(&alice);
    other.identity = case.identity.clone();
    assert_eq!(other.accepted().subject, "/CN=alice");
    other.sent.clear();
    other.accepted();
    // Pinning is no anchor for what others signed.
    let bob = leaf("bob").signed_by(&ca("Other").sign_self());
    let reason = "unable to get local issuer certificate(20) at depth:0 SubjectName:/CN=bob";
    Case::new(&root, &bob).pinning(&bob).refused(Untrusted, reason);
    let gone = Case::new(&root, &alice).with(|remote| remote.peers_certfile = Some("/nonexistent/peer.pem".to_owned()));
    gone.refused(Missing, "certificate file /nonexistent/peer.pem does not exist");
}

#[test]
fn unverified() {
    let root = ca("Root").sign_self();
    let anyone = leaf("alice").valid(NOW - 9 * DAY, NOW - 1).serial(3).signed_by(&ca("Unknown").sign_self());
    let case = Case::new(&root, &anyone).with(|remote| remote.verify_cert = false);
    let accepted = case.accepted();
    assert_eq!((accepted.chain[0].issuer_key, accepted.chain[0].serial.as_slice()), ([0; 32], [3].as_slice()));
}
