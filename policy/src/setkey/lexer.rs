//! Text to tokens of a setkey script.
//!
//! A word is whatever stands between blanks, `;`, `"` and `#`: addresses with ports, `0x` keys and policy requests are
//! one word each, and the productions take them apart. Strings and long hexadecimal words are key material.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::{FileId, Span};

/// A `0x` word longer than this is a key, not a number: it is never shown.
const LONGEST_NUMBER: usize = "0x00000000".len();

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Anything between blanks.
    Word,
    /// `"…"`, without escapes.
    Str,
    /// `;`
    Semicolon,
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
}

impl Token<'_> {
    /// May the token be shown?
    pub fn is_secret(&self) -> bool {
        match self.kind {
            TokenKind::Str => true,
            TokenKind::Word => {
                (self.text.starts_with("0x") || self.text.starts_with("0X")) && self.text.len() > LONGEST_NUMBER
            }
            TokenKind::Semicolon | TokenKind::End => false,
        }
    }

    /// As an error message names it.
    pub fn shown(&self) -> String {
        match self.kind {
            TokenKind::End => "the end of the file".to_owned(),
            _ if self.is_secret() => "a key".to_owned(),
            _ => self.text.chars().take(60).collect(),
        }
    }
}

/// Yields the tokens of one text; the last one is [`TokenKind::End`], for ever.
pub struct Lexer<'a> {
    file: FileId,
    /// Where `text` begins in the file.
    base: usize,
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl<'a> Lexer<'a> {
    /// Reads `text`, which is that of `file`.
    pub fn new(file: FileId, text: &'a str) -> Self {
        Self { file, base: 0, text, chars: text.char_indices().peekable() }
    }

    /// Reads `text`, which is what stands at `span`.
    pub(super) fn within(span: Span, text: &'a str) -> Self {
        Self { base: span.start, ..Self::new(span.file, text) }
    }

    /// The next token.
    pub fn next(&mut self, diagnostics: &mut Diagnostics) -> Token<'a> {
        loop {
            let Some((start, ch)) = self.chars.next() else {
                return self.token(TokenKind::End, self.text.len()..self.text.len());
            };
            match ch {
                ' ' | '\t' | '\n' | '\r' | '\x0c' => {}
                '\u{feff}' if start == 0 => {
                    diagnostics.warning(self.span(0..ch.len_utf8()), "a byte order mark: ignored");
                }
                '#' => {
                    self.skip_while(|ch| ch != '\n');
                }
                ';' => return self.token(TokenKind::Semicolon, start..start + 1),
                '"' => return self.string(start, diagnostics),
                _ => {
                    let end = self.skip_while(is_word);
                    let token = self.token(TokenKind::Word, start..end);
                    check_text(token, diagnostics);
                    return token;
                }
            }
        }
    }

    fn string(&mut self, start: usize, diagnostics: &mut Diagnostics) -> Token<'a> {
        let end = self.skip_while(|ch| ch != '"');
        let text = self.text.get(start + 1..end).unwrap_or("");
        let is_closed = self.chars.next().is_some();
        let span = self.span(start..(end + usize::from(is_closed)));
        if !is_closed {
            diagnostics.push(Diagnostic::error(span, "this string never ends").found("\""));
        }
        let token = Token { kind: TokenKind::Str, span, text };
        check_text(token, diagnostics);
        token
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) -> usize {
        while self.chars.next_if(|&(_, ch)| wanted(ch)).is_some() {}
        self.chars.peek().map_or(self.text.len(), |&(at, _)| at)
    }

    fn token(&self, kind: TokenKind, range: std::ops::Range<usize>) -> Token<'a> {
        Token { kind, text: self.text.get(range.clone()).unwrap_or(""), span: self.span(range) }
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span::new(self.file, range.start + self.base..range.end + self.base)
    }
}

fn check_text(token: Token<'_>, diagnostics: &mut Diagnostics) {
    let what = if token.text.contains('\u{fffd}') {
        "octets that are not UTF-8"
    } else if token.text.chars().any(|ch| ch.is_control() && !matches!(ch, '\n' | '\r' | '\t')) {
        "a control character"
    } else {
        return;
    };
    diagnostics.push(Diagnostic::error(token.span, what).found(token.shown()));
}

fn is_word(ch: char) -> bool {
    !matches!(ch, ' ' | '\t' | '\n' | '\r' | '\x0c' | '#' | ';' | '"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Sources;

    fn lex(text: &str) -> (Vec<String>, Vec<Diagnostic>) {
        let mut sources = Sources::default();
        let file = sources.add("f", text.as_bytes());
        let mut diagnostics = Diagnostics::default();
        let mut lexer = Lexer::new(file, sources.text(file));
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next(&mut diagnostics);
            if token.kind == TokenKind::End {
                return (tokens, diagnostics.into_sorted());
            }
            tokens.push(token.text.to_owned());
        }
    }

    #[test]
    fn words_end_at_blanks_semicolons_and_comments() {
        let (tokens, diagnostics) = lex("#!/sbin/setkey -f\nspdadd 10.0.0.0/24[any] ::1 any\n-P out;#x\nflush ;");
        assert_eq!(diagnostics, []);
        assert_eq!(tokens, ["spdadd", "10.0.0.0/24[any]", "::1", "any", "-P", "out", ";", "flush", ";"]);
    }

    #[test]
    fn keys_are_known_by_their_form() {
        let mut sources = Sources::default();
        let file = sources.add("f", b"\"secret\" 0x00001000 0x0123456789abcdef word");
        let mut diagnostics = Diagnostics::default();
        let mut lexer = Lexer::new(file, sources.text(file));
        let secret: Vec<bool> = (0..4).map(|_| lexer.next(&mut diagnostics).is_secret()).collect();
        assert_eq!(secret, [true, false, true, false]);
    }

    #[test]
    fn an_open_string_and_control_characters_are_errors() {
        assert!(lex("add \"abc;\n").1.iter().any(Diagnostic::is_error));
        assert!(lex("add a\0b;").1.iter().any(Diagnostic::is_error));
    }
}
