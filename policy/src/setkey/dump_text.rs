//! What `setkey -D` and `-DP` print, read back: entries instead of commands, the oldest one last.
//!
//! An entry begins in the first column and goes on in lines that begin with a tab or, inside of a key, with a blank. No
//! command begins with an address, so a text is either this or a script.

use std::net::IpAddr;

use super::algorithm::{self, Algorithm};
use super::lexer::{Lexer, Token, TokenKind};
use super::names::Names;
use super::sa_text::{NAT_T_PORT, octets};
use super::statement::{
    Keyed, NewSa, PolicyKey, PolicyLimits, PolicySpec, SaKey, SaLimits, Statement, StatementKind, UdpEncapsulation,
};
use super::terminals::{Parsed, Parser, decimal};
use super::unworded::{self, UnwordedPolicy, UnwordedSa};
use crate::diagnostic::Diagnostics;
use crate::model::sa::{Action, Direction, Level, Mode, Protocol, ReqId, SecurityContext, Spi, Template};
use crate::model::secret::Secret;
use crate::model::selector::Selector;
use crate::span::{FileId, Span};

/// Lines that stand for nothing: what an empty kernel prints, and what `-N` says.
const EMPTY: [&str; 3] = ["No SAD entries.", "No SPD entries.", "per-socket policies not shown"];
/// About a line that begins as ours does.
const NOT_OURS: &str = "no `xfrm:` line as `setkey -D` prints it";
/// The head of a policy that belongs to a socket: it goes with its socket and cannot be put back.
const SOCKET: &str = "(per-socket policy)";

/// Does the text begin with an entry?
pub(super) fn is_dump(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let Some(line) = first.map(|line| line.trim_start_matches('\u{feff}')) else { return false };
    let word = line.split([' ', '[', '/']).next().unwrap_or_default();
    line.starts_with(SOCKET) || EMPTY.iter().any(|empty| line.contains(empty)) || word.parse::<IpAddr>().is_ok()
}

/// What was read.
pub(super) struct Read {
    /// Oldest first; none if anything is wrong.
    pub(super) statements: Vec<Statement>,
    pub(super) diagnostics: Diagnostics,
    pub(super) hidden: Vec<Span>,
}

/// A line with its place.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    span: Span,
}

impl<'a> Line<'a> {
    /// The value behind `name`, up to the next blank.
    fn value(self, name: &str) -> Option<&'a str> {
        let mut words = self.text.split([' ', '\t']).filter_map(|word| word.strip_prefix(name));
        words.next()
    }

    /// The number behind `name`, decimal, whatever is glued to its end.
    fn number(self, name: &str) -> Option<u64> {
        leading_number(self.value(name)?)
    }

    /// `hard: N` and `soft: N`; 0 is no limit.
    fn limits(self) -> (Option<u64>, Option<u64>) {
        let of = |name: &str| {
            let (_, behind) = self.text.split_once(name)?;
            leading_number(behind.trim_start()).filter(|limit| *limit != 0)
        };
        (of("hard:"), of("soft:"))
    }

    fn token(self) -> Token<'a> {
        Token { kind: TokenKind::Word, span: self.span, text: self.text.trim() }
    }
}

fn leading_number(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    decimal(text.get(..digits)?, u64::MAX)
}

pub(super) fn parse<'a>(file: FileId, text: &'a str, names: &'a mut dyn Names) -> Read {
    let mut parser = Parser::new(Lexer::new(file, ""), names);
    // Nobody chose the words of a dump.
    parser.is_quiet = true;
    let mut statements = Vec::new();
    let mut lines = lines(file, text).peekable();
    while let Some(head) = lines.next() {
        let mut body = Vec::new();
        while let Some(line) = lines.next_if(|line| line.text.starts_with(['\t', ' '])) {
            body.push(line);
        }
        let is_nothing = head.text.trim().is_empty()
            || head.text.starts_with(['#', '('])
            || EMPTY.iter().any(|empty| head.text.contains(empty));
        if is_nothing {
            continue;
        }
        if let Ok(Some(kind)) = parser.entry(head, &body) {
            let end = body.last().map_or(head.span, |line| line.span);
            statements.push(Statement { span: head.span.to(end), kind });
        }
    }
    statements.reverse();
    let Parser { diagnostics, hidden, .. } = parser;
    if diagnostics.errors() != 0 {
        statements.clear();
    }
    Read { statements, diagnostics, hidden }
}

fn lines(file: FileId, text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let at = start;
        start += line.len();
        let text = line.trim_end_matches(['\n', '\r']);
        Line { text, span: Span::new(file, at..at + text.len()) }
    })
}

impl<'a> Parser<'a> {
    /// entry := SRC DST sa | SRC DST UPPER policy; nothing for what cannot be put back.
    fn entry(&mut self, head: Line<'a>, body: &[Line<'a>]) -> Parsed<Option<StatementKind>> {
        match head.text.split_whitespace().count() {
            2 => self.dumped_sa(head, body),
            _ => self.dumped_policy(head, body),
        }
    }

    fn dumped_policy(&mut self, head: Line<'a>, body: &[Line<'a>]) -> Parsed<Option<StatementKind>> {
        const DIRECTIONS: &[(&str, Direction)] =
            &[("in", Direction::In), ("out", Direction::Out), ("fwd", Direction::Fwd)];
        const ACTIONS: &[(&str, Action)] =
            &[("discard", Action::Discard), ("none", Action::None), ("ipsec", Action::Ipsec)];
        self.aim(Lexer::within(head.span, head.text));
        let selector = self.dumped_selector()?;
        let Some((first, rest)) = body.split_first() else { return self.wrong("a policy") };
        self.aim(Lexer::within(first.span, first.text));
        let direction = self.choice(DIRECTIONS, "`in`, `out` or `fwd`")?;
        // The kernel's 0 is shown as nothing.
        let priority = if self.is_word("prio") { self.priority()? } else { 0 };
        let action = self.choice(ACTIONS, "`discard`, `none` or `ipsec`")?;
        let (mut templates, mut limits, mut context) = (Vec::new(), PolicyLimits::default(), None);
        let (mut unworded, mut use_reqids) = (UnwordedPolicy::default(), Vec::new());
        for line in rest {
            if unworded::is_line(line.text) {
                unworded = match unworded::read_policy(line.text) {
                    Some(read) => read,
                    None => return self.refuse(line.token(), NOT_OURS),
                };
                continue;
            }
            if dumped_context(*line, &mut context) {
                continue;
            }
            if line.text.contains('/') {
                let (template, use_reqid) = self.dumped_request(line.token())?;
                templates.push(template);
                use_reqids.push(use_reqid);
            }
            let of = |name: &str| {
                let (_, behind) = line.text.split_once(name)?;
                leading_number(behind.trim_start()).filter(|limit| *limit != 0)
            };
            if line.text.contains("lifetime:") {
                limits = PolicyLimits { since_added: of("lifetime:"), since_used: of("validtime:") };
            }
        }
        if use_reqids.iter().any(|reqid| *reqid != 0) {
            unworded.use_reqids = use_reqids;
        }
        let key = PolicyKey { selector, direction };
        let spec = PolicySpec { key, priority, action, templates, context, limits, unworded };
        Ok(Some(StatementKind::SpdAdd(spec)))
    }

    /// range range upper
    fn dumped_selector(&mut self) -> Parsed<Selector> {
        let (src, dst) = (self.range()?, self.range()?);
        let (protocol, icmp) = self.upper()?;
        let ports = match icmp {
            Some((kind, code)) => (u16::from(kind), u16::from(code)),
            None => (self.port(src.port, protocol)?.unwrap_or(0), self.port(dst.port, protocol)?.unwrap_or(0)),
        };
        let pair = src.values.first().copied().zip(dst.values.first().copied());
        match pair.filter(|(src, dst)| src.addr().is_ipv4() == dst.addr().is_ipv4()) {
            Some((src, dst)) => Ok(Selector { src, dst, protocol, src_port: ports.0, dst_port: ports.1 }),
            None => self.wrong("two networks of one family"),
        }
    }

    /// A request, whose level may have a reqid behind it: `unique#N` is one that the system chose. That of `use` stands
    /// beside the template, which has no place for it; else 0.
    fn dumped_request(&mut self, token: Token<'a>) -> Parsed<(Template, u32)> {
        let level = token.text.rsplit('/').next().unwrap_or_default();
        let Some((level, number)) = level.split_once(['#', ':']).filter(|(level, _)| !level.is_empty()) else {
            return Ok((self.request(token)?, 0));
        };
        let text = token.text.get(..token.text.len() - number.len() - 1).unwrap_or_default();
        let template = self.request(Token { text, ..token })?;
        match decimal(number, u64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok()) {
            Some(number) if level == "use" => Ok((template, number)),
            Some(number) => Ok((Template { level: Level::Unique(Some(ReqId(number))), ..template }, 0)),
            None => self.refuse(token, format!("`{number}` is no reqid")),
        }
    }

    fn dumped_sa(&mut self, head: Line<'a>, body: &[Line<'a>]) -> Parsed<Option<StatementKind>> {
        let mut ends = head.text.split_whitespace().map(written_end);
        let (Some(Some((src, src_port))), Some(Some((dst, dst_port)))) = (ends.next(), ends.next()) else {
            return self.refuse(head.token(), "these are no two addresses of an SA");
        };
        let Some((first, rest)) = body.split_first() else {
            return self.refuse(head.token(), "an SA of which only the addresses are told");
        };
        let mut words = first.text.split_whitespace();
        let (protocol, in_udp) = match words.next() {
            Some("esp") => (Protocol::Esp, false),
            Some("esp-udp") => (Protocol::Esp, true),
            Some("ah") => (Protocol::Ah, false),
            Some("ipcomp") => (Protocol::Ipcomp, false),
            _ => return self.refuse(first.token(), "no protocol that setkey could put back"),
        };
        let mode = match first.value("mode=") {
            Some("tunnel") => Mode::Tunnel,
            Some("transport" | "any") => Mode::Transport,
            _ => return self.refuse(first.token(), "no mode that setkey could put back"),
        };
        let number = |name| first.number(name).and_then(|number| u32::try_from(number).ok());
        let (Some(spi), Some(reqid)) = (number("spi="), number("reqid=")) else {
            return self.refuse(first.token(), "an SA without its SPI or its reqid");
        };
        let port = |port: Option<u16>| port.unwrap_or(NAT_T_PORT);
        let udp = UdpEncapsulation { src_port: port(src_port), dst_port: port(dst_port), original_address: None };
        let mut sa = NewSa {
            key: SaKey { src, dst, protocol, spi: Spi(spi) },
            mode,
            replay_window: None,
            reqid: ReqId(reqid),
            limits: SaLimits::default(),
            encryption: None,
            integrity: None,
            is_deflate: false,
            encapsulation: in_udp.then_some(udp),
            context: None,
            flags: 0,
            unworded: UnwordedSa::default(),
        };
        let mut is_alive = true;
        let mut keys: Vec<(Line<'a>, String)> = Vec::new();
        for line in rest {
            if unworded::is_line(line.text) {
                sa.unworded = match unworded::read_sa(line.text) {
                    Some(read) => read,
                    None => return self.refuse(line.token(), NOT_OURS),
                };
                continue;
            }
            self.dumped_line(*line, &mut sa, &mut keys, &mut is_alive);
        }
        if !is_alive {
            self.diagnostics.warning(head.span, "a larval or dead SA: not put back");
            return Ok(None);
        }
        for (line, hex) in keys {
            self.dumped_key(line, &hex, &mut sa)?;
        }
        if protocol == Protocol::Esp && sa.encryption.is_none() {
            // The null cipher has no line of its own.
            sa.encryption =
                algorithm::cipher("null").map(|null| Keyed { algorithm: null, key: Secret::new(Vec::new()) });
        }
        Ok(Some(StatementKind::Add(Box::new(sa))))
    }

    /// One line of an SA; keys are gathered, as they may go over several.
    fn dumped_line(&mut self, line: Line<'a>, sa: &mut NewSa, keys: &mut Vec<(Line<'a>, String)>, is_alive: &mut bool) {
        let text = line.text.trim_start();
        if line.text.starts_with(' ') {
            self.hidden.push(line.span);
            keys.iter_mut().last().into_iter().for_each(|(_, key)| key.extend(text.split_whitespace()));
            return;
        }
        if text.starts_with("E: ") || text.starts_with("A: ") {
            self.hidden.push(line.span);
            keys.push((line, text.split_whitespace().skip(2).collect()));
        }
        sa.is_deflate |= text.starts_with("C: deflate");
        if let (Some(original), Some(udp)) = (text.strip_prefix("NAT OA="), sa.encapsulation.as_mut()) {
            udp.original_address = original.trim().parse().ok();
        }
        if let Some(window) = line.number("replay=") {
            sa.replay_window = u32::try_from(window).ok();
            let flags = line.value("flags=0x").and_then(|flags| u32::from_str_radix(flags, 16).ok());
            sa.flags = flags.unwrap_or(0);
            *is_alive &= !matches!(line.value("state="), Some("larval" | "dead"));
        }
        let limits = line.limits();
        match text.split(':').next() {
            Some("diff") => (sa.limits.hard_seconds, sa.limits.soft_seconds) = limits,
            Some("last") => (sa.limits.unworded.hard_used, sa.limits.unworded.soft_used) = limits,
            Some("current") => (sa.limits.hard_octets, sa.limits.soft_octets) = limits,
            Some("allocated") => (sa.limits.unworded.hard_packets, sa.limits.unworded.soft_packets) = limits,
            _ => {
                dumped_context(line, &mut sa.context);
            }
        }
    }

    fn dumped_key(&mut self, line: Line<'a>, hex: &str, sa: &mut NewSa) -> Parsed<()> {
        let text = line.text.trim_start();
        let name = text.split_whitespace().nth(1).unwrap_or_default();
        let is_cipher = text.starts_with('E');
        let found: Option<Algorithm> = if is_cipher { algorithm::cipher(name) } else { algorithm::integrity(name) };
        let Some(algorithm) = found else {
            let message = format!("`{name}` cannot be put back: only its daemon may use such a key again");
            return self.refuse(Token { text: name, ..line.token() }, message);
        };
        // An HMAC takes any key, and others may have given it one of another length than RFC 4868 §2.1.1 has.
        let key = octets(hex).filter(|key| !is_cipher || algorithm.key_bits.allows(key.len() * 8));
        let Some(key) = key else {
            return self.refuse(Token { text: name, ..line.token() }, format!("no key of {name}"));
        };
        let keyed = Some(Keyed { algorithm, key: Secret::new(key) });
        *(if is_cipher { &mut sa.encryption } else { &mut sa.integrity }) = keyed;
        Ok(())
    }
}

/// `ADDR`, `ADDR[PORT]` and, with `-p`, `ADDR[0][PORT]`: the last port is that of UDP.
fn written_end(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let mut parts = text.split('[');
    let address = parts.next()?.parse().ok()?;
    let port = parts.next_back().and_then(|port| port.strip_suffix(']')).and_then(|port| port.parse().ok());
    Some((address, port))
}

/// `security context doi: N` and the lines behind it; was it one of them?
fn dumped_context(line: Line<'_>, context: &mut Option<SecurityContext>) -> bool {
    let Some(rest) = line.text.trim_start().strip_prefix("security context") else { return false };
    let Some((name, value)) = rest.split_once(": ") else { return true };
    let at = context.get_or_insert_with(|| SecurityContext { doi: 0, algorithm: 0, label: String::new() });
    match name.trim() {
        "doi" => at.doi = value.trim().parse().unwrap_or(0),
        "algorithm" => at.algorithm = value.trim().parse().unwrap_or(0),
        "" => at.label = value.to_owned(),
        _ => {}
    }
    true
}
