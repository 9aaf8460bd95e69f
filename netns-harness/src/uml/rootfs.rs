//! Process 1 of the guest: mounts what a kernel's user space needs over the host's files, loads modules, has the job done
//! by a child, and switches the guest off.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::mount::{MountFlags, mount};
use rustix::process::{WaitOptions, wait};
use rustix::termios::{OptionalActions, OutputModes};

use crate::failure::{During, Result};
use crate::job::Job;
use crate::program::this_program;
use crate::uml::boot::{JOB_VARIABLE, READY};
use crate::uml::modules::{self, LOADER, Modules};

/// The search path of the guest: iproute2 and charon live in the sbin folders.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The job's file, if this process is the guest's process 1.
pub fn job_file() -> Option<PathBuf> {
    (std::process::id() == 1).then(|| std::env::var_os(JOB_VARIABLE).map(PathBuf::from)).flatten()
}

/// Does everything there is to do in a guest, and does not return.
pub fn run(job_file: &Path) -> ! {
    let code = match set_up().and_then(|()| do_job(job_file)) {
        Ok(code) => code,
        Err(failure) => {
            println!("xtask: {failure}");
            70
        }
    };
    if let Ok(job) = Job::load(job_file) {
        // Its absence tells the host as much as its content.
        let _ = fs::write(job.exit_code(), code.to_string());
    }
    rustix::fs::sync();
    let _ = fs::write("/proc/sysrq-trigger", "o");
    loop {
        std::thread::park();
    }
}

fn set_up() -> Result<()> {
    // The console must not turn line ends into two characters: output may be JSON or a table.
    if let Ok(mut console) = rustix::termios::tcgetattr(std::io::stdout()) {
        console.output_modes.remove(OutputModes::OPOST);
        let _ = rustix::termios::tcsetattr(std::io::stdout(), OptionalActions::Now, &console);
    }
    let none = MountFlags::empty();
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("tmpfs", "/tmp")] {
        mount(kind, target, kind, none, None).during(format!("mounting {target}"))?;
    }
    // The kernel mounts a devtmpfs by itself where it is configured to; pseudo terminals are for `guest -- COMMAND` only.
    if mount("devtmpfs", "/dev", "devtmpfs", none, None).is_ok() && fs::create_dir_all("/dev/pts").is_ok() {
        let _ = mount("devpts", "/dev/pts", "devpts", none, None);
    }
    let loader = Path::new("/run").join(LOADER);
    symlink(this_program()?, &loader)?;
    modules::register(&loader)?;
    Modules::open()?.load_up_front();
    rustix::system::sethostname(b"desk").during("naming the guest")?;
    crate::process::check(Command::new("/usr/sbin/ip").args(["link", "set", "lo", "up"]))?;
    put_algorithms_together();
    Ok(())
}

/// The first SA with an algorithm waits, up to seconds, until the kernel has put it together: that is the test kernel's
/// time and not a daemon's, so it is spent before the first scenario. What fails here fails again, and is told, there.
fn put_algorithms_together() {
    let ip = |arguments: &str| {
        let _told_later = Command::new("/usr/sbin/ip").args(arguments.split_whitespace()).status();
    };
    let key = |octets: usize| "5a".repeat(octets);
    for (spi, cipher, cipher_key, hash, hash_key, icv) in
        [(0x100, "cbc(aes)", 32, "hmac(sha256)", 32, 128), (0x101, "cbc(des3_ede)", 24, "hmac(sha1)", 20, 96)]
    {
        // Triple DES refuses a key whose thirds are equal, so the warm-up key is made of counted octets.
        let counted: String = (0..cipher_key).map(|octet| format!("{octet:02x}")).collect();
        ip(&format!(
            "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi {spi} mode transport enc {cipher} 0x{counted} \
             auth-trunc {hash} 0x{} {icv}",
            key(hash_key)
        ));
    }
    ip("xfrm state flush");
}

fn do_job(job_file: &Path) -> Result<i32> {
    println!("{READY}");
    let child = Command::new(this_program()?)
        .arg("inside")
        .arg(job_file)
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("TERM", "dumb")])
        .spawn()?;
    reap_until(&child)
}

/// Process 1 inherits every orphan, and has to bury them.
fn reap_until(child: &Child) -> Result<i32> {
    loop {
        let Some((pid, status)) = wait(WaitOptions::empty()).during("waiting")? else { continue };
        if u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == child.id()) {
            return Ok(status.exit_status().unwrap_or(71));
        }
    }
}
