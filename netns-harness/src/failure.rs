//! Why a step of the harness failed, with what the machines said about it. A scenario's failure is read by a person, so
//! it is text and evidence rather than a type per cause.

use std::fmt;

/// The result of everything that touches a machine on the desk.
pub type Result<T> = std::result::Result<T, Failure>;

/// What was tried and why it did not work, and pieces of logs and kernel state that help to see the cause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
    evidence: Vec<Evidence>,
}

/// A labelled piece of text: the tail of a log, the kernel's SAs.
#[derive(Debug, Clone)]
struct Evidence {
    label: String,
    text: String,
}

impl Failure {
    /// A failure described by one sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), evidence: Vec::new() }
    }

    /// The same failure with a piece of evidence attached.
    pub fn with(mut self, label: impl Into<String>, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence { label: label.into(), text: text.into() });
        self
    }

    /// The same failure, said to have happened during `step`.
    pub fn during(mut self, step: impl fmt::Display) -> Self {
        self.what = format!("{step}: {}", self.what);
        self
    }

    /// The sentence, then each piece of evidence cut to its last lines.
    pub fn report(&self) -> String {
        let mut out = self.what.clone();
        for Evidence { label, text } in &self.evidence {
            out.push_str(&format!("\n  --- {label}"));
            for line in tail(text, 40) {
                out.push_str("\n  | ");
                out.push_str(line);
            }
        }
        out
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Adds the step to an error of any kind.
pub trait During<T> {
    /// Turns the error into a [`Failure`] that names the step.
    fn during(self, step: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> During<T> for std::result::Result<T, E> {
    fn during(self, step: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{step}: {error}")))
    }
}

/// The last `count` lines of a text.
pub fn tail(text: &str, count: usize) -> impl Iterator<Item = &str> {
    let skip = text.lines().count().saturating_sub(count);
    text.lines().skip(skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_shows_the_last_lines_of_the_evidence() {
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let report = Failure::new("no SA").during("first ping").with("alice's log", log).report();
        assert!(report.starts_with("first ping: no SA\n  --- alice's log\n  | line 60"));
        assert!(report.ends_with("line 99"));
    }
}
