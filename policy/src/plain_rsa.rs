//! Files of RSA keys without certificates, as FreeS/WAN's ipsec.secrets had them and racoon took them over (`plain_rsa`).
//!
//! ```text
//! file     := { entry }
//! entry    := [ [ ENDS ] ENDS ] `:` key              the first is our side, the last or only one the peer's
//! ENDS     := ADDRESS [ `/` BITS ] | `any`
//! key      := `RSA` `{` { NAME `:` 0xHEX } `}`       private
//!           | `PUB` ( 0sBASE64 | 0xHEX )             public: RFC 3110's octets
//! ```
//!
//! `#` begins a comment. Numbers are never shown in a finding, nor are comments: keys are commented out in files.

use std::ops::Range;

use base64ct::{Base64, Base64Unpadded, Encoding};

use crate::diagnostic::{Diagnostic, Diagnostics, render_all};
use crate::model::addr::{IpNet, host_net};
use crate::model::rsa_key::{KeyScope, RsaNumbers, RsaSecrets};
use crate::model::secret::Secret;
use crate::racoon::args::parse_address;
use crate::span::{FileId, Sources, Span};

/// Entries of one file that name the same ends: each may cost a signature check for a peer that has proved nothing.
const MOST_ALIKE: usize = 16;
/// Entries of a file.
const MOST_ENTRIES: usize = 100_000;

const MODULUS: usize = 0;
const PUBLIC_EXPONENT: usize = 1;
const PRIVATE_EXPONENT: usize = 2;
const FIELDS: [&str; 8] =
    ["Modulus", "PublicExponent", "PrivateExponent", "Prime1", "Prime2", "Exponent1", "Exponent2", "Coefficient"];

/// What a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `certificate_type plain_rsa`: to sign with.
    Private,
    /// `peers_certfile plain_rsa`: to know peers by.
    Public,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For which ends.
    pub scope: KeyScope,
    /// Its public half.
    pub public: RsaNumbers,
    /// Its private half, read for [`Purpose::Private`] only.
    pub secrets: Option<RsaSecrets>,
    /// Where it stands.
    pub span: Span,
}

/// The file as it was read.
#[derive(Clone, Debug)]
pub struct KeyFile {
    /// Keys in the order of the file.
    pub entries: Vec<Entry>,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The text they point into.
    pub sources: Sources,
}

impl KeyFile {
    /// All findings, as they are printed.
    pub fn render(&self) -> String {
        render_all(&self.diagnostics, &self.sources)
    }

    /// Is there an error, so that the file must not be used?
    pub fn is_refused(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads `text`, which came from `file_name`.
pub fn parse(file_name: &str, text: &[u8], purpose: Purpose) -> KeyFile {
    let mut sources = Sources::default();
    let file = sources.add(file_name, text);
    let (tokens, hidden) = tokens(file, sources.text(file));
    let mut parser = Parser { tokens: &tokens, at: 0, end: Span::new(file, text.len()..text.len()), purpose };
    let (mut entries, mut findings) = (Vec::new(), Diagnostics::default());
    while !parser.is_done() && !findings.is_full() {
        match parser.entry(&mut findings) {
            Ok(entry) => entries.push(entry),
            Err(finding) => {
                findings.push(*finding);
                parser.recover();
            }
        }
    }
    if entries.is_empty() && findings.errors() == 0 {
        findings.push(
            Diagnostic::error(Span::new(file, 0..0), "no key stands in this file")
                .hint("`xfrmctl plainrsa-gen` makes one"),
        );
    }
    limit(&entries, &mut findings);
    let diagnostics = findings.into_sorted();
    for span in hidden {
        sources.hide(span);
    }
    KeyFile { entries, diagnostics, sources }
}

/// What is said of all entries together.
fn limit(entries: &[Entry], findings: &mut Diagnostics) {
    if let Some(entry) = entries.get(MOST_ENTRIES) {
        findings.error(entry.span, format!("more than {MOST_ENTRIES} keys"));
        return;
    }
    let mut alike = std::collections::HashMap::new();
    for entry in entries {
        let count = alike.entry(entry.scope).or_insert(0_usize);
        *count += 1;
        if *count == MOST_ALIKE + 1 {
            findings.push(
                Diagnostic::error(entry.span, format!("more than {MOST_ALIKE} keys for the same two ends"))
                    .hint("name the peer's address in front of the colon: `192.0.2.1 : PUB 0s...`"),
            );
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Open,
    Close,
    Colon,
    /// `None` is `any`.
    Ends(Option<IpNet>),
    /// A word of the language.
    Word(&'a str),
    Hex(&'a str),
    Base64(&'a str),
    /// Anything else, perhaps a number that was written wrongly.
    Other,
}

#[derive(Clone, Debug)]
struct Token<'a> {
    kind: Kind<'a>,
    span: Span,
}

/// Tokens, and what is not to be shown.
fn tokens(file: FileId, text: &str) -> (Vec<Token<'_>>, Vec<Span>) {
    let (mut found, mut hidden) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let octets = length(rest);
        let range = at..at + octets;
        let piece = rest.get(..octets).unwrap_or_default();
        at += octets;
        if piece.starts_with('#') {
            hidden.push(Span::new(file, range));
        } else if !piece.starts_with(|ch: char| ch.is_ascii_whitespace()) {
            split(file, range, piece, &mut found, &mut hidden);
        }
    }
    (found, hidden)
}

/// Octets of the next piece: a comment, blanks, a brace, or a run of anything else.
fn length(rest: &str) -> usize {
    let until = |stop: fn(char) -> bool| rest.find(stop).unwrap_or(rest.len());
    match rest.chars().next() {
        Some('#') => until(|ch| ch == '\n'),
        Some('{' | '}') => 1,
        Some(ch) if ch.is_ascii_whitespace() => until(|ch| !ch.is_ascii_whitespace()),
        _ => until(|ch| matches!(ch, '#' | '{' | '}') || ch.is_ascii_whitespace()),
    }
}

/// A run is one token, unless a colon stands in it that is not of an address.
fn split<'a>(file: FileId, range: Range<usize>, piece: &'a str, found: &mut Vec<Token<'a>>, hidden: &mut Vec<Span>) {
    let (mut piece, mut start) = (piece, range.start);
    while !piece.is_empty() {
        let cut = match piece.find(':') {
            Some(0) if ends(piece).is_none() => 1,
            Some(colon) if colon > 0 && ends(piece).is_none() => match piece.strip_suffix(':') {
                // `2001:db8::1:` is an address and the colon behind it.
                Some(address) if ends(address).is_some() => address.len(),
                _ => colon,
            },
            _ => piece.len(),
        };
        let (this, rest) = piece.split_at(cut);
        let span = Span::new(file, start..start + cut);
        let kind = kind(this);
        if matches!(kind, Kind::Hex(_) | Kind::Base64(_) | Kind::Other) {
            hidden.push(span);
        }
        found.push(Token { kind, span });
        (piece, start) = (rest, start + cut);
    }
}

fn kind(piece: &str) -> Kind<'_> {
    match piece {
        "{" => Kind::Open,
        "}" => Kind::Close,
        ":" => Kind::Colon,
        "RSA" | "PUB" | "PSK" => Kind::Word(piece),
        _ if FIELDS.contains(&piece) => Kind::Word(piece),
        _ => match (piece.strip_prefix("0x"), piece.strip_prefix("0s"), ends(piece)) {
            (Some(digits), ..) => Kind::Hex(digits),
            (_, Some(digits), _) => Kind::Base64(digits),
            (.., Some(ends)) => Kind::Ends(ends),
            _ => Kind::Other,
        },
    }
}

/// `Some(None)` is `any`.
fn ends(piece: &str) -> Option<Option<IpNet>> {
    if piece == "any" {
        return Some(None);
    }
    let net = match parse_address(piece) {
        Ok(address) => host_net(address),
        Err(_) => piece.parse::<IpNet>().ok()?.trunc(),
    };
    Some(Some(net))
}

type Finding = Box<Diagnostic>;

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    /// Behind the last octet.
    end: Span,
    purpose: Purpose,
}

impl<'a> Parser<'a> {
    fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at)
    }

    fn bump(&mut self) -> Option<&'a Token<'a>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    fn here(&self) -> Span {
        self.peek().map_or(self.end, |token| token.span)
    }

    fn wrong(&self, message: &str, expected: &str) -> Finding {
        Box::new(Diagnostic::error(self.here(), message).expected(expected))
    }

    /// To behind the brace that closes, or to the start of the next entry that is plain to see.
    fn recover(&mut self) {
        while let Some(token) = self.bump() {
            let next = self.peek().map(|token| &token.kind);
            if token.kind == Kind::Close || matches!(next, Some(Kind::Ends(_))) {
                return;
            }
            let behind = self.tokens.get(self.at + 1).map(|token| &token.kind);
            if matches!((next, behind), (Some(Kind::Colon), Some(Kind::Word("RSA" | "PUB")))) {
                return;
            }
        }
    }

    fn entry(&mut self, findings: &mut Diagnostics) -> Result<Entry, Finding> {
        let start = self.here();
        let mut named = Vec::new();
        while let Some(Token { kind: Kind::Ends(ends), .. }) = self.peek() {
            if named.len() == 2 {
                return Err(self.wrong("a third address", "`:`"));
            }
            named.push(*ends);
            self.at += 1;
        }
        let scope = match named.as_slice() {
            [] => KeyScope::default(),
            [remote] => KeyScope { local: None, remote: *remote },
            [local, remote, ..] => KeyScope { local: *local, remote: *remote },
        };
        if let (Some(local), Some(remote)) = (scope.local, scope.remote)
            && local.addr().is_ipv4() != remote.addr().is_ipv4()
        {
            return Err(Box::new(Diagnostic::error(start, "two ends of different IP versions")));
        }
        if self.peek().map(|token| &token.kind) != Some(&Kind::Colon) {
            return Err(self.wrong("this begins no key", "an address with its prefix length, `any`, or `:`"));
        }
        self.at += 1;
        let (public, secrets) = match self.peek().map(|token| &token.kind) {
            Some(Kind::Word("RSA")) => {
                self.at += 1;
                self.braces(start, findings)?
            }
            Some(Kind::Word("PUB")) if self.purpose == Purpose::Private => {
                let finding = Diagnostic::error(self.here(), "a public key in a file of private keys");
                return Err(Box::new(finding.hint("public keys belong into the file of `peers_certfile plain_rsa`")));
            }
            Some(Kind::Word("PUB")) => {
                self.at += 1;
                (self.public()?, None)
            }
            _ => return Err(self.wrong("no RSA key", "`RSA {` or `PUB`")),
        };
        let span = start;
        judge(&public, span, findings)?;
        Ok(Entry { scope, public, secrets, span })
    }

    /// `PUB`'s number.
    fn public(&mut self) -> Result<RsaNumbers, Finding> {
        const EXPECTED: &str = "0s and base64, or 0x and hexadecimal digits";
        let at = self.here();
        let octets = match self.bump().map(|token| &token.kind) {
            Some(Kind::Base64(digits)) => base64(digits),
            Some(Kind::Hex(digits)) => hex(digits),
            _ => return Err(Box::new(Diagnostic::error(at, "no key behind PUB").expected(EXPECTED))),
        };
        let Some(octets) = octets else {
            return Err(Box::new(Diagnostic::error(at, "this is no number").expected(EXPECTED)));
        };
        rfc3110(&octets).ok_or_else(|| {
            let words = "not a key as RFC 3110 writes it: the length of the exponent, the exponent, the modulus";
            Box::new(Diagnostic::error(at, words))
        })
    }

    /// `{ NAME: NUMBER ... }` behind `RSA`.
    fn braces(&mut self, start: Span, findings: &mut Diagnostics) -> Result<(RsaNumbers, Option<RsaSecrets>), Finding> {
        if self.peek().map(|token| &token.kind) != Some(&Kind::Open) {
            return Err(self.wrong("no numbers behind RSA", "`{`"));
        }
        self.at += 1;
        let mut fields: [Option<Secret>; 8] = Default::default();
        loop {
            let at = self.here();
            let index = match self.peek().map(|token| &token.kind) {
                Some(Kind::Close) => {
                    self.at += 1;
                    break;
                }
                Some(Kind::Word(word)) => FIELDS.iter().position(|field| field == word),
                None => return Err(Box::new(Diagnostic::error(start, "this key is not closed").expected("`}`"))),
                _ => None,
            };
            let Some((index, field)) = index.and_then(|index| Some((index, fields.get_mut(index)?))) else {
                return Err(self.wrong("this is no part of an RSA key", &format!("{} or `}}`", FIELDS.join(", "))));
            };
            self.at += 1;
            let value = self.field()?;
            if field.replace(value).is_some() {
                let name = FIELDS.get(index).copied().unwrap_or_default();
                return Err(Box::new(Diagnostic::error(at, format!("{name} stands here twice"))));
            }
        }
        let missing = |index: usize| {
            let name = FIELDS.get(index).copied().unwrap_or_default();
            Box::new(Diagnostic::error(start, format!("this key has no {name}")))
        };
        let [modulus, exponent, private_exponent, p, q, dp, dq, coefficient] = fields;
        let plain = |field: Option<Secret>, index| field.map(|one| one.expose().to_vec()).ok_or_else(|| missing(index));
        let public = RsaNumbers { modulus: plain(modulus, MODULUS)?, exponent: plain(exponent, PUBLIC_EXPONENT)? };
        if self.purpose == Purpose::Public {
            findings.push(
                Diagnostic::warning(start, "a private key among public ones: its public half is used")
                    .hint("write `: PUB 0s...`, so that the private key stays with its owner"),
            );
            return Ok((public, None));
        }
        let private_exponent = private_exponent.ok_or_else(|| missing(PRIVATE_EXPONENT))?;
        let factors = match (p, q, dp, dq, coefficient) {
            (Some(p), Some(q), Some(dp), Some(dq), Some(coefficient)) => Some([p, q, dp, dq, coefficient]),
            _ => None,
        };
        Ok((public, Some(RsaSecrets { private_exponent, factors })))
    }

    /// `: 0xHEX` behind a name.
    fn field(&mut self) -> Result<Secret, Finding> {
        if self.peek().map(|token| &token.kind) != Some(&Kind::Colon) {
            return Err(self.wrong("no colon", "`:`"));
        }
        self.at += 1;
        let number = match self.peek().map(|token| &token.kind) {
            Some(Kind::Hex(digits)) => hex(digits),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong("this is no number", "0x and hexadecimal digits"))?;
        self.at += 1;
        Ok(Secret::new(stripped(&number).to_vec()))
    }
}

/// The limits of what is used (RFC 8017 §3.1; `ike::crypto::signature::check_rsa_input` holds the same).
fn judge(key: &RsaNumbers, span: Span, findings: &mut Diagnostics) -> Result<(), Finding> {
    let refuse = |message: String| Err(Box::new(Diagnostic::error(span, message)));
    let bits = key.modulus.len() * 8 - key.modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(1024..=8192).contains(&bits) {
        return refuse(format!("an RSA key of {bits} bits; 1024 to 8192 are used, 2048 or more are safe"));
    }
    if key.modulus.last().is_none_or(|last| last % 2 == 0) {
        return refuse("the modulus of this key is even".to_owned());
    }
    let exponent =
        key.exponent.iter().try_fold(0_u64, |value, octet| Some(value.checked_mul(256)? + u64::from(*octet)));
    match exponent {
        Some(value) if value < 3 || value % 2 == 0 => {
            return refuse("the public exponent of this key is even or below 3".to_owned());
        }
        Some(value) if value < 1 << 33 => {}
        _ => return refuse("the public exponent of this key is above 2^33".to_owned()),
    }
    if bits < 2048 {
        findings.push(
            Diagnostic::warning(span, format!("an RSA key of {bits} bits can be broken"))
                .hint("a new one: `xfrmctl plainrsa-gen`"),
        );
    }
    Ok(())
}

/// RFC 3110 §2: the exponent's length in one octet, or in two behind a zero.
fn rfc3110(octets: &[u8]) -> Option<RsaNumbers> {
    let (length, rest) = match octets {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [length, rest @ ..] => (usize::from(*length), rest),
        [] => return None,
    };
    let (exponent, modulus) = rest.split_at_checked(length)?;
    let (exponent, modulus) = (stripped(exponent).to_vec(), stripped(modulus).to_vec());
    (!exponent.is_empty() && !modulus.is_empty()).then_some(RsaNumbers { modulus, exponent })
}

fn to_rfc3110(key: &RsaNumbers) -> Vec<u8> {
    let length = match u8::try_from(key.exponent.len()) {
        Ok(length) if length > 0 => vec![length],
        _ => [&[0], u16::try_from(key.exponent.len()).unwrap_or(u16::MAX).to_be_bytes().as_slice()].concat(),
    };
    [length.as_slice(), &key.exponent, &key.modulus].concat()
}

fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Digits as octets; an odd one stands in front.
fn hex(digits: &str) -> Option<Vec<u8>> {
    let nibbles: Vec<u8> = digits
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect::<Option<_>>()?;
    let (first, pairs) = nibbles.split_at_checked(nibbles.len() % 2)?;
    let octets: Vec<u8> = first
        .iter()
        .copied()
        .chain(pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, half| octet << 4 | half)))
        .collect();
    (!octets.is_empty()).then_some(octets)
}

/// RFC 4648 §4, with or without the padding.
fn base64(digits: &str) -> Option<Vec<u8>> {
    Base64Unpadded::decode_vec(digits.trim_end_matches('=')).ok().filter(|octets| !octets.is_empty())
}

/// The public key in RFC 3110's form and base64, as an entry has it behind `PUB`.
pub fn to_text(key: &RsaNumbers) -> String {
    format!("0s{}", Base64::encode_string(&to_rfc3110(key)))
}

#[cfg(test)]
mod tests;
