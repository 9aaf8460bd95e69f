//! Tokens of racoon.conf.

use crate::span::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword, number or address: letters, digits and `_ . : % -`.
    Word,
    /// `"…"`; the text is what stands between the quotes.
    Str,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `;`
    Semicolon,
    /// `,`
    Comma,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `/`
    Slash,
    /// The end of the text.
    End,
}

/// A token with its place and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands; for a string, with the quotes.
    pub span: Span,
    /// Its text; for a string, without the quotes.
    pub text: &'a str,
    /// Is it the first token of its line?
    pub starts_line: bool,
}
