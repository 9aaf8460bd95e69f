//! What is wrong with a text, and the one renderer for all three languages.
//!
//! The first line of a rendering is `FILE:LINE:COLUMN: error: MESSAGE`; then come the line and a caret, then hints.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::span::{Sources, Span};

/// Columns of a source line that are shown.
const SHOWN: usize = 120;
/// Columns shown in front of the place when a line is cut.
const CONTEXT: usize = 40;
/// Characters of a message.
const MAX_MESSAGE: usize = 300;
/// Errors after which a parser stops adding more: a file that is no configuration at all would bury its reader.
const MAX_ERRORS: usize = 200;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// The text is used; its author should know something.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What, in a sentence without a full stop.
    pub message: String,
    /// The token that stood there, if it was the wrong one (shown in `message` already).
    pub found: Option<String>,
    /// What would have been right.
    pub expected: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        let message = cut(message.into());
        Self { severity: Severity::Error, span, message, found: None, expected: None, hint: None }
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// Adds the token found.
    #[must_use]
    pub fn found(self, found: impl Into<String>) -> Self {
        Self { found: Some(cut(found.into())), ..self }
    }

    /// Adds what was expected.
    #[must_use]
    pub fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds "did you mean" if one of `words` is near to `found`.
    #[must_use]
    pub fn suggest<'a>(self, found: &str, words: impl IntoIterator<Item = &'a str>) -> Self {
        match near_miss(found, words) {
            Some(word) => self.hint(format!("did you mean `{word}`?")),
            None => self,
        }
    }

    /// Is it an error?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `FILE:LINE:COLUMN: error: MESSAGE`, the line, a caret, and what helps. Ends with a newline.
    pub fn render(&self, sources: &Sources) -> String {
        let place = sources.locate(self.span);
        let severity = if self.is_error() { "error" } else { "warning" };
        let mut first = format!("{}:{}:{}: {severity}: {}", place.file, place.line, place.column, self.message);
        if let Some(expected) = &self.expected {
            let _ = write!(first, "; expected {expected}");
        }
        let mut out = printable(&first);
        out.push('\n');
        self.render_line(sources, &mut out);
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "    = hint: {}", printable(hint));
        }
        out
    }

    fn render_line(&self, sources: &Sources, out: &mut String) {
        let (line, from) = sources.line(self.span, shown_window);
        let before = self.span.start.saturating_sub(from).min(line.len());
        // A tab takes one column in the caret line too, where it is copied.
        let lead: String =
            line.get(..before).unwrap_or("").chars().map(|ch| if ch == '\t' { '\t' } else { ' ' }).collect();
        let marked = line.get(before..).unwrap_or("");
        let length = self.span.end.saturating_sub(self.span.start).min(marked.len());
        let carets = marked.get(..length).map_or(1, |text| text.chars().count()).max(1);
        let printable = printable(&line);
        let _ = writeln!(out, "    | {printable}\n    | {lead}{}", "^".repeat(carets));
    }
}

/// What stands in a file reaches a terminal or a log without its control characters.
fn printable(text: &str) -> String {
    text.chars().map(|ch| if ch == '\u{feff}' || (ch.is_control() && ch != '\t') { '\u{b7}' } else { ch }).collect()
}

/// Findings in the making: what parsers write to.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
}

impl Diagnostics {
    /// Adds a finding; beyond 200 errors they are only counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.is_error() {
            self.errors += 1;
            if self.errors == MAX_ERRORS {
                self.list.push(Diagnostic::error(diagnostic.span, "too many errors; the rest is not shown"));
            }
            if self.errors >= MAX_ERRORS {
                return;
            }
        }
        self.list.push(diagnostic);
    }

    /// Are further errors only counted? Then they need no words.
    pub fn is_full(&self) -> bool {
        self.errors >= MAX_ERRORS
    }

    /// Adds an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::error(span, message));
    }

    /// Adds a warning.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::warning(span, message));
    }

    /// Number of errors so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Everything found, in the order of the text, each once: a block is judged again for each heir.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list;
        let mut known = HashSet::new();
        list.retain(|diagnostic| known.insert((diagnostic.span, diagnostic.message.clone())));
        list.sort_by_key(|diagnostic| (diagnostic.span.file, diagnostic.span.start));
        list
    }
}

/// A message quotes what it found, and that may be a megabyte.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// All of `diagnostics`, rendered one after the other.
pub fn render_all(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(sources)).collect()
}

/// The octets of `line` to show when something at octet `at` is pointed out.
fn shown_window(line: &str, at: usize) -> std::ops::Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(line.len());
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = if line.len() <= SHOWN { 0 } else { floor(at.saturating_sub(CONTEXT)) };
    start..floor(start + SHOWN)
}

/// The word among `words` that differs from `found` by at most two letters (one if it is short).
fn near_miss<'a>(found: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > 40 || found.len() < 2 {
        return None;
    }
    let limit = if found.len() < 5 { 1 } else { 2 };
    let near = words.into_iter().map(|word| (distance(found, word), word)).min()?;
    (near.0 <= limit).then_some(near.1)
}

/// Edit distance of two short words: letters inserted, deleted, replaced, and neighbours swapped.
fn distance(left: &str, right: &str) -> usize {
    let left_letters: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    if left_letters.len() == right.len() {
        let differing: Vec<_> = left_letters.iter().zip(&right).filter(|(from, to)| from != to).collect();
        if let [(a, b), (c, d)] = differing.as_slice()
            && a == d
            && b == c
        {
            return 1;
        }
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut next = vec![index + 1];
        for ((&to, &above), &above_left) in right.iter().zip(row.iter().skip(1)).zip(&row) {
            let beside = next.last().copied().unwrap_or(0);
            next.push((beside + 1).min(above + 1).min(above_left + usize::from(from != to)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, range: std::ops::Range<usize>) -> String {
        let mut sources = Sources::default();
        let file = sources.add("f", text.as_bytes());
        Diagnostic::error(Span::new(file, range), "wrong").hint("do it right").render(&sources)
    }

    #[test]
    fn the_caret_stands_below_the_token_behind_a_tab() {
        assert_eq!(
            render("a;\n\tbad word;\n", 4..7),
            "f:2:2: error: wrong\n    | \tbad word;\n    | \t^^^\n    = hint: do it right\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(500_000), "b".repeat(500_000));
        let shown = render(&text, 500_000..500_001);
        assert!(shown.len() < 400, "{shown}");
        assert!(shown.contains(&format!("{}X{}", "a".repeat(CONTEXT), "b".repeat(20))), "{shown}");
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_not() {
        let words = ["encryption_algorithm", "hash_algorithm", "dh_group"];
        assert_eq!(near_miss("encrytion_algorithm", words), Some("encryption_algorithm"));
        assert_eq!(near_miss("dhgroup", words), Some("dh_group"));
        assert_eq!(near_miss("mian", ["main", "aggressive"]), Some("main"));
        assert_eq!(near_miss("lifetime", words), None);
    }
}
