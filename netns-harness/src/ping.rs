//! Pings: single ones as a question, running ones as a witness that no packet was lost.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::process::Process;
use crate::wait;

/// How often a question is asked again while no answer comes.
const AGAIN: Duration = Duration::from_millis(200);

/// Asks until an answer comes or `patience` (whole seconds) is over; the time from the first request to the first answer.
///
/// The packet that asks for an SA is held by its sender's kernel, but may still be lost: it is sent when the initiator has
/// the SA, and a responder like charon installs its own only when the last message of quick mode has arrived.
///
/// # Errors
/// When ping cannot be started.
pub fn once(host: &Host, to: IpAddr, patience: Duration) -> Result<Option<Duration>> {
    once_every(host, to, AGAIN, patience)
}

/// As [`once`], asking again after each `interval`.
///
/// # Errors
/// When ping cannot be started.
pub fn once_every(host: &Host, to: IpAddr, interval: Duration, patience: Duration) -> Result<Option<Duration>> {
    let (seconds, every) = (patience.as_secs().max(1).to_string(), format!("{:.3}", interval.as_secs_f64()));
    let done = host.run("ping", &["-n", "-c", "1", "-i", &every, "-w", &seconds, &to.to_string()])?;
    Ok(done.stdout.lines().filter(|line| is_answer(line)).find_map(|line| since_first_request(line, interval)))
}

/// Reads `... icmp_seq=2 ttl=64 time=0.3 ms`.
fn since_first_request(line: &str, interval: Duration) -> Option<Duration> {
    let earlier = u32::try_from(sequence(line)?.checked_sub(1)?).ok()?;
    let millis: f64 = line.split_once("time=")?.1.split_whitespace().next()?.parse().ok()?;
    Some(interval * earlier + Duration::from_secs_f64(millis / 1000.0))
}

/// Asks once and insists on an answer; how long it took.
///
/// # Errors
/// When no answer comes within `patience`.
pub fn answered(host: &Host, to: IpAddr, patience: Duration) -> Result<Duration> {
    once(host, to, patience)?
        .ok_or_else(|| Failure::new(format!("{} got no answer from {to} in {patience:?}", host.name())))
}

/// Makes sure that nobody answers.
///
/// # Errors
/// When an answer comes.
pub fn unanswered(host: &Host, to: IpAddr, patience: Duration) -> Result<()> {
    match once(host, to, patience)? {
        None => Ok(()),
        Some(_) => Err(Failure::new(format!("{} got an answer from {to} and should not have", host.name()))),
    }
}

/// What became of a running ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were answered.
    pub answered: u64,
}

impl Tally {
    /// Requests that were not answered.
    pub fn lost(self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }
}

/// A ping that runs until it is stopped.
#[derive(Debug)]
pub struct Running {
    process: Process,
    started: Instant,
    started_wall: Duration,
    _host: Rc<Host>,
}

impl Running {
    /// Starts pinging every `interval`.
    ///
    /// # Errors
    /// When ping cannot be started.
    pub fn start(host: &Rc<Host>, to: IpAddr, interval: Duration) -> Result<Self> {
        let mut command = host.command("ping");
        command.args(["-n", "-D", "-i", &format!("{:.3}", interval.as_secs_f64()), &to.to_string()]);
        let label = unused_label(host, &to.to_string().replace(':', "_"));
        let (started, started_wall) =
            (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Ok(Self { process: host.spawn(&label, command)?, started, started_wall, _host: Rc::clone(host) })
    }

    /// How long it has been running.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Answers so far.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn answers(&self) -> Result<u64> {
        Ok(self.process.log()?.lines().filter(|line| is_answer(line)).count() as u64)
    }

    /// Waits until `more` further answers have come.
    ///
    /// # Errors
    /// When the deadline passes first.
    pub fn wait_for_answers(&self, deadline: Duration, more: u64) -> Result<()> {
        let wanted = self.answers()? + more;
        wait::until(deadline, &format!("{more} answers to a running ping"), || Ok(self.answers()? >= wanted))
    }

    /// From the start of the program to its first answer.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn first_answer(&self) -> Result<Option<Duration>> {
        let log = self.process.log()?;
        Ok(log.lines().find(|line| is_answer(line)).and_then(|line| {
            let stamp = line.strip_prefix('[')?.split(']').next()?.parse().ok()?;
            Duration::from_secs_f64(stamp).checked_sub(self.started_wall)
        }))
    }

    /// Requests without an answer in front of the latest that has one: the last few may still be on their way.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn gaps(&self) -> Result<u64> {
        let log = self.process.log()?;
        let number = |line: &str| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
        let answered: Vec<u64> = log.lines().filter(|line| is_answer(line)).filter_map(number).collect();
        Ok(answered.iter().max().copied().unwrap_or_default().saturating_sub(answered.len() as u64))
    }

    /// When the latest answer came, since the epoch.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn last_answer(&self) -> Result<Option<Duration>> {
        let log = self.process.log()?;
        let last = log.lines().rev().find(|line| is_answer(line));
        Ok(last.and_then(|line| line.strip_prefix('[')?.split(']').next()?.parse().ok().map(Duration::from_secs_f64)))
    }

    /// Stops after the answer to the last request had time to come; what became of it all.
    ///
    /// # Errors
    /// When ping does not report its statistics.
    pub fn finish(mut self) -> Result<Tally> {
        self.process.stop(Signal::INT)?;
        let log = self.process.log()?;
        tally(&log).ok_or_else(|| Failure::new("ping printed no statistics").with("its output", log))
    }
}

/// A label whose log is not there yet: a log holds one ping's output, or its statistics would be another's.
fn unused_label(host: &Host, to: &str) -> String {
    let label = |number: u32| format!("ping-{to}-{number}");
    let free = (1..).find(|number| !host.folder().join(format!("{}.log", label(*number))).exists());
    label(free.unwrap_or(0))
}

fn is_answer(line: &str) -> bool {
    line.contains(" bytes from ") && line.contains("icmp_seq=")
}

/// Reads ping's closing statistics. A request whose answer was still under way when ping was stopped is not lost: it is
/// taken out when it is the last one.
fn tally(log: &str) -> Option<Tally> {
    let line = log.lines().find(|line| line.contains(" packets transmitted"))?;
    let mut parts = line.split(", ");
    let mut sent: u64 = parts.next()?.split(' ').next()?.parse().ok()?;
    let answered: u64 = parts.next()?.split(' ').next()?.parse().ok()?;
    let last_answered = log.lines().filter(|line| is_answer(line)).filter_map(sequence).max();
    if sent > 0 && last_answered.is_none_or(|sequence| sequence < sent) {
        sent -= 1;
    }
    Some(Tally { sent, answered })
}

fn sequence(line: &str) -> Option<u64> {
    line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "PING 10.1.0.2 (10.1.0.2) 56(84) bytes of data.
[1763966400.100000] 64 bytes from 10.1.0.2: icmp_seq=1 ttl=64 time=0.1 ms
[1763966400.200000] 64 bytes from 10.1.0.2: icmp_seq=3 ttl=64 time=0.1 ms

--- 10.1.0.2 ping statistics ---
";

    #[test]
    fn requests_before_the_answered_one_count_as_time() {
        let line = "64 bytes from 10.1.0.2: icmp_seq=3 ttl=64 time=2.5 ms";
        assert_eq!(since_first_request(line, AGAIN), Some(Duration::from_micros(402_500)));
    }

    #[test]
    fn a_gap_is_a_loss() {
        let log = format!("{LOG}3 packets transmitted, 2 received, 33% packet loss, time 200ms");
        assert_eq!(tally(&log), Some(Tally { sent: 3, answered: 2 }));
    }

    #[test]
    fn the_request_under_way_at_the_end_is_not() {
        let log = format!("{LOG}4 packets transmitted, 2 received, 50% packet loss, time 200ms");
        assert_eq!(tally(&log).map(Tally::lost), Some(1));
    }
}
