//! Programs started on the desk: short ones that are waited for, long ones whose output goes to a log file and which end
//! with the value that stands for them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Result};
use crate::wait;

/// What a finished program left.
#[derive(Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Both outputs, for evidence.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a program to its end, whatever the end is.
///
/// # Errors
/// When it cannot be started.
pub fn run(command: &mut Command) -> Result<Finished> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("starting {}: {error}", shown(command))))?;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program and insists on exit code 0; its standard output.
///
/// # Errors
/// When it cannot be started or reports failure.
pub fn check(command: &mut Command) -> Result<String> {
    let done = run(command)?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    Err(Failure::new(format!("{} ended with {}", shown(command), done.status)).with("its output", done.output()))
}

/// The command line as a person would type it.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// A program that runs until it is stopped; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    label: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with both outputs appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn spawn(label: &str, mut command: Command, log: PathBuf) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let out = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .map_err(|error| Failure::new(format!("starting {label}: {}: {error}", shown(&command))))?;
        Ok(Self { label: label.to_owned(), child, log })
    }

    /// Its process id in the harness's own process namespace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has written so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for a line of its log that contains `text`.
    ///
    /// # Errors
    /// When the deadline passes or the program ends first.
    pub fn wait_for_line(&mut self, deadline: Duration, text: &str) -> Result<()> {
        let what = format!("{} to say \"{text}\"", self.label);
        wait::until(deadline, &what, || {
            if self.log()?.contains(text) {
                return Ok(true);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::new(format!("{} ended with {status} before it said \"{text}\"", self.label)));
            }
            Ok(false)
        })
        .map_err(|failure| failure.with(format!("log of {}", self.label), self.log().unwrap_or_default()))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Err(Failure::new(format!("{} has no process id", self.label))) };
        kill_process(pid, signal).map_err(|error| Failure::new(format!("signalling {}: {error}", self.label)))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.label);
        wait::until_some(deadline, &what, || Ok(self.child.try_wait()?))
    }

    /// Signals it and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end in 10 s.
    pub fn stop(&mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(signal)?;
        self.wait_exit(Duration::from_secs(10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then both calls have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
