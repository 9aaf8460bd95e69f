//! Statements that stand outside `remote` and `sainfo`.

use super::super::args::Args;
use super::super::ast::Statement;
use super::super::include::join;
use super::super::token::TokenKind;
use super::{Reasons, Resolver, Seen, reason};
use crate::diagnostic::Diagnostic;
use crate::model::addr::AddrPort;
use crate::model::daemon::{AdminSocket, LogLevel};

const KNOWN: &[&str] = &[
    "path",
    "include",
    "pfkey_buffer",
    "complex_bundle",
    "gss_id_enc",
    "log",
    "padding",
    "timer",
    "listen",
    "privsep",
    "radiuscfg",
    "ldapcfg",
    "mode_cfg",
    "revocation",
    "remote",
    "sainfo",
];

/// Statements that need a feature xfrmd lacks.
const NOT_YET: Reasons = &[
    ("privsep", "xfrmd runs as one process"),
    ("radiuscfg", "no RADIUS server is asked for passwords; `mode_cfg { auth_source pam; }` with pam_radius_auth does"),
    ("ldapcfg", "no LDAP server is asked for passwords; `mode_cfg { auth_source pam; }` with pam_ldap or pam_sss does"),
];

/// Statements racoon itself has given up.
const OBSOLETE: Reasons = &[
    ("identifier", "write `my_identifier` in the `remote` block"),
    ("autoexit", "remove it"),
    ("restrict", "remove it"),
    ("keepalive", "write `timer { natt_keepalive N sec; }`"),
    ("support_mip6", "remove it"),
    ("support_proxy", "write it in the `remote` block"),
];

const PADDING: &[&str] = &["randomize", "randomize_length", "maximum_length", "strict_check", "exclusive_tail"];

impl Resolver<'_> {
    /// One statement of the file.
    pub(super) fn global(&mut self, args: &mut Args<'_>) {
        let name = args.name();
        match name {
            "path" => self.path(args),
            // Those at the start of a statement have been replaced by what they include.
            "include" => self.no_effect(args, "it stands behind a forgotten `;`"),
            "log" => self.log(args),
            "timer" => self.block(args, Self::timer),
            "listen" => self.block(args, Self::listen),
            "padding" => {
                self.no_effect(args, "ESP is padded by the kernel, and ISAKMP messages to the block length with zeros");
                self.block(args, Self::padding);
            }
            "pfkey_buffer" => {
                self.no_effect(args, "the kernel is spoken to over XFRM netlink, not PF_KEY");
                args.number32(self.diagnostics);
            }
            "complex_bundle" => {
                self.no_effect(args, "bundles of several protocols are not negotiated");
                args.switch(self.diagnostics);
            }
            "gss_id_enc" => {
                self.no_effect(args, "GSS-API authentication is not offered");
                args.choice(&[("latin1", ()), ("utf-16le", ())], self.diagnostics);
            }
            "mode_cfg" => self.mode_cfg(args),
            "revocation" => self.block(args, Self::revocation),
            "remote" => self.remote(args),
            "sainfo" => self.sainfo(args),
            _ => self.other_global(args),
        }
    }

    fn other_global(&mut self, args: &mut Args<'_>) {
        let name = args.name();
        if let Some(why) = reason(NOT_YET, name) {
            self.not_supported_yet(args, why);
        } else if let Some(instead) = reason(OBSOLETE, name) {
            self.diagnostics.push(
                Diagnostic::error(args.name_span(), format!("`{name}` is obsolete in racoon too"))
                    .found(name)
                    .hint(instead),
            );
            args.give_up();
        } else {
            self.unknown(args, "outside of any block", KNOWN);
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
        let Some(kind) = args.choice(KINDS, self.diagnostics) else { return };
        let Some(path) = args.string("a path in quotes", self.diagnostics) else { return };
        let path = path.text.clone();
        match kind {
            "pre_shared_key" => self.config.psk_file = Some(path),
            "certificate" => self.config.certificate_dir = Some(path),
            "script" => self.config.script_dir = Some(path),
            "pidfile" if path.starts_with('/') => self.config.pid_file = Some(path),
            // As racoon: below LOCALSTATEDIR/run.
            "pidfile" => self.config.pid_file = Some(join("/var/run", &path)),
            "backupsa" => {
                self.diagnostics
                    .error(args.name_span(), "`path backupsa` is not supported yet: SAs are not saved to a file");
            }
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
    fn block(&mut self, args: &mut Args<'_>, directive: impl Fn(&mut Self, &mut Seen, &mut Args<'_>)) {
        let Some(body) = args.block(self.diagnostics) else { return };
        self.directives(body, directive);
    }

    fn directives(&mut self, body: &[Statement], directive: impl Fn(&mut Self, &mut Seen, &mut Args<'_>)) {
        let mut seen = Seen::default();
        self.each(body, |resolver, args| directive(resolver, &mut seen, args));
    }

    fn padding(&mut self, _: &mut Seen, args: &mut Args<'_>) {
        match args.name() {
            "maximum_length" => {
                args.number32(self.diagnostics);
            }
            "randomize" | "randomize_length" | "strict_check" | "exclusive_tail" => {
                args.switch(self.diagnostics);
            }
            _ => self.unknown(args, "in `padding`", PADDING),
        }
    }

    /// timer := `counter` N | `persend` N | ( `interval` | `phase1` | `phase2` | `natt_keepalive` ) N UNIT
    fn timer(&mut self, seen: &mut Seen, args: &mut Args<'_>) {
        const KNOWN: &[&str] = &["counter", "interval", "persend", "phase1", "phase2", "natt_keepalive"];
        let name = args.name();
        if !KNOWN.contains(&name) {
            self.unknown(args, "in `timer`", KNOWN);
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
            "adminsock" => self.admin_socket(args),
            "admin" => {
                self.diagnostics.push(
                    Diagnostic::error(args.name_span(), "`admin` (a TCP port) is obsolete in racoon too")
                        .hint("write `adminsock \"/run/racoon/racoon.sock\";`"),
                );
                args.give_up();
            }
            _ => self.unknown(args, "in `listen`", &["isakmp", "isakmp_natt", "adminsock", "strict_address"]),
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
