//! The terminals of racoon.conf: a statement's arguments, read one by one.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::ast::{Arg, Statement};
use super::token::TokenKind;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::Span;

/// A statement with more arguments left over than this is not searched for a forgotten `;`.
const MAX_LEFTOVER: usize = 64;

/// Units of time with their seconds.
const UNITS: [(&str, u64); 10] = [
    ("sec", 1),
    ("secs", 1),
    ("second", 1),
    ("seconds", 1),
    ("min", 60),
    ("mins", 60),
    ("minute", 60),
    ("minutes", 60),
    ("hour", 3600),
    ("hours", 3600),
];

/// Units of volume, all deprecated by racoon.
const BYTE_UNITS: [&str; 6] = ["B", "byte", "bytes", "KB", "MB", "TB"];

/// Reads the arguments of one statement. Each reader consumes what it returns; `None` means that an error was pushed.
pub struct Args<'s> {
    /// The statement.
    pub statement: &'s Statement,
    rest: &'s [Arg],
    failed: bool,
    body_taken: bool,
}

impl<'s> Args<'s> {
    /// The arguments of `statement`.
    pub fn new(statement: &'s Statement) -> Self {
        Self { statement, rest: &statement.args, failed: false, body_taken: false }
    }

    /// The directive.
    pub fn name(&self) -> &'s str {
        &self.statement.name.text
    }

    /// Place of the directive.
    pub fn name_span(&self) -> Span {
        self.statement.name.span
    }

    /// The next argument, not consumed.
    pub fn peek(&self) -> Option<&'s Arg> {
        self.rest.first()
    }

    /// The next argument.
    pub fn bump(&mut self) -> Option<&'s Arg> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Consumes the next argument if it is of `kind`.
    pub fn bump_kind(&mut self, kind: TokenKind) -> Option<&'s Arg> {
        if self.peek()?.kind == kind { self.bump() } else { None }
    }

    /// Consumes the next argument if it is the word `text`.
    pub fn bump_word(&mut self, text: &str) -> bool {
        let is_it = self.peek().is_some_and(|arg| arg.is_word(text));
        if is_it {
            self.bump();
        }
        is_it
    }

    /// The statements between the braces.
    pub fn block(&mut self, diagnostics: &mut Diagnostics) -> Option<&'s [Statement]> {
        if let Some(extra) = self.peek() {
            let message = format!("unexpected {} in front of the block of `{}`", extra.quoted(), self.name());
            diagnostics.push(Diagnostic::error(extra.span, message).found(&extra.text).expected("`{`"));
            self.rest = &[];
        }
        self.body_taken = true;
        if self.statement.body.is_none() {
            let message = format!("`{}` needs a block", self.name());
            diagnostics.push(Diagnostic::error(self.statement.end, message).expected("`{`"));
            self.failed = true;
        }
        self.statement.body.as_deref()
    }

    /// Skips everything: an error about this statement has been pushed.
    pub fn give_up(&mut self) {
        self.failed = true;
        self.body_taken = true;
        self.rest = &[];
    }

    /// Pushes "takes `what`, not …" at the next argument, or "lacks `what`" at the end.
    pub fn wrong(&mut self, what: &str, diagnostics: &mut Diagnostics) {
        self.wrong_with(what, &[], diagnostics);
    }

    fn wrong_with(&mut self, what: &str, words: &[&str], diagnostics: &mut Diagnostics) {
        let name = self.name();
        let diagnostic = match self.peek() {
            Some(arg) => Diagnostic::error(arg.span, format!("`{name}` takes {what}, not {}", arg.quoted()))
                .found(&arg.text)
                .suggest(&arg.text, words.iter().copied()),
            None => Diagnostic::error(self.statement.end, format!("`{name}` lacks {what}")),
        };
        diagnostics.push(diagnostic);
        self.give_up();
    }

    /// STRING
    pub fn string(&mut self, what: &str, diagnostics: &mut Diagnostics) -> Option<&'s Arg> {
        match self.peek() {
            Some(arg) if arg.kind == TokenKind::Str && !arg.text.is_empty() => self.bump(),
            Some(arg) if arg.kind == TokenKind::Str => {
                diagnostics.error(arg.span, format!("`{}` takes {what}, and this is empty", self.name()));
                self.give_up();
                None
            }
            _ => {
                self.wrong(what, diagnostics);
                None
            }
        }
    }

    /// As [`Self::string`], or what racoon's scanner takes for an address (`10.0.0.1`, `cafe`): it takes both as a name.
    pub fn name_string(&mut self, what: &str, diagnostics: &mut Diagnostics) -> Option<&'s Arg> {
        match self.peek() {
            Some(arg) if arg.kind == TokenKind::Word && looks_like_address(&arg.text) => {
                diagnostics.warning(arg.span, format!("{} is taken as a name, as racoon does", arg.quoted()));
                self.bump()
            }
            _ => self.string(what, diagnostics),
        }
    }

    /// One of the words of `table`.
    pub fn choice<T: Copy>(&mut self, table: &[(&str, T)], diagnostics: &mut Diagnostics) -> Option<T> {
        let found = self.peek().filter(|arg| arg.kind == TokenKind::Word);
        if let Some((_, value)) = found.and_then(|arg| table.iter().find(|(word, _)| *word == arg.text)) {
            self.bump();
            return Some(*value);
        }
        let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
        self.wrong_with(&one_of(&words), &words, diagnostics);
        None
    }

    /// `on` | `off`
    pub fn switch(&mut self, diagnostics: &mut Diagnostics) -> Option<bool> {
        self.choice(&[("on", true), ("off", false)], diagnostics)
    }

    /// A decimal number of at most `limit`.
    pub fn number(&mut self, limit: u64, diagnostics: &mut Diagnostics) -> Option<u64> {
        let Some(arg) = self.peek().filter(|arg| is_number(arg)) else {
            self.wrong("a decimal number", diagnostics);
            return None;
        };
        let value = arg.text.parse().ok().filter(|value| *value <= limit);
        if value.is_none() {
            let message = format!("{} is too large for `{}`", arg.text, self.name());
            diagnostics.push(Diagnostic::error(arg.span, message).expected(format!("at most {limit}")));
            self.give_up();
            return None;
        }
        self.bump();
        value
    }

    /// A number that fits `u32`.
    pub fn number32(&mut self, diagnostics: &mut Diagnostics) -> Option<u32> {
        self.number(u64::from(u32::MAX), diagnostics).and_then(|number| u32::try_from(number).ok())
    }

    /// The next argument as a number, if it is one.
    pub fn optional_number(&mut self) -> Option<(u64, Span)> {
        let arg = self.peek().filter(|arg| is_number(arg))?;
        let value = arg.text.parse().ok()?;
        self.bump();
        Some((value, arg.span))
    }

    /// time := NUMBER unit (also without a blank between, as racoon reads it). The span is that of both.
    pub fn time(&mut self, diagnostics: &mut Diagnostics) -> Option<(Duration, Span)> {
        let arg = self.peek().filter(|arg| arg.text.starts_with(|ch: char| ch.is_ascii_digit()));
        let Some(arg) = arg.filter(|arg| arg.kind == TokenKind::Word) else {
            self.wrong("a number with its unit, such as `12 hour`", diagnostics);
            return None;
        };
        self.bump();
        let digits = arg.text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, glued) = arg.text.split_at(digits);
        let (unit, span) = if glued.is_empty() {
            match self.peek().filter(|unit| unit.kind == TokenKind::Word) {
                Some(unit) => (unit.text.as_str(), arg.span.to(unit.span)),
                None => ("", arg.span),
            }
        } else {
            (glued, arg.span)
        };
        let Some((_, seconds)) = UNITS.into_iter().find(|(word, _)| *word == unit) else {
            self.wrong_unit(arg, unit, diagnostics);
            return None;
        };
        if glued.is_empty() {
            self.bump();
        }
        let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
        let Some(total) = total.filter(|total| *total <= u64::from(u32::MAX)) else {
            let message = format!("{number} {unit} is longer than an SA can live");
            diagnostics.push(Diagnostic::error(span, message).expected(format!("at most {} seconds", u32::MAX)));
            self.give_up();
            return None;
        };
        Some((Duration::from_secs(total), span))
    }

    fn wrong_unit(&mut self, number: &Arg, unit: &str, diagnostics: &mut Diagnostics) {
        let words: Vec<&str> = UNITS.iter().map(|(word, _)| *word).collect();
        let message = format!("`{}` lacks its unit of time behind {}", self.name(), number.quoted());
        let diagnostic = if BYTE_UNITS.contains(&unit) {
            Diagnostic::error(number.span, format!("`{unit}` is a volume, and `{}` takes a time", self.name()))
                .hint("racoon has given up lifetimes by volume")
        } else {
            Diagnostic::error(number.span, message).expected("`sec`, `min` or `hour`").suggest(unit, words)
        };
        diagnostics.push(diagnostic);
        self.give_up();
    }

    /// `lifetime time` NUMBER unit: no SA can live for no time.
    pub fn lifetime(&mut self, diagnostics: &mut Diagnostics) -> Option<Duration> {
        if self.peek().is_some_and(|arg| arg.is_word("byte")) {
            let message = "`lifetime byte` is not known any more: racoon has given up lifetimes by volume";
            diagnostics.push(Diagnostic::error(self.name_span(), message).expected("`lifetime time`"));
            self.give_up();
            return None;
        }
        self.choice(&[("time", ())], diagnostics)?;
        let (time, span) = self.time(diagnostics)?;
        if time.is_zero() {
            diagnostics.push(
                Diagnostic::error(span, "a lifetime of zero: no SA could ever be used").expected("at least 1 sec"),
            );
            self.give_up();
            return None;
        }
        Some(time)
    }

    /// ADDR, a numeric IPv4 or IPv6 address.
    pub fn address(&mut self, diagnostics: &mut Diagnostics) -> Option<(IpAddr, Span)> {
        if self.peek().is_some_and(|arg| arg.kind == TokenKind::Word) {
            return self.quoted_address(diagnostics);
        }
        self.wrong("an address", diagnostics);
        None
    }

    /// ADDR, also in quotes: racoon takes both where an identity is meant.
    pub fn quoted_address(&mut self, diagnostics: &mut Diagnostics) -> Option<(IpAddr, Span)> {
        let Some(arg) = self.peek().filter(|arg| matches!(arg.kind, TokenKind::Word | TokenKind::Str)) else {
            self.wrong("an address", diagnostics);
            return None;
        };
        match parse_address(&arg.text) {
            Ok(addr) => {
                self.bump();
                Some((addr, arg.span))
            }
            Err(_) if let Some(addr) = short_address(&arg.text) => {
                diagnostics.warning(arg.span, format!("{} is taken as {addr}, as racoon does", arg.quoted()));
                self.bump();
                Some((addr.into(), arg.span))
            }
            Err(why) => {
                diagnostics.push(
                    Diagnostic::error(arg.span, format!("{} is not an IP address: {why}", arg.quoted()))
                        .found(&arg.text),
                );
                self.give_up();
                None
            }
        }
    }

    /// port := [ `[` ( NUMBER | `any` ) `]` ]; `Some(None)` if none is written, `Some(Some(0))` for `any`.
    pub fn port(&mut self, diagnostics: &mut Diagnostics) -> Option<Option<u16>> {
        if self.bump_kind(TokenKind::OpenBracket).is_none() {
            return Some(None);
        }
        let port = if self.bump_word("any") {
            0
        } else {
            self.number(u64::from(u16::MAX), diagnostics).and_then(|port| u16::try_from(port).ok())?
        };
        if self.bump_kind(TokenKind::CloseBracket).is_none() {
            self.wrong("`]` behind the port", diagnostics);
            return None;
        }
        Some(Some(port))
    }

    /// Ends the statement. What is left over is an error; if it starts a line of its own it is returned as the
    /// statement it probably was, the `;` in front of it having been forgotten.
    pub fn finish(self, diagnostics: &mut Diagnostics) -> Option<Statement> {
        if self.failed {
            return None;
        }
        let name = self.name();
        let Some((first, rest)) = self.rest.split_first() else {
            if self.statement.body.is_some() && !self.body_taken {
                let message = format!("`{name}` takes no block");
                diagnostics.push(Diagnostic::error(self.statement.end, message).found("{").expected("`;`"));
            }
            return None;
        };
        let error = Diagnostic::error(first.span, format!("unexpected {} behind `{name}`", first.quoted()))
            .found(&first.text)
            .expected("`;`");
        if first.kind != TokenKind::Word || !first.starts_line || rest.len() > MAX_LEFTOVER || self.body_taken {
            diagnostics.push(error);
            return None;
        }
        diagnostics.push(error.hint("is the `;` of the line above missing?"));
        let statement = self.statement;
        Some(Statement { name: first.clone(), args: rest.to_vec(), end: statement.end, body: statement.body.clone() })
    }
}

/// "`a`, `b` or `c`".
pub fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => format!("`{last}`"),
        Some((last, rest)) => {
            let rest: Vec<String> = rest.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", rest.join(", "))
        }
    }
}

/// A numeric address; the error says why `text` is none.
pub fn parse_address(text: &str) -> Result<IpAddr, &'static str> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let digits_and_dots = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Err(if text.contains('%') {
        "zones (`%interface`) are not supported yet"
    } else if digits_and_dots {
        "write all four numbers, each 0 to 255"
    } else {
        "host names are not looked up, write the number"
    })
}

/// `10.1` and `10.1.2`, which inet_aton(3) fills up with zeros before the last number. A lone number is none: it is
/// rather a forgotten word.
fn short_address(text: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u32>().ok().filter(|_| is_plain)
    };
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (&first, rest) = numbers.split_first()?;
    let (value, most) = match *rest {
        [last] => (last, 0x00ff_ffff),
        [second, last] if second <= 255 => (second << 16 | last, if last <= 0xffff { 0x00ff_ffff } else { 0 }),
        _ => return None,
    };
    (first <= 255 && value <= most).then(|| Ipv4Addr::from_bits(first << 24 | value))
}

/// Would racoon's scanner take `text` for an address? Not if it is a number.
fn looks_like_address(text: &str) -> bool {
    let in_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    text.bytes().all(in_address) && !text.starts_with('.') && !text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(arg: &Arg) -> bool {
    arg.kind == TokenKind::Word && !arg.text.is_empty() && arg.text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_are_filled_up_as_inet_aton_does() {
        let short = |text| short_address(text).map(|addr| addr.to_string());
        assert_eq!(short("10.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(short("192.168.258").as_deref(), Some("192.168.1.2"));
        assert_eq!(short("127.16777215").as_deref(), Some("127.255.255.255"));
        for none in ["10", "10.16777216", "256.1", "10.1.65536", "10.256.1", "010.1", "10..1", "10.1.2.3", "a.1", "."] {
            assert_eq!(short(none), None, "{none}");
        }
    }
}
