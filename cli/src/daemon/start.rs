//! From the command line to the loop: options, configuration, into the background or not.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};

use clap::Parser;
use clap::error::ErrorKind;

use rustix::thread::CapabilitySet;

use super::files::{self, LoadError, Loaded};
use super::run;
use crate::args::{DaemonArgs, Places};
use crate::logging::{self, Target, WithLocation};
use crate::revocation::deny_list::{DenyList, SharedDenyList};

/// What the child says on its standard output when it serves.
const READY: &str = "ready";

/// Entry of the program.
pub fn main() -> ExitCode {
    let args = match DaemonArgs::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    if args.version {
        say(io::stdout(), &version());
        return ExitCode::SUCCESS;
    }
    if args.local_test {
        say(io::stderr(), "racoon: -Z is not supported: run a test in a network namespace of its own.");
        return ExitCode::FAILURE;
    }
    let looks_only = args.dump_config || args.check;
    if !looks_only && !has_net_admin() {
        say(io::stderr(), "racoon: must be root to invoke this program (or have CAP_NET_ADMIN).");
        return ExitCode::FAILURE;
    }
    if let Err(error) = keep_memory_private() {
        say(io::stderr(), &format!("racoon: secrets cannot be kept out of core dumps: {error}"));
        return ExitCode::FAILURE;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = with_absolute_paths(args);
    let deny_list = match DenyList::open(args.places.deny_list()) {
        Ok(list) => Arc::new(Mutex::new(list)),
        Err(error) => {
            say(io::stderr(), &format!("racoon: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let loaded = match files::load(&args.config, args.ports(), &deny_list) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if args.dump_config {
        say(io::stdout(), &files::dump(&loaded));
        return ExitCode::SUCCESS;
    }
    if args.check {
        say(io::stderr(), &loaded.warnings.join("\n"));
        return ExitCode::SUCCESS;
    }
    if args.foreground || args.detached { serve(args, loaded, deny_list) } else { detach() }
}

/// The daemon changes its directory; a file must be found again when it is read again.
fn with_absolute_paths(mut args: DaemonArgs) -> DaemonArgs {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    args.config = absolute(&args.config);
    args.log_file = args.log_file.as_deref().map(absolute);
    args.places = Places {
        control: Some(absolute(&args.places.control_socket())),
        run_dir: Some(absolute(&args.places.run_dir())),
        state_dir: Some(absolute(&args.places.state_dir())),
    };
    args
}

/// May this process program SAs?
fn has_net_admin() -> bool {
    // What cannot be told is found out by trying.
    rustix::thread::capabilities(None).map_or(true, |sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Keys must not land in a core file, nor be read by a debugger of the same user.
fn keep_memory_private() -> io::Result<()> {
    let nothing = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, nothing)?;
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// racoon's habit: usage on standard error and 1, not clap's 2; help is no error.
fn usage(error: &clap::Error) -> ExitCode {
    // Standard error may be closed; the exit code says it all the same.
    let _unheard = error.print();
    if error.kind() == ErrorKind::DisplayHelp { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn version() -> String {
    format!("xfrmd {} (a drop-in for racoon of ipsec-tools)", env!("CARGO_PKG_VERSION"))
}

fn refuse(error: &LoadError) -> ExitCode {
    say(io::stderr(), error.to_string().trim_end());
    say(io::stderr(), "racoon: failed to parse configuration file.");
    ExitCode::FAILURE
}

/// Prints without the panic of `println!` when nobody listens any more.
fn say(mut to: impl Write, text: &str) {
    if !text.is_empty() {
        let _unheard = writeln!(to, "{text}");
    }
}

fn serve(args: DaemonArgs, loaded: Loaded, deny_list: SharedDenyList) -> ExitCode {
    if let Err(error) = start_log(&args, &loaded) {
        say(io::stderr(), &format!("racoon: {error}"));
        return ExitCode::FAILURE;
    }
    let detached = args.detached;
    if args.foreground {
        say(io::stdout(), "Foreground mode.");
    }
    if detached {
        // A session of our own: the terminal's signals are not for us. Fails only if we lead one already.
        let _leader = rustix::process::setsid();
        let _elsewhere = std::env::set_current_dir("/");
    }
    logging::info(format_args!("@(#){}", version()));
    logging::info(format_args!("@(#)This product linked {} (http://www.openssl.org/)", openssl::version::version()));
    logging::info(format_args!("Reading configuration from \"{}\"", args.config.display()));
    loaded.warnings.iter().for_each(logging::warning);
    warn_of_problems(&deny_list);
    let ready = move || {
        if detached {
            say(io::stdout(), READY);
        }
    };
    match run::run(args, loaded, deny_list, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::error(&error);
            if detached {
                say(io::stderr(), &format!("racoon: {error}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// A line that cannot be read denies nobody.
fn warn_of_problems(deny_list: &SharedDenyList) {
    let list = deny_list.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    list.problems().iter().for_each(logging::error);
}

fn start_log(args: &DaemonArgs, loaded: &Loaded) -> io::Result<()> {
    let target = match &args.log_file {
        Some(path) => Target::File(path.clone()),
        None if args.foreground => Target::Stderr,
        None => Target::System,
    };
    let location = if args.log_location { WithLocation::Shown } else { WithLocation::Hidden };
    logging::set_level(loaded.daemon.log, args.debug);
    logging::start(&target, location).map_err(|error| match target {
        Target::File(path) => io::Error::new(error.kind(), format!("log file {}: {error}", path.display())),
        _ => error,
    })
}

/// Runs this program again as a daemon and waits until it serves or has failed, so that a failure is seen by whoever
/// started it.
fn detach() -> ExitCode {
    match spawn_daemon() {
        Ok(code) => code,
        Err(error) => {
            say(io::stderr(), &format!("racoon: cannot go into the background: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn spawn_daemon() -> io::Result<ExitCode> {
    let program = std::env::current_exe().unwrap_or_else(|_| Path::new("/proc/self/exe").to_owned());
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut first = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut first)?;
    }
    if first.trim_end() == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let output = child.wait_with_output()?;
    io::stderr().write_all(&output.stderr)?;
    Ok(if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
