//! A network namespace, made with iproute2 and removed on drop.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};
use crate::process;

/// A named network namespace.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes the namespace and brings its loopback up.
    ///
    /// # Errors
    /// When the name exists already or the kernel refuses.
    pub fn create(name: &str) -> Result<Self> {
        process::check(Command::new("ip").args(["netns", "add", name]))?;
        let made = Self { name: name.to_owned() };
        made.batch("link set lo up\n")?;
        Ok(made)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs one iproute2 command inside; its output.
    ///
    /// # Errors
    /// When iproute2 reports failure.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        process::check(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// Runs several iproute2 commands in one process, which counts where starting a process takes milliseconds.
    ///
    /// # Errors
    /// When any line fails.
    pub fn batch(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("ip -batch in {} failed", self.name))
            .with("lines", lines)
            .with("answer", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Nothing to be done about a namespace that will not go; the guest ends with it anyway.
        let _ = process::run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}
