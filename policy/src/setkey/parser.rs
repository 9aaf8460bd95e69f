//! Tokens to statements: one function per command.
//!
//! setkey executes each command as it is read and stops at the first syntax error. So [`parse`] hands out the
//! statements in front of that error, and still reads the rest to report every error at once.

use super::algorithm::{self, Algorithm};
use super::lexer::{Lexer, Token, TokenKind};
use super::statement::{
    Keyed, NewSa, PolicyKey, PolicySpec, SaKey, SaLimits, Statement, StatementKind, UdpEncapsulation,
};
use super::terminals::{Family, Parsed, Parser, WrittenProtocol};
use crate::diagnostic::{Diagnostic, render_all};
use crate::model::algorithm::Strength;
use crate::model::sa::{Mode, Protocol, ReqId};
use crate::model::secret::Secret;
use crate::model::selector::{Selector, UpperProtocol};
use crate::span::Sources;

/// Words a statement begins with.
pub const COMMANDS: &[&str] = &[
    "add",
    "delete",
    "deleteall",
    "get",
    "flush",
    "dump",
    "spdadd",
    "spdupdate",
    "spddelete",
    "spdflush",
    "spddump",
    "exit",
    "quit",
    "bye",
];

/// UDP port of IKE and ESP behind NAT (RFC 3948).
const NAT_T_PORT: u16 = 4500;
/// What the kernel takes (`XFRMA_REPLAY_ESN_MAX`).
const MAX_REPLAY_WINDOW: u64 = 4096;

/// A setkey script that has been read.
#[derive(Clone, Debug)]
pub struct Script {
    /// The statements in front of the first error, in order: these are executed.
    pub statements: Vec<Statement>,
    /// Errors and warnings in the order of the text. Does one of them stand, the script has failed.
    pub diagnostics: Vec<Diagnostic>,
    /// The text they point into.
    pub sources: Sources,
}

impl Script {
    /// All findings, as they are printed. Keys are masked.
    pub fn render(&self) -> String {
        render_all(&self.diagnostics, &self.sources)
    }

    /// The first error: its `found` is the token that setkey's own message names.
    pub fn first_error(&self) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.is_error())
    }
}

/// Reads the script `text`, which came from `file_name`.
pub fn parse(file_name: &str, text: &[u8]) -> Script {
    let mut sources = Sources::default();
    let file = sources.add(file_name, text);
    let mut parser = Parser::new(Lexer::new(file, sources.text(file)));
    let statements = parser.script();
    let Parser { diagnostics, hidden, .. } = parser;
    for span in hidden {
        sources.hide(span);
    }
    Script { statements, diagnostics: diagnostics.into_sorted(), sources }
}

impl<'a> Parser<'a> {
    /// script := ( command `;` )*
    fn script(&mut self) -> Vec<Statement> {
        let mut statements = Vec::new();
        while self.token.kind != TokenKind::End {
            let start = self.token.span;
            let Ok(kind) = self.command() else {
                self.recover();
                continue;
            };
            if self.token.kind != TokenKind::Semicolon {
                // Consumes nothing: `recover` looks for the `;`.
                let _ = self.wrong::<()>("`;`");
                self.recover();
                continue;
            }
            let is_exit = kind == StatementKind::Exit;
            if self.diagnostics.errors() == 0 {
                statements.push(Statement { span: start.to(self.token.span), kind });
            }
            if is_exit {
                return statements;
            }
            self.bump();
        }
        statements
    }

    /// command := NAME …
    fn command(&mut self) -> Parsed<StatementKind> {
        let name = self.word("a command")?;
        self.family = Family::Any;
        match name.text {
            "add" => Ok(StatementKind::Add(Box::new(self.add()?))),
            "delete" => Ok(StatementKind::Delete(self.sa_key()?)),
            "get" => Ok(StatementKind::Get(self.sa_key()?)),
            "deleteall" => self.delete_all(),
            "flush" => Ok(StatementKind::Flush(self.optional_protocol()?)),
            "dump" => Ok(StatementKind::Dump(self.optional_protocol()?)),
            "spdadd" => Ok(StatementKind::SpdAdd(self.policy_spec(name)?)),
            "spdupdate" => Ok(StatementKind::SpdUpdate(self.policy_spec(name)?)),
            "spddelete" => self.spd_delete(name),
            "spdflush" => Ok(StatementKind::SpdFlush),
            "spddump" => Ok(StatementKind::SpdDump),
            "exit" | "quit" | "bye" => Ok(StatementKind::Exit),
            "getspi" => self.refuse(name, "`getspi` is not supported yet"),
            "update" => self.fail(
                Diagnostic::error(name.span, "`update` is in setkey's manual page, but not in its grammar")
                    .found("update")
                    .hint("write `delete` and `add`"),
            ),
            text => self.fail(
                Diagnostic::error(name.span, format!("unknown command `{text}`"))
                    .found(name.shown())
                    .suggest(text, COMMANDS.iter().copied()),
            ),
        }
    }

    /// options := ( `-` ( `4` | `6` | `n` )+ )*
    fn family_options(&mut self) -> Parsed<()> {
        while let Some(letters) = self.token.text.strip_prefix('-').filter(|_| self.token.kind == TokenKind::Word) {
            if letters.is_empty() || !letters.bytes().all(|letter| matches!(letter, b'4' | b'6' | b'n')) {
                return self.wrong("`-4`, `-6` or `-n`");
            }
            self.family = match (letters.contains('4'), letters.contains('6')) {
                (true, false) => Family::V4,
                (false, true) => Family::V6,
                _ => self.family,
            };
            self.bump();
        }
        Ok(())
    }

    /// ends := options host host, of one family
    fn ends(&mut self) -> Parsed<[(std::net::IpAddr, Option<u16>); 2]> {
        self.family_options()?;
        let src = self.host()?;
        let behind = self.token;
        let dst = self.host()?;
        if src.0.is_ipv4() != dst.0.is_ipv4() {
            return self.refuse(behind, format!("{} and {} are of two families", src.0, dst.0));
        }
        Ok([src, dst])
    }

    /// key := ends proto spi [ `-m` mode ]
    fn sa_key(&mut self) -> Parsed<SaKey> {
        let [(src, _), (dst, _)] = self.ends()?;
        let WrittenProtocol { protocol, .. } = self.protocol()?;
        let spi = self.spi(protocol)?;
        if self.bump_word("-m") {
            self.mode()?;
        }
        Ok(SaKey { src, dst, protocol, spi })
    }

    /// `deleteall` ends proto
    fn delete_all(&mut self) -> Parsed<StatementKind> {
        let [(src, _), (dst, _)] = self.ends()?;
        let WrittenProtocol { protocol, .. } = self.protocol()?;
        Ok(StatementKind::DeleteAll { src, dst, protocol })
    }

    fn optional_protocol(&mut self) -> Parsed<Option<Protocol>> {
        if self.token.kind == TokenKind::Semicolon {
            return Ok(None);
        }
        Ok(Some(self.protocol()?.protocol))
    }

    /// mode := `transport` | `tunnel` | `any`; Linux makes `any` transport.
    fn mode(&mut self) -> Parsed<Mode> {
        const MODES: &[(&str, Mode)] =
            &[("transport", Mode::Transport), ("tunnel", Mode::Tunnel), ("any", Mode::Transport)];
        self.choice(MODES, "`transport`, `tunnel` or `any`")
    }

    /// `add` ends proto [ ADDR ] spi extension* algorithm
    fn add(&mut self) -> Parsed<NewSa> {
        let [(src, src_port), (dst, dst_port)] = self.ends()?;
        let WrittenProtocol { protocol, in_udp } = self.protocol()?;
        let encapsulation = if in_udp {
            let port = |written: Option<u16>| written.filter(|port| *port != 0).unwrap_or(NAT_T_PORT);
            let is_address = self.token.kind == TokenKind::Word && self.token.text.contains(['.', ':']);
            let original_address = if is_address { Some(self.host()?.0) } else { None };
            Some(UdpEncapsulation { src_port: port(src_port), dst_port: port(dst_port), original_address })
        } else {
            None
        };
        let spi_token = self.token;
        let spi = self.spi(protocol)?;
        let mut sa = NewSa {
            key: SaKey { src, dst, protocol, spi },
            mode: Mode::Transport,
            replay_window: None,
            reqid: ReqId::default(),
            limits: SaLimits::default(),
            encryption: None,
            integrity: None,
            is_deflate: false,
            encapsulation,
        };
        let mut has_integrity = false;
        while self.token.kind == TokenKind::Word {
            self.extension(&mut sa, &mut has_integrity)?;
        }
        self.check_algorithms(&sa, has_integrity, spi_token)?;
        Ok(sa)
    }

    /// extension := `-m` mode | `-r` N | `-u` N | `-f` FLAG | `-lh` N | `-ls` N | `-bh` N | `-bs` N
    ///            | `-E` NAME key | `-A` NAME key | `-C` NAME [ `-R` ]
    fn extension(&mut self, sa: &mut NewSa, has_integrity: &mut bool) -> Parsed<()> {
        const NUMBER: &str = "a decimal number";
        let option = self.bump();
        match option.text {
            "-m" => sa.mode = self.mode()?,
            "-r" => {
                let expected = format!("a replay window of 0 to {MAX_REPLAY_WINDOW} packets");
                sa.replay_window = u32::try_from(self.number(MAX_REPLAY_WINDOW, &expected)?).ok();
            }
            "-u" => sa.reqid = ReqId(u32::try_from(self.number(u64::from(u32::MAX), NUMBER)?).unwrap_or_default()),
            "-f" => self.flag()?,
            "-lh" => sa.limits.hard_seconds = Some(self.number(u64::MAX, NUMBER)?),
            "-ls" => sa.limits.soft_seconds = Some(self.number(u64::MAX, NUMBER)?),
            "-bh" => sa.limits.hard_octets = Some(self.number(u64::MAX, NUMBER)?),
            "-bs" => sa.limits.soft_octets = Some(self.number(u64::MAX, NUMBER)?),
            "-E" => sa.encryption = Some(self.encryption()?),
            "-A" => {
                *has_integrity = true;
                sa.integrity = self.integrity()?;
            }
            "-C" => {
                self.compression()?;
                sa.is_deflate = true;
            }
            "-ctx" => return self.refuse(option, "`-ctx` (security contexts) is not supported yet"),
            _ => {
                return self.fail(
                    Diagnostic::error(option.span, format!("syntax error at `{}`", option.shown()))
                        .found(option.shown())
                        .expected("`-m`, `-r`, `-u`, `-f`, `-lh`, `-ls`, `-bh`, `-bs`, `-E`, `-A`, `-C` or `;`"),
                );
            }
        }
        Ok(())
    }

    fn flag(&mut self) -> Parsed<()> {
        let token = self.word("a flag")?;
        match token.text {
            "zero-pad" | "random-pad" | "seq-pad" => {
                self.warn(token.span, format!("`-f {}` has no effect: Linux pads as RFC 4303 says", token.text));
            }
            "nocyclic-seq" => {
                self.warn(token.span, "`-f nocyclic-seq` has no effect: Linux never lets sequence numbers start again");
            }
            _ => return self.refuse(token, format!("`{}` is no flag", token.shown())),
        }
        Ok(())
    }

    /// `-E` NAME key
    fn encryption(&mut self) -> Parsed<Keyed> {
        let token = self.word("a cipher")?;
        match algorithm::cipher(token.text) {
            Some(algorithm) => self.keyed(token, algorithm),
            None if algorithm::LACKING_CIPHERS.contains(&token.text) => {
                self.refuse(token, format!("the cipher `{}` is not supported", token.text))
            }
            None => self.fail(
                Diagnostic::error(token.span, format!("`{}` is no cipher", token.shown()))
                    .found(token.shown())
                    .suggest(token.text, algorithm::cipher_names()),
            ),
        }
    }

    /// `-A` NAME key; `null` is none.
    fn integrity(&mut self) -> Parsed<Option<Keyed>> {
        let token = self.word("an integrity algorithm")?;
        if token.text == "null" {
            self.warn(token.span, "`-A null`: packets can be forged and changed unseen");
            self.unused_key();
            return Ok(None);
        }
        match algorithm::integrity(token.text) {
            Some(algorithm) => self.keyed(token, algorithm).map(Some),
            None if algorithm::LACKING_INTEGRITY.contains(&token.text) => {
                self.refuse(token, format!("the integrity algorithm `{}` is not supported", token.text))
            }
            None => self.fail(
                Diagnostic::error(token.span, format!("`{}` is no integrity algorithm", token.shown()))
                    .found(token.shown())
                    .suggest(token.text, algorithm::integrity_names()),
            ),
        }
    }

    /// The key of `algorithm`, whose name is `token`, with its length checked.
    fn keyed(&mut self, token: Token<'a>, algorithm: Algorithm) -> Parsed<Keyed> {
        match algorithm.strength {
            Strength::Strong => {}
            Strength::Weak => {
                self.warn(token.span, format!("{} is weak, and used because this line says so", token.text));
            }
            Strength::Broken => return self.refuse(token, format!("{} is broken and refused", token.text)),
        }
        if algorithm.key_bits.allows(0) {
            self.unused_key();
            return Ok(Keyed { algorithm, key: Secret::new(Vec::new()) });
        }
        let at = self.token;
        let key = self.key()?;
        if !algorithm.key_bits.allows(key.len() * 8) {
            let message = format!("a key of {} bits for {}", key.len() * 8, token.text);
            let diagnostic = Diagnostic::error(at.span, message).found(at.shown());
            return self.fail(diagnostic.expected(algorithm.key_bits.describe()));
        }
        Ok(Keyed { algorithm, key })
    }

    /// A key where none is needed.
    fn unused_key(&mut self) {
        if self.token.kind == TokenKind::Str || self.token.text.starts_with("0x") {
            let token = self.bump();
            self.warn(token.span, "this key has no effect: `null` takes none");
        }
    }

    /// key := STRING | 0xHEX; an odd number of digits is padded with 0 in front
    fn key(&mut self) -> Parsed<Secret> {
        let token = self.token;
        match token.kind {
            TokenKind::Str => {
                self.bump();
                Ok(Secret::new(token.text.as_bytes().to_vec()))
            }
            TokenKind::Word => {
                // Hidden whatever it is: a key with its `0x` forgotten is a key.
                self.hidden.push(token.span);
                match token.text.strip_prefix("0x").and_then(octets) {
                    Some(key) => {
                        self.bump();
                        if token.text.len() % 2 == 1 {
                            self.warn(token.span, "an odd number of hexadecimal digits: padded with 0 in front");
                        }
                        Ok(Secret::new(key))
                    }
                    None => self.fail(
                        Diagnostic::error(token.span, "this is no key")
                            .found("a key")
                            .expected("a string in quotes, or 0x and hexadecimal digits"),
                    ),
                }
            }
            _ => self.wrong("a key"),
        }
    }

    /// `-C` NAME [ `-R` ]
    fn compression(&mut self) -> Parsed<()> {
        let token = self.word("`deflate`")?;
        match token.text {
            "deflate" => {}
            "oui" | "lzs" => return self.refuse(token, format!("the compression `{}` is not in Linux", token.text)),
            _ => return self.refuse(token, format!("`{}` is no compression; `deflate` is", token.shown())),
        }
        if self.is_word("-R") {
            let token = self.bump();
            self.warn(token.span, "`-R` has no effect: the CPI is always as written");
        }
        Ok(())
    }

    /// ESP encrypts, AH does not, IPComp compresses.
    fn check_algorithms(&mut self, sa: &NewSa, has_integrity: bool, at: Token<'a>) -> Parsed<()> {
        let wrong = match sa.key.protocol {
            Protocol::Esp if sa.is_deflate => "`-C` is for ipcomp",
            Protocol::Esp if sa.encryption.is_none() => "esp needs a cipher: `-E NAME KEY` (`-E null` for none)",
            Protocol::Ah if sa.encryption.is_some() || sa.is_deflate => "ah takes `-A` alone",
            Protocol::Ah if sa.integrity.is_none() => "ah needs an integrity algorithm: `-A NAME KEY`",
            Protocol::Ipcomp if sa.encryption.is_some() || has_integrity => "ipcomp takes `-C` alone",
            Protocol::Ipcomp if !sa.is_deflate => "ipcomp needs `-C deflate`",
            _ => "",
        };
        if !wrong.is_empty() {
            return self.refuse(at, wrong);
        }
        let no_protection = sa.encryption.as_ref().is_some_and(|cipher| cipher.algorithm.key_bits.allows(0));
        if sa.key.protocol == Protocol::Esp && sa.integrity.is_none() {
            if no_protection {
                return self.refuse(at, "neither encryption nor integrity: refused (RFC 4303 section 3.2)");
            }
            if !has_integrity {
                self.warn(at.span, "esp without `-A`: packets can be forged and changed unseen");
            }
        }
        Ok(())
    }

    /// selector := options range range upper
    fn selector(&mut self, name: Token<'a>) -> Parsed<Selector> {
        if self.is_word("tagged") {
            return self.refuse(self.token, format!("`{} tagged` is not supported: Linux refuses it", name.text));
        }
        self.family_options()?;
        let (src, src_port) = self.range()?;
        let behind = self.token;
        let (dst, dst_port) = self.range()?;
        if src.addr().is_ipv4() != dst.addr().is_ipv4() {
            return self.refuse(behind, format!("{src} and {dst} are of two families"));
        }
        let at = self.token;
        let (protocol, icmp) = self.upper()?;
        let (mut src_port, mut dst_port) = (src_port, dst_port);
        if let Some((kind, code)) = icmp {
            (src_port, dst_port) = (u16::from(kind), u16::from(code));
        } else if (src_port != 0 || dst_port != 0) && !protocol.is_any() && !protocol.has_ports() {
            self.warn(at.span, format!("{} has no ports: this matches no packet", at.text));
        }
        Ok(Selector { src, dst, protocol, src_port, dst_port })
    }

    /// upper := `any` | NUMBER | NAME | ( `icmp` | `icmp6` ) [ TYPE `,` CODE ]
    fn upper(&mut self) -> Parsed<(UpperProtocol, Option<(u8, u8)>)> {
        let token = self.word("an upper-layer protocol: `any`, a name or a number")?;
        let number = super::terminals::decimal(token.text, 255).and_then(|number| u8::try_from(number).ok());
        let protocol = match number {
            // 255 is PF_KEY's "any".
            Some(255) => Some(UpperProtocol::ANY),
            Some(number) => Some(UpperProtocol(number)),
            None if token.text == "any" => Some(UpperProtocol::ANY),
            None => UpperProtocol::from_name(token.text),
        };
        let Some(protocol) = protocol else {
            return self.fail(
                Diagnostic::error(token.span, format!("`{}` is no upper-layer protocol", token.shown()))
                    .found(token.shown())
                    .expected("`any`, a name such as `tcp`, or a number up to 255"),
            );
        };
        let is_icmp = protocol == UpperProtocol::ICMP || protocol == UpperProtocol::ICMPV6;
        if !is_icmp || !self.token.text.starts_with(|ch: char| ch.is_ascii_digit()) {
            return Ok((protocol, None));
        }
        let token = self.bump();
        let part = |text: &str| super::terminals::decimal(text, 255).and_then(|number| u8::try_from(number).ok());
        let Some((kind, code)) = token.text.split_once(',').and_then(|(kind, code)| part(kind).zip(part(code))) else {
            return self.refuse(token, format!("`{}` is no ICMP type and code; `8,0` would be", token.shown()));
        };
        if kind == 0 {
            self.warn(token.span, "the kernel cannot tell ICMP type 0 from any type: this matches all of them");
        } else if code == 0 {
            self.warn(
                token.span,
                "the kernel cannot tell ICMP code 0 from any code: this matches every code of the type",
            );
        }
        Ok((protocol, Some((kind, code))))
    }

    /// ( `spdadd` | `spdupdate` ) selector policy
    fn policy_spec(&mut self, name: Token<'a>) -> Parsed<PolicySpec> {
        let selector = self.selector(name)?;
        self.no_context()?;
        let policy = self.policy()?;
        let key = PolicyKey { selector, direction: policy.direction };
        Ok(PolicySpec { key, priority: policy.priority, action: policy.action, templates: policy.templates })
    }

    /// `spddelete` selector `-P` direction [ … ]: what stands behind the direction does not matter.
    fn spd_delete(&mut self, name: Token<'a>) -> Parsed<StatementKind> {
        let selector = self.selector(name)?;
        self.no_context()?;
        let direction = self.direction()?;
        while self.token.kind == TokenKind::Word {
            self.bump();
        }
        Ok(StatementKind::SpdDelete(PolicyKey { selector, direction }))
    }

    fn no_context(&mut self) -> Parsed<()> {
        if self.is_word("-ctx") {
            return self.refuse(self.token, "`-ctx` (security contexts) is not supported yet");
        }
        Ok(())
    }
}

/// The octets of hexadecimal `digits`.
fn octets(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let nibbles: Vec<u8> =
        digits.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|nibble| u8::try_from(nibble).ok()).collect();
    let (odd, pairs) = nibbles.split_at(nibbles.len() % 2);
    let pairs = pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, nibble| octet << 4 | nibble));
    Some(odd.iter().copied().chain(pairs).collect())
}
