//! Statements that stand outside `remote` and `sainfo`.

use super::super::args::Args;
use super::super::ast::Statement;
use super::super::directives::{self, Block, State};
use super::super::include::join;
use super::super::token::TokenKind;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;
use crate::model::addr::AddrPort;
use crate::model::daemon::{AdminSocket, LogLevel};

impl Resolver<'_> {
    /// One statement of the file.
    pub(super) fn global(&mut self, args: &mut Args<'_>) {
        let name = args.name();
        if !self.known(Block::Global, args) {
            return;
        }
        match name {
            "path" => self.path(args),
            // Those at the start of a statement have been replaced by what they include.
            "include" => {
                self.diagnostics.error(args.name_span(), "this file is not included: it stands behind a forgotten `;`");
            }
            "log" => self.log(args),
            "timer" => self.block(args, Self::timer),
            "listen" => self.block(args, Self::listen),
            "padding" => self.block(args, Self::padding),
            "pfkey_buffer" => {
                let kilobytes = args.number32(self.diagnostics).and_then(|number| usize::try_from(number).ok());
                self.config.notice_buffer =
                    kilobytes.filter(|number| *number > 0).map(|number| number.saturating_mul(1024));
            }
            "complex_bundle" => {
                args.switch(self.diagnostics);
            }
            "gss_id_enc" => {
                args.choice(&[("latin1", ()), ("utf-16le", ())], self.diagnostics);
            }
            "privsep" => self.block(args, Self::privsep),
            "radiuscfg" => self.block(args, Self::radius_server),
            "ldapcfg" => self.block(args, Self::ldap),
            "mode_cfg" => self.mode_cfg(args),
            "revocation" => self.block(args, Self::revocation),
            "remote" => self.remote(args),
            "sainfo" => self.sainfo(args),
            _ => {}
        }
    }

    /// path := `path` KIND STRING
    fn path(&mut self, args: &mut Args<'_>) {
        const KINDS: &[(&str, &str)] = &[
            ("include", "include"),
            ("pre_shared_key", "pre_shared_key"),
            ("certificate", "certificate"),
            ("script", "script"),
            ("backupsa", "backupsa"),
            ("pidfile", "pidfile"),
        ];
        let written = args.peek();
        let Some(kind) = args.choice(KINDS, self.diagnostics) else { return };
        if let Some(written) = written
            && let Some(State::NoEffect(why)) = directives::find(Block::Path, kind, None).map(|row| row.state)
        {
            self.diagnostics.warning(args.name_span().to(written.span), format!("`path {kind}` has no effect: {why}"));
        }
        let Some(path) = args.string("a path in quotes", self.diagnostics) else { return };
        let (path, span) = (path.text.clone(), path.span);
        match kind {
            "pre_shared_key" => {
                self.names_file(&path, span);
                self.config.psk_file = Some(path);
            }
            "certificate" => self.config.certificate_dir = Some(path),
            "script" => self.config.script_dir = Some(path),
            "pidfile" if path.starts_with('/') => self.config.pid_file = Some(path),
            // As racoon: below LOCALSTATEDIR/run.
            "pidfile" => self.config.pid_file = Some(join("/var/run", &path)),
            // `include` has been used already, where files are included.
            _ => {}
        }
    }

    fn log(&mut self, args: &mut Args<'_>) {
        const LEVELS: &[(&str, LogLevel)] = &[
            ("error", LogLevel::Error),
            ("warning", LogLevel::Warning),
            ("notify", LogLevel::Notify),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("debug2", LogLevel::Debug2),
        ];
        if let Some(level) = args.choice(LEVELS, self.diagnostics) {
            self.config.log = level;
        }
    }

    /// `{` directive* `}`
    pub(super) fn block(&mut self, args: &mut Args<'_>, directive: impl Fn(&mut Self, &mut Seen, &mut Args<'_>)) {
        let Some(body) = args.block(self.diagnostics) else { return };
        self.directives(body, directive);
    }

    fn directives(&mut self, body: &[Statement], directive: impl Fn(&mut Self, &mut Seen, &mut Args<'_>)) {
        let mut seen = Seen::default();
        self.each(body, |resolver, args| directive(resolver, &mut seen, args));
    }

    fn padding(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        if self.row(Block::Padding, args).is_none() {
            return;
        }
        if args.name() == "maximum_length" {
            args.number32(self.diagnostics);
        } else {
            args.switch(self.diagnostics);
        }
    }

    /// privsep := ( `user` | `group` ) ( STRING | NUMBER ) | `chroot` STRING
    fn privsep(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        if !self.known(Block::Privsep, args) {
            return;
        }
        let number = if args.name() == "chroot" { None } else { args.optional_number() };
        let name = match number {
            Some((number, _)) => Some(number.to_string()),
            None => args.string("a name in quotes", self.diagnostics).map(|name| name.text.clone()),
        };
        match args.name() {
            "user" => self.config.privsep.user = name,
            "group" => self.config.privsep.group = name,
            _ => {}
        }
    }

    /// radiuscfg := ( `auth` | `acct` ) STRING [ NUMBER ] STRING | ( `timeout` | `retries` ) NUMBER
    fn radius_server(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        if self.row(Block::RadiusCfg, args).is_none() {
            return;
        }
        if matches!(args.name(), "timeout" | "retries") {
            args.number32(self.diagnostics);
        } else if args.string("a server's name in quotes", self.diagnostics).is_some() {
            args.optional_number();
            args.string("the server's secret in quotes", self.diagnostics);
        }
    }

    /// timer := `counter` N | `persend` N | ( `interval` | `phase1` | `phase2` | `natt_keepalive` ) N UNIT
    fn timer(&mut self, seen: &mut Seen, args: &mut Args<'_>) {
        let name = args.name();
        if !self.known(Block::Timer, args) {
            return;
        }
        seen.note(args, false, self.diagnostics);
        if matches!(name, "counter" | "persend") {
            let Some(number) = args.number(100, self.diagnostics).and_then(|number| u32::try_from(number).ok()) else {
                return;
            };
            match name {
                "persend" if number == 0 => {
                    self.diagnostics.error(args.name_span(), "`persend 0`: nothing would ever be sent");
                }
                "persend" => self.config.timers.persend = number,
                _ => self.config.timers.counter = number,
            }
            return;
        }
        let Some((time, span)) = args.time(self.diagnostics) else { return };
        if time.is_zero() && name != "natt_keepalive" {
            self.diagnostics.push(Diagnostic::error(span, format!("`{name}` of zero")).expected("at least 1 sec"));
            return;
        }
        let timers = &mut self.config.timers;
        match name {
            "interval" => timers.interval = time,
            "phase1" => timers.phase1 = time,
            "phase2" => timers.phase2 = time,
            _ => timers.natt_keepalive = time,
        }
    }

    /// listen := ( `isakmp` | `isakmp_natt` ) ADDR [port] | `adminsock` … | `strict_address`
    fn listen(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        if !self.known(Block::Listen, args) {
            return;
        }
        match args.name() {
            "isakmp" => {
                let Some(at) = self.listen_address(args) else { return };
                self.config.listen.isakmp.push(at);
            }
            "isakmp_natt" => {
                let Some(at) = self.listen_address(args) else { return };
                self.config.listen.isakmp_natt.push(at);
            }
            "strict_address" => self.config.listen.strict_address = true,
            _ => self.admin_socket(args),
        }
    }

    fn listen_address(&mut self, args: &mut Args<'_>) -> Option<AddrPort> {
        let (addr, span) = args.address(self.diagnostics)?;
        let port = args.port(self.diagnostics)?;
        if port == Some(0) {
            self.diagnostics.error(span, "a socket needs a port");
            return None;
        }
        Some(AddrPort { addr, port })
    }

    /// adminsock := `disabled` | STRING [ STRING STRING MODE ]
    fn admin_socket(&mut self, args: &mut Args<'_>) {
        if args.bump_word("disabled") {
            self.config.listen.admin_socket = Some(None);
            return;
        }
        let Some(path) = args.string("a path in quotes, or `disabled`", self.diagnostics) else { return };
        let mut socket = AdminSocket { path: path.text.clone(), owner: None, mode: None };
        if args.peek().is_some_and(|arg| arg.kind == TokenKind::Str) {
            let Some(owner) = args.string("an owner in quotes", self.diagnostics) else { return };
            let Some(group) = args.string("a group in quotes", self.diagnostics) else { return };
            socket.owner = Some((owner.text.clone(), group.text.clone()));
            let Some(mode) = args.peek() else {
                args.wrong("a mode such as 0600", self.diagnostics);
                return;
            };
            let value = u32::from_str_radix(&mode.text, 8).ok().filter(|value| *value <= 0o777);
            let Some(value) = value else {
                args.wrong("a mode of octal digits such as 0600", self.diagnostics);
                return;
            };
            args.bump();
            socket.mode = Some(value);
        }
        self.config.listen.admin_socket = Some(Some(socket));
    }
}
