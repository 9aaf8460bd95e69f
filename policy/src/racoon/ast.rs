//! What was written: statements with spans and the author's spelling, before any meaning.
//!
//! Every construct of racoon.conf has one shape, `NAME argument… ;` or `NAME argument… { statement… }`. Which names
//! there are and what arguments they take is `resolve`'s business, so that an unknown directive is one finding and the
//! rest of the file is still read.

use super::token::TokenKind;
use crate::model::secret::Secret;
use crate::span::Span;

/// One token of a statement's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Word, string, comma, bracket or slash.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
    /// As written; a string without its quotes. Of a password only asterisks.
    pub text: String,
    /// The password, if it is one.
    pub secret: Option<Secret>,
    /// Is it the first token of its line?
    pub starts_line: bool,
}

impl Arg {
    /// The token as an error message quotes it.
    pub fn quoted(&self) -> String {
        let shown: String = self.text.chars().take(60).collect();
        if self.kind == TokenKind::Str { format!("\"{shown}\"") } else { format!("`{shown}`") }
    }

    /// Is it the word `text`?
    pub fn is_word(&self, text: &str) -> bool {
        self.kind == TokenKind::Word && self.text == text
    }
}

/// `NAME argument… ;` or `NAME argument… { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its first word.
    pub name: Arg,
    /// What follows.
    pub args: Vec<Arg>,
    /// Where it ended: the `;` or the `{`, or the last token if neither came.
    pub end: Span,
    /// The statements between the braces.
    pub body: Option<Vec<Self>>,
}
