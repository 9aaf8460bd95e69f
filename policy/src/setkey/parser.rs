//! Tokens to statements: one function per command.
//!
//! setkey executes each command as it is read and stops at the first syntax error. So [`parse`] hands out the
//! statements in front of that error, and still reads the rest to report every error at once.

use std::net::IpAddr;

use super::dump_text;
use super::lexer::{Lexer, Token, TokenKind};
use super::names::{Names, NoNames};
use super::statement::{PolicyKey, PolicyLimits, PolicySpec, SaKey, Statement, StatementKind};
use super::terminals::{Family, Parsed, Parser, WrittenPort, WrittenProtocol, decimal};
use super::unworded::UnwordedPolicy;
use crate::diagnostic::{Diagnostic, render_all};
use crate::model::sa::{Mode, Protocol};
use crate::model::selector::{Selector, UpperProtocol};
use crate::span::Sources;

/// Words a statement begins with.
pub const COMMANDS: &[&str] = &[
    "add",
    "delete",
    "deleteall",
    "get",
    "getspi",
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

/// A setkey script that has been read.
#[derive(Clone, Debug)]
pub struct Script {
    /// Commands, or what `-D` and `-DP` print.
    pub form: Form,
    /// The statements in front of the first error, in order: these are executed.
    pub statements: Vec<Statement>,
    /// Errors and warnings in the order of the text. Does one of them stand, the script has failed.
    pub diagnostics: Vec<Diagnostic>,
    /// The text they point into.
    pub sources: Sources,
}

/// What a script is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Commands.
    Commands,
    /// Entries as `setkey -D` and `-DP` print them. The policies stand as the kernel has them, `fwd` twins included.
    Dump,
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

/// Reads the script `text`, which came from `file_name`; names of hosts are errors.
pub fn parse(file_name: &str, text: &[u8]) -> Script {
    parse_with(file_name, text, &mut NoNames)
}

/// Reads the script `text`, which came from `file_name`. It may also be what `setkey -D` or `-DP` has printed.
pub fn parse_with(file_name: &str, text: &[u8], names: &mut dyn Names) -> Script {
    parse_piece(file_name, text, 1, names)
}

/// As [`parse_with`], for a piece of a script that begins on line `first_line`.
pub fn parse_piece(file_name: &str, text: &[u8], first_line: usize, names: &mut dyn Names) -> Script {
    let mut sources = Sources::default();
    let file = sources.add(file_name, text);
    sources.count_from(file, first_line);
    let (form, statements, diagnostics, hidden) = if dump_text::is_dump(sources.text(file)) {
        let read = dump_text::parse(file, sources.text(file), names);
        (Form::Dump, read.statements, read.diagnostics, read.hidden)
    } else {
        let mut parser = Parser::new(Lexer::new(file, sources.text(file)), names);
        let statements = parser.script();
        let Parser { diagnostics, hidden, .. } = parser;
        (Form::Commands, statements, diagnostics, hidden)
    };
    for span in hidden {
        sources.hide(span);
    }
    Script { form, statements, diagnostics: diagnostics.into_sorted(), sources }
}

/// Two hosts: each pair of addresses of one family, and the ports behind them.
pub(super) struct Ends<'a> {
    pub(super) pairs: Vec<(IpAddr, IpAddr)>,
    pub(super) src_port: Option<WrittenPort<'a>>,
    pub(super) dst_port: Option<WrittenPort<'a>>,
}

impl<'a> Parser<'a> {
    /// script := ( command `;` )*
    fn script(&mut self) -> Vec<Statement> {
        let mut statements = Vec::new();
        while self.token.kind != TokenKind::End {
            let start = self.token.span;
            let Ok(kinds) = self.command() else {
                self.recover();
                continue;
            };
            if self.token.kind != TokenKind::Semicolon {
                // Consumes nothing: `recover` looks for the `;`.
                let _ = self.wrong::<()>("`;`");
                self.recover();
                continue;
            }
            let is_exit = kinds.contains(&StatementKind::Exit);
            if self.diagnostics.errors() == 0 {
                let span = start.to(self.token.span);
                statements.extend(kinds.into_iter().map(|kind| Statement { span, kind }));
            }
            if is_exit {
                return statements;
            }
            self.bump();
        }
        statements
    }

    /// command := NAME …; names with several addresses make several statements of one.
    fn command(&mut self) -> Parsed<Vec<StatementKind>> {
        let name = self.word("a command")?;
        (self.family, self.is_numeric, self.refusal) = (Family::Any, false, None);
        let kinds = self.arguments(name)?;
        Ok(self.refusal.take().map_or(kinds, |why| vec![StatementKind::Refused(why)]))
    }

    fn arguments(&mut self, name: Token<'a>) -> Parsed<Vec<StatementKind>> {
        let one = |kind| Ok(vec![kind]);
        match name.text {
            "add" => Ok(self.add()?.into_iter().map(|sa| StatementKind::Add(Box::new(sa))).collect()),
            "delete" => Ok(self.sa_keys()?.0.into_iter().map(StatementKind::Delete).collect()),
            "get" => Ok(self.sa_keys()?.0.into_iter().map(StatementKind::Get).collect()),
            "getspi" => {
                let (keys, mode) = self.sa_keys()?;
                Ok(keys.into_iter().map(|key| StatementKind::GetSpi { key, mode }).collect())
            }
            "deleteall" => self.delete_all(),
            "flush" => one(StatementKind::Flush(self.optional_protocol()?)),
            "dump" => one(StatementKind::Dump(self.optional_protocol()?)),
            "spdadd" => Ok(self.policy_specs(name)?.into_iter().map(StatementKind::SpdAdd).collect()),
            "spdupdate" => Ok(self.policy_specs(name)?.into_iter().map(StatementKind::SpdUpdate).collect()),
            "spddelete" => self.spd_delete(),
            "spdflush" => one(StatementKind::SpdFlush),
            "spddump" => one(StatementKind::SpdDump),
            "exit" | "quit" | "bye" => one(StatementKind::Exit),
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
            self.is_numeric |= letters.contains('n');
            self.bump();
        }
        Ok(())
    }

    /// ends := options host host; pairs of one family
    pub(super) fn ends(&mut self) -> Parsed<Ends<'a>> {
        self.family_options()?;
        let src = self.host()?;
        let behind = self.token;
        let dst = self.host()?;
        let pairs = pairs(&src.values, &dst.values, IpAddr::is_ipv4);
        if pairs.is_empty() {
            return self.refuse(behind, format!("{} and {} are of two families", list(&src.values), list(&dst.values)));
        }
        Ok(Ends { pairs, src_port: src.port, dst_port: dst.port })
    }

    /// key := ends proto spi extension*: beside the mode they are read, as setkey's grammar has it, and say nothing.
    fn sa_keys(&mut self) -> Parsed<(Vec<SaKey>, Mode)> {
        let ends = self.ends()?;
        let WrittenProtocol { protocol, .. } = self.protocol()?;
        let spi = self.spi(protocol)?;
        let mut mode = Mode::Transport;
        while self.token.kind == TokenKind::Word {
            let option = self.token;
            match option.text {
                "-m" => {
                    self.bump();
                    mode = self.mode()?;
                }
                "-u" | "-r" | "-lh" | "-ls" | "-bh" | "-bs" => {
                    self.bump();
                    self.number(u64::MAX, "a decimal number")?;
                    self.warn(option.span, format!("`{}` has no effect here", option.text));
                }
                _ => break,
            }
        }
        let keys = ends.pairs.into_iter().map(|(src, dst)| SaKey { src, dst, protocol, spi });
        Ok((keys.collect(), mode))
    }

    /// `deleteall` ends proto
    fn delete_all(&mut self) -> Parsed<Vec<StatementKind>> {
        let ends = self.ends()?;
        let WrittenProtocol { protocol, .. } = self.protocol()?;
        let kinds = ends.pairs.into_iter().map(|(src, dst)| StatementKind::DeleteAll { src, dst, protocol });
        Ok(kinds.collect())
    }

    fn optional_protocol(&mut self) -> Parsed<Option<Protocol>> {
        if self.token.kind == TokenKind::Semicolon {
            return Ok(None);
        }
        Ok(Some(self.protocol()?.protocol))
    }

    /// mode := `transport` | `tunnel` | `any`; Linux makes `any` transport.
    pub(super) fn mode(&mut self) -> Parsed<Mode> {
        const MODES: &[(&str, Mode)] =
            &[("transport", Mode::Transport), ("tunnel", Mode::Tunnel), ("any", Mode::Transport)];
        self.choice(MODES, "`transport`, `tunnel` or `any`")
    }

    /// selector := options range range upper: one for each pair of networks of one family
    fn selectors(&mut self) -> Parsed<Vec<Selector>> {
        self.family_options()?;
        let src = self.range()?;
        let behind = self.token;
        let dst = self.range()?;
        let pairs = pairs(&src.values, &dst.values, |net| net.addr().is_ipv4());
        if pairs.is_empty() {
            return self.refuse(behind, format!("{} and {} are of two families", list(&src.values), list(&dst.values)));
        }
        let at = self.token;
        let (protocol, icmp) = self.upper()?;
        let mut src_port = self.port(src.port, protocol)?.unwrap_or(0);
        let mut dst_port = self.port(dst.port, protocol)?.unwrap_or(0);
        if let Some((kind, code)) = icmp {
            (src_port, dst_port) = (u16::from(kind), u16::from(code));
        } else if (src_port != 0 || dst_port != 0) && !protocol.is_any() && !protocol.has_ports() {
            self.warn(at.span, format!("{} has no ports: this matches no packet", at.text));
        }
        let selectors = pairs.into_iter().map(|(src, dst)| Selector { src, dst, protocol, src_port, dst_port });
        Ok(selectors.collect())
    }

    /// upper := `any` | NUMBER | NAME | ( `icmp` | `icmp6` ) [ TYPE `,` CODE ]
    pub(super) fn upper(&mut self) -> Parsed<(UpperProtocol, Option<(u8, u8)>)> {
        let token = self.word("an upper-layer protocol: `any`, a name or a number")?;
        let number = decimal(token.text, 255).and_then(|number| u8::try_from(number).ok());
        let protocol = match number {
            // 255 is PF_KEY's "any".
            Some(255) => Some(UpperProtocol::ANY),
            Some(number) => Some(UpperProtocol(number)),
            None if token.text == "any" => Some(UpperProtocol::ANY),
            None => self.protocol_named(token.text),
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
        let part = |text: &str| decimal(text, 255).and_then(|number| u8::try_from(number).ok());
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

    /// ( `spdadd` | `spdupdate` ) ( selector | `tagged` TAG ) context policy
    fn policy_specs(&mut self, name: Token<'a>) -> Parsed<Vec<PolicySpec>> {
        let selectors = if name.text == "spdadd" && self.bump_word("tagged") {
            if !matches!(self.token.kind, TokenKind::Str | TokenKind::Word) {
                return self.wrong("a tag");
            }
            self.bump();
            self.refusal = Some("packets have no tags on Linux".to_owned());
            Vec::new()
        } else {
            self.selectors()?
        };
        let context = self.context()?;
        let policy = self.policy()?;
        let spec = |selector| PolicySpec {
            key: PolicyKey { selector, direction: policy.direction },
            priority: policy.priority,
            action: policy.action,
            templates: policy.templates.clone(),
            context: context.clone(),
            limits: PolicyLimits::default(),
            unworded: UnwordedPolicy::default(),
        };
        Ok(selectors.into_iter().map(spec).collect())
    }

    /// `spddelete` selector context `-P` direction [ … ]: what stands behind the direction does not matter.
    fn spd_delete(&mut self) -> Parsed<Vec<StatementKind>> {
        let selectors = self.selectors()?;
        let context = self.context()?;
        let direction = self.direction()?;
        while self.token.kind == TokenKind::Word {
            self.bump();
        }
        let delete = |selector| StatementKind::SpdDelete(PolicyKey { selector, direction }, context.clone());
        Ok(selectors.into_iter().map(delete).collect())
    }
}

/// Each of `srcs` with each of `dsts` of its family.
fn pairs<T: Copy>(srcs: &[T], dsts: &[T], is_ipv4: impl Fn(&T) -> bool) -> Vec<(T, T)> {
    let all = srcs.iter().flat_map(|src| dsts.iter().map(move |dst| (*src, *dst)));
    all.filter(|(src, dst)| is_ipv4(src) == is_ipv4(dst)).collect()
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
