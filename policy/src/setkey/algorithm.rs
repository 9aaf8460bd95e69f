//! Algorithm names of setkey with the key lengths they take.
//!
//! Manual keying is between the script and the kernel: what racoon cannot negotiate (AES-CTR, AES-XCBC-MAC) works here.
//! The model's table is asked first.

use crate::model::algorithm::{Cipher, Hash, Strength};

/// Legal key lengths in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyBits {
    /// No key at all.
    None,
    /// One of these.
    OneOf(&'static [u16]),
    /// From the first to the second, in whole octets.
    Between(u16, u16),
    /// Exactly this.
    Exactly(u16),
}

impl KeyBits {
    /// May a key have so many bits?
    pub fn allows(self, bits: usize) -> bool {
        match self {
            Self::None => bits == 0,
            Self::OneOf(list) => list.iter().any(|legal| usize::from(*legal) == bits),
            Self::Between(low, high) => {
                (usize::from(low)..=usize::from(high)).contains(&bits) && bits.is_multiple_of(8)
            }
            Self::Exactly(legal) => usize::from(legal) == bits,
        }
    }

    /// The legal lengths in words.
    pub fn describe(self) -> String {
        match self {
            Self::None => "no key".to_owned(),
            Self::OneOf(list) => {
                let list: Vec<String> = list.iter().map(u16::to_string).collect();
                format!("{} bits", list.join(" or "))
            }
            Self::Between(low, high) => format!("{low} to {high} bits in whole octets"),
            Self::Exactly(bits) => format!("{bits} bits"),
        }
    }
}

/// A cipher or an integrity algorithm of setkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// setkey's spelling.
    pub name: &'static str,
    /// The kernel's name.
    pub kernel_name: &'static str,
    /// Legal keys.
    pub key_bits: KeyBits,
    /// Length of the ICV in bits; 0 for ciphers.
    pub icv_bits: u16,
    /// Judgement.
    pub strength: Strength,
}

/// Ciphers that setkey of old had and we (or Linux) lack.
pub const LACKING_CIPHERS: &[&str] = &["des-deriv", "des-32iv", "simple", "rc5-cbc", "skipjack"];
/// Integrity algorithms that setkey of old had and we (or Linux) lack.
pub const LACKING_INTEGRITY: &[&str] = &["keyed-md5", "keyed-sha1", "tcp-md5"];

/// Other spellings of names in the model's table.
const CIPHER_ALIASES: &[(&str, Cipher)] = &[("rijndael-cbc", Cipher::Aes)];
const HASH_ALIASES: &[(&str, Hash)] =
    &[("hmac-sha2-256", Hash::Sha256), ("hmac-sha2-384", Hash::Sha384), ("hmac-sha2-512", Hash::Sha512)];

/// RFC 3686: the key is followed by a nonce of 32 bits.
const AES_CTR: Algorithm = Algorithm {
    name: "aes-ctr",
    kernel_name: "rfc3686(ctr(aes))",
    key_bits: KeyBits::OneOf(&[160, 224, 288]),
    icv_bits: 0,
    strength: Strength::Strong,
};

/// RFC 3566.
const AES_XCBC: Algorithm = Algorithm {
    name: "aes-xcbc-mac",
    kernel_name: "xcbc(aes)",
    key_bits: KeyBits::Exactly(128),
    icv_bits: 96,
    strength: Strength::Strong,
};

/// RFC 2857.
const RIPEMD160: Algorithm = Algorithm {
    name: "hmac-ripemd160",
    kernel_name: "hmac(rmd160)",
    key_bits: KeyBits::Exactly(160),
    icv_bits: 96,
    strength: Strength::Weak,
};

/// Ciphers of the model's table without a salt. Those with an ICV of their own are left out on purpose: a counter that
/// starts again under the same key gives everything away (RFC 4106 §2), and keys of scripts stay.
fn keyed_by_hand() -> impl Iterator<Item = Cipher> {
    Cipher::ALL.into_iter().filter(|cipher| cipher.facts().salt == 0)
}

/// Is this a cipher with an ICV of its own, as FreeBSD's setkey or our dumps call it?
pub(super) fn is_combined(name: &str) -> bool {
    let salted = Cipher::ALL.into_iter().filter(|cipher| cipher.facts().salt != 0);
    salted.map(|cipher| cipher.facts().setkey).any(|known| known == name) || ["aes-gcm", "aes-gmac"].contains(&name)
}

/// Every name behind `-E`, for suggestions.
pub fn cipher_names() -> impl Iterator<Item = &'static str> {
    keyed_by_hand().map(|cipher| cipher.facts().setkey).chain(["rijndael-cbc", AES_CTR.name])
}

/// Every name behind `-A`, for suggestions.
pub fn integrity_names() -> impl Iterator<Item = &'static str> {
    let aliases = HASH_ALIASES.iter().map(|(name, _)| *name);
    Hash::ALL.into_iter().map(|hash| hash.facts().setkey_hmac).chain(aliases).chain([AES_XCBC.name, RIPEMD160.name])
}

/// The cipher called `name`.
pub fn cipher(name: &str) -> Option<Algorithm> {
    if name == AES_CTR.name {
        return Some(AES_CTR);
    }
    let alias = CIPHER_ALIASES.iter().find(|(word, _)| *word == name).map(|(_, cipher)| *cipher);
    let cipher = alias.or_else(|| keyed_by_hand().find(|cipher| cipher.facts().setkey == name))?;
    let facts = cipher.facts();
    let key_bits = match cipher {
        Cipher::Null => KeyBits::None,
        Cipher::Cast128 => KeyBits::Between(40, 128),
        Cipher::Blowfish => KeyBits::Between(40, 448),
        Cipher::Twofish => KeyBits::OneOf(&[128, 192, 256]),
        _ => KeyBits::OneOf(facts.key_bits),
    };
    let strength = facts.strength;
    Some(Algorithm { name: facts.setkey, kernel_name: facts.kernel, key_bits, icv_bits: 0, strength })
}

/// The integrity algorithm called `name`.
pub fn integrity(name: &str) -> Option<Algorithm> {
    if let Some(found) = [AES_XCBC, RIPEMD160].into_iter().find(|known| known.name == name) {
        return Some(found);
    }
    let alias = HASH_ALIASES.iter().find(|(word, _)| *word == name).map(|(_, hash)| *hash);
    let hash = alias.or_else(|| Hash::ALL.into_iter().find(|hash| hash.facts().setkey_hmac == name))?;
    let facts = hash.facts();
    Some(Algorithm {
        name: facts.setkey_hmac,
        kernel_name: facts.kernel_hmac,
        // The key of an HMAC in ESP and AH is as long as its output (RFC 2403, 2404, 4868): at most 64 octets.
        key_bits: KeyBits::Exactly(u16::try_from(facts.output * 8).unwrap_or(u16::MAX)),
        icv_bits: facts.icv_bits,
        strength: facts.strength,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_give_setkeys_lengths() {
        let bits = |name: &str| cipher(name).map(|found| found.key_bits.describe());
        assert_eq!(bits("aes-cbc").as_deref(), Some("128 or 192 or 256 bits"));
        assert_eq!(bits("rijndael-cbc").as_deref(), Some("128 or 192 or 256 bits"));
        assert_eq!(bits("3des-cbc").as_deref(), Some("192 bits"));
        assert_eq!(bits("null").as_deref(), Some("no key"));
        assert_eq!(bits("aes-gcm"), None);
        let bits = |name: &str| integrity(name).map(|found| (found.key_bits, found.icv_bits));
        assert_eq!(bits("hmac-md5"), Some((KeyBits::Exactly(128), 96)));
        assert_eq!(bits("hmac-sha2-256"), Some((KeyBits::Exactly(256), 128)));
        assert_eq!(bits("hmac-sha512"), Some((KeyBits::Exactly(512), 256)));
    }

    #[test]
    fn key_lengths_are_whole_octets() {
        assert!(KeyBits::Between(40, 128).allows(48));
        assert!(!KeyBits::Between(40, 128).allows(44));
        assert!(!KeyBits::Between(40, 128).allows(136));
        assert!(KeyBits::None.allows(0) && !KeyBits::None.allows(8));
    }
}
