//! Every suite with another make, each side initiating: a row per suite. Then the shapes that a child can have: AH, AH with
//! ESP, compression in ESP, extended sequence numbers.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state::{self, Sa};
use crate::peer::suite::{
    AES_XCBC, AES128, AES128_CCM12, AES128_GCM8, AES128_GCM16, AES128_GMAC, AES192, AES256, AES256_CTR, AES256_GCM16,
    BRAINPOOL256, CAMELLIA192, CAMELLIA256, ECP256, ECP384, ECP521, MD5, MODP1024, MODP2048, MODP3072, MODP4096, NULL,
    PHASE1, PHASE2, Phase1Suite, Phase2Suite, Protocol, SHA1, SHA256, SHA384, SHA512, Spelling, TRIPLE_DES,
};
use crate::peer::tunnel::{Extra, Mode, Tunnel};
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::{Papers, Stage};
use crate::scenario::{Scenario, for_pairs};
use crate::topology::Gateways;
use crate::wait;

/// With another make in both roles: two copies of one mistake agree with each other.
const FOREIGN: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours)];

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
    /// Behind charon's proposal.
    suffix: &'static str,
    /// In the kernel's words.
    kernel: &'static [&'static str],
}

const fn ike(cipher: Spelling, hash: Spelling, group: Spelling) -> Phase1Suite {
    Phase1Suite { cipher, hash, group }
}

const fn esp(cipher: Spelling, hash: Option<Spelling>, group: Spelling) -> Phase2Suite {
    Phase2Suite { protocol: Protocol::Esp, cipher, hash, group, suffix: "" }
}

const fn row(name: &'static str, phase1: Phase1Suite, phase2: Phase2Suite, kernel: &'static [&'static str]) -> Row {
    Row { name, phase1, phase2, remote: "", sainfo: "", child: "", suffix: "", kernel }
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
        ..row("sha256-96", PHASE1, esp(AES256, Some(SHA256), MODP2048), &["hmac(sha256)", " 96"])
    },
    Row { sainfo: "\tesn on;\n", suffix: "-esn", ..row("esn", PHASE1, PHASE2, &["cbc(aes)"]) },
    Row {
        sainfo: "\tesn prefer;\n",
        suffix: "-esn",
        ..row("esn-gcm", PHASE1, esp(AES128_GCM16, None, MODP2048), &["rfc4106(gcm(aes))"])
    },
    row("ah", PHASE1, Phase2Suite { protocol: Protocol::Ah, ..PHASE2 }, &["hmac(sha256)", " 128"]),
    row(
        "ah-sha512",
        PHASE1,
        Phase2Suite { protocol: Protocol::Ah, hash: Some(SHA512), ..PHASE2 },
        &["hmac(sha512)", " 256"],
    ),
];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for row in ROWS {
        for (initiator, responder) in FOREIGN {
            let name = format!("suite-{}/{}-{}", row.name, initiator.program(), responder.program());
            out.push(Scenario::new(name, "a suite, as another make has it", move |desk| {
                suite(desk, (initiator, responder), row)
            }));
        }
    }
    for_pairs(out, &FOREIGN, "ah-tunnel", "AH between two subnets", ah_tunnel);
    for_pairs(out, &FOREIGN, "compress", "compression in ESP between two subnets", compress);
    for_pairs(out, &[(Kind::Ours, Kind::Ours)], "ah-esp", "AH around ESP, one quick mode for both", ah_esp);
    for_pairs(out, &[(Kind::Ours, Kind::Ours)], "allow-weak", "DES and group 1, because both sides insist", allow_weak);
    for_pairs(out, &FOREIGN, "no-common-suite", "one line says why no proposal was chosen", no_common_suite);
}

fn adjusted(tunnel: &mut Tunnel, row: &Row) {
    (tunnel.phase1, tunnel.phase2) = (row.phase1, row.phase2);
    tunnel.extra.racoon_remote.push_str(row.remote);
    tunnel.extra.racoon_sainfo.push_str(row.sainfo);
    tunnel.extra.swanctl_child.push_str(row.child);
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
fn has(stage: &Stage, sas: &[Sa], words: &[&str]) -> Result<()> {
    for sa in sas {
        let text = sa.algorithms.join(" ");
        if let Some(missing) = words.iter().find(|word| !text.contains(*word)) {
            return Err(stage.evidence(Failure::new(format!("an SA has \"{text}\" instead of {missing}"))));
        }
    }
    Ok(())
}

/// Two gateways; `adjust` changes both tunnels.
fn gateways(desk: &mut Desk, kinds: (Kind, Kind), adjust: impl Fn(&mut Tunnel)) -> Result<(Stage, Gateways)> {
    let papers = Papers::issue(desk)?;
    let gateways = desk.gateways()?;
    let (a, b) = (gateways.west.address(Family::V4), gateways.east.address(Family::V4));
    let (local, remote) = ("10.11.0.0/24", "10.12.0.0/24");
    let mut at_west =
        Tunnel { mode: Mode::tunnel(local, remote), ..Tunnel::transport(a, b, papers.credentials(&papers.alice)) };
    let mut at_east =
        Tunnel { mode: Mode::tunnel(remote, local), ..Tunnel::transport(b, a, papers.credentials(&papers.bob)) };
    adjust(&mut at_west);
    adjust(&mut at_east);
    let stage = Stage::with(desk, kinds, (&gateways.west, at_west), (&gateways.east, at_east))?;
    Ok((stage, gateways))
}

fn ah_tunnel(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let (stage, gateways) = gateways(desk, (initiator, responder), |tunnel| tunnel.phase2.protocol = Protocol::Ah)?;
    let (left, right) = (gateways.left.address(Family::V4), gateways.right.address(Family::V4));
    ping::answered(&gateways.left, right, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let sas = stage.agreed()?;
    if sas.iter().any(|sa| sa.protocol != 51 || sa.mode != kernel_state::Mode::Tunnel) {
        return Err(stage.evidence(Failure::new("an SA is not one of AH in tunnel mode")));
    }
    ping::answered(&gateways.right, left, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    desk.proved("pings between the subnets, both ways, in AH tunnels");
    Ok(())
}

/// The tunnel is that of compression, and ESP protects it in transport mode: as charon and pluto have it.
fn compress(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let (stage, gateways) = gateways(desk, (initiator, responder), |tunnel| {
        tunnel.extra.swanctl_child.push_str("        ipcomp = yes\n");
        let ends = format!("{}-{}", tunnel.local, tunnel.remote);
        let back = format!("{}-{}", tunnel.remote, tunnel.local);
        let Mode::Tunnel { local, remote } = &tunnel.mode else { return };
        tunnel.extra.setkey = format!(
            "spdflush;\nspdadd {local} {remote} any -P out ipsec ipcomp/tunnel/{ends}/require esp/transport//require;\n\
             spdadd {remote} {local} any -P in ipsec ipcomp/tunnel/{back}/use esp/transport//require;\n"
        );
    })?;
    let (left, right) = (gateways.left.address(Family::V4), gateways.right.address(Family::V4));
    ping::answered(&gateways.left, right, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    stage.agreed()?;
    // A thousand octets that repeat themselves: worth compressing.
    let size = ["-c", "3", "-s", "1000", "-W", "5", &right.to_string()].map(str::to_owned);
    let done = gateways.left.run("ping", &size.each_ref().map(String::as_str))?;
    if !done.status.success() {
        return Err(stage.evidence(Failure::new("large pings get no answer").with("ping", done.output())));
    }
    ping::answered(&gateways.right, left, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    for side in [&stage.initiator, &stage.responder] {
        let text = side.host().netns().ip(&["xfrm", "state"])?;
        if text.matches("proto comp spi").count() != 2 {
            return Err(stage.evidence(Failure::new("there is no pair of SAs that compress").with("SAs", text)));
        }
    }
    desk.proved("pings of 1000 octets between the subnets, compressed and then encrypted");
    Ok(())
}

fn ah_esp(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let mut stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        for side in [alice, bob] {
            let (here, there) = (side.local, side.remote);
            let request = "ipsec esp/transport//require ah/transport//require";
            side.extra.setkey = format!(
                "spdflush;\nspdadd {here} {there} any -P out {request};\nspdadd {there} {here} any -P in {request};\n"
            );
        }
    })?;
    ping::answered(stage.initiator.host(), stage.addresses.1, PATIENCE).map_err(|failure| stage.evidence(failure))?;
    let mut both = [stage.sas_at(&*stage.initiator)?, stage.sas_at(&*stage.responder)?];
    for sas in &mut both {
        sas.sort_by_key(|sa| (sa.protocol, sa.spi));
        let protocols: Vec<u8> = sas.iter().map(|sa| sa.protocol).collect();
        if protocols != [50, 50, 51, 51] {
            return Err(stage.evidence(Failure::new(format!("the SAs are of the protocols {protocols:?}"))));
        }
    }
    let [at_alice, at_bob] = &both;
    let keys = |sas: &[Sa]| sas.iter().map(|sa| (sa.spi, sa.algorithms.clone())).collect::<Vec<_>>();
    if keys(at_alice) != keys(at_bob) {
        return Err(stage.evidence(Failure::new("the kernels do not hold the same SAs")));
    }
    ping::answered(stage.responder.host(), stage.addresses.0, PATIENCE)?;
    desk.proved("two pairs of SAs with keys of their own; pings both ways");
    stage.initiator.close()?;
    stage.gone_at(&*stage.initiator)?;
    stage.gone_at(&*stage.responder)?;
    desk.proved("closing takes all four of them out on both sides");
    Ok(())
}

fn allow_weak(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    const DES: Spelling = Spelling { racoon: "des", charon: "des", pluto: "des" };
    const MODP768: Spelling = Spelling { racoon: "1", charon: "modp768", pluto: "modp768" };
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        for side in [alice, bob] {
            side.phase1 = Phase1Suite { cipher: DES, hash: MD5, group: MODP768 };
            side.phase2 = esp(DES, Some(MD5), MODP768);
            let words = "\tallow_weak on;\n".to_owned();
            let (racoon_remote, racoon_sainfo) = (words.clone(), words);
            side.extra = Extra { racoon_remote, racoon_sainfo, ..Extra::default() };
        }
    })?;
    let sas = stage.establish(desk)?;
    has(&stage, &sas, &["cbc(des)", "hmac(md5)"])?;
    for word in ["des is broken", "modp768 (group 1) is broken"] {
        stage.logged(&*stage.initiator, &[word])?;
    }
    desk.proved("DES and group 1, with a warning that names each line");
    Ok(())
}

fn no_common_suite(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let stage = Stage::set(desk, (initiator, responder), Family::V4, |alice, bob| {
        alice.phase2 = esp(AES128, Some(SHA1), MODP2048);
        bob.phase2 = esp(AES256, Some(SHA256), MODP2048);
    })?;
    // Nothing can come of it: the ping only makes the kernel ask.
    let _unanswered = stage.initiator.host().run("ping", &["-c", "1", "-W", "1", &stage.addresses.1.to_string()])?;
    let side = if initiator == Kind::Ours { &stage.initiator } else { &stage.responder };
    let texts: &[&str] = if initiator == Kind::Ours {
        &["NO-PROPOSAL-CHOSEN"]
    } else {
        &[
            "peer offers ESP aes 128/hmac_sha1 transport modp2048; ours is ESP aes 256/hmac_sha256 modp2048; nearest difference: authtype mismatched: aes 128/hmac_sha1",
        ]
    };
    wait::until(PATIENCE, "the reason to be logged", || {
        let log = side.log()?;
        Ok(texts.iter().any(|text| log.contains(text)))
    })
    .map_err(|failure| stage.evidence(failure))?;
    desk.proved("one line names what was offered, what is allowed and how they differ");
    Ok(())
}
