//! Algorithm names of racoon.conf, judged: weak ones work with a warning that names the line, broken ones are refused,
//! and those that this build does not negotiate say so.

use super::super::args::{Args, one_of};
use super::super::ast::Arg;
use super::super::token::TokenKind;
use super::Resolver;
use crate::diagnostic::Diagnostic;
use crate::model::algorithm::{AuthMethod, Cipher, Group, Hash, Integrity, SizedCipher, Strength, XauthSide};
use crate::span::Span;

/// Which phase an algorithm is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A `proposal`.
    One,
    /// A `sainfo`.
    Two,
}

const PHASE1_CIPHERS: &[(&str, Cipher)] = &[
    ("aes", Cipher::Aes),
    ("rijndael", Cipher::Aes),
    ("3des", Cipher::TripleDes),
    ("camellia", Cipher::Camellia),
    ("cast128", Cipher::Cast128),
    ("blowfish", Cipher::Blowfish),
    ("des", Cipher::Des),
];

const PHASE2_CIPHERS: &[(&str, Cipher)] = &[
    ("aes", Cipher::Aes),
    ("rijndael", Cipher::Aes),
    ("3des", Cipher::TripleDes),
    ("null_enc", Cipher::Null),
    ("null", Cipher::Null),
    ("camellia", Cipher::Camellia),
    ("twofish", Cipher::Twofish),
    ("cast128", Cipher::Cast128),
    ("blowfish", Cipher::Blowfish),
    ("des", Cipher::Des),
    ("aes_gcm16", Cipher::AesGcm16),
    ("aes_gcm", Cipher::AesGcm16),
    ("aes_gcm12", Cipher::AesGcm12),
    ("aes_gcm8", Cipher::AesGcm8),
    ("aes_ccm16", Cipher::AesCcm16),
    ("aes_ccm", Cipher::AesCcm16),
    ("aes_ccm12", Cipher::AesCcm12),
    ("aes_ccm8", Cipher::AesCcm8),
    ("aes_ctr", Cipher::AesCtr),
    ("aes_gmac", Cipher::AesGmac),
];

/// What stands behind `aesNNN` in strongSwan's spelling, ICV in octets or in bits.
const STRONGSWAN_MODES: &[(&str, Cipher)] = &[
    ("gcm16", Cipher::AesGcm16),
    ("gcm128", Cipher::AesGcm16),
    ("gcm12", Cipher::AesGcm12),
    ("gcm96", Cipher::AesGcm12),
    ("gcm8", Cipher::AesGcm8),
    ("gcm64", Cipher::AesGcm8),
    ("ccm16", Cipher::AesCcm16),
    ("ccm128", Cipher::AesCcm16),
    ("ccm12", Cipher::AesCcm12),
    ("ccm96", Cipher::AesCcm12),
    ("ccm8", Cipher::AesCcm8),
    ("ccm64", Cipher::AesCcm8),
    ("ctr", Cipher::AesCtr),
    ("gmac", Cipher::AesGmac),
];

/// Ciphers racoon knows and no table of ours has a row for.
const OTHER_CIPHERS: &[&str] = &["idea", "rc5", "rc4", "des_iv64", "des_iv32", "3idea"];

const HASHES: &[(&str, Hash)] = &[
    ("sha256", Hash::Sha256),
    ("sha2_256", Hash::Sha256),
    ("sha384", Hash::Sha384),
    ("sha2_384", Hash::Sha384),
    ("sha512", Hash::Sha512),
    ("sha2_512", Hash::Sha512),
    ("sha1", Hash::Sha1),
    ("md5", Hash::Md5),
];

const INTEGRITY: &[(&str, Option<Integrity>)] = &[
    ("hmac_sha256", Some(Integrity::Hmac(Hash::Sha256))),
    ("hmac_sha2_256", Some(Integrity::Hmac(Hash::Sha256))),
    ("hmac_sha384", Some(Integrity::Hmac(Hash::Sha384))),
    ("hmac_sha2_384", Some(Integrity::Hmac(Hash::Sha384))),
    ("hmac_sha512", Some(Integrity::Hmac(Hash::Sha512))),
    ("hmac_sha2_512", Some(Integrity::Hmac(Hash::Sha512))),
    ("hmac_sha1", Some(Integrity::Hmac(Hash::Sha1))),
    ("hmac_md5", Some(Integrity::Hmac(Hash::Md5))),
    ("aes_xcbc", Some(Integrity::AesXcbc)),
    ("non_auth", None),
];

const AUTH_METHODS: &[(&str, Option<AuthMethod>)] = &[
    ("rsasig", Some(AuthMethod::RsaSignature)),
    ("pre_shared_key", Some(AuthMethod::PreSharedKey)),
    ("ecdsa256", Some(AuthMethod::EcdsaP256)),
    ("ecdsa384", Some(AuthMethod::EcdsaP384)),
    ("ecdsa521", Some(AuthMethod::EcdsaP521)),
    ("dsssig", None),
    ("rsaenc", None),
    ("gssapi_krb", None),
    ("hybrid_rsa_server", Some(AuthMethod::HybridRsa(XauthSide::Server))),
    ("hybrid_rsa_client", Some(AuthMethod::HybridRsa(XauthSide::Client))),
    ("hybrid_dss_server", None),
    ("hybrid_dss_client", None),
    ("xauth_psk_server", Some(AuthMethod::XauthPsk(XauthSide::Server))),
    ("xauth_psk_client", Some(AuthMethod::XauthPsk(XauthSide::Client))),
    ("xauth_rsa_server", Some(AuthMethod::XauthRsa(XauthSide::Server))),
    ("xauth_rsa_client", Some(AuthMethod::XauthRsa(XauthSide::Client))),
];

impl Resolver<'_> {
    /// cipher := NAME [ NUMBER ], the number being the key length in bits; also glued to the name or behind a `_`, as
    /// racoon happens to read it. Without a number a variable-key cipher takes its default length.
    pub(super) fn cipher(&mut self, args: &mut Args<'_>, phase: Phase) -> Option<SizedCipher> {
        let table = if phase == Phase::One { PHASE1_CIPHERS } else { PHASE2_CIPHERS };
        let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
        let Some(arg) = args.peek().filter(|arg| arg.kind == TokenKind::Word) else {
            args.wrong(&one_of(&words), self.diagnostics);
            return None;
        };
        if let Some((cipher, bits)) = (phase == Phase::Two).then(|| strongswan_spelling(&arg.text)).flatten() {
            args.bump();
            return self.sized_cipher(args, (cipher.facts().racoon, cipher), Some((bits, arg.span)), arg.span);
        }
        let Some((&(name, cipher), glued_bits)) = named(table, &arg.text) else {
            self.unknown_cipher(args, arg, &words);
            return None;
        };
        args.bump();
        let bits = match glued_bits {
            Some(bits) => Some((bits.parse().unwrap_or(u64::MAX), arg.span)),
            None => args.optional_number(),
        };
        self.sized_cipher(args, (name, cipher), bits, arg.span)
    }

    /// As [`Self::cipher`], in a `sainfo` that has others to `spare`: one that cannot be used is left out (the inner
    /// `None`), with a warning.
    #[allow(clippy::option_option)]
    pub(super) fn listed_cipher(&mut self, args: &mut Args<'_>, spare: bool) -> Option<Option<SizedCipher>> {
        let word =
            args.peek().filter(|arg| spare && arg.kind == TokenKind::Word && !is_usable(&arg.text, self.allow_weak));
        let Some(arg) = word.filter(|arg| is_cipher(&arg.text)) else {
            return self.cipher(args, Phase::Two).map(Some);
        };
        args.bump();
        args.optional_number();
        let message = format!("{} is broken or not negotiated: the other ciphers of this list are used", arg.text);
        self.diagnostics.warning(arg.span, message);
        Some(None)
    }

    /// The cipher with the key length behind it, if both are to be had.
    fn sized_cipher(
        &mut self,
        args: &mut Args<'_>,
        (name, cipher): (&str, Cipher),
        bits: Option<(u64, Span)>,
        span: Span,
    ) -> Option<SizedCipher> {
        let facts = cipher.facts();
        let span = bits.map_or(span, |(_, behind)| span.to(behind));
        if !self.judge(name, facts.strength, facts.supported, cipher_reason(cipher), span) {
            args.give_up();
            return None;
        }
        if facts.salt > 0 {
            self.extension(span, &format!("`{name}`"));
        }
        let key_bits = self.key_bits(cipher, name, bits);
        if key_bits.is_none() {
            args.give_up();
        }
        key_bits.map(|key_bits| SizedCipher { cipher, key_bits })
    }

    fn unknown_cipher(&mut self, args: &mut Args<'_>, arg: &Arg, words: &[&str]) {
        if OTHER_CIPHERS.contains(&arg.text.as_str()) {
            self.judge(&arg.text, Strength::Strong, false, "", arg.span);
            args.give_up();
        } else {
            let message = format!("{} is no cipher of `{}`", arg.quoted(), args.name());
            self.diagnostics.push(
                Diagnostic::error(arg.span, message)
                    .found(&arg.text)
                    .expected(one_of(words))
                    .suggest(&arg.text, words.iter().copied()),
            );
            args.give_up();
        }
    }

    /// The key length of `cipher`; the outer `None` after an error.
    #[allow(clippy::option_option)]
    fn key_bits(&mut self, cipher: Cipher, name: &str, written: Option<(u64, Span)>) -> Option<Option<u16>> {
        let facts = cipher.facts();
        match written {
            None if facts.variable_key => Some(facts.key_bits.first().copied()),
            None => Some(None),
            Some((bits, span)) if !facts.variable_key => {
                self.diagnostics.push(
                    Diagnostic::error(span, format!("`{name}` takes no key length"))
                        .found(bits.to_string())
                        .expected("`;`"),
                );
                None
            }
            Some((bits, span)) => {
                let legal = facts.key_bits.iter().copied().find(|legal| u64::from(*legal) == bits);
                if legal.is_none() {
                    let lengths: Vec<String> = facts.key_bits.iter().map(ToString::to_string).collect();
                    let lengths: Vec<&str> = lengths.iter().map(String::as_str).collect();
                    let message = format!("`{name}` has no keys of {bits} bits");
                    self.diagnostics.push(Diagnostic::error(span, message).expected(one_of(&lengths)));
                }
                legal.map(Some)
            }
        }
    }

    /// hash := NAME
    pub(super) fn hash(&mut self, args: &mut Args<'_>) -> Option<Hash> {
        let span = args.peek().map_or(args.name_span(), |arg| arg.span);
        let hash = args.choice(HASHES, self.diagnostics)?;
        let facts = hash.facts();
        self.judge(facts.racoon, facts.strength, true, hash_reason(hash), span).then_some(hash)
    }

    /// integrity := NAME; the inner `None` is `non_auth`.
    #[allow(clippy::option_option)]
    pub(super) fn integrity(&mut self, args: &mut Args<'_>) -> Option<Option<Integrity>> {
        let span = args.peek().map_or(args.name_span(), |arg| arg.span);
        let integrity = args.choice(INTEGRITY, self.diagnostics)?;
        match integrity {
            Some(algorithm) => {
                let facts = algorithm.facts();
                let why = match algorithm {
                    Integrity::Hmac(hash) => hash_reason(hash),
                    Integrity::AesXcbc => "",
                };
                self.judge(facts.racoon, facts.strength, true, why, span);
            }
            None => {
                let why = "packets can be forged and changed unseen (RFC 8221 section 4)";
                self.judge("non_auth", Strength::Weak, true, why, span);
            }
        }
        Some(integrity)
    }

    /// auth method := NAME
    pub(super) fn auth_method(&mut self, args: &mut Args<'_>) -> Option<AuthMethod> {
        let arg = args.peek();
        let method = args.choice(AUTH_METHODS, self.diagnostics)?;
        if let (None, Some(arg)) = (method, arg) {
            self.judge(&arg.text, Strength::Strong, false, "", arg.span);
            args.give_up();
        }
        method
    }

    /// group := `modpN` | `ecpN` | `brainpoolpNr1` | NUMBER
    pub(super) fn group(&mut self, args: &mut Args<'_>) -> Option<Group> {
        let (group, span) = self.named_group(args)?;
        let name = group_words(group);
        self.judge(&name, group.strength(), true, group_reason(group), span).then_some(group)
    }

    /// As [`Self::group`], for PFS: the oldest how-tos say `pfs_group 1`, and their files must still run. What group 1
    /// was meant to add is lost on anybody who can compute it, so the next group takes its place.
    pub(super) fn pfs_group(&mut self, args: &mut Args<'_>) -> Option<Group> {
        let (group, span) = self.named_group(args)?;
        if group != Group::Modp768 || self.allow_weak {
            return self.judge(&group_words(group), group.strength(), true, group_reason(group), span).then_some(group);
        }
        let instead = Group::Modp1024;
        let message = format!(
            "{} is broken and never negotiated: {} is used for PFS instead, itself weak",
            group_words(group),
            group_words(instead)
        );
        self.diagnostics.warning(span, message);
        Some(instead)
    }

    fn named_group(&mut self, args: &mut Args<'_>) -> Option<(Group, Span)> {
        let legal = "a group: 14 to 18 (`modp2048` to `modp8192`), 19 to 21 (`ecp256` to `ecp521`) or 27 to 30 \
                     (`brainpoolp224r1` to `brainpoolp512r1`)";
        let Some(arg) = args.peek().filter(|arg| arg.kind == TokenKind::Word) else {
            args.wrong(legal, self.diagnostics);
            return None;
        };
        let by_name = Group::ALL.into_iter().find(|group| group.racoon_name() == arg.text);
        let Some(group) = by_name.or_else(|| arg.text.parse().ok().and_then(Group::from_number)) else {
            let why = match arg.text.as_str() {
                "3" | "4" => "an elliptic curve over a binary field",
                "22" | "23" | "24" => "RFC 5114: nobody can tell how its prime was chosen, RFC 8247 section 2.4",
                _ => "",
            };
            if !why.is_empty() {
                let message = format!("group {} ({why}) is refused as broken", arg.text);
                self.diagnostics.push(Diagnostic::error(arg.span, message).expected(legal));
                args.give_up();
            } else {
                args.wrong(legal, self.diagnostics);
            }
            return None;
        };
        args.bump();
        Some((group, arg.span))
    }

    /// May `name` be used? A weak one with a warning, a broken or unsupported one not.
    fn judge(&mut self, name: &str, strength: Strength, supported: bool, why: &str, span: Span) -> bool {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        if strength == Strength::Broken && !(self.allow_weak && supported) {
            let hint = if supported {
                "both peers should change: aes, sha256 and group 14 are understood by every racoon since 0.8; \
                 until they can, `allow_weak on;` in this block lets it pass"
            } else {
                "both peers must change; aes, sha256 and group 14 are understood by every racoon since 0.8"
            };
            self.diagnostics.push(Diagnostic::error(span, format!("{name} is broken and refused{why}")).hint(hint));
            false
        } else if !supported {
            self.diagnostics.push(Diagnostic::error(span, format!("{name} is not supported yet")).found(name));
            false
        } else {
            let words = match strength {
                Strength::Strong => return true,
                Strength::Weak => "is weak, and used because this line says so",
                Strength::Broken => "is broken, and used because `allow_weak` is on",
            };
            self.diagnostics.warning(span, format!("{name} {words}{why}"));
            true
        }
    }
}

/// The row of `text` in a table of ciphers, and what digits are glued to it.
fn named<'t>(
    table: &'static [(&'static str, Cipher)],
    text: &'t str,
) -> Option<(&'static (&'static str, Cipher), Option<&'t str>)> {
    if let Some(exact) = table.iter().find(|(word, _)| *word == text) {
        return Some((exact, None));
    }
    let stem = text.trim_end_matches(|ch: char| ch.is_ascii_digit());
    let glued = table.iter().find(|(word, _)| *word == stem.trim_end_matches('_'))?;
    Some((glued, text.get(stem.len()..)))
}

/// Is `text` a cipher of phase 2 that can be negotiated?
pub(super) fn is_usable(text: &str, allow_weak: bool) -> bool {
    let by_name = || named(PHASE2_CIPHERS, text).map(|((_, cipher), _)| *cipher);
    strongswan_spelling(text).map(|(cipher, _)| cipher).or_else(by_name).is_some_and(|cipher| {
        let facts = cipher.facts();
        facts.supported && (facts.strength != Strength::Broken || allow_weak)
    })
}

/// Is `text` a cipher that racoon knows?
fn is_cipher(text: &str) -> bool {
    named(PHASE2_CIPHERS, text).is_some() || OTHER_CIPHERS.contains(&text)
}

/// `aes256gcm16` and the like.
fn strongswan_spelling(text: &str) -> Option<(Cipher, u64)> {
    let behind = text.strip_prefix("aes")?;
    let (bits, mode) = behind.split_at_checked(3)?;
    let cipher = STRONGSWAN_MODES.iter().find(|(word, _)| *word == mode).map(|(_, cipher)| *cipher)?;
    Some((cipher, bits.parse().ok()?))
}

fn group_words(group: Group) -> String {
    format!("{} (group {})", group.racoon_name(), group.number())
}

fn cipher_reason(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::Des => "its 56-bit key can be searched in a day",
        Cipher::TripleDes | Cipher::Blowfish | Cipher::Cast128 => {
            "64-bit blocks repeat within some gigabytes (RFC 8221 section 5)"
        }
        Cipher::Null | Cipher::AesGmac => "nothing is encrypted",
        Cipher::AesCcm8 | Cipher::AesGcm8 => "an ICV of 64 bits is short (RFC 8221 section 5)",
        _ => "",
    }
}

fn hash_reason(hash: Hash) -> &'static str {
    match hash {
        Hash::Md5 => "collisions take seconds",
        Hash::Sha1 => "collisions have been shown",
        _ => "",
    }
}

fn group_reason(group: Group) -> &'static str {
    match group {
        Group::Modp768 => "its discrete logarithms have been computed in public",
        Group::Modp1024 => "its discrete logarithms are within reach of a state (RFC 8247 section 2.4)",
        Group::Modp1536 => "below the strength of AES-128 (RFC 8247 section 2.4)",
        _ => "",
    }
}
