//! What a real link does to packets: delay, loss, duplication, reordering, by the kernel's netem queue.

use std::fmt::Write as _;
use std::time::Duration;

use crate::failure::Result;
use crate::host::Host;
use crate::process;

/// An outgoing link's faults. The default is a perfect link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Impairment {
    /// Added to every packet.
    pub delay: Duration,
    /// Percent of packets dropped.
    pub loss: u8,
    /// Percent of packets sent twice.
    pub duplicate: u8,
    /// Percent of packets sent ahead of the others; needs a delay.
    pub reorder: u8,
}

impl Impairment {
    /// The netem arguments of `tc`.
    fn arguments(&self) -> String {
        let mut out = String::from("netem");
        // Writing to a string cannot fail.
        let _ = write!(out, " delay {}us", self.delay.as_micros());
        for (word, percent) in [("loss", self.loss), ("duplicate", self.duplicate), ("reorder", self.reorder)] {
            if percent > 0 {
                let _ = write!(out, " {word} {percent}%");
            }
        }
        out
    }
}

/// Puts the faults on everything the host sends through `interface`, in place of earlier ones.
///
/// # Errors
/// When `tc` reports failure, for example because the kernel has no netem.
pub fn apply(host: &Host, interface: &str, impairment: Impairment) -> Result<()> {
    let arguments = impairment.arguments();
    let mut command = host.command("tc");
    process::check(command.args(["qdisc", "replace", "dev", interface, "root"]).args(arguments.split(' '))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_faults_asked_for_are_named() {
        let lossy = Impairment { delay: Duration::from_millis(5), loss: 20, ..Impairment::default() };
        assert_eq!(lossy.arguments(), "netem delay 5000us loss 20%");
    }
}
