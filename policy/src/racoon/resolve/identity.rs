//! Identities as racoon.conf writes them.

use std::net::IpAddr;

use super::super::args::Args;
use super::super::token::TokenKind;
use super::Resolver;
use crate::model::addr::IpNet;
use crate::model::identity::{ConfiguredId, IdentityKind, MyIdentifier, PeersIdentifier};
use crate::span::Span;

const KINDS: &[(&str, IdentityKind)] = &[
    ("address", IdentityKind::Address),
    ("fqdn", IdentityKind::Fqdn),
    ("user_fqdn", IdentityKind::UserFqdn),
    ("keyid", IdentityKind::KeyId),
    ("asn1dn", IdentityKind::Asn1Dn),
    ("subnet", IdentityKind::Subnet),
];

impl Resolver<'_> {
    /// identifier := `address` [ADDR] | `fqdn` STRING | `user_fqdn` STRING | `keyid` [`tag`|`file`] STRING
    ///             | `asn1dn` [STRING] | `subnet` NET
    pub(super) fn my_identifier(&mut self, args: &mut Args<'_>) -> Option<MyIdentifier> {
        let kind = args.choice(KINDS, self.diagnostics)?;
        if args.peek().is_none() {
            match kind {
                IdentityKind::Address => return Some(MyIdentifier::LocalAddress),
                IdentityKind::Asn1Dn => return Some(MyIdentifier::CertificateSubject),
                _ => {}
            }
        }
        self.identity_value(kind, args).map(MyIdentifier::Value)
    }

    /// As [`Self::my_identifier`], but any value may be left out: then any identity of the type will do.
    pub(super) fn peers_identifier(&mut self, args: &mut Args<'_>) -> Option<PeersIdentifier> {
        let kind = args.choice(KINDS, self.diagnostics)?;
        if args.peek().is_none() {
            return Some(PeersIdentifier { kind, value: None });
        }
        let value = self.identity_value(kind, args)?;
        Some(PeersIdentifier { kind, value: Some(value) })
    }

    fn identity_value(&mut self, kind: IdentityKind, args: &mut Args<'_>) -> Option<ConfiguredId> {
        let what = format!("a value in quotes behind `{kind}`");
        Some(match kind {
            IdentityKind::Address => ConfiguredId::Address(args.quoted_address(self.diagnostics)?.0),
            IdentityKind::Subnet => ConfiguredId::Subnet(self.network(args)?.0),
            IdentityKind::Fqdn => ConfiguredId::Fqdn(args.name_string(&what, self.diagnostics)?.text.clone()),
            IdentityKind::UserFqdn => ConfiguredId::UserFqdn(args.name_string(&what, self.diagnostics)?.text.clone()),
            IdentityKind::Asn1Dn => ConfiguredId::Asn1Dn(args.string(&what, self.diagnostics)?.text.clone()),
            IdentityKind::KeyId => {
                let is_tag = args.bump_word("tag");
                let _ = !is_tag && args.bump_word("file");
                let arg = args.name_string(&what, self.diagnostics)?;
                if is_tag {
                    ConfiguredId::KeyId(arg.text.clone().into_bytes())
                } else {
                    self.names_file(&arg.text, arg.span);
                    ConfiguredId::KeyIdFile(arg.text.clone())
                }
            }
        })
    }

    /// net := ADDR [ `/` NUMBER ]. Bits beyond the prefix are cleared, with a warning. Was a prefix written?
    pub(super) fn network(&mut self, args: &mut Args<'_>) -> Option<(IpNet, bool)> {
        let (addr, span) = args.address(self.diagnostics)?;
        if args.bump_kind(TokenKind::Slash).is_none() {
            return Some((IpNet::from(addr), false));
        }
        let limit = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = args.number(limit, self.diagnostics)?;
        let net = self.truncated(addr, u8::try_from(prefix).ok()?, span)?;
        Some((net, true))
    }

    fn truncated(&mut self, addr: IpAddr, prefix: u8, span: Span) -> Option<IpNet> {
        let net = IpNet::new(addr, prefix).ok()?;
        if net.trunc().addr() != addr {
            self.diagnostics
                .warning(span, format!("{addr}/{prefix} has bits beyond its prefix: taken as {}", net.trunc()));
        }
        Some(net.trunc())
    }
}
