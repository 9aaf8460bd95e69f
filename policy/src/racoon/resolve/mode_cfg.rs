//! `mode_cfg {}`: what clients are given, and who knows their passwords.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::args::Args;
use super::super::directives::Block;
use super::super::token::TokenKind;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;
use crate::model::addr::IpNet;
use crate::model::mode_config::{
    AddressPool, AuthSource, ConfSource, DEFAULT_POOL_SIZE, GroupSource, MAX_POOL_SIZE, ModeConfig, SplitKind,
    is_domain,
};
use crate::span::Span;

/// Directives that add to the ones before.
const REPEATABLE: &[&str] = &["dns4", "wins4", "nbns4", "split_network", "split_dns", "auth_groups"];

/// As racoon: more servers have no place in its hooks.
const MOST_DNS: usize = 3;
/// See [`MOST_DNS`].
const MOST_WINS: usize = 4;
/// An attribute of Unity holds so many networks, and hardly any client takes more.
const MOST_NETWORKS: usize = 64;
/// Where racoon takes the banner from.
const DEFAULT_BANNER: &str = "/etc/motd";

impl Resolver<'_> {
    /// mode_cfg := `mode_cfg` `{` directive* `}`; several blocks add up.
    pub(super) fn mode_cfg(&mut self, args: &mut Args<'_>) {
        let Some(body) = args.block(self.diagnostics) else { return };
        let span = args.name_span();
        let mut draft = Draft {
            config: self
                .config
                .mode_cfg
                .take()
                .unwrap_or_else(|| ModeConfig { banner: Some(DEFAULT_BANNER.to_owned()), ..ModeConfig::default() }),
            pool_size: None,
        };
        let mut seen = Seen::default();
        self.each(body, |resolver, args| resolver.mode_cfg_directive(&mut draft, &mut seen, args));
        if let Some(size) = draft.pool_size {
            match &mut draft.config.pool {
                Some(pool) => pool.size = size,
                None => self.diagnostics.warning(span, "`pool_size` without `network4`: there is no pool"),
            }
        }
        if let Some(pool) = draft.config.pool
            && pool.address(pool.size.saturating_sub(1)).is_none()
        {
            self.diagnostics.error(span, format!("a pool of {} addresses from {} on", pool.size, pool.first));
        }
        self.check_sources(&draft.config, span);
        self.config.mode_cfg = Some(draft.config);
    }

    /// Groups and addresses come with the login: only the server that knows the password knows them.
    fn check_sources(&mut self, config: &ModeConfig, span: Span) {
        let from_ldap = config.auth_source == AuthSource::Ldap;
        if config.group_source == GroupSource::Ldap && !from_ldap {
            self.diagnostics.push(
                Diagnostic::error(span, "`group_source ldap` without `auth_source ldap`: nobody knows the user's DN")
                    .hint("write `auth_source ldap;`, or `group_source system;`"),
            );
        }
        if config.conf_source == ConfSource::Ldap && !from_ldap {
            let message = "`conf_source ldap` without `auth_source ldap`: addresses are those of the pool";
            self.diagnostics.warning(span, message);
        }
    }

    fn mode_cfg_directive(&mut self, draft: &mut Draft, seen: &mut Seen, args: &mut Args<'_>) {
        let name = args.name();
        if !self.known(Block::ModeCfg, args) {
            return;
        }
        if REPEATABLE.contains(&name) {
            seen.note_repeatable(name, args.name_span());
        } else if !seen.note(args, false, self.diagnostics) {
            return;
        }
        match name {
            "network4" => {
                if let Some((first, _)) = self.ipv4(args) {
                    draft.config.pool = Some(AddressPool { first, size: DEFAULT_POOL_SIZE });
                }
            }
            "netmask4" => self.netmask4(draft, args),
            "pool_size" => {
                let span = args.peek().map_or(args.name_span(), |arg| arg.span);
                match args.number32(self.diagnostics) {
                    Some(size) if (1..=MAX_POOL_SIZE).contains(&size) => draft.pool_size = Some(size),
                    Some(size) => self.diagnostics.push(
                        Diagnostic::error(span, format!("a pool of {size} addresses"))
                            .expected(format!("1 to {MAX_POOL_SIZE}")),
                    ),
                    None => {}
                }
            }
            "dns4" => self.servers(&mut draft.config.dns4, MOST_DNS, args),
            "wins4" | "nbns4" => self.servers(&mut draft.config.wins4, MOST_WINS, args),
            "split_network" => self.split_network(draft, args),
            "split_dns" => {
                let names = self.domains(args);
                draft.config.split_dns.extend(names);
            }
            "default_domain" => draft.config.default_domain = self.domains(args).into_iter().next_back(),
            "pfs_group" => {
                if let Some(group) = args.number(u64::from(u16::MAX), self.diagnostics) {
                    draft.config.pfs_group = u16::try_from(group).ok().filter(|group| *group != 0);
                }
            }
            "save_passwd" => self.set_switch(&mut draft.config.save_password, args),
            "auth_throttle" => {
                if let Some(seconds) = args.number(3600, self.diagnostics) {
                    draft.config.auth_throttle = Duration::from_secs(seconds);
                }
            }
            "banner" => {
                if let Some(file) = args.string("a file name in quotes", self.diagnostics) {
                    self.names_file(&file.text, file.span);
                    draft.config.banner = Some(file.text.clone()).filter(|name| !name.is_empty());
                }
            }
            _ => self.sources(draft, args),
        }
    }

    /// Who knows what: `auth_source`, `auth_groups`, `group_source`, `accounting`, `conf_source`.
    fn sources(&mut self, draft: &mut Draft, args: &mut Args<'_>) {
        match args.name() {
            "auth_source" => self.auth_source(draft, args),
            "auth_groups" => {
                while let Some(group) = args.string("a group's name in quotes", self.diagnostics) {
                    draft.config.auth_groups.push(group.text.clone());
                    if args.bump_kind(TokenKind::Comma).is_none() {
                        break;
                    }
                }
            }
            // The rows of the table have judged the word already, if it is one.
            "group_source" => {
                const SOURCES: &[(&str, GroupSource)] = &[("system", GroupSource::System), ("ldap", GroupSource::Ldap)];
                if let Some(source) = args.choice(SOURCES, self.diagnostics) {
                    draft.config.group_source = source;
                }
            }
            "conf_source" => {
                const SOURCES: &[(&str, ConfSource)] = &[("local", ConfSource::Local), ("ldap", ConfSource::Ldap)];
                if let Some(source) = args.choice(SOURCES, self.diagnostics) {
                    draft.config.conf_source = source;
                }
            }
            _ => {
                args.choice(&[("none", ()), ("system", ()), ("pam", ()), ("radius", ())], self.diagnostics);
            }
        }
    }

    /// auth_source := `system` | `pam` | `file` STRING | `radius` | `ldap`
    fn auth_source(&mut self, draft: &mut Draft, args: &mut Args<'_>) {
        if args.bump_word("file") {
            let Some(file) = args.string("a file name in quotes", self.diagnostics) else { return };
            if !file.text.starts_with('/') {
                self.diagnostics.error(file.span, "the users' file needs an absolute name");
            }
            self.names_file(&file.text, file.span);
            draft.config.auth_source = AuthSource::File(file.text.clone());
            return;
        }
        let sources = [("system", 0), ("pam", 1), ("ldap", 2)];
        draft.config.auth_source = match args.choice(&sources, self.diagnostics) {
            Some(0) => AuthSource::System,
            Some(1) => AuthSource::Pam,
            Some(_) => AuthSource::Ldap,
            None => return,
        };
    }

    fn ipv4(&mut self, args: &mut Args<'_>) -> Option<(Ipv4Addr, Span)> {
        match args.address(self.diagnostics)? {
            (IpAddr::V4(address), span) => Some((address, span)),
            (address, span) => {
                self.diagnostics.push(Diagnostic::error(span, format!("{address} is no IPv4 address")));
                None
            }
        }
    }

    fn netmask4(&mut self, draft: &mut Draft, args: &mut Args<'_>) {
        let Some((mask, span)) = self.ipv4(args) else { return };
        let bits = u32::from(mask);
        if bits.leading_ones() + bits.trailing_zeros() < u32::BITS {
            self.diagnostics.error(span, format!("{mask} is no netmask: its ones do not stand together"));
        }
        draft.config.netmask4 = Some(mask);
    }

    fn servers(&mut self, list: &mut Vec<Ipv4Addr>, most: usize, args: &mut Args<'_>) {
        while let Some((address, span)) = self.ipv4(args) {
            if list.len() < most {
                list.push(address);
            } else {
                let message = format!("`{}` beyond the first {most} is left out, as in racoon", args.name());
                self.diagnostics.warning(span, message);
            }
            if args.bump_kind(TokenKind::Comma).is_none() {
                break;
            }
        }
    }

    /// split_network := ( `include` | `local_lan` ) NET ( `,` NET )*
    fn split_network(&mut self, draft: &mut Draft, args: &mut Args<'_>) {
        const KINDS: &[(&str, SplitKind)] = &[("include", SplitKind::Include), ("local_lan", SplitKind::LocalLan)];
        let Some(kind) = args.choice(KINDS, self.diagnostics) else { return };
        let (_, nets) = match &mut draft.config.split_network {
            Some(split) if split.0 == kind => split,
            place => {
                if place.is_some() {
                    let message = "networks are either `include` or `local_lan`: the last kind counts";
                    self.diagnostics.warning(args.name_span(), message);
                }
                place.insert((kind, Vec::new()))
            }
        };
        loop {
            let span = args.peek().map_or(args.name_span(), |arg| arg.span);
            let Some((net, _)) = self.network(args) else { return };
            if matches!(net, IpNet::V6(_)) {
                self.diagnostics.error(span, format!("{net} is no IPv4 network"));
            } else if nets.len() >= MOST_NETWORKS {
                self.diagnostics.error(span, format!("more than {MOST_NETWORKS} networks"));
            } else {
                nets.push(net);
            }
            if args.bump_kind(TokenKind::Comma).is_none() {
                return;
            }
        }
    }

    fn domains(&mut self, args: &mut Args<'_>) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(name) = args.string("a domain in quotes", self.diagnostics) {
            if is_domain(&name.text) {
                names.push(name.text.clone());
            } else {
                self.diagnostics.error(name.span, format!("\"{}\" is no domain name", name.text));
            }
            if args.bump_kind(TokenKind::Comma).is_none() {
                break;
            }
        }
        names
    }
}

/// The block while it is read.
struct Draft {
    config: ModeConfig,
    pool_size: Option<u32>,
}
