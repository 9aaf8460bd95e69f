//! Who a certificate's owner may say he is: every type of identity, matched and not matched by the certificate (RFC 4945
//! §3.1), in both exchanges. The initiator claims, the responder judges.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::Kind;
use crate::peer::tunnel::{Exchange, Id, Tunnel};
use crate::ping;
use crate::pki::AlternativeName::{self, Address, Dns, Mail};
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET, Stage};
use crate::scenario::{Scenario, for_pairs};

/// Ours claims before another make, another make claims before ours.
const PAIRS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Charon), (Kind::Pluto, Kind::Ours)];
/// xfrmd alone lets a wrong address pass with a warning where `verify_identifier` is off, as racoon does.
const JUDGE: [(Kind, Kind); 1] = [(Kind::Pluto, Kind::Ours)];

/// The certificate's subject.
const SUBJECT: &str = "/C=US/O=Desk/CN=alice.desk";

/// One row: a certificate with these alternative names, whose owner claims this.
#[derive(Clone, Copy)]
struct Claim {
    names: &'static [AlternativeName],
    says: fn() -> Id,
    /// Whom the judge expects; what is claimed if none.
    expects: Option<fn() -> Id>,
    accepted: bool,
}

const fn claim(names: &'static [AlternativeName], says: fn() -> Id, accepted: bool) -> Claim {
    Claim { names, says, expects: None, accepted }
}

fn host(name: &str) -> Id {
    Id::Fqdn(name.to_owned())
}

fn mail(name: &str) -> Id {
    Id::UserFqdn(name.to_owned())
}

fn name(name: &str) -> Id {
    Id::Dn(name.to_owned())
}

const HOSTS: &[AlternativeName] = &[Dns("other.desk"), Dns("alice.desk")];
const MAILS: &[AlternativeName] = &[Mail("alice@desk"), Mail("postmaster@desk")];
const OWN: &[AlternativeName] = &[Address([10, 1, 0, 1])];

/// The rows, each with the end of its scenario's name and what it shows.
const ROWS: [(&str, &str, Claim); 11] = [
    ("dns", "a host name among the certificate's", claim(HOSTS, || host("alice.desk"), true)),
    ("dns-mismatch", "a host name that is not the certificate's", claim(HOSTS, || host("mallory.desk"), false)),
    ("email-first", "the first of the certificate's mail addresses", claim(MAILS, || mail("alice@desk"), true)),
    ("email", "another of the certificate's mail addresses", claim(MAILS, || mail("postmaster@desk"), true)),
    ("email-mismatch", "a mail address that is not the certificate's", claim(MAILS, || mail("mallory@desk"), false)),
    ("ip", "the certificate's address", claim(OWN, || Id::Address([10, 1, 0, 1].into()), true)),
    (
        "ip-mismatch",
        "an address that is not the certificate's",
        claim(OWN, || Id::Address([10, 1, 0, 9].into()), false),
    ),
    ("dn", "the certificate's subject", claim(&[], || name(SUBJECT), true)),
    ("dn-mismatch", "another subject", claim(&[], || name("/C=US/O=Desk/CN=mallory.desk"), false)),
    (
        "dn-wildcard",
        "a subject that fits a pattern",
        Claim { names: &[], says: || name(SUBJECT), expects: Some(|| name("/C=US/O=Desk/CN=*")), accepted: true },
    ),
    ("no-san", "a host name that is only the common name", claim(&[], || host("alice.desk"), false)),
];

/// Nothing is expected of the peer but a certificate: the address is warned of and let pass.
const LET_PASS: Claim =
    Claim { names: OWN, says: || Id::Address([10, 1, 0, 9].into()), expects: Some(|| Id::Usual), accepted: true };

pub(super) fn add(out: &mut Vec<Scenario>) {
    for (exchange, prefix) in [(Exchange::Main, "x509-id"), (Exchange::Aggressive, "x509-id-aggressive")] {
        for (end, about, claim) in ROWS {
            for_pairs(out, &PAIRS, &format!("{prefix}-{end}"), about, move |desk, a, b| {
                play(desk, (a, b), exchange, claim)
            });
        }
    }
    let about = "an address that is not the certificate's, where anyone with a certificate will do";
    for_pairs(out, &JUDGE, "x509-id-ip-let-pass", about, |desk, a, b| play(desk, (a, b), Exchange::Main, LET_PASS));
}

fn play(desk: &mut Desk, kinds: (Kind, Kind), exchange: Exchange, claim: Claim) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let leaf = papers.authority.leaf_named(&mut desk.keys, "alice.desk", ALICE_SERIAL, claim.names)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let mut at_alice = Tunnel::transport(a, b, papers.credentials(&leaf));
    let mut at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    (at_alice.exchange, at_bob.exchange) = (exchange, exchange);
    at_alice.local_id = (claim.says)();
    at_bob.remote_id = claim.expects.map_or_else(claim.says, |expects| expects());
    let stage = Stage::with(desk, kinds, (&pair.alice, at_alice), (&pair.bob, at_bob))?;
    if claim.accepted {
        stage.establish(desk)?;
        desk.proved("the certificate's owner may say so");
        return Ok(());
    }
    ping::unanswered(&pair.alice, b, QUIET)?;
    if kinds.1 == Kind::Ours {
        stage.logged(&*stage.responder, &["ID mismatched with"])?;
    }
    for host in [&pair.alice, &pair.bob] {
        let sas = kernel_state::sas(host)?;
        if !sas.is_empty() {
            return Err(
                stage.evidence(Failure::new("an SA was made for a claim that the certificate does not bear out"))
            );
        }
    }
    desk.proved("refused, no SA on either side");
    Ok(())
}
