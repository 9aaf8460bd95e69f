//! Keylime's agent, as far as its revocation actions go: with no daemon there to ask, and in Python.

use std::path::Path;

use rustix::process::Signal;

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
use crate::topology::Pair;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new(
        "keylime-action-down",
        "a message that comes while xfrmd is dead is carried out at its start",
        down,
    ));
    out.push(Scenario::new("keylime-python", "the Python agent's actions, under keylime's own names too", python));
}

/// Where the agent would put the message.
const MESSAGE: &str = "/run/revocation.json";
/// Where the payload is unpacked.
const PAYLOAD: &str = "/run/unzipped";
/// What the agent's user has left.
const SPOOL: &str = "/var/lib/xfrmd/spool/65534";

/// The Python files as they are installed.
const SHIMS: [(&str, &str); 3] = [
    ("local_action_xfrmd_revoke", include_str!("../../../packaging/keylime/local_action_xfrmd_revoke.py")),
    ("local_action_update_crl", include_str!("../../../packaging/keylime/local_action_update_crl.py")),
    ("local_action_deletesa", include_str!("../../../packaging/keylime/local_action_deletesa.py")),
];

/// What keylime's Python agent does with a revocation: imports each of its action_list, and waits for its `execute`.
const AGENT: &str = r#"import asyncio, importlib, json, logging, os, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
payload, message = sys.argv[1:]
sys.path.append(payload)
with open(message, encoding="utf-8") as file:
    revocation = json.load(file)
with open(os.path.join(payload, "action_list"), encoding="utf-8") as file:
    actions = file.read().strip().split(",")
for action in actions:
    module = importlib.import_module(action)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(getattr(module, "execute")(revocation))
    print("done:", action)
"#;

/// alice and bob with a tunnel; bob lets nobody revoke, which is a user's name.
struct Stage {
    pair: Pair,
    alice: Ours,
    bob: Ours,
}

impl Stage {
    fn set(desk: &mut Desk) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let pair = desk.pair()?;
        let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
        let tunnel = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        ours::install_credentials(desk, &pair.bob, &tunnel)?;
        let conf = format!("revocation {{ allow_user \"nobody\"; }}\n{}", ours::racoon_conf(&tunnel));
        let bob = Ours::with_files(desk, &pair.bob, &conf, &ours::setkey_script(&tunnel))?;
        let alice = Ours::start(desk, &pair.alice, Tunnel::transport(a, b, papers.credentials(&papers.alice)))?;
        let stage = Self { pair, alice, bob };
        ping::answered(&stage.pair.alice, b, PATIENCE).map_err(|failure| stage.evidence(failure))?;
        Ok(stage)
    }

    fn evidence(&self, failure: Failure) -> Failure {
        failure
            .with("alice's log", self.alice.log().unwrap_or_default())
            .with("bob's log", self.bob.log().unwrap_or_default())
    }

    fn as_nobody(&self, program: &Path, arguments: &[&str]) -> Result<Finished> {
        let program = program.to_string_lossy();
        let all: Vec<&str> =
            ["--reuid=nobody", "--clear-groups", &program].into_iter().chain(arguments.iter().copied()).collect();
        self.pair.bob.run("/usr/bin/setpriv", &all)
    }

    fn sas(&self) -> Result<usize> {
        Ok(kernel_state::sas(&self.pair.bob)?.len())
    }

    /// As the agent hands it over.
    fn message(&self) -> Result<()> {
        let text = format!(
            r#"{{"type": "revocation", "agent_id": "alice", "meta_data": "{{\"cert_serial\": {ALICE_SERIAL}, \"subject\": \"/CN=alice.desk\"}}", "event_time": "Tue Nov 24 10:00:00 2026"}}"#
        );
        self.pair.bob.write(MESSAGE, 0o644, text)
    }

    /// The SAs are gone, keylime is named, and alice is refused.
    fn is_cut(&self) -> Result<()> {
        wait::until(PATIENCE, "bob's SAs to be gone", || Ok(self.sas()? == 0))
            .map_err(|failure| self.evidence(failure))?;
        wait::until(PATIENCE, "the line that names keylime", || {
            let wanted = format!("revoked serial {ALICE_SERIAL} of /C=US/O=Desk/CN=Desk CA: 2 SAs deleted");
            let log = self.bob.log()?;
            Ok(log.lines().any(|line| line.contains(&wanted) && line.contains("(asked for by keylime)")))
        })
        .map_err(|failure| self.evidence(failure))?;
        ping::unanswered(&self.pair.alice, self.pair.bob.address(Family::V4), QUIET)
            .map_err(|failure| self.evidence(failure))
    }
}

fn down(desk: &mut Desk) -> Result<()> {
    let mut stage = Stage::set(desk)?;
    let action = desk.program("local_action_xfrmd_revoke");
    stage.bob.daemon().stop(Signal::KILL)?;
    stage.message()?;
    // Somebody whom the configuration does not name has no place to leave anything.
    let program = action.to_string_lossy();
    let other = stage.pair.bob.run("/usr/bin/setpriv", &["--reuid=daemon", "--clear-groups", &program, MESSAGE])?;
    if other.status.success() || !other.output().contains("cannot be kept") {
        return Err(Failure::new("another user's message was taken").with("its output", other.output()));
    }
    let kept = stage.as_nobody(&action, &[MESSAGE])?;
    if !kept.status.success() || !kept.output().contains("is NOT cut yet") || stage.sas()? != 2 {
        let failure = Failure::new(format!("with no daemon the action ended with {}", kept.status));
        return Err(stage.evidence(failure).with("its output", kept.output()));
    }
    // A file under somebody else's name, and a link: thrown away at the start, and said.
    let outside = stage.pair.bob.outside(SPOOL);
    stage.pair.bob.write(&format!("{SPOOL}/0-roots.json"), 0o644, stage.pair.bob.read(MESSAGE)?)?;
    std::os::unix::fs::symlink(MESSAGE, outside.join("0-link.json"))?;
    desk.proved("without a daemon the message is kept, and the action succeeds; another user's fails");

    stage.bob.restart()?;
    stage.is_cut()?;
    wait::until(PATIENCE, "the spool to be empty", || Ok(std::fs::read_dir(&outside)?.next().is_none()))
        .map_err(|failure| stage.evidence(failure))?;
    let log = stage.bob.log()?;
    for refused in
        ["0-roots.json is not carried out: it is not that user's alone", "0-link.json is not carried out: it is a link"]
    {
        if !log.contains(refused) {
            return Err(stage.evidence(Failure::new(format!("nothing is said: {refused}"))));
        }
    }
    desk.proved("the next daemon carries it out; a link and a file of somebody else's in its place are thrown away");
    // The daemon is there again: asked directly, nothing is left behind.
    let again = stage.as_nobody(&action, &[MESSAGE])?;
    if !again.status.success()
        || !again.stdout.contains("revoked serial")
        || std::fs::read_dir(&outside)?.next().is_some()
    {
        return Err(stage
            .evidence(Failure::new("the same message again is not answered"))
            .with("its output", again.output()));
    }
    Ok(())
}

fn python(desk: &mut Desk) -> Result<()> {
    let mut stage = Stage::set(desk)?;
    let bob = &stage.pair.bob;
    for (name, text) in SHIMS {
        bob.write(&format!("{PAYLOAD}/{name}.py"), 0o644, text)?;
    }
    bob.write("/run/agent.py", 0o644, AGENT)?;
    stage.message()?;
    let action = format!("XFRMD_ACTION={}", desk.program("local_action_xfrmd_revoke").display());
    let run = |stage: &Stage, list: &str| -> Result<Finished> {
        stage.pair.bob.write(&format!("{PAYLOAD}/action_list"), 0o644, list)?;
        // Modules are imported from a folder that their user cannot write to: without this, a warning in its place.
        let arguments = ["PYTHONDONTWRITEBYTECODE=1", &action, "python3", "/run/agent.py", PAYLOAD, MESSAGE];
        let done = stage.as_nobody(Path::new("/usr/bin/env"), &arguments)?;
        if done.status.success() && done.stdout.matches("done: ").count() == list.split(',').count() {
            return Ok(done);
        }
        Err(stage
            .evidence(Failure::new(format!("{list} ended with {}", done.status)))
            .with("its output", done.output()))
    };
    // Without a daemon the module has the program keep the message, also twice.
    stage.bob.daemon().stop(Signal::KILL)?;
    let kept = run(&stage, "local_action_update_crl,local_action_deletesa")?;
    if !kept.output().contains("is NOT cut yet") || stage.sas()? != 2 {
        return Err(Failure::new("with no daemon the modules said nothing").with("their output", kept.output()));
    }
    desk.proved("an action_list from racoon's days, with no daemon: the message is kept");
    stage.bob.restart()?;
    stage.is_cut()?;
    let told = run(&stage, "local_action_xfrmd_revoke")?;
    if !told.stdout.contains(&format!("revoked serial {ALICE_SERIAL} of /C=US/O=Desk/CN=Desk CA: 0 SAs deleted")) {
        return Err(stage
            .evidence(Failure::new("the module does not tell what was done"))
            .with("its output", told.output()));
    }
    desk.proved("carried out at the daemon's start; asked directly, the daemon answers the module");
    Ok(())
}
