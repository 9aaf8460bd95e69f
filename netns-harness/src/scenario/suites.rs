//! Every suite with another make, each side initiating: a row per suite.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state::Sa;
use crate::peer::suite::{
    AES_XCBC, AES128, AES128_CCM12, AES128_GCM8, AES128_GCM16, AES128_GMAC, AES192, AES256, AES256_CTR, AES256_GCM16,
    BRAINPOOL256, CAMELLIA192, CAMELLIA256, ECP256, ECP384, ECP521, MD5, MODP1024, MODP2048, MODP3072, MODP4096, NULL,
    PHASE1, PHASE2, Phase1Suite, Phase2Suite, Protocol, SHA1, SHA256, SHA384, SHA512, Spelling, TRIPLE_DES,
};
use crate::peer::tunnel::Tunnel;
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::Stage;
use crate::scenario::{PLUTO, Scenario};

/// With another make in both roles: two copies of one mistake agree with each other.
pub(super) const FOREIGN: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours)];

/// What both sides use, and what the kernel then has.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    phase1: Phase1Suite,
    phase2: Phase2Suite,
    /// In the `remote` block of racoon.conf.
    remote: &'static str,
    /// In the `sainfo` block.
    sainfo: &'static str,
    /// In charon's child.
    child: &'static str,
    /// In pluto's conn, where the suite is played with pluto too.
    conn: Option<&'static str>,
    /// Behind charon's proposal.
    suffix: &'static str,
    /// In the kernel's words.
    kernel: &'static [&'static str],
}

const fn ike(cipher: Spelling, hash: Spelling, group: Spelling) -> Phase1Suite {
    Phase1Suite { cipher, hash, group }
}

pub(super) const fn esp(cipher: Spelling, hash: Option<Spelling>, group: Spelling) -> Phase2Suite {
    Phase2Suite { protocol: Protocol::Esp, cipher, hash, group, suffix: "" }
}

const fn row(name: &'static str, phase1: Phase1Suite, phase2: Phase2Suite, kernel: &'static [&'static str]) -> Row {
    Row { name, phase1, phase2, remote: "", sainfo: "", child: "", conn: None, suffix: "", kernel }
}

const ROWS: &[Row] = &[
    row(
        "alg-3des-md5",
        ike(TRIPLE_DES, MD5, MODP1024),
        esp(TRIPLE_DES, Some(MD5), MODP1024),
        &["cbc(des3_ede)", "hmac(md5)"],
    ),
    row(
        "alg-sha384",
        ike(AES192, SHA384, MODP3072),
        esp(AES192, Some(SHA384), MODP3072),
        &["cbc(aes)", "hmac(sha384)", " 192"],
    ),
    row(
        "alg-sha512",
        ike(AES256, SHA512, MODP4096),
        esp(AES256, Some(SHA512), MODP4096),
        &["cbc(aes)", "hmac(sha512)", " 256"],
    ),
    row("alg-ecp-low", ike(AES128, SHA256, ECP256), esp(AES128, Some(SHA1), ECP256), &["cbc(aes)", "hmac(sha1)"]),
    row("alg-ecp-high", ike(AES256, SHA384, ECP384), esp(AES256, Some(SHA256), ECP521), &["cbc(aes)", "hmac(sha256)"]),
    row("alg-brainpool", ike(AES256, SHA256, BRAINPOOL256), esp(AES256, Some(SHA256), BRAINPOOL256), &["cbc(aes)"]),
    row(
        "alg-camellia",
        ike(CAMELLIA256, SHA512, MODP3072),
        esp(CAMELLIA192, Some(SHA384), MODP3072),
        &["cbc(camellia)", "hmac(sha384)"],
    ),
    row("esp-gcm16", PHASE1, esp(AES256_GCM16, None, MODP2048), &["rfc4106(gcm(aes))"]),
    row("esp-gcm8", PHASE1, esp(AES128_GCM8, None, MODP2048), &["rfc4106(gcm(aes))"]),
    row("esp-ccm12", PHASE1, esp(AES128_CCM12, None, MODP2048), &["rfc4309(ccm(aes))"]),
    row("esp-ctr", PHASE1, esp(AES256_CTR, Some(SHA256), MODP2048), &["rfc3686(ctr(aes))", "hmac(sha256)"]),
    row("esp-gmac", PHASE1, esp(AES128_GMAC, None, MODP2048), &["rfc4543(gcm(aes))"]),
    row("esp-xcbc", PHASE1, esp(AES128, Some(AES_XCBC), MODP2048), &["cbc(aes)", "xcbc(aes)"]),
    row("esp-null", PHASE1, esp(NULL, Some(SHA256), MODP2048), &["cipher_null", "hmac(sha256)"]),
    Row {
        remote: "\tsha256_96 on;\n",
        child: "        sha256_96 = yes\n",
        conn: Some("\tsha2-truncbug=yes\n"),
        ..row("sha256-96", PHASE1, esp(AES256, Some(SHA256), MODP2048), &["hmac(sha256)", " 96"])
    },
    Row { sainfo: "\tesn on;\n", suffix: "-esn", ..row("esn", PHASE1, PHASE2, &["cbc(aes)"]) },
    Row {
        sainfo: "\tesn prefer;\n",
        suffix: "-esn",
        ..row("esn-gcm", PHASE1, esp(AES128_GCM16, None, MODP2048), &["rfc4106(gcm(aes))"])
    },
    Row {
        conn: Some(""),
        ..row("ah", PHASE1, Phase2Suite { protocol: Protocol::Ah, ..PHASE2 }, &["hmac(sha256)", " 128"])
    },
    Row {
        conn: Some(""),
        ..row(
            "ah-sha512",
            PHASE1,
            Phase2Suite { protocol: Protocol::Ah, hash: Some(SHA512), ..PHASE2 },
            &["hmac(sha512)", " 256"],
        )
    },
];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for row in ROWS {
        let pluto = PLUTO.into_iter().filter(|_| row.conn.is_some());
        for (initiator, responder) in FOREIGN.into_iter().chain(pluto) {
            let name = format!("suite-{}/{}-{}", row.name, initiator.program(), responder.program());
            out.push(Scenario::new(name, "a suite, as another make has it", move |desk| {
                suite(desk, (initiator, responder), row)
            }));
        }
    }
}

fn adjusted(tunnel: &mut Tunnel, row: &Row) {
    (tunnel.phase1, tunnel.phase2) = (row.phase1, row.phase2);
    tunnel.extra.racoon_remote.push_str(row.remote);
    tunnel.extra.racoon_sainfo.push_str(row.sainfo);
    tunnel.extra.swanctl_child.push_str(row.child);
    tunnel.extra.ipsec_conn.push_str(row.conn.unwrap_or_default());
    tunnel.phase2.suffix = row.suffix;
}

fn suite(desk: &mut Desk, kinds: (Kind, Kind), row: &Row) -> Result<()> {
    let stage = Stage::set(desk, kinds, Family::V4, |alice, bob| {
        adjusted(alice, row);
        adjusted(bob, row);
    })?;
    let sas = stage.establish(desk)?;
    has(&stage, &sas, row.kernel)?;
    if !row.sainfo.is_empty() {
        let esn = stage.initiator.host().netns().ip(&["xfrm", "state"])?.matches("flag esn").count();
        if esn != 2 {
            let what = format!("{esn} of the initiator's two SAs have extended sequence numbers");
            return Err(stage.evidence(Failure::new(what)));
        }
        desk.proved("both SAs count with 64 bits");
    }
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    desk.proved(format!("pings both ways through {}", row.kernel.join(" ")));
    Ok(())
}

/// Every SA has all of these words.
pub(super) fn has(stage: &Stage, sas: &[Sa], words: &[&str]) -> Result<()> {
    for sa in sas {
        let text = sa.algorithms.join(" ");
        if let Some(missing) = words.iter().find(|word| !text.contains(*word)) {
            return Err(stage.evidence(Failure::new(format!("an SA has \"{text}\" instead of {missing}"))));
        }
    }
    Ok(())
}
