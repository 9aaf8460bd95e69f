//! Keylime's way in: the action that its agent runs as a user of its own, with the message in a file.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::{self, Ours};
use crate::peer::tunnel::Tunnel;
use crate::peer::{PATIENCE, Peer};
use crate::ping;
use crate::process::Finished;
use crate::scenario::Scenario;
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET};

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new(
        "keylime-action",
        "keylime's action revokes as a user of its own, who may do nothing else",
        play,
    ));
}

/// Where the agent would put the message.
const MESSAGE: &str = "/run/revocation.json";

fn play(desk: &mut Desk) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let tunnel = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    ours::install_credentials(desk, &pair.bob, &tunnel)?;
    let conf = format!("revocation {{ allow_user \"nobody\"; }}\n{}", ours::racoon_conf(&tunnel));
    let bob = Ours::with_files(desk, &pair.bob, &conf, &ours::setkey_script(&tunnel))?;
    let alice = Ours::start(desk, &pair.alice, Tunnel::transport(a, b, papers.credentials(&papers.alice)))?;
    let evidence = |failure: Failure| {
        failure.with("alice's log", alice.log().unwrap_or_default()).with("bob's log", bob.log().unwrap_or_default())
    };
    ping::answered(&pair.alice, b, PATIENCE).map_err(evidence)?;

    let (action, control) = (desk.program("local_action_xfrmd_revoke"), desk.program("xfrmctl"));
    let as_nobody = |program: &std::path::Path, arguments: &[&str]| -> Result<Finished> {
        let program = program.to_string_lossy();
        let all: Vec<&str> =
            ["--reuid=nobody", "--clear-groups", &program].into_iter().chain(arguments.iter().copied()).collect();
        pair.bob.run("/usr/bin/setpriv", &all)
    };
    let refused = as_nobody(&control, &["status"])?;
    if refused.status.code() != Some(77) || !refused.output().contains("may revoke, and nothing else") {
        return Err(evidence(Failure::new(format!("xfrmctl status as nobody ended with {}", refused.status)))
            .with("its output", refused.output()));
    }
    let other = r#"{"type": "comm_error", "meta_data": "{\"cert_serial\": 2}"}"#;
    pair.bob.write(MESSAGE, 0o644, other)?;
    let ignored = as_nobody(&action, &[MESSAGE])?;
    let standing = kernel_state::sas(&pair.bob)?.len();
    if !ignored.status.success() || !ignored.output().contains("nothing to revoke") || standing != 2 {
        let what = format!("after a comm_error the action ended with {} and {standing} SAs stand", ignored.status);
        return Err(evidence(Failure::new(what)).with("its output", ignored.output()));
    }
    desk.proved("the user may not ask for the status, and a comm_error revokes nothing");

    let message = format!(
        r#"{{"type": "revocation", "agent_id": "alice", "meta_data": "{{\"cert_serial\": {ALICE_SERIAL}, \"subject\": \"/CN=alice.desk\"}}", "event_time": "Tue Nov 24 10:00:00 2026"}}"#
    );
    pair.bob.write(MESSAGE, 0o644, &message)?;
    let done = as_nobody(&action, &[MESSAGE])?;
    if !done.status.success() || !done.stdout.contains(&format!("revoked serial {ALICE_SERIAL} of ")) {
        return Err(
            evidence(Failure::new(format!("the action ended with {}", done.status))).with("its output", done.output())
        );
    }
    let left = kernel_state::sas(&pair.bob)?;
    if !left.is_empty() {
        return Err(evidence(Failure::new(format!("{} SAs are left on bob", left.len()))));
    }
    ping::unanswered(&pair.alice, b, QUIET)?;
    desk.proved(done.stdout.trim().to_owned());
    let list = bob.xfrmctl(&["revoked", "--json"])?;
    if !list.stdout.contains("\"source\": \"keylime\"") {
        return Err(evidence(Failure::new("xfrmctl revoked does not name keylime")).with("its output", list.output()));
    }
    // The agent may hand the same message over once more.
    let again = as_nobody(&action, &[MESSAGE])?;
    if !again.status.success() {
        return Err(evidence(Failure::new("the same message again is refused")).with("its output", again.output()));
    }
    desk.proved("the deny list names keylime; the message again changes nothing; nothing flows");
    Ok(())
}
