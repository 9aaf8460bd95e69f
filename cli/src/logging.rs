//! Log lines in racoon's form, to standard error, a file, the journal or syslog.
//!
//! `2026-11-24 06:33:51: [192.0.2.1] INFO: text`; syslog and the journal bring their own time. Everything passes
//! through [`log`]; what strangers can cause passes [`limit::Limits`] first (ATTACKS D-10). Keys have no way in: a
//! [`policy::model::secret::Secret`] prints its length only.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ike::report::Level;
use policy::model::daemon::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::civil;

pub mod limit;

/// What the journal and syslog call us: the name that scripts look for.
pub const IDENT: &str = "racoon";

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
const SYSLOG_SOCKET: &str = "/dev/log";

/// The level from which lines are dropped; a reload may change it.
static THRESHOLD: AtomicU8 = AtomicU8::new(rank(Level::Info));

/// Counts [`reopen`]s: a log file whose count is behind opens its path again.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Has a log file opened again by its name: logrotate has moved the old one away.
pub fn reopen() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error; with a level in front of each line if that is the journal's.
    Stderr,
    /// The end of a file.
    File(PathBuf),
    /// The journal if systemd runs one, else syslog.
    System,
}

/// Sets up logging for the process.
///
/// # Errors
/// The log file cannot be opened; the journal or syslog socket cannot be reached is none: lines are then dropped until
/// it can.
pub fn start(target: &Target, location: WithLocation) -> io::Result<()> {
    let registry = tracing_subscriber::registry();
    let sink = match target {
        Target::Stderr if stderr_is_journal() => Sink::JournalStream,
        Target::Stderr => Sink::Stderr,
        Target::File(path) => Sink::File(Mutex::new(LogFile::open(path)?)),
        Target::System if Path::new(JOURNAL_SOCKET).exists() => {
            let journal = tracing_journald::layer()?.with_syslog_identifier(IDENT.to_owned());
            registry.with(journal.with_field_prefix(Some("XFRMD".to_owned()))).try_init().map_err(io::Error::other)?;
            return Ok(());
        }
        Target::System => Sink::Syslog(UnixDatagram::unbound()?, SYSLOG_SOCKET.into()),
    };
    registry.with(Lines { sink, location }).try_init().map_err(io::Error::other)
}

/// Does each line name the place in the source (`-L`)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithLocation {
    /// Yes.
    Shown,
    /// No.
    Hidden,
}

/// A file that lines are appended to.
struct LogFile {
    path: PathBuf,
    file: File,
    generation: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, generation: GENERATION.load(Ordering::Relaxed) })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let generation = GENERATION.load(Ordering::Relaxed);
        if self.generation != generation {
            self.generation = generation;
            // If it cannot be opened the old one is better than none.
            if let Ok(fresh) = Self::open(&self.path) {
                *self = fresh;
            }
        }
        self.file.write_all(line.as_bytes())
    }
}

/// Sets the least important level that is still logged: `log` of the configuration, raised once per `-d`.
pub fn set_level(configured: LogLevel, raised: u8) {
    let level = match configured {
        LogLevel::Error => rank(Level::Error),
        LogLevel::Warning => rank(Level::Warning),
        LogLevel::Notify => rank(Level::Notify),
        LogLevel::Info => rank(Level::Info),
        LogLevel::Debug | LogLevel::Debug2 => rank(Level::Debug),
    };
    // racoon's -d wins over `log`: one is debug already.
    let level = if raised > 0 { rank(Level::Debug) } else { level };
    THRESHOLD.store(level, Ordering::Relaxed);
}

/// Would a line of this level be written? For lines that are dear to make.
pub fn enabled(level: Level) -> bool {
    rank(level) <= THRESHOLD.load(Ordering::Relaxed)
}

/// Writes one line.
#[track_caller]
pub fn log(level: Level, peer: Option<SocketAddr>, text: impl Display) {
    if !enabled(level) {
        return;
    }
    let (name, at) = (name(level), Location::caller());
    let peer = peer.map(|peer| peer.ip().to_string());
    let peer = peer.as_deref();
    match level {
        Level::Error => tracing::error!(peer, level = name, at = %at, "{text}"),
        Level::Warning => tracing::warn!(peer, level = name, at = %at, "{text}"),
        Level::Notify | Level::Info => tracing::info!(peer, level = name, at = %at, "{text}"),
        Level::Debug => tracing::debug!(peer, level = name, at = %at, "{text}"),
    }
}

/// An INFO line.
#[track_caller]
pub fn info(text: impl Display) {
    log(Level::Info, None, text);
}

/// A WARNING line.
#[track_caller]
pub fn warning(text: impl Display) {
    log(Level::Warning, None, text);
}

/// An ERROR line.
#[track_caller]
pub fn error(text: impl Display) {
    log(Level::Error, None, text);
}

const fn rank(level: Level) -> u8 {
    match level {
        Level::Error => 0,
        Level::Warning => 1,
        Level::Notify => 2,
        Level::Info => 3,
        Level::Debug => 4,
    }
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warning => "WARNING",
        Level::Notify => "NOTIFY",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
    }
}

enum Sink {
    Stderr,
    /// Standard error that systemd reads: `<N>` in front of a line is its level (sd-daemon(3)), the time is the journal's.
    JournalStream,
    File(Mutex<LogFile>),
    Syslog(UnixDatagram, PathBuf),
}

struct Lines {
    sink: Sink,
    location: WithLocation,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        // Lines of libraries carry no level of ours and are not for this log.
        if parts.level.is_empty() {
            return;
        }
        let body = parts.body(self.location);
        // A full disk, a closed pipe or a missing syslog must not stop IKE (ATTACKS H-10): the line is lost.
        let _lost = match &self.sink {
            Sink::Stderr => io::stderr().lock().write_all(stamped(unix_seconds(), &body).as_bytes()),
            Sink::JournalStream => io::stderr().lock().write_all(prefixed(&parts.level, &body).as_bytes()),
            Sink::File(file) => match file.lock() {
                Ok(mut file) => file.write(&stamped(unix_seconds(), &body)),
                Err(_poisoned) => Ok(()),
            },
            Sink::Syslog(socket, at) => {
                let line = syslog_line(&parts.level, std::process::id(), &body);
                socket.send_to(line.as_bytes(), at).map(|_octets| ())
            }
        };
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn stamped(unix: u64, body: &str) -> String {
    format!("{}: {body}\n", civil::local(unix))
}

/// Has systemd connected standard error to the journal? It says so by device and inode of the socket (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let ours = rustix::fs::fstat(io::stderr()).map(|found| format!("{}:{}", found.st_dev, found.st_ino));
    ours.is_ok_and(|ours| ours == named)
}

fn prefixed(level: &str, body: &str) -> String {
    let severity = match level {
        "ERROR" => 3,
        "WARNING" => 4,
        "NOTIFY" => 5,
        "INFO" => 6,
        _ => 7,
    };
    format!("<{severity}>{body}\n")
}

/// RFC 3164, facility daemon; racoon sends everything but debugging as `info`.
fn syslog_line(level: &str, pid: u32, body: &str) -> String {
    const DAEMON: u8 = 3 << 3;
    let severity = if level.starts_with("DEBUG") { 7 } else { 6 };
    format!("<{}>{IDENT}[{pid}]: {body}", DAEMON | severity)
}

#[derive(Default)]
struct Parts {
    level: String,
    peer: Option<String>,
    text: String,
    at: String,
}

impl Parts {
    /// `[PEER] LEVEL: text`, one line whatever the text holds.
    fn body(&self, location: WithLocation) -> String {
        let mut line = String::with_capacity(self.text.len() + 48);
        if let Some(peer) = &self.peer {
            line.push('[');
            line.push_str(peer);
            line.push_str("] ");
        }
        line.push_str(&self.level);
        line.push_str(": ");
        if location == WithLocation::Shown {
            line.push_str(&self.at);
            line.push_str(": ");
        }
        line.extend(self.text.chars().map(|each| if each.is_control() { ' ' } else { each }));
        line
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "level" => value.clone_into(&mut self.level),
            "peer" => self.peer = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.text = format!("{value:?}"),
            "at" => self.at = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(peer: Option<&str>) -> Parts {
        Parts {
            level: "INFO".to_owned(),
            peer: peer.map(str::to_owned),
            text: "ISAKMP-SA established\n2026 ERROR: forged".to_owned(),
            at: "file.rs:1:2".to_owned(),
        }
    }

    #[test]
    fn line_has_racoons_form_and_stays_one_line() {
        assert_eq!(
            parts(Some("192.0.2.1")).body(WithLocation::Hidden),
            "[192.0.2.1] INFO: ISAKMP-SA established 2026 ERROR: forged"
        );
        assert_eq!(
            parts(None).body(WithLocation::Shown),
            "INFO: file.rs:1:2: ISAKMP-SA established 2026 ERROR: forged"
        );
        let line = stamped(0, "INFO: x");
        assert!(line.ends_with(": INFO: x\n"), "{line}");
        assert_eq!(line.len(), "1970-01-01 00:00:00: INFO: x\n".len());
    }

    #[test]
    fn a_file_that_was_rotated_away_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let mut file = LogFile::open(&path).unwrap();
        file.write("one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.write("two\n").unwrap();
        reopen();
        file.write("three\n").unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
        // A place that is gone: the lines go on to the file that is open.
        std::fs::remove_dir_all(directory.path()).unwrap();
        reopen();
        file.write("four\n").unwrap();
    }

    #[test]
    fn syslog_gets_each_line_with_its_peer_and_goes_on_without_a_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("log");
        let syslogd = UnixDatagram::bind(&at).unwrap();
        syslogd.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let sink = Sink::Syslog(UnixDatagram::unbound().unwrap(), at.clone());
        let layers = tracing_subscriber::registry().with(Lines { sink, location: WithLocation::Hidden });
        tracing::subscriber::with_default(layers, || {
            log(Level::Notify, Some("192.0.2.1:500".parse().unwrap()), "a\nb");
            let mut octets = [0; 256];
            let length = syslogd.recv(&mut octets).unwrap();
            let pid = std::process::id();
            assert_eq!(
                String::from_utf8_lossy(&octets[..length]),
                format!("<30>racoon[{pid}]: [192.0.2.1] NOTIFY: a b")
            );
            std::fs::remove_file(&at).unwrap();
            error("nobody hears this");
        });
    }

    #[test]
    fn lines_for_the_journal_begin_with_their_level() {
        let levels = [("ERROR", 3), ("WARNING", 4), ("NOTIFY", 5), ("INFO", 6), ("DEBUG", 7)];
        for (level, severity) in levels {
            assert_eq!(prefixed(level, "[192.0.2.1] X: y"), format!("<{severity}>[192.0.2.1] X: y\n"));
        }
        assert!(!stderr_is_journal(), "a test's standard error is none");
    }

    #[test]
    fn syslog_line_is_of_facility_daemon() {
        assert_eq!(syslog_line("INFO", 7, "INFO: x"), "<30>racoon[7]: INFO: x");
        assert_eq!(syslog_line("DEBUG", 7, "DEBUG: x"), "<31>racoon[7]: DEBUG: x");
    }
}
