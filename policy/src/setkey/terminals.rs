//! The parser's hands: the token in front of it, errors, and the small productions shared by all commands.

use std::net::IpAddr;

use super::lexer::{Lexer, Token, TokenKind};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::addr::IpNet;
use crate::model::sa::{Protocol, Spi};
use crate::span::Span;

/// An error has been pushed; the statement is given up.
pub(super) struct GivenUp;

/// What a production returns.
pub(super) type Parsed<T> = Result<T, GivenUp>;

/// The address families `-4`, `-6` and `-46` allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Family {
    #[default]
    Any,
    V4,
    V6,
}

/// How a security protocol is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenProtocol {
    pub(super) protocol: Protocol,
    /// `esp-udp`.
    pub(super) in_udp: bool,
}

pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token not consumed yet.
    pub(super) token: Token<'a>,
    pub(super) diagnostics: Diagnostics,
    /// Key material, to be masked in diagnostics.
    pub(super) hidden: Vec<Span>,
    /// Families the statement allows.
    pub(super) family: Family,
}

impl<'a> Parser<'a> {
    pub(super) fn new(mut lexer: Lexer<'a>) -> Self {
        let mut diagnostics = Diagnostics::default();
        let token = lexer.next(&mut diagnostics);
        let mut parser = Self { lexer, token, diagnostics, hidden: Vec::new(), family: Family::Any };
        parser.hide();
        parser
    }

    pub(super) fn bump(&mut self) -> Token<'a> {
        let next = self.lexer.next(&mut self.diagnostics);
        let token = std::mem::replace(&mut self.token, next);
        self.hide();
        token
    }

    fn hide(&mut self) {
        if self.token.is_secret() {
            self.hidden.push(self.token.span);
        }
    }

    /// Is the next token the word `text`?
    pub(super) fn is_word(&self, text: &str) -> bool {
        self.token.kind == TokenKind::Word && self.token.text == text
    }

    pub(super) fn bump_word(&mut self, text: &str) -> bool {
        let is_it = self.is_word(text);
        if is_it {
            self.bump();
        }
        is_it
    }

    /// A syntax error at the next token.
    pub(super) fn wrong<T>(&mut self, expected: &str) -> Parsed<T> {
        let shown = self.token.shown();
        let quoted = if self.token.kind == TokenKind::End || self.token.is_secret() {
            shown.clone()
        } else {
            format!("`{shown}`")
        };
        self.fail(
            Diagnostic::error(self.token.span, format!("syntax error at {quoted}")).found(shown).expected(expected),
        )
    }

    /// An error about `token`, in words.
    pub(super) fn refuse<T>(&mut self, token: Token<'_>, message: impl Into<String>) -> Parsed<T> {
        self.fail(Diagnostic::error(token.span, message).found(token.shown()))
    }

    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parsed<T> {
        self.diagnostics.push(diagnostic);
        Err(GivenUp)
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.warning(span, message);
    }

    /// A word that is there.
    pub(super) fn word(&mut self, expected: &str) -> Parsed<Token<'a>> {
        if self.token.kind == TokenKind::Word { Ok(self.bump()) } else { self.wrong(expected) }
    }

    /// One of the words of `table`.
    pub(super) fn choice<T: Copy>(&mut self, table: &[(&str, T)], expected: &str) -> Parsed<T> {
        let found = table.iter().find(|(word, _)| self.is_word(word)).map(|(_, value)| *value);
        match found {
            Some(value) => {
                self.bump();
                Ok(value)
            }
            None => self.wrong(expected),
        }
    }

    /// NUMBER, decimal, at most `limit`.
    pub(super) fn number(&mut self, limit: u64, expected: &str) -> Parsed<u64> {
        match decimal(self.token.text, limit).filter(|_| self.token.kind == TokenKind::Word) {
            Some(number) => {
                self.bump();
                Ok(number)
            }
            None => self.wrong(expected),
        }
    }

    /// host := ADDR [ `[` PORT `]` ]
    pub(super) fn host(&mut self) -> Parsed<(IpAddr, Option<u16>)> {
        let token = self.word("an address")?;
        let (address, port) = self.split_port(token)?;
        let address = self.numeric_address(token, address)?;
        Ok((address, port))
    }

    /// range := ADDR [ `/` PREFIX ] [ `[` PORT `]` ]; bits beyond the prefix are cleared with a warning.
    pub(super) fn range(&mut self) -> Parsed<(IpNet, u16)> {
        let token = self.word("an address or a network")?;
        let (text, port) = self.split_port(token)?;
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (self.numeric_address(token, address)?, Some(prefix)),
            None => (self.numeric_address(token, text)?, None),
        };
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let length = match prefix {
            None => width,
            Some(prefix) => match decimal(prefix, u64::from(width)).and_then(|length| u8::try_from(length).ok()) {
                Some(length) => length,
                None => return self.refuse(token, format!("`/{prefix}` is no prefix length; 0 to {width} is")),
            },
        };
        let Ok(net) = IpNet::new(address, length) else { return self.refuse(token, "no network") };
        if net.trunc().addr() != address {
            self.warn(token.span, format!("{text} has bits beyond its prefix: taken as {}", net.trunc()));
        }
        Ok((net.trunc(), port.unwrap_or(0)))
    }

    /// Splits `ADDR[PORT]`; the bracket may be a word of its own. `[any]` and `[0]` are port 0.
    fn split_port(&mut self, token: Token<'a>) -> Parsed<(&'a str, Option<u16>)> {
        let (address, port) = match token.text.split_once('[') {
            Some((address, port)) => (address, Some((token, port))),
            None => (token.text, None),
        };
        let port = match port {
            Some(port) => Some(port),
            None if self.token.kind == TokenKind::Word && self.token.text.starts_with('[') => {
                let token = self.bump();
                Some((token, token.text.get(1..).unwrap_or("")))
            }
            None => None,
        };
        let Some((token, port)) = port else { return Ok((address, None)) };
        let Some(port) = port.strip_suffix(']') else {
            return self.refuse(token, format!("no `]` behind the port in `{}`", token.shown()));
        };
        if port == "any" {
            return Ok((address, Some(0)));
        }
        match decimal(port, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()) {
            Some(port) => Ok((address, Some(port))),
            None => self.refuse(token, format!("`[{port}]` is no port; write `[any]` or a number from 1 to 65535")),
        }
    }

    /// Host names are not looked up: a policy must not depend on what a name server says while it is loaded.
    fn numeric_address(&mut self, token: Token<'a>, text: &str) -> Parsed<IpAddr> {
        let address: IpAddr = match text.parse() {
            Ok(address) => address,
            Err(_) if text.contains('%') => {
                return self.refuse(token, format!("`{text}`: zones (`%interface`) are not supported yet"));
            }
            Err(_) => {
                return self.fail(
                    Diagnostic::error(token.span, format!("`{text}` is not a numeric IP address"))
                        .found(token.shown())
                        .hint("host names are not looked up; an IPv4 address has four numbers"),
                );
            }
        };
        match self.family {
            Family::V4 if address.is_ipv6() => {
                self.refuse(token, format!("{address} is no IPv4 address, and `-4` is given"))
            }
            Family::V6 if address.is_ipv4() => {
                self.refuse(token, format!("{address} is no IPv6 address, and `-6` is given"))
            }
            _ => Ok(address),
        }
    }

    /// proto := `esp` | `esp-udp` | `ah` | `ipcomp`
    pub(super) fn protocol(&mut self) -> Parsed<WrittenProtocol> {
        const EXPECTED: &str = "`esp`, `esp-udp`, `ah` or `ipcomp`";
        let (protocol, in_udp) = match self.token.text {
            "esp" => (Protocol::Esp, false),
            "esp-udp" => (Protocol::Esp, true),
            "ah" => (Protocol::Ah, false),
            "ipcomp" => (Protocol::Ipcomp, false),
            old @ ("esp-old" | "ah-old" | "tcp") => {
                let what = if old == "tcp" { "TCP MD5 signatures are not made by XFRM" } else { "Linux never had it" };
                let message = format!("`{old}` is not supported: {what}");
                return self.refuse(self.token, message);
            }
            _ => return self.wrong(EXPECTED),
        };
        self.bump();
        Ok(WrittenProtocol { protocol, in_udp })
    }

    /// spi := NUMBER | 0xHEX
    pub(super) fn spi(&mut self, protocol: Protocol) -> Parsed<Spi> {
        const EXPECTED: &str = "an SPI: a number or 0x and up to eight hexadecimal digits";
        let limit = if protocol == Protocol::Ipcomp { 0xffff } else { u64::from(u32::MAX) };
        let Some(token) = Some(self.token).filter(|token| token.kind == TokenKind::Word) else {
            return self.wrong(EXPECTED);
        };
        let number = match token.text.strip_prefix("0x") {
            Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
            Some(_) => None,
            None => decimal(token.text, u64::MAX),
        };
        let Some(number) = number else { return self.wrong(EXPECTED) };
        self.bump();
        let Some(spi) = u32::try_from(number).ok().filter(|spi| u64::from(*spi) <= limit) else {
            return self.refuse(token, format!("this SPI is too large: the highest is {limit:#x}"));
        };
        if spi == 0 {
            return self.refuse(token, "SPI 0 names no SA (RFC 4303 section 2.1)");
        }
        if Spi(spi) < Spi::MIN && protocol != Protocol::Ipcomp {
            self.warn(token.span, "SPIs from 1 to 255 are reserved (RFC 4303 section 2.1)");
        }
        Ok(Spi(spi))
    }

    /// Skips to the end of the statement.
    pub(super) fn recover(&mut self) {
        while self.token.kind != TokenKind::End {
            if self.bump().kind == TokenKind::Semicolon {
                return;
            }
        }
    }
}

/// A decimal number of at most `limit`, without a sign.
pub(super) fn decimal(text: &str, limit: u64) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_decimal && *number <= limit)
}
