//! `remote`: peers, with inheritance and defaults.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use super::super::args::Args;
use super::super::ast::Statement;
use super::super::directives::Block;
use super::super::token::TokenKind;
use super::proposal::ProposalDraft;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;
use crate::model::addr::AddrPort;
use crate::model::identity::MyIdentifier;
use crate::model::lifetime::DEFAULT_LIFETIME;
use crate::model::proposal::ProposalCheck;
use crate::model::remote::{CertificateFiles, CrlStrictness, ExchangeMode, Rekey, Remote, RemoteSelector};
use crate::span::Span;

/// Directives that may not be given twice in one block, as in racoon.
const SINGLE: &[&str] = &["certificate_type", "ca_type", "peers_certfile", "remote_address"];
/// Directives that add up.
const REPEATABLE: &[&str] = &["peers_identifier", "proposal", "script"];

/// Proposals and identities that all heirs together may get: chains of heirs would else take memory without bound.
const MOST_INHERITED: usize = 1_000_000;
/// A transform's number has one octet (RFC 2408 section 3.6).
const MOST_PROPOSALS: usize = 255;

/// RFC 2408 section 2.5.1.
const ISAKMP_PORT: u16 = 500;

/// Whom a block is for, as `inherit` names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Anonymous,
    Address(AddrPort),
    Name(String),
}

/// A block whose defaults may still be overridden by an heir.
#[derive(Clone, Debug)]
struct Draft {
    remote: Remote,
    proposals: Vec<ProposalDraft>,
    lifetime: Duration,
    /// `remote_address`, in named blocks.
    address: Option<AddrPort>,
}

/// The blocks read so far, in file order.
#[derive(Default)]
pub(super) struct Drafts {
    list: Vec<Draft>,
    by_key: HashMap<Key, usize>,
    /// The first block of each address, whatever its port.
    by_address: HashMap<IpAddr, usize>,
    /// What heirs have been given so far.
    inherited: usize,
}

impl Drafts {
    /// The block of this name; of an address the one with this port before one with another.
    fn find(&self, key: &Key) -> Option<&Draft> {
        let of_address = || match key {
            Key::Address(at) => self.by_address.get(&at.addr),
            _ => None,
        };
        self.list.get(*self.by_key.get(&key.clone().without_default()).or_else(of_address)?)
    }

    /// The blocks as they were meant.
    pub(super) fn finish(self) -> Vec<Remote> {
        self.list.into_iter().map(Draft::finish).collect()
    }
}

impl Draft {
    fn new() -> Self {
        let remote = Remote { name: String::new(), exchange_modes: Vec::new(), ..Remote::default() };
        Self { remote, proposals: Vec::new(), lifetime: DEFAULT_LIFETIME, address: None }
    }

    fn finish(self) -> Remote {
        let proposals = self.proposals.into_iter().map(|proposal| proposal.finish(self.lifetime)).collect();
        Remote { proposals, ..self.remote }
    }
}

impl Resolver<'_> {
    /// remote := `remote` peer [ `inherit` peer ] ( `{` directive* `}` | `;` )
    pub(super) fn remote(&mut self, args: &mut Args<'_>) {
        let Some((key, span)) = self.peer(args) else {
            // The block is read even if its header is wrong: all errors at once.
            let body = args.statement.body.as_deref().unwrap_or_default();
            self.remote_body(&Key::Name(String::new()), &mut Draft::new(), body);
            return;
        };
        let mut draft = Draft::new();
        if args.bump_word("inherit") {
            let Some(parent) = self.parent(&key, args) else { return };
            draft = parent;
            draft.address = None;
        } else if args.statement.body.is_none() && args.peek().is_none() {
            args.block(self.diagnostics);
            return;
        }
        let errors = self.diagnostics.errors();
        if args.statement.body.is_some()
            && let Some(body) = args.block(self.diagnostics)
        {
            self.remote_body(&key, &mut draft, body);
        }
        if self.diagnostics.errors() == errors {
            self.check_remote(&draft, args.name_span());
        }
        draft.remote.name = key.name();
        draft.remote.selector = match (&key, draft.address) {
            (Key::Address(at), _) => RemoteSelector::Address(*at),
            (_, Some(at)) => RemoteSelector::Address(at),
            _ => RemoteSelector::Anonymous,
        };
        self.add_draft(key, draft, span);
    }

    /// peer := `anonymous` [port] | ADDR [port] | STRING
    fn peer(&mut self, args: &mut Args<'_>) -> Option<(Key, Span)> {
        let span = args.peek().map_or(args.name_span(), |arg| arg.span);
        if args.peek().is_some_and(|arg| arg.kind == TokenKind::Str) {
            let name = args.string("a name", self.diagnostics)?;
            return Some((Key::Name(name.text.clone()), span));
        }
        if args.bump_word("anonymous") {
            if args.port(self.diagnostics)?.is_some() {
                self.diagnostics
                    .warning(span, "the port of an anonymous peer has no effect: peers are told apart by address");
            }
            return Some((Key::Anonymous, span));
        }
        let Some(arg) = args.peek().filter(|arg| arg.kind == TokenKind::Word) else {
            args.wrong("an address, `anonymous` or a name in quotes", self.diagnostics);
            return None;
        };
        if !arg.text.starts_with(|ch: char| ch.is_ascii_hexdigit() || ch == ':') {
            args.wrong("an address, `anonymous` or a name in quotes", self.diagnostics);
            return None;
        }
        let (addr, _) = args.address(self.diagnostics)?;
        let port = args.port(self.diagnostics)?;
        Some((Key::Address(AddrPort { addr, port }), span))
    }

    /// The block behind `inherit`: one above, of the same kind. (racoon refuses `inherit anonymous` although its own
    /// sample has it; here it works, for every kind.)
    fn parent(&mut self, heir: &Key, args: &mut Args<'_>) -> Option<Draft> {
        let (key, span) = self.peer(args)?;
        if key == Key::Anonymous {
            // Its manual page and its sample have it, its parser does not.
            self.extension(span, "`inherit anonymous`");
        }
        let found = self.remotes.find(&key);
        let same_kind = key == Key::Anonymous || std::mem::discriminant(&key) == std::mem::discriminant(heir);
        if found.is_none() || !same_kind {
            let message = match found {
                None => format!("no `remote {}` above to inherit from", key.quoted()),
                Some(_) => "an address inherits from an address, a name from a name".to_owned(),
            };
            self.diagnostics.error(span, message);
            args.give_up();
            return None;
        }
        let parent = found.cloned()?;
        self.remotes.inherited += 1 + parent.remote.peers_identifiers.len() + parent.proposals.len();
        if self.remotes.inherited > MOST_INHERITED {
            let message = format!("more than {MOST_INHERITED} proposals and identities inherited in all");
            self.diagnostics.push(Diagnostic::error(span, message).hint("a block without `inherit` starts anew"));
            args.give_up();
            return None;
        }
        Some(parent)
    }

    fn add_draft(&mut self, key: Key, draft: Draft, span: Span) {
        let quoted = key.quoted();
        let is_name = matches!(key, Key::Name(_));
        let number = self.remotes.list.len();
        if let Key::Address(at) = &key {
            self.remotes.by_address.entry(at.addr).or_insert(number);
        }
        match self.remotes.by_key.entry(key.without_default()) {
            Entry::Vacant(place) => {
                place.insert(number);
            }
            Entry::Occupied(_) if is_name => self.diagnostics.error(span, format!("a second `remote {quoted}`")),
            Entry::Occupied(_) => {
                self.diagnostics.warning(span, format!("a second `remote {quoted}`: the first one is used"));
            }
        }
        self.remotes.list.push(draft);
    }

    /// What no single directive can be blamed for.
    fn check_remote(&mut self, draft: &Draft, span: Span) {
        let remote = &draft.remote;
        if remote.exchange_modes.is_empty() {
            self.diagnostics
                .push(Diagnostic::error(span, "this `remote` lacks `exchange_mode`").hint("add `exchange_mode main;`"));
        }
        if draft.proposals.is_empty() {
            self.diagnostics
                .push(Diagnostic::error(span, "this `remote` lacks a `proposal`").hint("add `proposal { … }`"));
        }
        if remote.my_identifier == MyIdentifier::CertificateSubject && remote.certificate.is_none() {
            self.diagnostics.push(
                Diagnostic::error(span, "`my_identifier asn1dn` takes the name from a certificate, and there is none")
                    .hint("add `certificate_type x509 \"CERT\" \"KEY\";`, or write the name behind `asn1dn`"),
            );
        }
        if remote.exchange_modes.contains(&ExchangeMode::Aggressive) {
            self.check_aggressive(draft);
        }
        if let Some(beyond) = draft.proposals.get(MOST_PROPOSALS) {
            self.diagnostics.error(beyond.span, format!("more than {MOST_PROPOSALS} proposals in one `remote`"));
        }
        for proposal in &draft.proposals {
            match proposal.auth {
                method if method.we_sign() && remote.certificate.is_none() && remote.rsa_private.is_none() => {
                    self.diagnostics.push(
                        Diagnostic::warning(
                            proposal.span,
                            format!("`{}` without a certificate of our own cannot succeed", method.racoon_name()),
                        )
                        .hint("add `certificate_type x509 \"CERT\" \"KEY\";` to the `remote`"),
                    );
                }
                method if method.peer_signs() && remote.knows_peers_by_rsa_key() && remote.rsa_public.is_none() => {
                    self.diagnostics.push(
                        Diagnostic::warning(
                            proposal.span,
                            "`certificate_type plain_rsa` without public keys of peers: none of them is accepted",
                        )
                        .hint("add `peers_certfile plain_rsa \"KEYS\";` to the `remote`"),
                    );
                }
                method if method.is_psk() && self.config.psk_file.is_none() => self.diagnostics.push(
                    Diagnostic::warning(
                        proposal.span,
                        format!("`{}` without `path pre_shared_key` above cannot succeed", method.racoon_name()),
                    )
                    .hint("add `path pre_shared_key \"/etc/racoon/psk.txt\";`"),
                ),
                _ => {}
            }
        }
        if remote.verify_identifier && remote.peers_identifiers.is_empty() {
            self.diagnostics
                .warning(span, "`verify_identifier on` without `peers_identifier`: any identity is accepted");
        }
        if !remote.verify_cert
            && !remote.knows_peers_by_rsa_key()
            && draft.proposals.iter().any(|proposal| proposal.auth.peer_signs())
        {
            self.diagnostics.warning(span, "`verify_cert off`: anyone with any certificate is accepted as this peer");
        }
    }

    /// What aggressive mode cannot do, and what it gives away.
    fn check_aggressive(&mut self, draft: &Draft) {
        let Some(first) = draft.proposals.first() else { return };
        // The first message carries one public value for all proposals (RFC 2409 section 5); racoon refuses too.
        if let Some(other) = draft.proposals.iter().find(|proposal| proposal.group != first.group) {
            self.diagnostics.push(
                Diagnostic::error(other.span, "with aggressive mode every proposal must have the same `dh_group`")
                    .found(other.group.racoon_name())
                    .expected(first.group.racoon_name()),
            );
        }
        if let Some(weak) = draft.proposals.iter().find(|proposal| proposal.auth.is_psk()) {
            self.diagnostics.push(
                Diagnostic::warning(
                    weak.span,
                    "aggressive mode with a pre-shared key: one recorded handshake, or one asked for by anybody, is \
                     enough to try keys offline",
                )
                .hint("use `exchange_mode main;` or certificates, or a key that nobody can guess"),
            );
        }
    }

    fn remote_body(&mut self, key: &Key, draft: &mut Draft, body: &[Statement]) {
        let mut seen = Seen::default();
        self.look_ahead(body, draft.remote.allow_weak);
        for statement in body {
            // Commas mean nothing in a `remote` block.
            let mut statement = statement.clone();
            statement.args.retain(|arg| arg.kind != TokenKind::Comma);
            self.each(std::slice::from_ref(&statement), |resolver, args| {
                resolver.remote_directive(key, draft, &mut seen, args);
            });
        }
    }

    fn remote_directive(&mut self, key: &Key, draft: &mut Draft, seen: &mut Seen, args: &mut Args<'_>) {
        let name = args.name();
        if !self.known(Block::Remote, args) {
            seen.note_repeatable(args.name(), args.name_span());
            return;
        }
        let first_proposal = name == "proposal" && !seen.has("proposal");
        let inherits_ids = name == "peers_identifier" && !seen.has(name) && !draft.remote.peers_identifiers.is_empty();
        if REPEATABLE.contains(&name) {
            seen.note_repeatable(name, args.name_span());
        } else if !seen.note(args, SINGLE.contains(&name), self.diagnostics) {
            return;
        }
        if inherits_ids {
            self.diagnostics
                .warning(args.name_span(), "`peers_identifier` adds to the inherited ones: any of them may match");
        }
        match name {
            "remote_address" => self.remote_address(key, draft, args),
            "proposal" => {
                if first_proposal {
                    // A heir's first proposal replaces all inherited ones.
                    draft.proposals.clear();
                }
                let span = args.name_span();
                let body = args.block(self.diagnostics);
                draft.proposals.extend(body.and_then(|body| self.proposal(body, span)));
            }
            "lifetime" => {
                if let Some(lifetime) = args.lifetime(self.diagnostics) {
                    draft.lifetime = lifetime;
                }
            }
            _ => {
                self.identity_directive(&mut draft.remote, args);
                self.exchange_directive(&mut draft.remote, args);
                self.path_directive(&mut draft.remote, args);
                self.road_warrior_directive(&mut draft.remote, args);
                self.inert_directive(args);
            }
        }
    }

    fn remote_address(&mut self, key: &Key, draft: &mut Draft, args: &mut Args<'_>) {
        if !matches!(key, Key::Name(_)) {
            self.diagnostics.error(args.name_span(), "`remote_address` is for `remote` blocks with a name");
            args.give_up();
            return;
        }
        let Some((addr, _)) = args.address(self.diagnostics) else { return };
        let Some(port) = args.port(self.diagnostics) else { return };
        draft.address = Some(AddrPort { addr, port });
    }

    /// Who both sides are and how that is proved.
    fn identity_directive(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        match args.name() {
            "my_identifier" => {
                if let Some(identifier) = self.my_identifier(args) {
                    remote.my_identifier = identifier;
                }
            }
            "peers_identifier" => remote.peers_identifiers.extend(self.peers_identifier(args)),
            "verify_identifier" => self.set_switch(&mut remote.verify_identifier, args),
            "certificate_type" => self.certificate_type(remote, args),
            "ca_type" => {
                if args.choice(&[("x509", ())], self.diagnostics).is_none() {
                    return;
                }
                let Some(file) = args.string("a file name in quotes", self.diagnostics) else { return };
                remote.ca_file = Some(self.certificate_path(file));
            }
            "peers_certfile" => self.peers_certfile(remote, args),
            "verify_cert" => self.set_switch(&mut remote.verify_cert, args),
            "crl" => {
                const VALUES: &[(&str, CrlStrictness)] = &[
                    ("racoon", CrlStrictness::Racoon),
                    ("lax", CrlStrictness::Lax),
                    ("strict", CrlStrictness::Strict),
                ];
                if let Some(crl) = args.choice(VALUES, self.diagnostics) {
                    remote.crl = crl;
                }
            }
            "send_cert" => self.set_switch(&mut remote.send_cert, args),
            "send_cr" => self.set_switch(&mut remote.send_cr, args),
            "match_empty_cr" => self.set_switch(&mut remote.match_empty_cr, args),
            _ => {}
        }
    }

    /// certificate_type := `x509` STRING STRING | `plain_rsa` STRING
    fn certificate_type(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        let Some(plain) = args.choice(&[("x509", false), ("plain_rsa", true)], self.diagnostics) else { return };
        if plain {
            let Some(file) = args.string("a file of private keys in quotes", self.diagnostics) else { return };
            (remote.certificate, remote.rsa_private) = (None, Some(self.certificate_path(file)));
            return;
        }
        let Some(certificate) = args.string("a certificate's file name in quotes", self.diagnostics) else { return };
        let Some(key) = args.string("a private key's file name in quotes", self.diagnostics) else { return };
        let certificate = self.certificate_path(certificate);
        remote.certificate = Some(CertificateFiles { certificate, key: self.certificate_path(key) });
        remote.rsa_private = None;
    }

    /// peers_certfile := [ `x509` ] STRING | `plain_rsa` STRING | `dnssec`
    fn peers_certfile(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        if args.bump_word("plain_rsa") {
            let Some(file) = args.string("a file of public keys in quotes", self.diagnostics) else { return };
            (remote.peers_certfile, remote.rsa_public) = (None, Some(self.certificate_path(file)));
            return;
        }
        if !args.bump_word("x509") && args.peek().is_some_and(|arg| arg.kind == TokenKind::Str) {
            self.diagnostics.warning(
                args.name_span(),
                "`peers_certfile \"FILE\"` is deprecated: write `peers_certfile x509 \"FILE\"`",
            );
        }
        let Some(file) = args.string("`x509` and a file name in quotes", self.diagnostics) else { return };
        (remote.peers_certfile, remote.rsa_public) = (Some(self.certificate_path(file)), None);
    }

    /// How the exchange runs.
    fn exchange_directive(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        match args.name() {
            "exchange_mode" => self.exchange_mode(remote, args),
            "nonce_size" => {
                let span = args.peek().map_or(args.name_span(), |arg| arg.span);
                let Some(size) = args.number32(self.diagnostics) else { return };
                match usize::try_from(size).ok().filter(|size| (8..=256).contains(size)) {
                    Some(size) => remote.nonce_size = size,
                    None => self.diagnostics.push(
                        Diagnostic::error(span, format!("a nonce of {size} octets"))
                            .expected("8 to 256 (RFC 2409 section 5)"),
                    ),
                }
            }
            "passive" => self.set_switch(&mut remote.passive, args),
            "initial_contact" => self.set_switch(&mut remote.initial_contact, args),
            "sha256_96" => self.set_switch(&mut remote.sha256_96, args),
            "allow_weak" => self.set_switch(&mut remote.allow_weak, args),
            "rekey" => {
                const VALUES: &[(&str, Rekey)] = &[("on", Rekey::On), ("off", Rekey::Off), ("force", Rekey::Force)];
                if let Some(rekey) = args.choice(VALUES, self.diagnostics) {
                    remote.rekey = rekey;
                }
            }
            "ph1id" => remote.ph1id = args.number32(self.diagnostics).unwrap_or(0),
            "proposal_check" => {
                const VALUES: &[(&str, ProposalCheck)] = &[
                    ("obey", ProposalCheck::Obey),
                    ("strict", ProposalCheck::Strict),
                    ("claim", ProposalCheck::Claim),
                    ("exact", ProposalCheck::Exact),
                ];
                if let Some(check) = args.choice(VALUES, self.diagnostics) {
                    remote.proposal_check = check;
                }
            }
            _ => {}
        }
    }

    /// exchange_mode := ( `main` | `aggressive` | `base` )+
    fn exchange_mode(&mut self, remote: &mut Remote, args: &mut Args<'_>) {
        const MODES: &[(&str, Option<ExchangeMode>)] =
            &[("main", Some(ExchangeMode::Main)), ("aggressive", Some(ExchangeMode::Aggressive)), ("base", None)];
        let mut written = Vec::new();
        let is_mode = |text: &str| MODES.iter().any(|(word, _)| *word == text);
        // A line that starts with another word is the next statement, its `;` being forgotten.
        while let Some(arg) = args.peek().filter(|arg| !arg.starts_line || is_mode(&arg.text)) {
            let is_first = args.statement.args.first().is_some_and(|first| first.span == arg.span);
            if !is_first {
                self.known_value(Block::Remote, arg, args);
            }
            let Some(mode) = args.choice(MODES, self.diagnostics) else { return };
            written.extend(mode.filter(|mode| !written.contains(mode)));
        }
        if args.statement.args.is_empty() {
            args.wrong("`main`", self.diagnostics);
            return;
        }
        if written.is_empty() {
            let message = "`exchange_mode` names no mode that is negotiated";
            self.diagnostics.push(Diagnostic::error(args.name_span(), message).expected("`main` or `aggressive`"));
        }
        remote.exchange_modes = written;
    }

    /// Directives that change nothing, or that may only say "no".
    fn inert_directive(&mut self, args: &mut Args<'_>) {
        match args.name() {
            "doi" => {
                args.choice(&[("ipsec_doi", ())], self.diagnostics);
            }
            "situation" => {
                args.choice(&[("identity_only", ()), ("secrecy", ()), ("integrity", ())], self.diagnostics);
            }
            "weak_phase1_check" => {
                args.switch(self.diagnostics);
            }
            "esp_frag" => {
                args.number32(self.diagnostics);
            }
            _ => {}
        }
    }

    pub(super) fn set_switch(&mut self, target: &mut bool, args: &mut Args<'_>) {
        if let Some(on) = args.switch(self.diagnostics) {
            *target = on;
        }
    }
}

impl Key {
    /// A port that is left out is 500, as in racoon.
    fn without_default(self) -> Self {
        match self {
            Self::Address(AddrPort { addr, port }) => {
                Self::Address(AddrPort { addr, port: port.filter(|port| *port != ISAKMP_PORT) })
            }
            other => other,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Address(AddrPort { addr, port: Some(port) }) => format!("{addr}[{port}]"),
            Self::Address(AddrPort { addr, port: None }) => addr.to_string(),
            Self::Name(name) => name.clone(),
        }
    }

    fn quoted(&self) -> String {
        if matches!(self, Self::Name(_)) { format!("\"{}\"", self.name()) } else { self.name() }
    }
}
