//! Hook scripts (racoon.conf: `script`): an environment of checked values and nothing else, no descriptor of ours, a
//! bound on time and output. Nobody waits for a script but the end of the daemon; those of one peer run one after the
//! other.
//!
//! What a peer says reaches a script only as addresses, networks, domain names, or text of few characters (ATTACKS A-29).

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, PipeReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ike::event::question::Hook;
use ike::report::Level;
use ike::transaction::configuration::prefix;
use policy::model::addr::IpNet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::udp::bracketed;
use crate::logging;
use crate::os::inherit_nothing;
use crate::report::identity_text;
use crate::revocation::serial;

/// Scripts at once.
const RUNNERS: usize = 4;
/// Scripts that wait for each runner; more are left out.
const QUEUE: usize = 1024;
/// Octets of a script's output that are logged.
const OUTPUT: usize = 4096;
/// A script that takes longer is killed.
const LONGEST: Duration = Duration::from_secs(60);
/// How often a running script is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Runs scripts on threads that begin with the first one.
#[derive(Debug, Default)]
pub struct Hooks {
    runners: Vec<Runner>,
    /// Scripts that have not ended yet, by name, waiting ones among them.
    pending: Arc<Pending>,
}

#[derive(Debug)]
struct Runner {
    hooks: SyncSender<Hook>,
}

/// How many of each script wait or run, and the bell that rings when one has ended.
#[derive(Debug, Default)]
struct Pending {
    scripts: Mutex<BTreeMap<String, usize>>,
    ended: Condvar,
}

impl Pending {
    fn count(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begins(&self, name: String) {
        *self.count().entry(name).or_default() += 1;
    }

    fn ends(&self, name: &str) {
        let mut scripts = self.count();
        if let Some(left) = scripts.get_mut(name) {
            *left -= 1;
            if *left == 0 {
                scripts.remove(name);
            }
        }
        self.ended.notify_all();
    }
}

impl Hooks {
    /// Has a script run soon.
    pub fn run(&mut self, hook: Hook) {
        if self.runners.is_empty() {
            self.start();
        }
        let mut hasher = DefaultHasher::new();
        hook.peer.ip().hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % RUNNERS as u64).unwrap_or_default();
        let Some(runner) = self.runners.get(number) else {
            return logging::error(format_args!("script {}: no thread to run it on", hook.script));
        };
        let name = name(&hook);
        self.pending.begins(name.clone());
        if runner.hooks.try_send(hook).is_err() {
            self.pending.ends(&name);
            logging::error(format_args!("{name} is left out: {QUEUE} others wait"));
        }
    }

    fn start(&mut self) {
        for number in 0..RUNNERS {
            let (hooks, given) = mpsc::sync_channel::<Hook>(QUEUE);
            let pending = Arc::clone(&self.pending);
            let work = move || {
                for hook in given {
                    run(&hook);
                    pending.ends(&name(&hook));
                }
            };
            if thread::Builder::new().name(format!("hooks-{number}")).spawn(work).is_ok() {
                self.runners.push(Runner { hooks });
            }
        }
    }

    /// Waits until every script has ended, at most this long; what still runs then is named and left alone.
    pub fn finish(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut scripts = self.pending.count();
        while !scripts.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let names = scripts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let waited = patience.as_secs();
                return logging::warning(format_args!("not waited for any longer after {waited} s: {names}"));
            }
            let woken = self.pending.ended.wait_timeout(scripts, left);
            scripts = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// As the log has it.
fn name(hook: &Hook) -> String {
    format!("script {} {}", hook.script, hook.event.name())
}

fn run(hook: &Hook) {
    let name = name(hook);
    let began = Instant::now();
    match execute(hook, LONGEST) {
        Ok(Ended { output, words, well }) => {
            for line in output.lines() {
                logging::info(format_args!("{name}: {}", line.escape_debug()));
            }
            let (peer, taken) = (bracketed(hook.peer), began.elapsed().as_millis());
            let level = if well { Level::Info } else { Level::Error };
            logging::log(level, None, format_args!("{name} for {peer} {words} after {taken} ms"));
        }
        Err(error) => logging::error(format_args!("{name}: {error}")),
    }
}

struct Ended {
    output: String,
    words: String,
    well: bool,
}

fn execute(hook: &Hook, longest: Duration) -> io::Result<Ended> {
    trusted(Path::new(&hook.script))?;
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(&hook.script);
    command
        .arg(hook.event.name())
        .env_clear()
        .envs(environment(hook))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    inherit_nothing(&mut command);
    let mut child = command.spawn()?;
    // Its copies of the pipe's end are to be the only ones.
    drop(command);
    let mut output = Output::default();
    let outcome = watch(&mut child, &mut reader, &mut output, longest)?;
    let (words, well) = match outcome {
        Some(status) if status.success() => ("is done".to_owned(), true),
        Some(status) => (format!("ended with {status}"), false),
        None => (format!("was killed: it ran for more than {} s", longest.as_secs()), false),
    };
    Ok(Ended { output: output.text(), words, well })
}

/// The beginning of what a script says.
#[derive(Default)]
struct Output {
    kept: Vec<u8>,
    left_out: u64,
}

impl Output {
    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.left_out > 0 {
            text.push_str(&format!("\n({} octets more are left out)", self.left_out));
        }
        text
    }
}

/// Waits for a script; what it leaves running in the background is not waited for. `None`: it had to be killed.
fn watch(
    child: &mut Child,
    reader: &mut PipeReader,
    output: &mut Output,
    longest: Duration,
) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + longest;
    loop {
        let more = take_output(reader, output)?;
        if let Some(status) = child.try_wait()? {
            take_output(reader, output)?;
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(group, Signal::KILL)?;
            }
            child.wait()?;
            return Ok(None);
        }
        if !more {
            thread::sleep(TICK);
        }
    }
}

/// Takes what is in the pipe now, or comes within a tick; keeps the beginning of it. Can there be more? Whoever writes
/// without end is not read for longer than a tick at a time.
fn take_output(reader: &mut PipeReader, output: &mut Output) -> io::Result<bool> {
    let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
    let until = Instant::now() + TICK;
    while Instant::now() < until {
        let mut waiting = [PollFd::new(&*reader, PollFlags::IN)];
        if poll(&mut waiting, Some(&tick))? == 0 {
            return Ok(true);
        }
        let mut piece = [0; 4096];
        let length = reader.read(&mut piece)?;
        if length == 0 {
            return Ok(false);
        }
        let room = OUTPUT.saturating_sub(output.kept.len()).min(length);
        output.kept.extend(piece.get(..room).unwrap_or_default());
        output.left_out += u64::try_from(length - room).unwrap_or_default();
    }
    Ok(true)
}

/// A script runs as root: nobody else may have written it.
fn trusted(script: &Path) -> io::Result<()> {
    let found = fs::metadata(script)?;
    let running = rustix::process::geteuid().as_raw();
    if found.uid() != running && found.uid() != 0 {
        return Err(io::Error::other(format!("it belongs to user {}, not to {running}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(io::Error::other("others than its owner may write it (fix: chmod go-w)"));
    }
    Ok(())
}

/// The environment, racoon's names.
fn environment(hook: &Hook) -> Vec<(&'static str, String)> {
    let given = &hook.configuration;
    let (i, r) = hook.cookies;
    let address = |address: Option<Ipv4Addr>| address.map(|address| address.to_string()).unwrap_or_default();
    let mask = given.netmask.or(given.address.map(|_| Ipv4Addr::BROADCAST));
    let bits = mask.and_then(prefix).map_or_else(|| "0".to_owned(), |bits| bits.to_string());
    let domains = listed(&given.split_dns, String::clone);
    let mut all = vec![
        ("LOCAL_ADDR", hook.local.ip().to_string()),
        ("LOCAL_PORT", hook.local.port().to_string()),
        ("REMOTE_ADDR", hook.peer.ip().to_string()),
        ("REMOTE_PORT", hook.peer.port().to_string()),
        ("REMOTE_ID", plain(&identity_text(&hook.identity))),
        ("IKE_COOKIE", format!("{}:{}", serial::to_hex(&i), serial::to_hex(&r))),
        ("INTERNAL_ADDR4", address(given.address)),
        ("INTERNAL_MASK4", address(mask)),
        ("INTERNAL_NETMASK4", address(mask)),
        ("INTERNAL_CIDR4", bits),
        ("INTERNAL_DNS4", address(given.dns.first().copied())),
        ("INTERNAL_DNS4_LIST", listed(&given.dns, Ipv4Addr::to_string)),
        ("INTERNAL_WINS4", address(given.wins.first().copied())),
        ("INTERNAL_WINS4_LIST", listed(&given.wins, Ipv4Addr::to_string)),
        ("DEFAULT_DOMAIN", given.default_domain.clone().unwrap_or_default()),
        ("SPLIT_INCLUDE", listed(&given.split_include, with_mask)),
        ("SPLIT_INCLUDE_CIDR", listed(&given.split_include, IpNet::to_string)),
        ("SPLIT_LOCAL", listed(&given.local_lan, with_mask)),
        ("SPLIT_LOCAL_CIDR", listed(&given.local_lan, IpNet::to_string)),
        ("SPLIT_DNS", domains.clone()),
        ("INTERNAL_SPLITDNS_DOMAINS", domains),
    ];
    all.extend(hook.user.as_ref().map(|user| ("XAUTH_USER", plain(user))));
    all
}

fn listed<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn with_mask(net: &IpNet) -> String {
    format!("{}/{}", net.network(), net.netmask())
}

/// Names that peers choose: what a shell could take for more than a word becomes `_`.
fn plain(text: &str) -> String {
    let fine =
        |ch: char| ch.is_alphanumeric() || matches!(ch, '.' | '_' | ':' | '@' | '/' | '=' | ',' | '+' | '-' | ' ');
    text.chars().take(1024).map(|ch| if fine(ch) { ch } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::os::unix::fs::PermissionsExt;

    use ike::transaction::configuration::Configuration;
    use policy::model::identity::Identity;
    use policy::model::remote::HookEvent;

    use super::*;

    fn hook(script: &str) -> Hook {
        Hook {
            event: HookEvent::Up,
            script: script.to_owned(),
            local: "10.0.0.1:500".parse().unwrap(),
            peer: "10.0.0.2:4500".parse().unwrap(),
            identity: Identity::Fqdn("$(reboot)\n`id`;x.example".to_owned()),
            cookies: ([1; 8], [2; 8]),
            user: Some("carol'; rm".to_owned()),
            configuration: Configuration {
                address: Some([10, 3, 0, 7].into()),
                dns: vec![[10, 3, 0, 1].into(), [10, 3, 0, 2].into()],
                split_include: vec!["10.12.0.0/24".parse().unwrap(), "10.13.0.0/16".parse().unwrap()],
                ..Configuration::default()
            },
        }
    }

    #[test]
    fn racoons_names_and_no_peers_characters() {
        let all: HashMap<_, _> = environment(&hook("x")).into_iter().collect();
        assert_eq!(all["REMOTE_ID"], "__reboot___id__x.example");
        assert_eq!(all["XAUTH_USER"], "carol__ rm");
        assert_eq!((all["INTERNAL_NETMASK4"].as_str(), all["INTERNAL_CIDR4"].as_str()), ("255.255.255.255", "32"));
        assert_eq!(
            (all["INTERNAL_DNS4"].as_str(), all["INTERNAL_DNS4_LIST"].as_str()),
            ("10.3.0.1", "10.3.0.1 10.3.0.2")
        );
        assert_eq!(all["SPLIT_INCLUDE"], "10.12.0.0/255.255.255.0 10.13.0.0/255.255.0.0");
        assert_eq!(all["SPLIT_INCLUDE_CIDR"], "10.12.0.0/24 10.13.0.0/16");
        assert_eq!(all["IKE_COOKIE"], "0101010101010101:0202020202020202");
        assert_eq!(all["REMOTE_PORT"], "4500");
    }

    #[test]
    fn a_script_gets_its_argument_and_nothing_of_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("up.sh");
        fs::write(&path, "#!/bin/sh\necho \"$1 $INTERNAL_ADDR4\"; ls /proc/self/fd | wc -l; env | grep -c CARGO; head -c 100000 /dev/zero\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        // A descriptor of ours that must not be there.
        let _open = fs::File::open("/dev/null").unwrap();
        let Ended { output, words, well } = execute(&hook(path.to_str().unwrap()), LONGEST).unwrap();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[0], "phase1_up 10.3.0.7");
        // Standard input, output, error and the folder that ls reads.
        assert_eq!((lines[1].trim(), lines[2].trim()), ("4", "0"));
        let (kept, rest) = output.rsplit_once('\n').unwrap();
        assert_eq!(kept.len(), OUTPUT, "output is bounded");
        assert!(rest.ends_with("octets more are left out)"), "{rest}");
        assert_eq!((words.as_str(), well), ("is done", true));
    }

    #[test]
    fn a_script_that_others_may_write_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("up.sh");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(execute(&hook(path.to_str().unwrap()), LONGEST).is_err());
        assert!(execute(&hook("/nonexistent"), LONGEST).is_err());
    }

    fn script(directory: &Path, name: &str, text: &str) -> String {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_script_that_hangs_or_floods_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        // A pipe that nobody reads: a child of the script waits for ever to write to it, and holds the other one open.
        let (waits, lives) = (directory.path().join("waits"), directory.path().join("lives"));
        for pipe in [&waits, &lives] {
            rustix::fs::mkfifoat(rustix::fs::CWD, pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        }
        let child = format!("exec 3>{}; echo > {}", lives.display(), waits.display());
        let hangs = script(directory.path(), "hangs", &format!("({child}) & sleep 600"));
        let floods = script(directory.path(), "floods", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
        // Ends when the last one who could write is gone.
        let reader = thread::spawn(move || fs::read(lives));
        for path in [hangs, floods] {
            let Ended { output, words, well } = execute(&hook(&path), Duration::from_millis(400)).unwrap();
            assert!(words.starts_with("was killed") && !well, "{words}");
            assert!(output.len() < 2 * OUTPUT);
        }
        assert_eq!(reader.join().unwrap().unwrap(), b"", "what it had begun goes with it");
    }

    #[test]
    fn a_script_that_fails_is_told_by_its_exit_code() {
        let directory = tempfile::tempdir().unwrap();
        let path = script(directory.path(), "fails", "echo no >&2; exit 3");
        let Ended { output, words, well } = execute(&hook(&path), LONGEST).unwrap();
        assert_eq!((output.as_str(), words.as_str(), well), ("no\n", "ended with exit status: 3", false));
    }

    #[test]
    fn the_end_waits_for_scripts_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let done = directory.path().join("done");
        let mut hooks = Hooks::default();
        hooks.run(hook(&script(directory.path(), "slow", &format!("sleep 0.3; touch {}", done.display()))));
        hooks.finish(Duration::from_secs(60));
        assert!(done.exists());
        // It ends when the other end of this pipe is opened, which is after the wait for it.
        let (gate, late) = (directory.path().join("gate"), directory.path().join("late"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let text = format!("cat {}; touch {}", gate.display(), late.display());
        hooks.run(hook(&script(directory.path(), "hangs", &text)));
        hooks.finish(Duration::from_millis(200));
        assert!(!late.exists(), "it still waits, and we do not");
        fs::write(&gate, "").unwrap();
        hooks.finish(Duration::from_secs(60));
        assert!(late.exists());
    }

    /// ATTACKS A-29: names of every kind, a user and a configuration full of shell, before a script that quotes nothing.
    #[test]
    fn a29_what_a_peer_says_reaches_scripts_as_harmless_words() {
        use ike::wire::attribute::{Attribute, AttributeValue};
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("marker");
        let touch = format!("touch {}", marker.display());
        let path = directory.path().join("up.sh");
        let names = "$REMOTE_ID $XAUTH_USER $DEFAULT_DOMAIN $SPLIT_DNS $INTERNAL_DNS4_LIST $SPLIT_INCLUDE";
        let text = format!("#!/bin/sh\nsh -c \"echo {names}\"\neval \"echo {names}\"\nenv\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let hostile = [
            format!("$({touch})"),
            format!("`{touch}`"),
            format!("x;{touch};y"),
            format!("x\n{touch}\nLD_PRELOAD=/tmp/x"),
            format!("x|{touch}&&{touch}||{touch}&"),
            format!("\"'\\\0x>{}", marker.display()),
            "${IFS}~*?[a]!{a,b}#%^<>\u{202e}\u{7f}".to_owned(),
            "a".repeat(64 * 1024),
        ];
        for text in &hostile {
            let der = [&[0x30, 3, 0x31, 1], text.as_bytes()].concat();
            let ids = [
                Identity::Fqdn(text.clone()),
                Identity::UserFqdn(text.clone()),
                Identity::KeyId(text.clone().into_bytes()),
                Identity::Asn1Dn(der),
            ];
            // Default domain, split DNS, banner; addresses and networks that are text.
            let attributes = [28674, 28675, 28672, 1, 3, 28676]
                .map(|kind| Attribute { kind, value: AttributeValue::Long(text.clone().into_bytes()) });
            for identity in ids {
                let configuration = Configuration::read(&attributes);
                let hook = Hook { identity, user: Some(text.clone()), configuration, ..hook(path.to_str().unwrap()) };
                for (name, value) in environment(&hook) {
                    let fine = |ch: char| ch.is_alphanumeric() || "._:@/=,+- ".contains(ch);
                    assert!(value.chars().all(fine) && value.len() <= 16 * 1024, "{name}: {value:?}");
                }
                let Ended { output, words, .. } = execute(&hook, LONGEST).unwrap();
                assert_eq!(words, "is done", "{output}");
                assert!(!output.lines().any(|line| line.starts_with("LD_PRELOAD")), "{output}");
                assert!(!marker.exists(), "{text:?} was executed\n{output}");
            }
        }
        // The legal names beside them arrive as they are.
        let legal = Hook { identity: Identity::UserFqdn("carol@vpn.example".to_owned()), ..hook("x") };
        let all: HashMap<_, _> = environment(&legal).into_iter().collect();
        assert_eq!(all["REMOTE_ID"], "carol@vpn.example");
    }
}
