//! `proposal { … }`.

use std::time::Duration;

use super::super::args::Args;
use super::super::ast::Statement;
use super::super::directives::Block;
use super::algorithm::Phase;
use super::{Resolver, Seen};
use crate::diagnostic::Diagnostic;
use crate::model::algorithm::{AuthMethod, Group, Hash, SizedCipher};
use crate::model::lifetime::Lifetime;
use crate::model::proposal::Phase1Proposal;
use crate::span::Span;

/// A proposal whose lifetime may still come from the `remote` around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProposalDraft {
    cipher: SizedCipher,
    hash: Hash,
    /// Method of authentication.
    pub(super) auth: AuthMethod,
    /// Diffie-Hellman group.
    pub(super) group: Group,
    lifetime: Option<Duration>,
    /// The word `proposal`.
    pub(super) span: Span,
}

impl ProposalDraft {
    /// With the lifetime of the block around it, where it has none of its own.
    pub(super) fn finish(self, default: Duration) -> Phase1Proposal {
        let Self { cipher, hash, auth, group, lifetime, .. } = self;
        let lifetime = Lifetime { time: lifetime.unwrap_or(default), kilobytes: None };
        Phase1Proposal { cipher, hash, auth, group, lifetime }
    }
}

#[derive(Default)]
struct Parts {
    cipher: Option<SizedCipher>,
    hash: Option<Hash>,
    auth: Option<AuthMethod>,
    group: Option<Group>,
    lifetime: Option<Duration>,
}

impl Resolver<'_> {
    /// proposal := `proposal` `{` directive* `}`; cipher, hash, method and group are mandatory.
    pub(super) fn proposal(&mut self, body: &[Statement], span: Span) -> Option<ProposalDraft> {
        let mut parts = Parts::default();
        let mut seen = Seen::default();
        let errors = self.diagnostics.errors();
        self.each(body, |resolver, args| resolver.proposal_directive(&mut parts, &mut seen, args));
        for name in ["encryption_algorithm", "hash_algorithm", "authentication_method", "dh_group"] {
            if !seen.has(name) {
                self.diagnostics.push(
                    Diagnostic::error(span, format!("this proposal lacks `{name}`")).hint(
                        "a proposal needs encryption_algorithm, hash_algorithm, authentication_method and dh_group",
                    ),
                );
            }
        }
        if self.diagnostics.errors() > errors {
            return None;
        }
        let Parts { cipher: Some(cipher), hash: Some(hash), auth: Some(auth), group: Some(group), lifetime } = parts
        else {
            return None;
        };
        Some(ProposalDraft { cipher, hash, auth, group, lifetime, span })
    }

    fn proposal_directive(&mut self, parts: &mut Parts, seen: &mut Seen, args: &mut Args<'_>) {
        if !self.known(Block::Proposal, args) {
            // It was meant to be given.
            seen.note_repeatable(args.name(), args.name_span());
            return;
        }
        seen.note(args, false, self.diagnostics);
        match args.name() {
            "encryption_algorithm" => parts.cipher = self.cipher(args, Phase::One),
            "hash_algorithm" => parts.hash = self.hash(args),
            "authentication_method" => parts.auth = self.auth_method(args),
            "dh_group" => parts.group = self.group(args),
            "lifetime" => parts.lifetime = args.lifetime(self.diagnostics),
            _ => {
                args.string("an identity in quotes", self.diagnostics);
            }
        }
    }
}
