//! `ldapcfg {}`: the servers that know users.

use std::time::Duration;

use super::super::args::Args;
use super::super::directives::Block;
use super::super::token::TokenKind;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;

/// The longest `timeout`: a client of XAuth has given up by then.
const LONGEST_TIMEOUT: u64 = 120;

/// How the URIs begin that can be used.
const SCHEMES: [&str; 3] = ["ldap://", "ldaps://", "ldapi://"];

impl Resolver<'_> {
    /// ldapcfg := ( `version` | `port` | `debug` | `timeout` ) NUMBER | `subtree` SWITCH | NAME STRING
    pub(super) fn ldap(&mut self, seen: &mut Seen, args: &mut Args<'_>) {
        let name = args.name();
        if !self.known(Block::LdapCfg, args) {
            return;
        }
        seen.note(args, false, self.diagnostics);
        match name {
            "version" => {
                args.choice(&[("2", ()), ("3", ())], self.diagnostics);
            }
            "debug" => {
                args.number32(self.diagnostics);
            }
            "port" => self.config.ldap.port = self.server_port(args).unwrap_or(self.config.ldap.port),
            "timeout" => {
                // As in racoon, zero leaves it to the library.
                let seconds = args.number(LONGEST_TIMEOUT, self.diagnostics).filter(|seconds| *seconds > 0);
                self.config.ldap.timeout = seconds.map_or(self.config.ldap.timeout, Duration::from_secs);
            }
            "subtree" => {
                self.config.ldap.subtree = args.switch(self.diagnostics).unwrap_or(self.config.ldap.subtree);
            }
            "uri" => self.ldap_uri(args),
            "bind_pw" => {
                let secret = args.string("a password in quotes", self.diagnostics).and_then(|arg| arg.secret.clone());
                self.config.ldap.bind_password = secret;
            }
            _ => self.ldap_name(args),
        }
    }

    fn ldap_uri(&mut self, args: &mut Args<'_>) {
        let Some(uri) = args.string("one or more URIs in quotes", self.diagnostics) else { return };
        let usable = |uri: &str| SCHEMES.iter().any(|scheme| uri.len() > scheme.len() && uri.starts_with(scheme));
        if uri.text.trim().is_empty() || !uri.text.split_whitespace().all(usable) {
            self.diagnostics.push(
                Diagnostic::error(uri.span, format!("\"{}\" names no directory", uri.text))
                    .expected("\"ldap://HOST[:PORT]\", \"ldaps://HOST[:PORT]\" or \"ldapi://PATH\""),
            );
        }
        self.config.ldap.uri = Some(uri.text.clone());
    }

    /// Names of the directory; a base and a DN may be empty.
    fn ldap_name(&mut self, args: &mut Args<'_>) {
        let ldap = &mut self.config.ldap;
        let (place, may_be_empty) = match args.name() {
            "host" => (&mut ldap.host, false),
            "base" => (&mut ldap.base, true),
            "bind_dn" => (&mut ldap.bind_dn, true),
            "attr_user" => (&mut ldap.attr_user, false),
            "attr_addr" => (&mut ldap.attr_addr, false),
            "attr_mask" => (&mut ldap.attr_mask, false),
            "attr_group" => (&mut ldap.attr_group, false),
            _ => (&mut ldap.attr_member, false),
        };
        let value = match args.peek() {
            Some(arg) if may_be_empty && arg.kind == TokenKind::Str => args.bump(),
            _ => args.string("a value in quotes", self.diagnostics),
        };
        if let Some(value) = value {
            place.clone_from(&value.text);
        }
    }

    /// The number of a UDP or TCP port.
    pub(super) fn server_port(&mut self, args: &mut Args<'_>) -> Option<u16> {
        let span = args.peek().map_or(args.name_span(), |arg| arg.span);
        let port = args.number(u64::from(u16::MAX), self.diagnostics).and_then(|port| u16::try_from(port).ok())?;
        if port == 0 {
            self.diagnostics.error(span, "a server needs a port");
        }
        Some(port)
    }
}
