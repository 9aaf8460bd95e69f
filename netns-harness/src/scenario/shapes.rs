//! The shapes that a child can have beside ESP alone: AH in tunnels, AH around ESP, compression in ESP. And what happens when
//! two sides have only broken algorithms in common, or none.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state::{self, Sa};
use crate::peer::suite::{AES128, AES256, MD5, MODP2048, Phase1Suite, Protocol, SHA1, SHA256, Spelling};
use crate::peer::tunnel::{Extra, Mode};
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::stage::Stage;
use crate::scenario::suites::{FOREIGN, esp, has};
use crate::scenario::{PLUTO, Scenario, for_pairs};
use crate::wait;

/// As [`FOREIGN`], and pluto.
const MAKES: [(Kind, Kind); 4] = [FOREIGN[0], FOREIGN[1], PLUTO[0], PLUTO[1]];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &MAKES, "ah-tunnel", "AH between two subnets", ah_tunnel);
    for_pairs(out, &MAKES, "compress", "compression in ESP between two subnets", compress);
    for_pairs(out, &[(Kind::Ours, Kind::Ours)], "ah-esp", "AH around ESP, one quick mode for both", ah_esp);
    for_pairs(out, &[(Kind::Ours, Kind::Ours)], "allow-weak", "DES and group 1, because both sides insist", allow_weak);
    for_pairs(out, &MAKES, "no-common-suite", "one line says why no proposal was chosen", no_common_suite);
}

fn ah_tunnel(desk: &mut Desk, initiator: Kind, responder: Kind) -> Result<()> {
    let (stage, gateways) =
        Stage::gateways(desk, (initiator, responder), Family::V4, |tunnel| tunnel.phase2.protocol = Protocol::Ah)?;
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
    let (stage, gateways) = Stage::gateways(desk, (initiator, responder), Family::V4, |tunnel| {
        tunnel.extra.swanctl_child.push_str("        ipcomp = yes\n");
        tunnel.extra.ipsec_conn.push_str("\tcompress=yes\n");
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
