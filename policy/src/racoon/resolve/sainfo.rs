//! `sainfo`: phase 2 parameters, and which of them goes first.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::super::args::Args;
use super::super::ast::Statement;
use super::super::directives::Block;
use super::super::token::TokenKind;
use super::algorithm::is_usable;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;
use crate::model::addr::IpNet;
use crate::model::algorithm::{Cipher, Group, Integrity, SizedCipher};
use crate::model::identity::{ConfiguredId, Identity, PeersIdentifier};
use crate::model::lifetime::{DEFAULT_LIFETIME, Lifetime};
use crate::model::sainfo::{Esn, Sainfo, SainfoId};
use crate::model::selector::UpperProtocol;

const PROTOCOLS: &[(&str, u8)] = &[
    ("any", 0),
    ("tcp", 6),
    ("udp", 17),
    ("icmp", 1),
    ("icmp6", 58),
    ("esp", 50),
    ("ah", 51),
    ("ipcomp", 108),
    ("gre", 47),
];

/// Protocols whose selectors have ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Directives that may stand several times.
const LISTS: [&str; 3] = ["encryption_algorithm", "authentication_algorithm", "compression_algorithm"];

/// The blocks read so far, in file order.
#[derive(Default)]
pub(super) struct Entries {
    list: Vec<Sainfo>,
    headers: HashSet<String>,
}

impl Entries {
    /// Most specific first, file order within equal.
    pub(super) fn sorted(mut self) -> Vec<Sainfo> {
        self.list.sort_by_key(|sainfo| std::cmp::Reverse(specificity(sainfo)));
        self.list
    }
}

/// racoon's weights: an identity of the peer (here also its group) or a `remoteid` outweighs both selectors.
fn specificity(sainfo: &Sainfo) -> u32 {
    let selector = |id: &SainfoId| u32::from(*id != SainfoId::Anonymous);
    3 * u32::from(sainfo.remote_id != 0)
        + 3 * u32::from(sainfo.from.is_some() || sainfo.group.is_some())
        + selector(&sainfo.local)
        + selector(&sainfo.remote)
}

/// Appends what is not there yet: nothing is to be offered twice.
fn add_new<T: PartialEq>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

struct Header {
    local: SainfoId,
    remote: SainfoId,
    from: Option<PeersIdentifier>,
    group: Option<String>,
}

#[derive(Default)]
struct Parts {
    pfs_group: Option<Group>,
    lifetime: Option<Duration>,
    ciphers: Vec<SizedCipher>,
    integrity: Vec<Option<Integrity>>,
    remote_id: u32,
    esn: Esn,
    allow_weak: bool,
}

impl Resolver<'_> {
    /// sainfo := `sainfo` header `{` directive* `}`
    pub(super) fn sainfo(&mut self, args: &mut Args<'_>) {
        let header = self.sainfo_header(args);
        if header.is_none() {
            args.give_up();
        }
        // The block is read even if its header is wrong: all errors at once.
        let body = match &header {
            Some(_) => args.block(self.diagnostics),
            None => args.statement.body.as_deref(),
        };
        let Some(body) = body else { return };
        let parts = self.sainfo_body(args, body);
        let (Some(Header { local, remote, from, group }), Some(parts)) = (header, parts) else { return };
        let Parts { pfs_group, lifetime, ciphers, integrity, remote_id, esn, allow_weak } = parts;
        let lifetime = Lifetime { time: lifetime.unwrap_or(DEFAULT_LIFETIME), kilobytes: None };
        let sainfo =
            Sainfo { local, remote, from, group, pfs_group, lifetime, ciphers, integrity, remote_id, esn, allow_weak };
        self.check_duplicate(&sainfo, args);
        self.sainfos.list.push(sainfo);
    }

    /// header := ( `anonymous` [ remote ] | id remote )
    ///           [ `from` IDTYPE [value] | `group` STRING ]
    fn sainfo_header(&mut self, args: &mut Args<'_>) -> Option<Header> {
        let (local, remote) = if args.bump_word("anonymous") {
            let ends_here = args.peek().is_none_or(|arg| arg.is_word("from") || arg.is_word("group"));
            let remote = if ends_here { SainfoId::Anonymous } else { self.sainfo_remote(args)? };
            (SainfoId::Anonymous, remote)
        } else {
            (self.sainfo_id(args)?, self.sainfo_remote(args)?)
        };
        let mut from = None;
        let mut group = None;
        if args.bump_word("from") {
            from = Some(self.peers_identifier(args)?);
        } else if args.bump_word("group") {
            group = Some(args.string("the name of a group in quotes", self.diagnostics)?.text.clone());
        }
        Some(Header { local, remote, from, group })
    }

    /// remote := `anonymous` | `clientaddr` | id
    fn sainfo_remote(&mut self, args: &mut Args<'_>) -> Option<SainfoId> {
        if args.bump_word("anonymous") {
            Some(SainfoId::Anonymous)
        } else if args.bump_word("clientaddr") {
            Some(SainfoId::ClientAddress)
        } else {
            self.sainfo_id(args)
        }
    }

    /// id := ( `address` | `subnet` ) ADDR [ `/` N | `-` ADDR ] [ `[` PORT `]` ] PROTO
    ///     | ( `fqdn` | `user_fqdn` | `keyid` [`tag`] ) STRING
    fn sainfo_id(&mut self, args: &mut Args<'_>) -> Option<SainfoId> {
        match args.peek().map(|arg| (arg.text.as_str(), arg.span)) {
            Some(("clientaddr", span)) => {
                self.diagnostics.push(
                    Diagnostic::error(span, "`clientaddr` is an address of the peer's and cannot stand first")
                        .expected("`anonymous` or our own side, then `clientaddr`"),
                );
                args.give_up();
                return None;
            }
            Some(("asn1dn", span)) => {
                self.diagnostics.push(
                    Diagnostic::error(span, "`asn1dn` cannot name traffic")
                        .hint("for peers with this name write `sainfo anonymous from asn1dn \"NAME\"`"),
                );
                args.give_up();
                return None;
            }
            Some(("fqdn" | "user_fqdn" | "keyid", _)) => return self.sainfo_name(args),
            _ => {}
        }
        args.choice(&[("address", ()), ("subnet", ())], self.diagnostics)?;
        let id = self.sainfo_address(args)?;
        let port_span = args.peek().map_or(args.name_span(), |arg| arg.span);
        let port = args.port(self.diagnostics)?.unwrap_or(0);
        let protocol_span = args.peek().map_or(args.name_span(), |arg| arg.span);
        let protocol = self.upper_protocol(args)?;
        let is_ipv4 = matches!(&id, Identity::Address(IpAddr::V4(_)) | Identity::Range(IpAddr::V4(_), _))
            || matches!(&id, Identity::Subnet(IpNet::V4(_)));
        if protocol.0 == if is_ipv4 { ICMP6 } else { ICMP } {
            let message = "this protocol belongs to the other family of addresses";
            self.diagnostics.push(Diagnostic::error(protocol_span, message));
            return None;
        }
        if port != 0 && !protocol.is_any() && !WITH_PORTS.contains(&protocol.0) {
            self.diagnostics.push(
                Diagnostic::error(port_span, "a port needs a protocol that has ports")
                    .expected("`[any]`, or `tcp` or `udp` as protocol"),
            );
            return None;
        }
        if port != 0 && protocol.is_any() {
            let message = "a port of any protocol: only a peer that asks for just this gets it";
            self.diagnostics
                .push(Diagnostic::warning(port_span, message).hint("`udp` or `tcp` is what is meant mostly"));
        }
        Some(SainfoId::Selector { id, protocol, port })
    }

    /// A name in quick mode: racoon took the addresses of phase 1 instead, we refuse it (RFC 2407 §4.6.2 lets an ID of
    /// quick mode select packets, and a name selects none).
    fn sainfo_name(&mut self, args: &mut Args<'_>) -> Option<SainfoId> {
        let span = args.peek().map_or(args.name_span(), |arg| arg.span);
        let wanted = self.peers_identifier(args)?;
        let id = match wanted.value {
            Some(ConfiguredId::Fqdn(name)) => Identity::Fqdn(name),
            Some(ConfiguredId::UserFqdn(name)) => Identity::UserFqdn(name),
            Some(ConfiguredId::KeyId(octets)) => Identity::KeyId(octets),
            _ => return None,
        };
        self.diagnostics.push(
            Diagnostic::warning(span, "this `sainfo` is never chosen: a name selects no packets")
                .hint("for peers with this name write `sainfo anonymous from …`"),
        );
        Some(SainfoId::Selector { id, protocol: UpperProtocol::ANY, port: 0 })
    }

    /// A network that holds one address equals that address, as racoon compares them.
    fn sainfo_address(&mut self, args: &mut Args<'_>) -> Option<Identity> {
        let arg = args.peek()?;
        if let Some((first, last)) = arg.text.split_once('-').filter(|_| arg.kind == TokenKind::Word) {
            let range = first.parse::<IpAddr>().ok().zip(last.parse::<IpAddr>().ok());
            let Some((first, last)) = range.filter(|(a, b)| a.is_ipv4() == b.is_ipv4() && a <= b) else {
                let message = format!("{} is not a range of addresses", arg.quoted());
                self.diagnostics.push(Diagnostic::error(arg.span, message).expected("`LOW-HIGH`, both of one family"));
                args.give_up();
                return None;
            };
            args.bump();
            return Some(Identity::Range(first, last));
        }
        let (net, _) = self.network(args)?;
        let is_host = net.prefix_len() == net.max_prefix_len();
        Some(if is_host { Identity::Address(net.addr()) } else { Identity::Subnet(net) })
    }

    fn upper_protocol(&mut self, args: &mut Args<'_>) -> Option<UpperProtocol> {
        if args.peek().is_some_and(|arg| arg.text.starts_with(|ch: char| ch.is_ascii_digit())) {
            let number = args.number(255, self.diagnostics)?;
            return u8::try_from(number).ok().map(UpperProtocol);
        }
        args.choice(PROTOCOLS, self.diagnostics).map(UpperProtocol)
    }

    fn sainfo_body(&mut self, args: &Args<'_>, body: &[Statement]) -> Option<Parts> {
        let mut parts = Parts::default();
        let mut seen = Seen::default();
        let errors = self.diagnostics.errors();
        self.look_ahead(body, false);
        self.each(body, |resolver, args| resolver.sainfo_directive(&mut parts, &mut seen, args));
        let protect_themselves = !parts.ciphers.is_empty() && parts.ciphers.iter().all(|cipher| cipher.is_aead());
        for name in ["encryption_algorithm", "authentication_algorithm"] {
            let is_needless = protect_themselves && name == "authentication_algorithm";
            if !is_needless && !seen.has(name) {
                self.diagnostics.error(args.name_span(), format!("this `sainfo` lacks `{name}`"));
            }
        }
        // racoon insists on all three lists.
        for name in ["authentication_algorithm", "compression_algorithm"] {
            if !seen.has(name) && seen.has("encryption_algorithm") {
                self.extension(args.name_span(), &format!("a `sainfo` without `{name}`"));
            }
        }
        let has = |cipher| parts.ciphers.iter().any(|sized| sized.cipher == cipher);
        if has(Cipher::Null) && parts.integrity.contains(&None) {
            self.diagnostics.error(
                args.name_span(),
                "`null_enc` and `non_auth` in one `sainfo`: an SA without any protection is refused (RFC 4303 section 3.2)",
            );
        }
        if has(Cipher::AesCtr) && parts.integrity.contains(&None) {
            self.diagnostics.error(
                args.name_span(),
                "`aes_ctr` and `non_auth` in one `sainfo`: who knows a packet can turn it into any other (RFC 3686 section 2.2)",
            );
        }
        (self.diagnostics.errors() == errors).then_some(parts)
    }

    fn sainfo_directive(&mut self, parts: &mut Parts, seen: &mut Seen, args: &mut Args<'_>) {
        if !self.known(Block::Sainfo, args) {
            seen.note_repeatable(args.name(), args.name_span());
            return;
        }
        match args.name() {
            // As in racoon, lists add up.
            name if LISTS.contains(&name) => seen.note_repeatable(name, args.name_span()),
            _ => {
                seen.note(args, false, self.diagnostics);
            }
        }
        match args.name() {
            "pfs_group" => parts.pfs_group = self.pfs_group(args),
            "lifetime" => parts.lifetime = args.lifetime(self.diagnostics),
            "encryption_algorithm" => {
                // Old files name every cipher of their day; what is left of such a list is good enough.
                let spare = args.statement.args.iter().any(|arg| is_usable(&arg.text, self.allow_weak));
                let listed = self.list(args, |resolver, args| resolver.listed_cipher(args, spare));
                add_new(&mut parts.ciphers, listed.into_iter().flatten());
            }
            "authentication_algorithm" => {
                let listed = self.list(args, Self::integrity);
                add_new(&mut parts.integrity, listed);
            }
            "compression_algorithm" => self.compression(args),
            "esn" => {
                const VALUES: &[(&str, Esn)] = &[("on", Esn::On), ("off", Esn::Off), ("prefer", Esn::Prefer)];
                parts.esn = args.choice(VALUES, self.diagnostics).unwrap_or_default();
            }
            "allow_weak" => self.set_switch(&mut parts.allow_weak, args),
            _ => parts.remote_id = args.number32(self.diagnostics).unwrap_or(0),
        }
    }

    fn compression(&mut self, args: &mut Args<'_>) {
        // racoon's files say `deflate` whether anything is compressed or not: a policy decides (`ipcomp/…`).
        self.list(args, |resolver, args| {
            args.choice(&[("deflate", ()), ("oui", ()), ("lzs", ())], resolver.diagnostics)
        });
    }

    /// list(item) := item ( `,` item )*; empty after an error.
    fn list<T>(&mut self, args: &mut Args<'_>, item: impl Fn(&mut Self, &mut Args<'_>) -> Option<T>) -> Vec<T> {
        let mut list = Vec::new();
        loop {
            match item(self, args) {
                Some(value) => list.push(value),
                None => {
                    args.give_up();
                    return Vec::new();
                }
            }
            if args.bump_kind(TokenKind::Comma).is_none() {
                return list;
            }
            if let Some(arg) = args.peek()
                && !self.known_value(Block::Sainfo, arg, args)
            {
                return Vec::new();
            }
        }
    }

    /// Only the first block with a header can ever be chosen.
    fn check_duplicate(&mut self, sainfo: &Sainfo, args: &Args<'_>) {
        let Sainfo { local, remote, from, group, remote_id, .. } = sainfo;
        if self.sainfos.headers.insert(format!("{local:?} {remote:?} {from:?} {group:?} {remote_id}")) {
            return;
        }
        let is_anonymous = *local == SainfoId::Anonymous && *remote == SainfoId::Anonymous;
        if is_anonymous {
            self.diagnostics.warning(args.name_span(), "a second `sainfo` with this header: the first one is used");
        } else {
            self.diagnostics.error(args.name_span(), "a second `sainfo` with this header");
        }
    }
}
