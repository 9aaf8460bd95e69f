//! The judge of peers' certificates: from CERT payloads and a claimed identity to a key to trust, or a reason not to.
//!
//! Order, cheapest refusals first: limits, parsing, the deny list, the identity; then the path with its CRLs (OpenSSL),
//! and what IKE wants beyond it. Each refusal has words of its own, racoon's where it had any.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};

use ike::event::question::{CertificateId, JudgeRequest, PeerCertificate, Rejection, RejectionKind};
use ike::identity::der::Reader;
use openssl::pkcs7::Pkcs7;
use openssl::x509::{X509, X509Ref};
use policy::model::identity::Identity;
use policy::model::remote::CrlStrictness;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::binding::{self, AddressMismatch};
use super::leaf::{self, Source, reject};
use super::trust::{Anchor, Consulted, TrustFiles};
use super::verdicts::{Validity, Verdicts};
use super::verify::{self, Outcome};
use crate::civil::unix;
use crate::revocation::crl::Crl;
use crate::revocation::crl::store::{CrlStore, InUse};
use crate::revocation::deny_list::{DeniedIssuer, DenyEntry, SharedDenyList};
use crate::revocation::{issuer, serial};

/// Certificates a peer may send in all (IKEV1 P-4).
const MAX_CERTIFICATES: usize = 64;
/// Octets of certificates a peer may send in all.
const MAX_OCTETS: usize = 64 * 1024;

/// Judges certificates for one configuration. May be asked from several threads at once; a question takes in the order
/// of a millisecond the first time.
#[derive(Debug)]
pub struct Judge {
    trust: TrustFiles,
    deny_list: SharedDenyList,
    verdicts: Verdicts,
    /// CRLs in use, of a daemon.
    crls: OnceLock<Crls>,
}

/// CRLs in use, and whom to tell when a chain has shown the issuer of another one.
#[derive(Clone)]
pub struct Crls {
    /// The CRLs.
    pub store: Arc<CrlStore>,
    /// Is told of each that is in use from now on.
    pub accepted: Arc<dyn Fn(Arc<InUse>) + Send + Sync>,
}

impl fmt::Debug for Crls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crls").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What a peer showed, taken apart.
struct Presented {
    leaf: X509,
    der: Vec<u8>,
    others: Vec<X509>,
    source: Source,
}

/// What is gathered on the way to a verdict.
#[derive(Default)]
struct Notes {
    warnings: Vec<String>,
    consulted: Consulted,
}

impl Judge {
    pub(super) fn new(trust: TrustFiles, deny_list: SharedDenyList) -> Self {
        Self { trust, deny_list, verdicts: Verdicts::default(), crls: OnceLock::new() }
    }

    /// A judge for certificates below `certificate_dir` (`path certificate`): what `remotes::load` builds.
    pub fn of_directory(certificate_dir: Option<&Path>, deny_list: SharedDenyList) -> Self {
        Self::new(TrustFiles::new(certificate_dir.map(Path::to_owned)), deny_list)
    }

    /// Goes by these CRLs too, from now on; the first that are given stay.
    pub fn use_crls(&self, crls: Crls) {
        let _given_before = self.crls.set(crls);
    }

    fn store(&self) -> Option<&CrlStore> {
        self.crls.get().map(|crls| crls.store.as_ref())
    }

    /// Judges a peer's certificate.
    ///
    /// # Errors
    /// [`Rejection`]: the kind for the notify, the reason for the log.
    pub fn judge(&self, request: &JudgeRequest) -> Result<Arc<PeerCertificate>, Rejection> {
        check_limits(request)?;
        let mut notes = Notes::default();
        // Both only grow.
        let generation = self.refresh_deny_list(&mut notes).wrapping_add(self.store().map_or(0, CrlStore::generation));
        let question = Verdicts::question(request);
        if let Some(known) = self.verdicts.find(&question, generation, request.wall) {
            return Ok(known);
        }
        let (verdict, validity) = self.decide(request, &mut notes)?;
        let verdict = Arc::new(verdict);
        self.verdicts.remember(question, generation, validity, notes.consulted, Arc::clone(&verdict));
        Ok(verdict)
    }

    fn decide(&self, request: &JudgeRequest, notes: &mut Notes) -> Result<(PeerCertificate, Validity), Rejection> {
        let remote = &request.remote.remote;
        let presented = match &remote.peers_certfile {
            Some(path) => self.pinned(Path::new(path), notes)?,
            None => received(request, notes)?,
        };
        let public_key = leaf::public_key(&presented.leaf)?;
        if !leaf::is_bearable(&presented.leaf) {
            let subject = issuer::subject_line(&presented.leaf);
            let reason = format!("RSA key out of bounds (modulus or exponent) at depth:0 SubjectName:{subject}");
            return Err(reject(RejectionKind::Invalid, reason));
        }
        let anchors = self.anchors(remote.ca_file.as_deref(), &presented, notes)?;
        self.refuse_denied_leaf(&presented, &anchors)?;
        let chain = if remote.verify_cert {
            self.verified_chain(request, &presented, &anchors, notes)?
        } else {
            self.unverified_chain(&presented, &anchors)?
        };
        let mut validity = Validity::from(request.wall);
        for certificate in chain.certificates.iter().chain([&presented.leaf]) {
            validity.ends_by(unix(certificate.not_after()));
        }
        for end in chain.crl_ends {
            validity.ends_by(end);
        }
        let certificate = PeerCertificate {
            public_key,
            chain: chain.ids,
            subject: issuer::subject_line(&presented.leaf),
            issuer: issuer::issuer_line(&presented.leaf),
            not_after: unix(presented.leaf.not_after()),
            der: presented.der,
            warnings: std::mem::take(&mut notes.warnings),
        };
        Ok((certificate, validity))
    }

    /// Looks whether another process changed the list.
    fn refresh_deny_list(&self, notes: &mut Notes) -> u64 {
        let mut list = self.deny_list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = list.reload_if_changed() {
            notes.warnings.push(format!("{error}: going by what was read before"));
        }
        list.generation()
    }

    fn pinned(&self, path: &Path, notes: &mut Notes) -> Result<Presented, Rejection> {
        let missing = |reason: String| reject(RejectionKind::Missing, reason);
        let file = self.trust.certificates(path, &mut notes.consulted).map_err(|error| missing(error.to_string()))?;
        let mut certificates = file.iter().map(|anchor| anchor.certificate.clone());
        let Some(leaf) = certificates.next() else {
            return Err(missing(format!("no usable certificate in {}.", path.display())));
        };
        let der = leaf.to_der().map_err(|error| reject(RejectionKind::Malformed, error.to_string()))?;
        Ok(Presented { leaf, der, others: certificates.collect(), source: Source::Pinned })
    }

    fn anchors(
        &self,
        ca_file: Option<&str>,
        presented: &Presented,
        notes: &mut Notes,
    ) -> Result<Vec<Anchor>, Rejection> {
        let shown: Vec<&X509> = std::iter::once(&presented.leaf).chain(&presented.others).collect();
        self.trust
            .anchors(ca_file.map(Path::new), &shown, &mut notes.consulted)
            .map_err(|error| reject(RejectionKind::Untrusted, error.to_string()))
    }

    /// The deny list before anything expensive: a signature is checked only if the serial is on the list at all.
    fn refuse_denied_leaf(&self, presented: &Presented, anchors: &[Anchor]) -> Result<(), Rejection> {
        let number = issuer::serial_of(&presented.leaf);
        let is_denied = self.deny_list.lock().unwrap_or_else(PoisonError::into_inner).has_serial(&number);
        if !is_denied && !self.store().is_some_and(|store| store.has_serial(&number)) {
            return Ok(());
        }
        match find_issuer(presented, anchors) {
            Some(issuer_key) => {
                let id = CertificateId { issuer_key, serial: number };
                self.refuse_denied(std::slice::from_ref(&id), &presented.leaf)?;
                self.refuse_listed(&[id], &presented.leaf)
            }
            // An unknown issuer: by serial alone, or by the name the entry was made for.
            None => {
                let list = self.deny_list.lock().unwrap_or_else(PoisonError::into_inner);
                let name = issuer::issuer_line(&presented.leaf);
                let entries = list.entries();
                let denies = |entry: &&&DenyEntry| {
                    entry.serial == number && (entry.issuer == DeniedIssuer::Any || entry.issuer_name == name)
                };
                match entries.iter().find(denies) {
                    Some(_) => Err(denied(&number, &name)),
                    None => Ok(()),
                }
            }
        }
    }

    fn refuse_denied(&self, ids: &[CertificateId], leaf: &X509Ref) -> Result<(), Rejection> {
        let list = self.deny_list.lock().unwrap_or_else(PoisonError::into_inner);
        for (depth, id) in ids.iter().enumerate() {
            if let Some(entry) = list.find(id) {
                let name = if depth == 0 { issuer::issuer_line(leaf) } else { entry.issuer_name.clone() };
                return Err(denied(&id.serial, &name));
            }
        }
        Ok(())
    }

    /// What a CRL in use lists is refused, however old that CRL is.
    fn refuse_listed(&self, ids: &[CertificateId], leaf: &X509Ref) -> Result<(), Rejection> {
        let Some(store) = self.store() else { return Ok(()) };
        for (depth, id) in ids.iter().enumerate() {
            if let Some((_, list)) = store.lists(id) {
                let subject = if depth == 0 { issuer::subject_line(leaf) } else { String::new() };
                let number = serial::to_decimal(&id.serial);
                let (issuer, origin) = (&list.crl.issuer_name, &list.origin);
                let reason = format!(
                    "certificate revoked(23) at depth:{depth} SubjectName:{subject}: serial {number} is in the CRL of {issuer} ({origin})"
                );
                return Err(reject(RejectionKind::RevokedByCrl, reason));
            }
        }
        Ok(())
    }

    /// The CAs of a verified chain may be what a CRL waited for.
    fn meet(&self, chain: &[X509], wall: u64) {
        let Some(crls) = self.crls.get() else { return };
        for entry in crls.store.trust(chain.iter().skip(1), wall) {
            (crls.accepted)(entry);
        }
    }

    fn verified_chain(
        &self,
        request: &JudgeRequest,
        presented: &Presented,
        anchors: &[Anchor],
        notes: &mut Notes,
    ) -> Result<Chain, Rejection> {
        let (leaf, remote) = (&presented.leaf, &request.remote.remote);
        let parsed = parse(&presented.der)?;
        let addresses = if remote.verify_identifier { AddressMismatch::Fatal } else { AddressMismatch::Warned };
        binding::check(leaf, &parsed, &request.identity, addresses, &mut notes.warnings)?;

        let hashes = issuer_hashes(presented, anchors);
        let mut crls = self.trust.crls(&hashes, self.store(), &mut notes.consulted, &mut notes.warnings);
        let is_wanted = |crl: &Crl| {
            let named = anchors.iter().map(|anchor| &anchor.certificate).chain(&presented.others);
            named.into_iter().any(|ca| crl.is_named_for(ca))
        };
        crls.extend(self.store().map(|store| store.for_verifier(is_wanted)).unwrap_or_default());
        let trusted = anchors.iter().map(|anchor| anchor.certificate.clone());
        let tolerate = tolerated(presented.source, remote.crl);
        let Outcome { tolerated, fatal, chain } =
            verify::verify(leaf, &presented.others, trusted, &crls, request.wall, tolerate)
                .map_err(|error| reject(RejectionKind::Invalid, format!("OpenSSL: {error}")))?;
        if let Some(finding) = fatal {
            return Err(reject(kind_of(finding.code), finding.line()));
        }
        notes.warnings.extend(tolerated.iter().map(verify::Finding::line));

        let ids = ids_of(&chain)?;
        self.refuse_denied(&ids, leaf)?;
        self.meet(&chain, request.wall);
        self.refuse_listed(&ids, leaf)?;
        leaf::check_strength(&chain, presented.source, &mut notes.warnings)?;
        // A leaf that is itself a trust anchor was vouched for as a pinned one is.
        let vouched = anchors.iter().any(|anchor| anchor.certificate == *leaf);
        let source = if vouched { Source::Pinned } else { presented.source };
        leaf::check_usage(leaf, &parsed, source, &mut notes.warnings)?;
        let crl_ends = crls.iter().filter_map(|crl| crl.next_update()).map(unix).collect();
        Ok(Chain { ids, certificates: chain, crl_ends })
    }

    /// `verify_cert off`: the certificate is taken as it is; the deny list holds all the same.
    fn unverified_chain(&self, presented: &Presented, anchors: &[Anchor]) -> Result<Chain, Rejection> {
        // Nobody knows the issuer: the serial alone must do, and no real key has this hash.
        let issuer_key = find_issuer(presented, anchors).unwrap_or([0; 32]);
        let ids = vec![CertificateId { issuer_key, serial: issuer::serial_of(&presented.leaf) }];
        Ok(Chain { ids, certificates: Vec::new(), crl_ends: Vec::new() })
    }
}

struct Chain {
    ids: Vec<CertificateId>,
    certificates: Vec<X509>,
    crl_ends: Vec<u64>,
}

fn denied(number: &[u8], issuer_name: &str) -> Rejection {
    let reason = format!("certificate serial {} of {issuer_name} is on the deny list", serial::to_decimal(number));
    reject(RejectionKind::RevokedByDenyList, reason)
}

fn check_limits(request: &JudgeRequest) -> Result<(), Rejection> {
    let payloads = request.certificates.iter().chain(&request.pkcs7);
    let (count, octets) = payloads.fold((0, 0), |(count, octets), payload| (count + 1, octets + payload.len()));
    if count > MAX_CERTIFICATES || octets > MAX_OCTETS {
        let reason = format!("peer's CERT payloads are too many or too large ({count}, {octets} octets).");
        return Err(reject(RejectionKind::Malformed, reason));
    }
    Ok(())
}

/// The certificates of a request. The first is the leaf, unless the claimed identity belongs to a later one.
fn received(request: &JudgeRequest, notes: &mut Notes) -> Result<Presented, Rejection> {
    let mut found: Vec<(X509, Vec<u8>)> = Vec::new();
    let mut unreadable = 0;
    for payload in &request.certificates {
        match read_certificate(payload) {
            Some(certificate) => found.push((certificate, payload.clone())),
            // The first one is the peer's own: a later one may be readable, but nobody should guess.
            None if found.is_empty() && unreadable == 0 => {
                return Err(reject(RejectionKind::Malformed, "peer's CERT payload is no certificate."));
            }
            None => unreadable += 1,
        }
    }
    for bundle in &request.pkcs7 {
        match unpack(bundle) {
            Some(certificates) => found.extend(certificates),
            None => unreadable += 1,
        }
    }
    if found.len() > MAX_CERTIFICATES {
        return Err(reject(RejectionKind::Malformed, "peer's CERT payloads hold more than 64 certificates."));
    }
    if found.is_empty() {
        return Err(if unreadable > 0 {
            reject(RejectionKind::Malformed, "peer's CERT payload is no certificate.")
        } else {
            reject(RejectionKind::Missing, "no peer's CERT payload found.")
        });
    }
    if unreadable > 0 {
        notes.warnings.push(format!("{unreadable} of the peer's CERT payloads are unreadable and were ignored."));
    }
    let leaf = found.iter().position(|(one, der)| is_claimed(one, der, &request.identity)).unwrap_or(0);
    let (leaf, der) = found.swap_remove(leaf);
    // What would cost too much to check a signature with is no intermediate.
    let others = found.into_iter().map(|(one, _)| one).filter(|one| leaf::is_bearable(one)).collect();
    Ok(Presented { leaf, der, others, source: Source::Received })
}

fn is_claimed(certificate: &X509Ref, der: &[u8], identity: &Identity) -> bool {
    parse(der).is_ok_and(|parsed| binding::belongs(certificate, &parsed, identity))
}

/// One certificate and nothing behind it.
fn read_certificate(der: &[u8]) -> Option<X509> {
    let mut reader = Reader::new(der);
    reader.expect(ike::identity::der::SEQUENCE).ok()?;
    reader.finish().ok()?;
    X509::from_der(der).ok()
}

/// The certificates of a PKCS#7 bundle (RFC 4945 §3.3.10.2); its signatures, if any, mean nothing here.
fn unpack(bundle: &[u8]) -> Option<Vec<(X509, Vec<u8>)>> {
    let bundle = Pkcs7::from_der(bundle).ok()?;
    let certificates = bundle.signed()?.certificates()?;
    certificates.iter().map(|one| Some((one.to_owned(), one.to_der().ok()?))).collect()
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Rejection> {
    match X509Certificate::from_der(der) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => Err(reject(RejectionKind::Malformed, format!("peer's certificate is unreadable: {error}"))),
    }
}

/// The key that signed the leaf, among anchors, what the peer sent, and the leaf itself.
fn find_issuer(presented: &Presented, anchors: &[Anchor]) -> Option<[u8; 32]> {
    let leaf = &presented.leaf;
    if let Some(anchor) = anchors.iter().find(|anchor| issuer::signed_by(leaf, &anchor.certificate)) {
        return Some(anchor.key);
    }
    let mut shown = presented.others.iter().chain([leaf]);
    shown.find(|candidate| issuer::signed_by(leaf, candidate)).and_then(|found| issuer::key_id(found).ok())
}

/// Hashes of the names whose CRLs a path can need: issuers of what was shown, and of the anchors these lead to. The
/// system's default file holds a hundred others.
fn issuer_hashes(presented: &Presented, anchors: &[Anchor]) -> Vec<u32> {
    let mut hashes: Vec<u32> =
        std::iter::once(&presented.leaf).chain(&presented.others).map(|shown| shown.issuer_name_hash()).collect();
    let mut next = 0;
    while let Some(&hash) = hashes.get(next) {
        next += 1;
        for anchor in anchors.iter().filter(|anchor| anchor.certificate.subject_name_hash() == hash) {
            let above = anchor.certificate.issuer_name_hash();
            if !hashes.contains(&above) {
                hashes.push(above);
            }
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// Identifiers along a path, the root's too: whoever revokes a CA means all below it. (OpenSSL looks for the root in its own CRL
/// as well.)
fn ids_of(chain: &[X509]) -> Result<Vec<CertificateId>, Rejection> {
    let root = chain.last().filter(|root| chain.len() == 1 || issuer::is_self_issued(root));
    let issuers = chain.iter().skip(1).chain(root);
    chain
        .iter()
        .zip(issuers)
        .map(|(certificate, issuer)| {
            issuer::certificate_id(certificate, issuer)
                .map_err(|error| reject(RejectionKind::Malformed, error.to_string()))
        })
        .collect()
}

fn tolerated(source: Source, crl: CrlStrictness) -> fn(i32) -> bool {
    match (source, crl) {
        (Source::Received, CrlStrictness::Racoon) => |code| code == code::NO_CRL,
        (Source::Received, CrlStrictness::Lax) => |code| [code::NO_CRL, code::CRL_EXPIRED].contains(&code),
        (Source::Received, CrlStrictness::Strict) => |_| false,
        (Source::Pinned, CrlStrictness::Racoon) => |code| code::PINNED.contains(&code),
        (Source::Pinned, CrlStrictness::Lax) => |code| code == code::CRL_EXPIRED || code::PINNED.contains(&code),
        (Source::Pinned, CrlStrictness::Strict) => |code| code != code::NO_CRL && code::PINNED.contains(&code),
    }
}

fn kind_of(code: i32) -> RejectionKind {
    match code {
        code::NOT_YET_VALID | code::EXPIRED | code::BAD_NOT_BEFORE | code::BAD_NOT_AFTER => RejectionKind::Expired,
        code::REVOKED => RejectionKind::RevokedByCrl,
        code::NO_ISSUER
        | code::BAD_SIGNATURE
        | code::SELF_SIGNED_LEAF
        | code::SELF_SIGNED_IN_CHAIN
        | code::NO_LOCAL_ISSUER
        | code::UNVERIFIABLE_LEAF => RejectionKind::Untrusted,
        _ => RejectionKind::Invalid,
    }
}

/// `X509_V_ERR_...` of OpenSSL, as far as they are told apart.
mod code {
    pub(super) const NO_ISSUER: i32 = 2;
    pub(super) const NO_CRL: i32 = 3;
    pub(super) const BAD_SIGNATURE: i32 = 7;
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const CRL_EXPIRED: i32 = 12;
    pub(super) const BAD_NOT_BEFORE: i32 = 13;
    pub(super) const BAD_NOT_AFTER: i32 = 14;
    pub(super) const SELF_SIGNED_LEAF: i32 = 18;
    pub(super) const SELF_SIGNED_IN_CHAIN: i32 = 19;
    pub(super) const NO_LOCAL_ISSUER: i32 = 20;
    pub(super) const UNVERIFIABLE_LEAF: i32 = 21;
    pub(super) const REVOKED: i32 = 23;
    const PATH_LENGTH: i32 = 25;
    const PURPOSE: i32 = 26;
    /// Since OpenSSL 3.0 (before, it was 24, which now says that the issuer has no public key).
    const INVALID_CA: i32 = 79;

    /// What racoon only warned about for a `peers_certfile`.
    pub(super) const PINNED: [i32; 6] = [NO_CRL, EXPIRED, SELF_SIGNED_LEAF, PATH_LENGTH, PURPOSE, INVALID_CA];
}
