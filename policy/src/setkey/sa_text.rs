//! What `add` says of an SA: extensions, algorithms and their keys.

use super::algorithm::{self, Algorithm};
use super::lexer::{Token, TokenKind};
use super::statement::{Keyed, NewSa, SaKey, SaLimits, UdpEncapsulation};
use super::terminals::{Parsed, Parser, WrittenProtocol, hex_digits};
use super::unworded::UnwordedSa;
use crate::diagnostic::Diagnostic;
use crate::model::algorithm::Strength;
use crate::model::sa::{Mode, Protocol, ReqId, SecurityContext};
use crate::model::secret::Secret;
use crate::model::selector::UpperProtocol;

/// UDP port of IKE and ESP behind NAT (RFC 3948).
pub(super) const NAT_T_PORT: u16 = 4500;
/// What the kernel takes (`XFRMA_REPLAY_ESN_MAX`).
const MAX_REPLAY_WINDOW: u64 = 4096;
/// Octets of a label: what fits one attribute of a request, and more than SELinux writes.
const LONGEST_LABEL: usize = 4096;

impl<'a> Parser<'a> {
    /// `add` ends proto [ ADDR ] spi extension* algorithm: an SA for each pair of addresses.
    pub(super) fn add(&mut self) -> Parsed<Vec<NewSa>> {
        let ends = self.ends()?;
        let WrittenProtocol { protocol, in_udp } = self.protocol()?;
        let src_port = self.port(ends.src_port, UpperProtocol::UDP)?;
        let dst_port = self.port(ends.dst_port, UpperProtocol::UDP)?;
        let encapsulation = if in_udp {
            let port = |written: Option<u16>| written.filter(|port| *port != 0).unwrap_or(NAT_T_PORT);
            let is_address = self.token.kind == TokenKind::Word && self.token.text.contains(['.', ':']);
            let original_address = if is_address { self.host()?.values.into_iter().next() } else { None };
            Some(UdpEncapsulation { src_port: port(src_port), dst_port: port(dst_port), original_address })
        } else {
            None
        };
        let spi_token = self.token;
        let spi = self.spi(protocol)?;
        let mut pairs = ends.pairs.into_iter().map(|(src, dst)| SaKey { src, dst, protocol, spi });
        // `ends` refuses what has no pair.
        let Some(key) = pairs.next() else { return self.wrong("two addresses") };
        let mut sa = NewSa {
            key,
            mode: Mode::Transport,
            replay_window: None,
            reqid: ReqId::default(),
            limits: SaLimits::default(),
            encryption: None,
            integrity: None,
            is_deflate: false,
            encapsulation,
            context: None,
            flags: 0,
            unworded: UnwordedSa::default(),
        };
        let mut has_integrity = false;
        while self.token.kind == TokenKind::Word {
            self.extension(&mut sa, &mut has_integrity)?;
        }
        if self.refusal.is_none() {
            self.check_algorithms(&sa, has_integrity, spi_token)?;
        }
        let others: Vec<NewSa> = pairs.map(|key| NewSa { key, ..sa.clone() }).collect();
        Ok(std::iter::once(sa).chain(others).collect())
    }

    /// extension := `-m` mode | `-r` N | `-u` N | `-f` FLAG | `-lh` N | `-ls` N | `-bh` N | `-bs` N | context
    ///            | `-E` NAME key | `-A` NAME key | `-C` NAME [ `-R` ]
    fn extension(&mut self, sa: &mut NewSa, has_integrity: &mut bool) -> Parsed<()> {
        const NUMBER: &str = "a decimal number";
        if self.is_word("-ctx") {
            sa.context = self.context()?;
            return Ok(());
        }
        let option = self.bump();
        match option.text {
            "-m" => sa.mode = self.mode()?,
            "-r" => {
                let expected = format!("a replay window of 0 to {MAX_REPLAY_WINDOW} packets");
                sa.replay_window = u32::try_from(self.number(MAX_REPLAY_WINDOW, &expected)?).ok();
            }
            "-u" => sa.reqid = ReqId(u32::try_from(self.number(u64::from(u32::MAX), NUMBER)?).unwrap_or_default()),
            "-f" => self.flag()?,
            "-lh" => sa.limits.hard_seconds = Some(self.number(u64::MAX, NUMBER)?),
            "-ls" => sa.limits.soft_seconds = Some(self.number(u64::MAX, NUMBER)?),
            "-bh" => sa.limits.hard_octets = Some(self.number(u64::MAX, NUMBER)?),
            "-bs" => sa.limits.soft_octets = Some(self.number(u64::MAX, NUMBER)?),
            "-E" => sa.encryption = Some(self.encryption()?),
            "-A" => {
                *has_integrity = true;
                sa.integrity = self.integrity()?;
            }
            "-C" => {
                self.compression()?;
                sa.is_deflate = true;
            }
            _ => {
                return self.fail(
                    Diagnostic::error(option.span, format!("syntax error at `{}`", option.shown()))
                        .found(option.shown())
                        .expected(
                            "`-m`, `-r`, `-u`, `-f`, `-lh`, `-ls`, `-bh`, `-bs`, `-ctx`, `-E`, `-A`, `-C` or `;`",
                        ),
                );
            }
        }
        Ok(())
    }

    /// context := [ `-ctx` DOI ALGORITHM LABEL ]
    pub(super) fn context(&mut self) -> Parsed<Option<SecurityContext>> {
        if !self.bump_word("-ctx") {
            return Ok(None);
        }
        const NUMBER: &str = "a number up to 255";
        let mut octet = || self.number(255, NUMBER).map(|number| u8::try_from(number).unwrap_or_default());
        let (doi, algorithm) = (octet()?, octet()?);
        let token = self.token;
        if !matches!(token.kind, TokenKind::Word | TokenKind::Str) || token.text.is_empty() {
            return self.wrong("a label such as \"system_u:object_r:ipsec_spd_t:s0\"");
        }
        self.bump();
        if token.text.len() > LONGEST_LABEL {
            return self.refuse(token, format!("a label of more than {LONGEST_LABEL} octets"));
        }
        Ok(Some(SecurityContext { doi, algorithm, label: token.text.to_owned() }))
    }

    fn flag(&mut self) -> Parsed<()> {
        let token = self.word("a flag")?;
        match token.text {
            "zero-pad" | "random-pad" | "seq-pad" => {
                self.warn(token.span, format!("`-f {}` has no effect: Linux pads as RFC 4303 says", token.text));
            }
            "nocyclic-seq" => {
                self.warn(token.span, "`-f nocyclic-seq` has no effect: Linux never lets sequence numbers start again");
            }
            _ => return self.refuse(token, format!("`{}` is no flag", token.shown())),
        }
        Ok(())
    }

    /// `-E` NAME key
    fn encryption(&mut self) -> Parsed<Keyed> {
        let token = self.word("a cipher")?;
        match algorithm::cipher(token.text) {
            Some(algorithm) => self.keyed(token, algorithm),
            None if algorithm::LACKING_CIPHERS.contains(&token.text) => {
                self.refuse(token, format!("the cipher `{}` is not supported", token.text))
            }
            None if algorithm::is_combined(token.text) => self.fail(
                Diagnostic::error(token.span, format!("`{}` takes no key of a script", token.text))
                    .found(token.shown())
                    .hint("its counter begins anew with the SA, which gives everything away (RFC 4106 section 2)"),
            ),
            None => self.fail(
                Diagnostic::error(token.span, format!("`{}` is no cipher", token.shown()))
                    .found(token.shown())
                    .suggest(token.text, algorithm::cipher_names()),
            ),
        }
    }

    /// `-A` NAME key; `null` is none.
    fn integrity(&mut self) -> Parsed<Option<Keyed>> {
        let token = self.word("an integrity algorithm")?;
        if token.text == "null" {
            self.warn(token.span, "`-A null`: packets can be forged and changed unseen");
            self.unused_key();
            return Ok(None);
        }
        match algorithm::integrity(token.text) {
            Some(algorithm) => self.keyed(token, algorithm).map(Some),
            // A key of TCP's, in a command that will be refused.
            None if token.text == "tcp-md5" && self.refusal.is_some() => self.key().map(|_| None),
            None if algorithm::LACKING_INTEGRITY.contains(&token.text) => {
                self.refuse(token, format!("the integrity algorithm `{}` is not supported", token.text))
            }
            None => self.fail(
                Diagnostic::error(token.span, format!("`{}` is no integrity algorithm", token.shown()))
                    .found(token.shown())
                    .suggest(token.text, algorithm::integrity_names()),
            ),
        }
    }

    /// The key of `algorithm`, whose name is `token`, with its length checked.
    fn keyed(&mut self, token: Token<'a>, algorithm: Algorithm) -> Parsed<Keyed> {
        match algorithm.strength {
            Strength::Strong => {}
            Strength::Weak => {
                self.warn(token.span, format!("{} is weak, and used because this line says so", token.text));
            }
            // Not refused: that would keep the rest of the script, its policies, from the kernel.
            Strength::Broken => {
                self.warn(token.span, format!("{} is broken: what it hides is as good as public", token.text));
            }
        }
        if algorithm.key_bits.allows(0) {
            self.unused_key();
            return Ok(Keyed { algorithm, key: Secret::new(Vec::new()) });
        }
        let at = self.token;
        let key = self.key()?;
        if !algorithm.key_bits.allows(key.len() * 8) {
            let message = format!("a key of {} bits for {}", key.len() * 8, token.text);
            let diagnostic = Diagnostic::error(at.span, message).found(at.shown());
            return self.fail(diagnostic.expected(algorithm.key_bits.describe()));
        }
        Ok(Keyed { algorithm, key })
    }

    /// A key where none is needed.
    fn unused_key(&mut self) {
        if self.token.kind == TokenKind::Str || hex_digits(self.token.text).is_some() {
            let token = self.bump();
            self.warn(token.span, "this key has no effect: `null` takes none");
        }
    }

    /// key := STRING | 0xHEX; an odd number of digits is padded with 0 in front
    fn key(&mut self) -> Parsed<Secret> {
        let token = self.token;
        match token.kind {
            TokenKind::Str => {
                self.bump();
                Ok(Secret::new(token.text.as_bytes().to_vec()))
            }
            TokenKind::Word => {
                // Hidden whatever it is: a key with its `0x` forgotten is a key.
                self.hidden.push(token.span);
                match hex_digits(token.text).and_then(octets) {
                    Some(key) => {
                        self.bump();
                        if token.text.len() % 2 == 1 {
                            self.warn(token.span, "an odd number of hexadecimal digits: padded with 0 in front");
                        }
                        Ok(Secret::new(key))
                    }
                    None => {
                        let wrong = Diagnostic::error(token.span, "this is no key")
                            .found("a key")
                            .expected("a string in quotes, or 0x and hexadecimal digits");
                        // A word processor's quotes.
                        let is_curly = token.text.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2033}']);
                        self.fail(if is_curly { wrong.hint("the quotes are those of ASCII: \"") } else { wrong })
                    }
                }
            }
            _ => self.wrong("a key"),
        }
    }

    /// `-C` NAME [ `-R` ]
    fn compression(&mut self) -> Parsed<()> {
        let token = self.word("`deflate`")?;
        match token.text {
            "deflate" => {}
            "oui" | "lzs" => return self.refuse(token, format!("the compression `{}` is not in Linux", token.text)),
            _ => return self.refuse(token, format!("`{}` is no compression; `deflate` is", token.shown())),
        }
        if self.is_word("-R") {
            let token = self.bump();
            self.warn(token.span, "`-R` has no effect: the CPI is always as written");
        }
        Ok(())
    }

    /// ESP encrypts, AH does not, IPComp compresses.
    fn check_algorithms(&mut self, sa: &NewSa, has_integrity: bool, at: Token<'a>) -> Parsed<()> {
        let wrong = match sa.key.protocol {
            Protocol::Esp if sa.is_deflate => "`-C` is for ipcomp",
            Protocol::Esp if sa.encryption.is_none() => "esp needs a cipher: `-E NAME KEY` (`-E null` for none)",
            Protocol::Ah if sa.encryption.is_some() || sa.is_deflate => "ah takes `-A` alone",
            Protocol::Ah if sa.integrity.is_none() => "ah needs an integrity algorithm: `-A NAME KEY`",
            Protocol::Ipcomp if sa.encryption.is_some() || has_integrity => "ipcomp takes `-C` alone",
            Protocol::Ipcomp if !sa.is_deflate => "ipcomp needs `-C deflate`",
            _ => "",
        };
        if !wrong.is_empty() {
            return self.refuse(at, wrong);
        }
        let no_protection = sa.encryption.as_ref().is_some_and(|cipher| cipher.algorithm.key_bits.allows(0));
        if sa.key.protocol == Protocol::Esp && sa.integrity.is_none() {
            if no_protection {
                return self.refuse(at, "neither encryption nor integrity: refused (RFC 4303 section 3.2)");
            }
            if !has_integrity {
                self.warn(at.span, "esp without `-A`: packets can be forged and changed unseen");
            }
        }
        Ok(())
    }
}

/// The octets of hexadecimal `digits`.
pub(super) fn octets(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let nibbles: Vec<u8> =
        digits.chars().filter_map(|digit| digit.to_digit(16)).filter_map(|nibble| u8::try_from(nibble).ok()).collect();
    let (odd, pairs) = nibbles.split_at(nibbles.len() % 2);
    let pairs = pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, nibble| octet << 4 | nibble));
    Some(odd.iter().copied().chain(pairs).collect())
}
