//! The parser's hands: the token in front of it, errors, and the small productions shared by all commands.

use std::net::IpAddr;

use super::lexer::{Lexer, Token, TokenKind};
use super::names::{MAX_ADDRESSES, Names};
use super::parser::COMMANDS;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::addr::IpNet;
use crate::model::sa::{Protocol, Spi};
use crate::model::selector::UpperProtocol;
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

/// A port as it is written; what a service's name stands for depends on the protocol behind it.
#[derive(Clone, Copy, Debug)]
pub(super) enum WrittenPort<'a> {
    Number(u16),
    Service(Token<'a>, &'a str),
}

/// A host or a network: a name may have several addresses.
pub(super) struct Written<'a, T> {
    pub(super) values: Vec<T>,
    pub(super) port: Option<WrittenPort<'a>>,
}

pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    names: &'a mut dyn Names,
    /// The token not consumed yet.
    pub(super) token: Token<'a>,
    pub(super) diagnostics: Diagnostics,
    /// Key material, to be masked in diagnostics.
    pub(super) hidden: Vec<Span>,
    /// Families the statement allows.
    pub(super) family: Family,
    /// `-n`: the statement has no names.
    pub(super) is_numeric: bool,
    /// Warnings are not wanted.
    pub(super) is_quiet: bool,
    /// Why Linux refuses the statement, which is else in order.
    pub(super) refusal: Option<String>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(mut lexer: Lexer<'a>, names: &'a mut dyn Names) -> Self {
        let mut diagnostics = Diagnostics::default();
        let token = lexer.next(&mut diagnostics);
        let mut parser = Self {
            lexer,
            names,
            token,
            diagnostics,
            hidden: Vec::new(),
            family: Family::Any,
            is_numeric: false,
            is_quiet: false,
            refusal: None,
        };
        parser.hide();
        parser
    }

    /// Goes on with another piece of the text.
    pub(super) fn aim(&mut self, lexer: Lexer<'a>) {
        self.lexer = lexer;
        self.token = self.lexer.next(&mut self.diagnostics);
        self.hide();
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
        let hint = match diagnostic.found.as_deref() {
            Some("\\") => Some("a command goes on in the next line by itself: leave the `\\` out"),
            Some(word) if COMMANDS.contains(&word) => Some("is the `;` in front of it missing?"),
            _ => None,
        };
        self.diagnostics.push(match hint {
            Some(hint) if diagnostic.hint.is_none() => diagnostic.hint(hint),
            _ => diagnostic,
        });
        Err(GivenUp)
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) {
        if !self.is_quiet {
            self.diagnostics.warning(span, message);
        }
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
    pub(super) fn host(&mut self) -> Parsed<Written<'a, IpAddr>> {
        let token = self.word("an address")?;
        let (text, port) = self.split_port(token)?;
        Ok(Written { values: self.addresses(token, text)?, port })
    }

    /// range := ADDR [ `/` PREFIX ] [ `[` PORT `]` ]; bits beyond the prefix are cleared with a warning.
    pub(super) fn range(&mut self) -> Parsed<Written<'a, IpNet>> {
        let token = self.word("an address or a network")?;
        let (text, mut port) = self.split_port(token)?;
        // `ADDR`, `/` and the length may be words of their own.
        let glued = text.strip_suffix('/');
        let apart = self.token.text.strip_prefix('/').filter(|_| !text.contains('/') && port.is_none());
        if let Some((text, behind)) = glued.map(|text| (text, "")).or(apart.map(|prefix| (text, prefix))) {
            let slash = if glued.is_none() { self.bump() } else { token };
            let prefix =
                if behind.is_empty() { self.word("a prefix length")? } else { Token { text: behind, ..slash } };
            let (length, behind_it) = self.split_port(prefix)?;
            port = behind_it;
            let mut nets = Vec::new();
            for address in self.addresses(token, text)? {
                nets.push(self.net(token, text, address, Some(length))?);
            }
            return Ok(Written { values: nets, port });
        }
        let (host, prefix) = match text.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix)),
            None => (text, None),
        };
        let mut nets = Vec::new();
        for address in self.addresses(token, host)? {
            nets.push(self.net(token, text, address, prefix)?);
        }
        Ok(Written { values: nets, port })
    }

    fn net(&mut self, token: Token<'a>, text: &str, address: IpAddr, prefix: Option<&str>) -> Parsed<IpNet> {
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
        Ok(net.trunc())
    }

    /// Splits `ADDR[PORT]`; the bracket may be a word of its own. `[any]` and `[0]` are port 0.
    fn split_port(&mut self, token: Token<'a>) -> Parsed<(&'a str, Option<WrittenPort<'a>>)> {
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
        // `[`, `any` and `]` may be three words.
        let (token, port) =
            if port.is_empty() { self.word("a port").map(|word| (word, word.text))? } else { (token, port) };
        let port = if !port.ends_with(']') && self.is_word("]") {
            self.bump();
            Some(port)
        } else {
            port.strip_suffix(']')
        };
        let Some(port) = port else {
            return self.refuse(token, format!("no `]` behind the port in `{}`", token.shown()));
        };
        if port == "any" {
            return Ok((address, Some(WrittenPort::Number(0))));
        }
        let number = decimal(port, u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
        Ok((address, Some(number.map_or(WrittenPort::Service(token, port), WrittenPort::Number))))
    }

    /// The number of a port. A service is looked up for the protocol it is written with, else for UDP, as setkey has it.
    pub(super) fn port(&mut self, port: Option<WrittenPort<'a>>, protocol: UpperProtocol) -> Parsed<Option<u16>> {
        let (token, name) = match port {
            None => return Ok(None),
            Some(WrittenPort::Number(number)) => return Ok(Some(number)),
            Some(WrittenPort::Service(token, name)) => (token, name),
        };
        let protocols = [protocol, UpperProtocol::UDP].into_iter().filter(|protocol| protocol.has_ports());
        let mut known = protocols.filter_map(|protocol| self.names.port(name, protocol));
        match known.next() {
            Some(port) => Ok(Some(port)),
            None => self.refuse(token, format!("`[{name}]` is no port; write `[any]` or a number from 1 to 65535")),
        }
    }

    /// The addresses of a host, by number or by name, of the families the statement allows.
    fn addresses(&mut self, token: Token<'a>, text: &str) -> Parsed<Vec<IpAddr>> {
        if let Some(address) = self.number_of(token, text) {
            return match self.family {
                Family::V4 if address.is_ipv6() => {
                    self.refuse(token, format!("{address} is no IPv4 address, and `-4` is given"))
                }
                Family::V6 if address.is_ipv4() => {
                    self.refuse(token, format!("{address} is no IPv6 address, and `-6` is given"))
                }
                _ => Ok(vec![address]),
            };
        }
        let is_name = text.contains(|ch: char| ch.is_ascii_alphabetic())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_'));
        if self.is_numeric || !is_name || token.is_secret() {
            return self.fail(
                Diagnostic::error(token.span, format!("`{}` is not a numeric IP address", token.shown()))
                    .found(token.shown())
                    .hint("an IPv4 address has four numbers"),
            );
        }
        let found = match self.names.addresses(text) {
            Ok(found) => found,
            Err(words) => return self.refuse(token, format!("`{text}`: {words}")),
        };
        let allowed = |address: &IpAddr| match self.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let found: Vec<IpAddr> = found.into_iter().filter(allowed).collect();
        match found.len() {
            0 => self.refuse(token, format!("`{text}` has no address of this family")),
            1..=MAX_ADDRESSES => Ok(found),
            count => self.refuse(token, format!("`{text}` has {count} addresses: {MAX_ADDRESSES} are the most")),
        }
    }

    /// A numeric address. A zone (`%interface`) goes: neither policies nor SAs of Linux have one.
    fn number_of(&mut self, token: Token<'a>, text: &str) -> Option<IpAddr> {
        let Some((address, zone)) = text.split_once('%') else { return text.parse().ok() };
        let address: std::net::Ipv6Addr = address.parse().ok()?;
        self.warn(token.span, format!("`%{zone}` has no effect: the kernel keeps no interface with an address"));
        Some(address.into())
    }

    /// The protocol called so by /etc/protocols.
    pub(super) fn protocol_named(&mut self, name: &str) -> Option<UpperProtocol> {
        UpperProtocol::from_name(name).or_else(|| self.names.protocol(name))
    }

    /// proto := `esp` | `esp-old` | `esp-udp` | `ah` | `ah-old` | `ipcomp` | `tcp`
    pub(super) fn protocol(&mut self) -> Parsed<WrittenProtocol> {
        const EXPECTED: &str = "`esp`, `esp-udp`, `ah` or `ipcomp`";
        let (protocol, in_udp) = match self.token.text {
            "esp" | "esp-old" => (Protocol::Esp, false),
            "esp-udp" => (Protocol::Esp, true),
            "ah" | "ah-old" => (Protocol::Ah, false),
            "ipcomp" => (Protocol::Ipcomp, false),
            "tcp" => {
                self.refusal = Some("XFRM makes no TCP MD5 signatures".to_owned());
                (Protocol::Esp, false)
            }
            _ => return self.wrong(EXPECTED),
        };
        let token = self.bump();
        if token.text.ends_with("-old") {
            self.warn(token.span, format!("Linux never had `{}`: taken as {}", token.text, protocol.setkey_name()));
        }
        Ok(WrittenProtocol { protocol, in_udp })
    }

    /// spi := NUMBER | 0xHEX
    pub(super) fn spi(&mut self, protocol: Protocol) -> Parsed<Spi> {
        const EXPECTED: &str = "an SPI: a number or 0x and up to eight hexadecimal digits";
        let limit = if protocol == Protocol::Ipcomp { 0xffff } else { u64::from(u32::MAX) };
        let Some(token) = Some(self.token).filter(|token| token.kind == TokenKind::Word) else {
            return self.wrong(EXPECTED);
        };
        let number = match hex_digits(token.text) {
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

/// What stands behind `0x`.
pub(super) fn hex_digits(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// A decimal number of at most `limit`, without a sign.
pub(super) fn decimal(text: &str, limit: u64) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_decimal && *number <= limit)
}
