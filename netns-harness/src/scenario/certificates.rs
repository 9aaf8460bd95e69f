//! Certificates that must be refused, each with its own reason in xfrmd's log, and chains that must not.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::{CERTS, Ours};
use crate::peer::tunnel::{Credentials, Id, Tunnel};
use crate::peer::{self, Kind, Peer};
use crate::ping;
use crate::pki::{Authority, Style, Validity};
use crate::process::Finished;
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET, Stage};
use crate::scenario::{ALL_PAIRS, PAIRS, Scenario, for_pairs};
use crate::wait;

/// What is wrong with the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is not the peer that is expected.
    Identity,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// Another CA, of the same name, issued it.
    OtherCa,
    /// The CA's list revokes it.
    Listed,
    /// The operator has revoked it here.
    Denied,
}

impl Fault {
    /// The reason xfrmd must log, in racoon's and OpenSSL's words where they have one.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Self::Identity => {
                &["ID mismatched with ASN1 SubjectName", "the identity of the peer (asn1dn) is not the configured one"]
            }
            Self::Expired => &["certificate has expired(10)"],
            Self::NotYet => &["certificate is not yet valid(9)"],
            Self::OtherCa => &["unable to get local issuer certificate(20)", "certificate signature failure(7)"],
            Self::Listed => &["certificate revoked(23)"],
            Self::Denied => &["serial 2 of /C=US/O=Desk/CN=Desk CA is on the deny list"],
        }
    }
}

/// xfrmd judges what another make shows.
const JUDGES: [(Kind, Kind); 2] = [(Kind::Charon, Kind::Ours), (Kind::Pluto, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "refused with its own reason, no SA made";
    // pluto does not load a certificate of its own whose time is wrong.
    for_pairs(out, &ALL_PAIRS, "certificate-of-another-name", about, |d, a, b| refused(d, (a, b), Fault::Identity));
    for_pairs(out, &PAIRS, "certificate-expired", about, |d, a, b| refused(d, (a, b), Fault::Expired));
    for_pairs(out, &PAIRS, "certificate-not-yet-valid", about, |d, a, b| refused(d, (a, b), Fault::NotYet));
    for_pairs(out, &ALL_PAIRS, "certificate-of-another-ca", about, |d, a, b| refused(d, (a, b), Fault::OtherCa));
    for_pairs(out, &ALL_PAIRS, "certificate-revoked-by-crl", about, |d, a, b| refused(d, (a, b), Fault::Listed));
    for_pairs(out, &ALL_PAIRS, "certificate-revoked-by-hand", about, |d, a, b| refused(d, (a, b), Fault::Denied));
    for_pairs(out, &JUDGES, "certificate-chain-gap", "an intermediate that nobody sends: refused", chain_gap);
    for_pairs(
        out,
        &JUDGES,
        "certificate-of-two-cas",
        "each side's certificate is of another CA than its peer's",
        two_cas,
    );
    let stale = "a revocation list that is out of date: refused where the remote says strict";
    for_pairs(out, &JUDGES, "certificate-crl-stale", stale, |d, a, b| stale_list(d, (a, b), "strict"));
    let lax = "a revocation list that is out of date: let pass where the remote says lax";
    for_pairs(out, &JUDGES, "certificate-crl-stale-lax", lax, |d, a, b| stale_list(d, (a, b), "lax"));
    for_pairs(out, &JUDGES, "certificate-not-on-crl", "a list with others on it does not refuse this one", not_listed);
    for_pairs(out, &ALL_PAIRS, "certificate-chain", "an intermediate sent along is used", chain);
}

/// One side judges, and is xfrmd; the other's certificate has a fault. With xfrmd on both sides the responder judges.
fn refused(desk: &mut Desk, kinds: (Kind, Kind), fault: Fault) -> Result<()> {
    let judge_initiates = kinds.0 == Kind::Ours && kinds.1 != Kind::Ours;
    let papers = Papers::issue(desk)?;
    let other = Authority::root(&mut desk.keys, "Desk CA")?;
    let validity = match fault {
        Fault::Expired => Validity::Expired,
        Fault::NotYet => Validity::NotYet,
        _ => Validity::Current,
    };
    let issuer = if fault == Fault::OtherCa { &other } else { &papers.authority };
    let bad = issuer.leaf_with(&mut desk.keys, "alice.desk", ALICE_SERIAL, validity, Style::Usual)?;

    let pair = desk.pair()?;
    let (bad_host, judge_host) = if judge_initiates { (&pair.bob, &pair.alice) } else { (&pair.alice, &pair.bob) };
    let bad_kind = if judge_initiates { kinds.1 } else { kinds.0 };
    let (bad_at, judge_at) = (bad_host.address(Family::V4), judge_host.address(Family::V4));
    let bad_tunnel = Tunnel::transport(bad_at, judge_at, papers.credentials(&bad));
    let mut judge_tunnel = Tunnel::transport(judge_at, bad_at, papers.credentials(&papers.bob));
    match fault {
        Fault::Identity => judge_tunnel.remote_id = Id::Dn("/C=US/O=Desk/CN=somebody.else".to_owned()),
        Fault::Listed => judge_tunnel.credentials.crl = Some(papers.authority.crl(&[ALICE_SERIAL])?),
        _ => {}
    }
    let judge = Ours::start(desk, judge_host, judge_tunnel)?;
    if fault == Fault::Denied {
        revoke_by_hand(&judge)?;
    }
    let bad_peer = peer::start(bad_kind, desk, bad_host, bad_tunnel)?;
    let (from, to) = if judge_initiates { (judge_host, bad_at) } else { (bad_host, judge_at) };
    ping::unanswered(from, to, QUIET)?;

    let refusal = judge_says(&judge, fault).map_err(|failure| {
        failure
            .with("the judge's log", judge.log().unwrap_or_default())
            .with("the other's log", bad_peer.log().unwrap_or_default())
    })?;
    let sas = kernel_state::sas(judge_host)?;
    if !sas.is_empty() {
        return Err(Failure::new("the judge's kernel holds an SA").with("SAs", format!("{sas:#?}")));
    }
    if desk.traffic()?.esp > 0 {
        return Err(Failure::new("ESP went over the link"));
    }
    desk.proved(format!("{fault:?}: refused, no SA, no ESP: {refusal}"));
    Ok(())
}

fn revoke_by_hand(judge: &Ours) -> Result<()> {
    let serial = ALICE_SERIAL.to_string();
    let issuer = format!("{CERTS}/ca.crt");
    let Finished { status, stdout, stderr } = judge.xfrmctl(&["revoke", "--serial", &serial, "--issuer", &issuer])?;
    // 1 says that nothing matched, which is so: no SA was made with it yet.
    if matches!(status.code(), Some(0 | 1)) && stdout.contains("revoked serial 2 of") {
        return Ok(());
    }
    Err(Failure::new(format!("xfrmctl revoke ended with {status}")).with("its output", format!("{stdout}{stderr}")))
}

/// Waits for the line with the reason.
fn judge_says(judge: &Ours, fault: Fault) -> Result<String> {
    let reasons = fault.reasons();
    let what = format!("the log to say \"{}\"", reasons.join("\" or \""));
    wait::until_some(peer::PATIENCE, &what, || {
        let log = judge.log()?;
        let told = log.lines().find(|line| reasons.iter().any(|reason| line.contains(reason)));
        Ok(told.map(str::to_owned))
    })
}

/// Root, intermediate, leaf on alice's side; bob knows the root only.
fn chain(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let below = papers.authority.intermediate(&mut desk.keys, "Desk Sub CA", 7)?;
    let leaf = below.leaf(&mut desk.keys, "alice.sub.desk", 11)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut credentials = papers.credentials(&leaf);
    credentials.intermediate = Some(below.pem);
    let mut at_alice = Tunnel::transport(a, b, credentials);
    // pluto sends its leaf alone unless told to.
    at_alice.extra.ipsec_conn = "\tsendca=issuer\n".to_owned();
    let at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    let stage = Stage::with(desk, (initiator, responder), (&pair.alice, at_alice), (&pair.bob, at_bob))?;
    stage.establish(desk)?;
    desk.proved("bob, who trusts the root, accepted alice's leaf of the intermediate she sent");
    Ok(())
}

/// Root, intermediate, leaf; the initiator does not send the intermediate and the judge knows the root only.
fn chain_gap(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let below = papers.authority.intermediate(&mut desk.keys, "Desk Sub CA", 7)?;
    let leaf = below.leaf(&mut desk.keys, "alice.sub.desk", 11)?;
    judged(desk, (initiator, responder), papers.credentials(&leaf), papers.credentials(&papers.bob), "")?
        .refused(desk, &["unable to get local issuer certificate(20)"])
}

fn two_cas(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let other = Authority::root(&mut desk.keys, "Other CA")?;
    let leaf = other.leaf(&mut desk.keys, "alice.other", 11)?;
    let at_alice = papers.credentials(&leaf);
    let at_bob = Credentials { ca: other.pem, ..papers.credentials(&papers.bob) };
    judged(desk, (initiator, responder), at_alice, at_bob, "")?.establish(desk)?;
    desk.proved("each side trusts the CA of the other's certificate, and no other");
    Ok(())
}

fn stale_list(desk: &mut Desk, kinds: (Kind, Kind), word: &str) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let mut at_bob = papers.credentials(&papers.bob);
    at_bob.crl = Some(papers.authority.stale_crl(&[])?);
    let stage = judged(desk, kinds, papers.credentials(&papers.alice), at_bob, &format!("\tcrl {word};\n"))?;
    if word == "strict" {
        return stage.refused(desk, &["CRL has expired(12)"]);
    }
    stage.establish(desk)?;
    desk.proved("a list that is out of date does not refuse whom it does not list");
    Ok(())
}

fn not_listed(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let mut at_bob = papers.credentials(&papers.bob);
    at_bob.crl = Some(papers.authority.crl(&[99, 100])?);
    judged(desk, (initiator, responder), papers.credentials(&papers.alice), at_bob, "")?.establish(desk)?;
    desk.proved("the list was consulted and does not have it");
    Ok(())
}

/// Both daemons with these credentials; `lines` go into the judge's remote block.
fn judged(
    desk: &mut Desk,
    kinds: (Kind, Kind),
    at_alice: Credentials,
    at_bob: Credentials,
    lines: &str,
) -> Result<Stage> {
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut judge = Tunnel::transport(b, a, at_bob);
    judge.extra.racoon_remote.push_str(lines);
    Stage::with(desk, kinds, (&pair.alice, Tunnel::transport(a, b, at_alice)), (&pair.bob, judge))
}

impl Stage {
    /// No answer, no SA with keys, and bob says why.
    fn refused(&self, desk: &mut Desk, reasons: &[&str]) -> Result<()> {
        ping::unanswered(self.initiator.host(), self.addresses.1, QUIET)?;
        self.logged(&*self.responder, reasons)?;
        let sas = self.sas_at(&*self.responder)?;
        if !sas.is_empty() {
            return Err(self.evidence(Failure::new("an SA was made all the same").with("SAs", format!("{sas:#?}"))));
        }
        desk.proved(format!("refused, and the log says: {}", reasons.join(" or ")));
        Ok(())
    }
}
