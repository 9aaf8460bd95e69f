//! What the core has to say: facts for logs, listings and tests, worded as racoon words them.

use std::fmt;
use std::net::SocketAddr;

/// Severity, racoon's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warning,
    /// Worth noticing.
    Notify,
    /// A change of state.
    Info,
    /// Detail.
    Debug,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Severity.
    pub level: Level,
    /// The peer it is about.
    pub peer: Option<SocketAddr>,
    /// What happened.
    pub event: Event,
}

/// What happened; `Display` gives racoon's words. (Grows with the engine.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Free text.
    Text(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
        }
    }
}
