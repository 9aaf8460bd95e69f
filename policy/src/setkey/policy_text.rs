//! What stands behind `-P`: direction, priority, action and requests.

use std::net::IpAddr;

use super::lexer::{Token, TokenKind};
use super::statement::{PRIORITY_DEFAULT, PRIORITY_HIGH, PRIORITY_LOW};
use super::terminals::{Parsed, Parser, decimal};
use crate::diagnostic::Diagnostic;
use crate::model::sa::{Action, Direction, Level, Mode, Protocol, ReqId, Template};

/// Requests in one policy: what the kernel takes (`XFRM_MAX_DEPTH`).
const MAX_TEMPLATES: usize = 6;
/// Largest N of `unique:N`: higher reqids are the kernel's own.
const MAX_UNIQUE: u64 = 16_383;
/// Offsets from a base that keep the ranges of `low`, `default` and `high` apart.
const MAX_RISE: u64 = 0x3fff_ffff;
const MAX_FALL: u64 = 0x4000_0000;

/// A policy without the packets it is for.
pub(super) struct PolicyText {
    pub(super) direction: Direction,
    pub(super) priority: u32,
    pub(super) action: Action,
    pub(super) templates: Vec<Template>,
}

impl<'a> Parser<'a> {
    /// policy := `-P` direction [ priority ] ( `discard` | `none` | `ipsec` request+ )
    pub(super) fn policy(&mut self) -> Parsed<PolicyText> {
        let direction = self.direction()?;
        let priority = self.priority()?;
        let name = self.token;
        let action = match name.text {
            "discard" => Action::Discard,
            "none" => Action::None,
            "ipsec" => Action::Ipsec,
            "bypass" | "entrust" => {
                self.refusal = Some(format!("`{}` is for sockets; write `none` to let packets pass", name.text));
                Action::None
            }
            _ => return self.wrong("`discard`, `none` or `ipsec`"),
        };
        self.bump();
        let mut templates = Vec::new();
        while action == Action::Ipsec && self.token.kind == TokenKind::Word {
            let token = self.bump();
            if templates.len() == MAX_TEMPLATES {
                return self.refuse(token, format!("more than {MAX_TEMPLATES} requests in one policy"));
            }
            let mut template = self.request(token)?;
            if template.mode == Mode::Transport {
                // PF_KEY on Linux had ends for tunnels only: those of a transport request are read and dropped.
                template.endpoints = None;
            }
            templates.push(template);
        }
        if action == Action::Ipsec && templates.is_empty() {
            return self.wrong("a request such as `esp/transport//require`");
        }
        Ok(PolicyText { direction, priority, action, templates })
    }

    /// direction := `-P` ( `in` | `out` | `fwd` )
    pub(super) fn direction(&mut self) -> Parsed<Direction> {
        const DIRECTIONS: &[(&str, Direction)] =
            &[("in", Direction::In), ("out", Direction::Out), ("fwd", Direction::Fwd)];
        if !self.bump_word("-P") {
            return self.wrong("`-P`");
        }
        self.choice(DIRECTIONS, "`in`, `out` or `fwd`")
    }

    /// priority := [ ( `priority` | `prio` ) ( [ `-` ] N | ( `low` | `def` | `high` ) [ ( `+` | `-` ) N ] ) ]
    pub(super) fn priority(&mut self) -> Parsed<u32> {
        if !self.bump_word("priority") && !self.bump_word("prio") {
            return Ok(PRIORITY_DEFAULT);
        }
        const EXPECTED: &str = "a number, `-` and a number, `low`, `def` or `high`";
        let token = self.token;
        let bases =
            [("low", PRIORITY_LOW), ("default", PRIORITY_DEFAULT), ("def", PRIORITY_DEFAULT), ("high", PRIORITY_HIGH)];
        let base = bases.into_iter().find_map(|(word, base)| Some((base, token.text.strip_prefix(word)?)));
        let Some((base, rest)) = base.filter(|_| token.kind == TokenKind::Word) else {
            return self.bare_priority(EXPECTED);
        };
        self.bump();
        let Some((sign, number)) = self.signed(rest)? else { return Ok(base) };
        let legal = if sign == '+' { MAX_RISE } else { MAX_FALL };
        match u32::try_from(number).ok().filter(|_| number <= legal) {
            Some(number) => Ok(shifted(base, sign, number)),
            None => self.refuse(token, format!("{number} leaves the range of this priority: at most {legal}")),
        }
    }

    /// A number without a base. `+N` is a syntax error in setkey, too.
    fn bare_priority(&mut self, expected: &str) -> Parsed<u32> {
        let token = self.token;
        let (sign, number) = match token.text.strip_prefix('-') {
            Some(rest) => match self.minus(rest)? {
                Some(number) => ('-', number),
                None => return self.wrong(expected),
            },
            None => match decimal(token.text, u64::MAX) {
                Some(number) => {
                    self.bump();
                    ('+', number)
                }
                None => return self.wrong(expected),
            },
        };
        let legal = u64::from(if sign == '+' { PRIORITY_DEFAULT } else { PRIORITY_DEFAULT - 1 });
        match u32::try_from(number).ok().filter(|_| number <= legal) {
            Some(number) => Ok(shifted(PRIORITY_DEFAULT, sign, number)),
            None => {
                self.refuse(token, format!("a priority is between -{} and {PRIORITY_DEFAULT}", PRIORITY_DEFAULT - 1))
            }
        }
    }

    /// `-N`, or `-` and `N` as two words; the sign has been seen but not consumed.
    fn minus(&mut self, rest: &str) -> Parsed<Option<u64>> {
        self.bump();
        if !rest.is_empty() {
            return Ok(decimal(rest, u64::MAX));
        }
        let number = decimal(self.token.text, u64::MAX);
        if number.is_some() {
            self.bump();
        }
        Ok(number)
    }

    /// [ ( `+` | `-` ) N ]: glued to the base (`rest`), or as one or two words behind it.
    fn signed(&mut self, rest: &'a str) -> Parsed<Option<(char, u64)>> {
        const EXPECTED: &str = "`+` or `-` and a number";
        let text = if rest.is_empty() {
            let starts_with_sign = self.token.kind == TokenKind::Word && self.token.text.starts_with(['+', '-']);
            if !starts_with_sign {
                return Ok(None);
            }
            self.bump().text
        } else {
            rest
        };
        let mut chars = text.chars();
        let (Some(sign @ ('+' | '-')), digits) = (chars.next(), chars.as_str()) else { return self.wrong(EXPECTED) };
        if !digits.is_empty() {
            return match decimal(digits, u64::MAX) {
                Some(number) => Ok(Some((sign, number))),
                None => self.wrong(EXPECTED),
            };
        }
        let number = self.number(u64::MAX, "a number")?;
        Ok(Some((sign, number)))
    }

    /// request := ( `esp` | `ah` | `ipcomp` ) `/` ( `transport` | `tunnel` ) [ `/` [ SRC `-` DST ] [ `/` [ level ] ] ]
    pub(super) fn request(&mut self, token: Token<'a>) -> Parsed<Template> {
        let mut parts = token.text.split('/');
        let protocol = match parts.next() {
            Some("esp") => Protocol::Esp,
            Some("ah") => Protocol::Ah,
            Some("ipcomp") => Protocol::Ipcomp,
            other => {
                let other = other.unwrap_or("").to_owned();
                return self.bad_request(
                    token,
                    format!("`{other}` is no protocol of a request"),
                    "`esp`, `ah` or `ipcomp`",
                );
            }
        };
        let mode = match parts.next() {
            Some("transport") => Mode::Transport,
            Some("tunnel") => Mode::Tunnel,
            Some(other) => {
                return self.bad_request(token, format!("`{other}` is no mode"), "`transport` or `tunnel`");
            }
            None => return self.bad_request(token, "a request without a mode".to_owned(), "`/transport` or `/tunnel`"),
        };
        let endpoints = match parts.next() {
            None | Some("") if mode == Mode::Tunnel => {
                return self.bad_request(token, "a tunnel without its ends".to_owned(), "`tunnel/SRC-DST/`");
            }
            None | Some("") => None,
            Some(text) => Some(self.endpoints(token, text)?),
        };
        let level = match parts.next() {
            None | Some("" | "default") => Level::Default,
            Some("use") => Level::Use,
            Some("require") => Level::Require,
            Some("unique") => Level::Unique(None),
            Some(text) => self.unique(token, text)?,
        };
        if parts.next().is_some() {
            return self.bad_request(token, "too many parts in this request".to_owned(), "`PROTO/MODE/SRC-DST/LEVEL`");
        }
        Ok(Template { protocol, mode, endpoints, level })
    }

    /// SRC `-` DST, of one family; ports in brackets are accepted and dropped, as setkey does.
    fn endpoints(&mut self, token: Token<'a>, text: &str) -> Parsed<(IpAddr, IpAddr)> {
        let address = |text: &str| {
            let bare = text.split_once('[').map_or(text, |(address, _)| address);
            bare.parse::<IpAddr>().ok()
        };
        let ends = text.split_once('-').and_then(|(src, dst)| address(src).zip(address(dst)));
        match ends {
            Some((src, dst)) if src.is_ipv4() == dst.is_ipv4() => {
                if text.contains('[') {
                    self.warn(token.span, "ports of tunnel ends have no effect");
                }
                Ok((src, dst))
            }
            Some(_) => self.refuse(token, format!("the tunnel ends `{text}` are of two families")),
            None => self.bad_request(token, format!("`{text}` are no tunnel ends"), "`SRC-DST`, two numeric addresses"),
        }
    }

    /// `unique:N`
    fn unique(&mut self, token: Token<'a>, text: &str) -> Parsed<Level> {
        let number = text.strip_prefix("unique:").and_then(|number| decimal(number, u64::from(u32::MAX)));
        match number {
            Some(number @ 1..=MAX_UNIQUE) => Ok(Level::Unique(u32::try_from(number).ok().map(ReqId))),
            Some(_) => {
                self.warn(token.span, format!("`{text}` is outside of 1 to {MAX_UNIQUE}: taken as plain `unique`"));
                Ok(Level::Unique(None))
            }
            None => {
                self.bad_request(token, format!("`{text}` is no level"), "`use`, `require`, `unique` or `unique:N`")
            }
        }
    }

    fn bad_request<T>(&mut self, token: Token<'a>, message: String, expected: &str) -> Parsed<T> {
        self.fail(Diagnostic::error(token.span, message).found(token.shown()).expected(expected))
    }
}

/// A positive number makes a policy more important, which the kernel writes as a lower number.
fn shifted(base: u32, sign: char, number: u32) -> u32 {
    if sign == '+' { base.saturating_sub(number) } else { base.saturating_add(number) }
}
