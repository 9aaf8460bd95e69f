//! Starting a guest, passing on what it prints, and ending it when it takes too long.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::{Failure, Result};
use crate::job::{Job, Work};
use crate::program::this_program;

/// The guest prints this line before anything that is meant for people; what comes earlier is the kernel's.
pub const READY: &str = "xtask: guest is up";
/// Names the job file in the guest's environment: the kernel passes on arguments it does not know.
pub const JOB_VARIABLE: &str = "XTASK_JOB";
/// Memory of a guest. Pages are taken from the host only when touched.
const MEMORY_MIB: u64 = 1024;

/// A running guest; dropping it kills it.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    /// Ends what the guest leaves; see [`sweep`].
    sweeper: Option<Child>,
    printer: Option<JoinHandle<()>>,
    console: PathBuf,
}

/// What becomes of the guest's output, beside the console log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is shown as it comes.
    Shown,
    /// It goes to the log only.
    Logged,
}

impl Guest {
    /// Boots a guest that does `job`.
    ///
    /// # Errors
    /// When the kernel is not installed or cannot be started.
    pub fn boot(job: &Job, output: Output) -> Result<Self> {
        let job_file = job.save()?;
        let exe = this_program()?;
        let console = job.out.join("console.log");
        // It dies with the thread that waits for it, and so with this program, even when that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "linux.uml", "rootfstype=hostfs", "rootflags=/", "rw", "quiet"]);
        command.arg(format!("mem={MEMORY_MIB}M"));
        command.arg(format!("init={}", exe.display()));
        command.arg(format!("{JOB_VARIABLE}={}", job_file.display()));
        command.args(["con=null", "con0=fd:0,fd:1", &format!("umid=xtask-{}", unique(&job.out))]);
        command.arg(format!("uml_dir={}/", job.out.join("uml").display()));
        fs::create_dir_all(job.out.join("uml"))?;
        if let Some(folder) = memory_folder(&job.out) {
            command.env("TMPDIR", folder);
        }
        let interactive = matches!(job.work, Work::Command(_)) && std::io::stdin().is_terminal();
        if interactive {
            let child = command.spawn().map_err(not_started)?;
            return Ok(Self { child, sweeper: None, printer: None, console });
        }
        let log = File::create(&console)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .process_group(0)
            .spawn()
            .map_err(not_started)?;
        // In a group of its own, so that what ends this program's group leaves it to its work.
        let sweeper = Command::new(&exe)
            .arg("sweep")
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        let printer = child.stdout.take().map(|out| thread::spawn(move || print(BufReader::new(out), log, output)));
        Ok(Self { child, sweeper: Some(sweeper), printer, console })
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn wait(&mut self) -> Result<()> {
        self.child.wait()?;
        self.join();
        Ok(())
    }

    /// Ends it at once; the console's text.
    pub fn kill(&mut self) -> String {
        // Either it is killed now or it has ended meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join();
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    fn join(&mut self) {
        if let Some(printer) = self.printer.take() {
            // A panicking printer has lost output, not results.
            let _ = printer.join();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut sweeper) = self.sweeper.take() {
            drop(sweeper.stdin.take());
            let _ = sweeper.wait();
        }
    }
}

/// User-mode Linux keeps helper processes that outlive it when it is killed. Whatever becomes of the program that booted
/// it: when standard input ends, the guest's process group goes.
///
/// # Errors
/// When the number is none of a process group.
pub fn sweep(group: i32) -> Result<()> {
    let group = Pid::from_raw(group).filter(|pid| pid.as_raw_nonzero().get() > 1);
    let Some(group) = group else { return Err(Failure::new("not a process group")) };
    // An error is an end too.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // Nothing may be left of it.
    let _ = kill_process_group(group, Signal::KILL);
    Ok(())
}

fn not_started(error: std::io::Error) -> Failure {
    Failure::new(format!("starting linux.uml (package user-mode-linux): {error}"))
}

/// Copies the console to its log, and what follows [`READY`] to standard output if wanted.
fn print(mut from: impl BufRead, mut log: File, output: Output) {
    let mut ready = false;
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        // A full disk or a closed terminal must not stop the guest.
        let _ = log.write_all(&line);
        if ready && output == Output::Shown && !from_kernel(&line) {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&line);
            let _ = out.flush();
        }
        ready |= line.starts_with(READY.as_bytes());
        line.clear();
    }
}

/// The kernel's last words when it is switched off come to the same console.
fn from_kernel(line: &[u8]) -> bool {
    line.starts_with(b"sysrq: Power Off") || line.starts_with(b"reboot: Power down")
}

/// User-mode Linux keeps the guest's memory in an unlinked file, by preference in /dev/shm; where that is too small, as
/// in containers, writing to it would kill the guest.
fn memory_folder(out: &Path) -> Option<PathBuf> {
    let room = rustix::fs::statvfs("/dev/shm").map(|fs| fs.f_bavail * fs.f_frsize).unwrap_or(0);
    (room < 2 * MEMORY_MIB * 1024 * 1024).then(|| out.to_owned())
}

fn unique(out: &Path) -> String {
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}-{name}", std::process::id())
}
