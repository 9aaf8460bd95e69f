//! One thing that was found.

use std::fmt;

use policy::diagnostic::{Diagnostic, Severity};
use policy::span::{Sources, Span};
use serde::Serialize;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It cannot work, or not as written.
    Error,
    /// It works, and its owner should know something.
    Warning,
}

/// A finding, with its place where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// The file it is in, or about.
    pub file: String,
    /// Line, from 1; null for a file as a whole.
    pub line: Option<usize>,
    /// Column, from 1.
    pub column: Option<usize>,
    /// What, in a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// As a person reads it: place, line and caret.
    #[serde(skip)]
    pub rendered: String,
}

impl Finding {
    /// A parser's finding.
    pub fn of(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let place = sources.locate(diagnostic.span);
        let expected = diagnostic.expected.as_ref().map(|expected| format!("; expected {expected}"));
        Self {
            level: if diagnostic.severity == Severity::Error { Level::Error } else { Level::Warning },
            file: place.file.to_owned(),
            line: Some(place.line),
            column: Some(place.column),
            message: format!("{}{}", diagnostic.message, expected.unwrap_or_default()),
            hint: diagnostic.hint.clone(),
            rendered: diagnostic.render(sources),
        }
    }

    /// A warning about a place.
    pub fn at(span: Span, sources: &Sources, message: impl Into<String>, hint: &str) -> Self {
        Self::of(&Diagnostic::warning(span, message).hint(hint), sources)
    }

    /// A finding about a whole file.
    pub fn about(level: Level, file: impl fmt::Display, message: impl Into<String>) -> Self {
        let (file, message) = (file.to_string(), message.into());
        let word = if level == Level::Error { "error" } else { "warning" };
        let rendered = format!("{file}: {word}: {message}\n");
        Self { level, file, line: None, column: None, message, hint: None, rendered }
    }
}
