//! Text to tokens, with racoon's habits.
//!
//! racoon's scanner appends a character that starts no token to the *next* token's text, which amounts to ignoring it.
//! Real files rely on that (`dpd_delay = 30;`, a byte order mark, CRLF line ends), so such characters are accepted here
//! too, each run with a warning. Control characters and octets that are not UTF-8 are refused outside comments.

use std::iter::Peekable;
use std::str::CharIndices;

use super::token::{Token, TokenKind};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::{FileId, Span};

/// Runs of ignored characters that are warned about one by one.
const MAX_JUNK: usize = 50;

/// Yields the tokens of one text; the last one is [`TokenKind::End`], for ever.
pub struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    said_carriage_return: bool,
    /// Runs of ignored characters so far.
    junk: usize,
    /// Has no token of this line been seen yet?
    at_line_start: bool,
}

impl<'a> Lexer<'a> {
    /// Reads `text`, which is that of `file`.
    pub fn new(file: FileId, text: &'a str) -> Self {
        Self {
            file,
            text,
            chars: text.char_indices().peekable(),
            said_carriage_return: false,
            junk: 0,
            at_line_start: true,
        }
    }

    /// The next token.
    pub fn next(&mut self, diagnostics: &mut Diagnostics) -> Token<'a> {
        loop {
            let Some((start, ch)) = self.chars.next() else {
                return self.token(TokenKind::End, self.text.len()..self.text.len());
            };
            let kind = match ch {
                '\n' => {
                    self.at_line_start = true;
                    continue;
                }
                ' ' | '\t' | '\x0c' => continue,
                '\r' => {
                    self.carriage_return(start, diagnostics);
                    continue;
                }
                '#' => {
                    self.skip_while(|ch| ch != '\n');
                    continue;
                }
                '{' => TokenKind::OpenBrace,
                '}' => TokenKind::CloseBrace,
                ';' => TokenKind::Semicolon,
                ',' => TokenKind::Comma,
                '[' => TokenKind::OpenBracket,
                ']' => TokenKind::CloseBracket,
                '/' => TokenKind::Slash,
                '"' => return self.string(start, diagnostics),
                ch if is_word(ch) => {
                    let end = self.skip_while(is_word);
                    return self.token(TokenKind::Word, start..end);
                }
                _ => {
                    self.junk(start, ch, diagnostics);
                    continue;
                }
            };
            return self.token(kind, start..start + ch.len_utf8());
        }
    }

    /// `"` anything but `"` `"`: no escapes, may span lines.
    fn string(&mut self, start: usize, diagnostics: &mut Diagnostics) -> Token<'a> {
        let end = self.skip_while(|ch| ch != '"');
        let text = self.text.get(start + 1..end).unwrap_or("");
        if self.chars.next().is_none() {
            let line_end = self.text.get(start..).and_then(|rest| rest.find('\n')).map_or(end, |at| start + at);
            diagnostics.push(
                Diagnostic::error(self.span(start..line_end), "this string never ends")
                    .hint("strings end at the next `\"`; there are no escapes"),
            );
        }
        let starts_line = std::mem::take(&mut self.at_line_start);
        let span = self.span(start..(end + 1).min(self.text.len()));
        let token = Token { kind: TokenKind::Str, span, text, starts_line };
        if let Some(bad) = text.chars().find(|ch| *ch == '\u{fffd}' || *ch == '\0') {
            let what = if bad == '\0' { "a NUL character" } else { "octets that are not UTF-8" };
            diagnostics.error(token.span, format!("this string holds {what}"));
        }
        token
    }

    fn junk(&mut self, start: usize, first: char, diagnostics: &mut Diagnostics) {
        let end = self.skip_while(is_junk);
        let span = self.span(start..end);
        let text = self.text.get(start..end).unwrap_or("");
        if text.contains('\u{fffd}') {
            diagnostics.error(span, "octets that are not UTF-8");
        } else if let Some(bad) = text.chars().find(|ch| ch.is_control()) {
            diagnostics.error(span, format!("a control character (code {})", u32::from(bad)));
        } else if first == '\u{feff}' && start == 0 {
            diagnostics.warning(span, "a byte order mark: racoon ignores it, and so does xfrmd");
        } else {
            self.warn_of_junk(span, text, diagnostics);
        }
    }

    fn warn_of_junk(&mut self, span: Span, text: &str, diagnostics: &mut Diagnostics) {
        self.junk += 1;
        if self.junk == MAX_JUNK {
            diagnostics
                .warning(span, "characters that mean nothing: racoon ignores them, and so does xfrmd; not said again");
        }
        if self.junk >= MAX_JUNK {
            return;
        }
        let shown: String = text.chars().take(20).collect();
        diagnostics.push(
            Diagnostic::warning(span, format!("`{shown}` means nothing here: racoon ignores it, and so does xfrmd"))
                .found(shown)
                .hint("remove it"),
        );
    }

    /// Said once a file: every line would have one.
    fn carriage_return(&mut self, start: usize, diagnostics: &mut Diagnostics) {
        if !self.said_carriage_return {
            self.said_carriage_return = true;
            diagnostics.warning(self.span(start..start + 1), "carriage returns at line ends: ignored, as racoon does");
        }
    }

    /// Skips while `wanted` holds; where it stops.
    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) -> usize {
        while self.chars.next_if(|&(_, ch)| wanted(ch)).is_some() {}
        self.chars.peek().map_or(self.text.len(), |&(at, _)| at)
    }

    fn token(&mut self, kind: TokenKind, range: std::ops::Range<usize>) -> Token<'a> {
        let starts_line = std::mem::take(&mut self.at_line_start);
        Token { kind, text: self.text.get(range.clone()).unwrap_or(""), span: self.span(range), starts_line }
    }

    fn span(&self, range: std::ops::Range<usize>) -> Span {
        Span::new(self.file, range)
    }
}

fn is_word(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || matches!(ch, '_' | '.' | ':' | '%' | '-')
}

fn is_junk(ch: char) -> bool {
    !is_word(ch)
        && !matches!(ch, ' ' | '\t' | '\n' | '\r' | '\x0c' | '#' | '{' | '}' | ';' | ',' | '[' | ']' | '/' | '"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Sources;

    fn lex(text: &[u8]) -> (Vec<(TokenKind, String)>, Vec<Diagnostic>) {
        let mut sources = Sources::default();
        let file = sources.add("f", text);
        let mut diagnostics = Diagnostics::default();
        let mut lexer = Lexer::new(file, sources.text(file));
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next(&mut diagnostics);
            if token.kind == TokenKind::End {
                return (tokens, diagnostics.into_sorted());
            }
            tokens.push((token.kind, token.text.to_owned()));
        }
    }

    fn words(text: &str) -> Vec<String> {
        lex(text.as_bytes()).0.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn comments_end_with_the_line() {
        assert_eq!(words("a # b; \"c\n d;#e"), ["a", "d", ";"]);
    }

    #[test]
    fn a_port_may_stand_behind_blanks() {
        assert_eq!(words("isakmp 192.0.2.1 [500];"), ["isakmp", "192.0.2.1", "[", "500", "]", ";"]);
        assert_eq!(words("2001:db8::1[500]"), ["2001:db8::1", "[", "500", "]"]);
        assert_eq!(words("10.0.0.0/24[any]"), ["10.0.0.0", "/", "24", "[", "any", "]"]);
    }

    #[test]
    fn strings_have_no_escapes_and_may_span_lines() {
        let (tokens, diagnostics) = lex(b"\"a\\\" \"b\nc\" \"\"");
        assert_eq!(diagnostics, []);
        assert_eq!(
            tokens,
            [(TokenKind::Str, "a\\".to_owned()), (TokenKind::Str, "b\nc".to_owned()), (TokenKind::Str, String::new())]
        );
    }

    #[test]
    fn a_string_without_end_is_an_error() {
        let (tokens, diagnostics) = lex(b"path \"abc;\nlog");
        assert_eq!(tokens.len(), 2);
        assert!(diagnostics.iter().any(|found| found.is_error() && found.message.contains("never ends")));
    }

    #[test]
    fn characters_racoon_ignores_are_warned_about() {
        let (tokens, diagnostics) = lex("\u{feff}dpd_delay = (30);\r\nlog\r\n".as_bytes());
        let texts: Vec<_> = tokens.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["dpd_delay", "30", ";", "log"]);
        assert_eq!(diagnostics.len(), 5, "mark, equals, two parentheses, one for all carriage returns");
        assert!(diagnostics.iter().all(|found| !found.is_error()));
    }

    #[test]
    fn controls_and_broken_utf8_are_refused_outside_comments() {
        assert!(lex(b"# caf\xe9\nlog").1.is_empty());
        for text in [b"log \0 info;".as_slice(), b"log \xff info;", b"path x \"\xff\";", b"path x \"a\0b\";"] {
            assert!(lex(text).1.iter().any(Diagnostic::is_error), "{text:?}");
        }
    }
}
