//! Having a job done on the test kernel: by a guest, or by a child of this process on the running kernel.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::Verdict;
use super::build;
use crate::failure::{Failure, Result};
use crate::job::{Job, Work};
use crate::kernel::{Choice, Kernel};
use crate::pki::KeyStore;
use crate::program::this_program;
use crate::uml::boot::{Guest, Output};

/// The search path of everything on the desk: iproute2 and charon live in the sbin folders.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A job being done; dropping it ends it.
pub(super) enum Running {
    /// In a guest.
    Guest(Guest),
    /// On the running kernel.
    Child(Child),
}

impl Running {
    /// Begins.
    ///
    /// # Errors
    /// When the guest or the child cannot be started.
    pub(super) fn begin(kernel: Kernel, job: &Job, output: Output) -> Result<Self> {
        if job.out.exists() {
            fs::remove_dir_all(&job.out)?;
        }
        fs::create_dir_all(&job.out)?;
        match kernel {
            Kernel::UserMode => Ok(Self::Guest(Guest::boot(job, output)?)),
            Kernel::Running => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL"]).arg(this_program()?).arg("inside").arg(job.save()?);
                Ok(Self::Child(command.env("PATH", PATH).spawn()?))
            }
        }
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub(super) fn ended(&mut self) -> Result<bool> {
        match self {
            Self::Guest(guest) => guest.ended(),
            Self::Child(child) => Ok(child.try_wait()?.is_some()),
        }
    }

    /// Waits for the end of the work.
    ///
    /// # Errors
    /// When the guest was gone before its work was.
    pub(super) fn wait(mut self, job: &Job) -> Result<Verdict> {
        let code = match &mut self {
            Self::Guest(guest) => {
                guest.wait()?;
                fs::read_to_string(job.exit_code()).ok().and_then(|text| text.trim().parse::<i32>().ok())
            }
            Self::Child(child) => child.wait()?.code(),
        };
        match code {
            Some(0) => Ok(Verdict::Good),
            Some(code) => Ok(Verdict::Code(u8::try_from(code).unwrap_or(1))),
            None => {
                let console = fs::read(job.out.join("console.log")).unwrap_or_default();
                Err(Failure::new("the test kernel ended before its work was done")
                    .with("its console", String::from_utf8_lossy(&console)))
            }
        }
    }

    /// Ends it; what it had shown, for evidence.
    pub(super) fn kill(&mut self) -> String {
        match self {
            Self::Guest(guest) => guest.kill(),
            Self::Child(child) => {
                let _ = child.kill();
                let _ = child.wait();
                "(the running kernel: see dmesg)".to_owned()
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Child(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A job called `name`, with the keys it may need made.
///
/// # Errors
/// When the folders or keys cannot be made.
pub(super) fn job(name: &str, work: Work, programs: PathBuf, choice: &Choice) -> Result<Job> {
    let desk = build::desk_folder()?;
    let keys = desk.join("keys");
    if !matches!(work, Work::Command(_)) {
        KeyStore::new(keys.clone()).fill()?;
    }
    Ok(Job {
        work,
        root: build::root(),
        programs,
        out: desk.join(name),
        keys,
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        kernel: choice.line(),
    })
}

/// Copies a result file of the job to where the user wants it.
///
/// # Errors
/// When the job left none or it cannot be written.
pub(super) fn deliver(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(|error| Failure::new(format!("writing {}: {error}", to.display())))?;
    println!("written: {}", to.display());
    Ok(())
}
