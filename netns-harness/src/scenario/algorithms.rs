//! The algorithms that people still have, each in both phases, and two sides that have none in common: with libreswan.

use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::peer::suite::{
    AES128, AES192, AES256, ECP256, ECP384, ECP521, MD5, MODP1536, MODP2048, MODP3072, MODP4096, PHASE1, PHASE2,
    Phase1Suite, Phase2Suite, SHA1, SHA256, SHA384, SHA512, Spelling, TRIPLE_DES,
};
use crate::peer::{Kind, PATIENCE};
use crate::ping::{self, Running};
use crate::scenario::stage::{QUIET, Stage};
use crate::scenario::{PLUTO, Scenario, for_pairs};

/// AES-GCM with an ICV of 128 bits.
const GCM: Spelling = Spelling { racoon: "aes_gcm16 128", charon: "aes128gcm16", pluto: "aes_gcm128" };
/// AES in counter mode.
const CTR: Spelling = Spelling { racoon: "aes_ctr 128", charon: "aes128ctr", pluto: "aes_ctr128" };

/// A cipher, a hash and a group for both phases, and what the kernel calls the first two.
type Row = (&'static str, &'static str, [Spelling; 3], [&'static str; 2]);

const ROWS: [Row; 10] = [
    ("alg-3des-md5", "3des, md5, group 5", [TRIPLE_DES, MD5, MODP1536], ["cbc(des3_ede)", "hmac(md5)"]),
    ("alg-3des-sha2", "3des, sha256, group 5", [TRIPLE_DES, SHA256, MODP1536], ["cbc(des3_ede)", "hmac(sha256)"]),
    ("alg-aes128-sha1", "aes 128, sha1, group 14", [AES128, SHA1, MODP2048], ["cbc(aes)", "hmac(sha1)"]),
    ("alg-sha384", "aes 192, sha384, group 15", [AES192, SHA384, MODP3072], ["cbc(aes)", "hmac(sha384)"]),
    ("alg-sha512", "aes 256, sha512, group 16", [AES256, SHA512, MODP4096], ["cbc(aes)", "hmac(sha512)"]),
    ("alg-modp3072", "aes 128, sha256, group 15", [AES128, SHA256, MODP3072], ["cbc(aes)", "hmac(sha256)"]),
    ("alg-aes128", "aes 128, sha256, group 14", [AES128, SHA256, MODP2048], ["cbc(aes)", "hmac(sha256)"]),
    ("alg-ecp256", "aes 128, sha256, the curve P-256", [AES128, SHA256, ECP256], ["cbc(aes)", "hmac(sha256)"]),
    ("alg-ecp384", "aes 192, sha384, the curve P-384", [AES192, SHA384, ECP384], ["cbc(aes)", "hmac(sha384)"]),
    ("alg-ecp521", "aes 256, sha512, the curve P-521", [AES256, SHA512, ECP521], ["cbc(aes)", "hmac(sha512)"]),
];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for (name, about, words, kernel) in ROWS {
        for_pairs(out, &PLUTO, name, about, move |desk, a, b| agree(desk, (a, b), words, kernel));
    }
    let gcm = "AES-GCM for ESP, which authenticates by itself";
    for_pairs(out, &PLUTO, "alg-esp-gcm", gcm, |desk, a, b| esp(desk, (a, b), GCM, None, &["rfc4106(gcm(aes))"]));
    let ctr = "AES in counter mode for ESP";
    let kernel = &["rfc3686(ctr(aes))", "hmac(sha256)"];
    for_pairs(out, &PLUTO, "alg-esp-ctr", ctr, |desk, a, b| esp(desk, (a, b), CTR, Some(SHA256), kernel));
    let phase1 = "no phase 1 proposal in common: refused, nothing comes up";
    for_pairs(out, &PLUTO, "alg-mismatch-phase1", phase1, |desk, a, b| {
        differ(desk, (a, b), Phase1Suite { hash: SHA512, ..PHASE1 }, PHASE2)
    });
    let phase2 = "no phase 2 proposal in common: refused, nothing comes up";
    for_pairs(out, &PLUTO, "alg-mismatch-phase2", phase2, |desk, a, b| {
        differ(desk, (a, b), PHASE1, Phase2Suite { hash: Some(SHA512), ..PHASE2 })
    });
}

fn agree(desk: &mut Desk, kinds: (Kind, Kind), words: [Spelling; 3], kernel: [&str; 2]) -> Result<()> {
    let [cipher, hash, group] = words;
    let phase2 = Phase2Suite { cipher, hash: Some(hash), group, ..PHASE2 };
    carries(desk, kinds, Phase1Suite { cipher, hash, group }, phase2, &kernel)
}

/// The usual phase 1, and this for ESP.
fn esp(desk: &mut Desk, kinds: (Kind, Kind), cipher: Spelling, hash: Option<Spelling>, kernel: &[&str]) -> Result<()> {
    carries(desk, kinds, PHASE1, Phase2Suite { cipher, hash, ..PHASE2 }, kernel)
}

/// Both sides have these suites only; both kernels name the algorithms so, and pings flow.
fn carries(
    desk: &mut Desk,
    kinds: (Kind, Kind),
    phase1: Phase1Suite,
    phase2: Phase2Suite,
    kernel: &[&str],
) -> Result<()> {
    let stage = Stage::set(desk, kinds, Family::V4, |alice, bob| {
        for side in [alice, bob] {
            (side.phase1, side.phase2) = (phase1, phase2);
            // pluto (4.10) has the curves for IKEv1's phase 1 only.
            side.pfs = !phase2.group.charon.starts_with("ecp");
        }
    })?;
    for sa in stage.establish(desk)? {
        let text = sa.algorithms.join(" ");
        if let Some(missing) = kernel.iter().find(|name| !text.contains(*name)) {
            return Err(stage.evidence(Failure::new(format!("an SA has \"{text}\" instead of {missing}"))));
        }
    }
    let running = Running::start(stage.initiator.host(), stage.addresses.1, Duration::from_millis(50))?;
    running.wait_for_answers(PATIENCE, 10).map_err(|failure| stage.evidence(failure))?;
    let tally = running.finish()?;
    if tally.lost() > 0 {
        return Err(stage.evidence(Failure::new(format!("{} of {} pings lost", tally.lost(), tally.sent))));
    }
    desk.proved(format!("{} pings through {}, none lost", tally.sent, kernel.join(" and ")));
    Ok(())
}

fn differ(desk: &mut Desk, kinds: (Kind, Kind), phase1: Phase1Suite, phase2: Phase2Suite) -> Result<()> {
    let stage = Stage::set(desk, kinds, Family::V4, |alice, _| (alice.phase1, alice.phase2) = (phase1, phase2))?;
    ping::unanswered(stage.initiator.host(), stage.addresses.1, QUIET)?;
    for side in [&stage.initiator, &stage.responder] {
        if !stage.sas_at(&**side)?.is_empty() {
            return Err(stage.evidence(Failure::new("an SA was made of proposals that have nothing in common")));
        }
    }
    desk.proved("refused, no SA on either side");
    Ok(())
}
