//! One table of algorithms: racoon's name, the IANA numbers, the kernel's name, key and block sizes.
//!
//! Numbers: RFC 2409 appendix A and the IANA IPsec registries for phase 1, RFC 2407 §4.4 and §4.5 for phase 2.

/// How an algorithm fares by RFC 8221 (ESP), RFC 8247 (IKE) and the deprecations since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Fit for defaults.
    Strong,
    /// Works when configured, with a warning that names the line.
    Weak,
    /// Refused.
    Broken,
}

/// Ciphers of both phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cipher {
    /// DES-CBC.
    Des,
    /// Three-key triple DES in CBC mode.
    TripleDes,
    /// Blowfish-CBC.
    Blowfish,
    /// CAST-128-CBC.
    Cast128,
    /// AES-CBC.
    Aes,
    /// Twofish-CBC.
    Twofish,
    /// Camellia-CBC.
    Camellia,
    /// No encryption (RFC 2410); phase 2 only.
    Null,
}

/// Facts about a [`Cipher`].
#[derive(Clone, Copy, Debug)]
pub struct CipherFacts {
    /// racoon.conf's spelling.
    pub racoon: &'static str,
    /// setkey's spelling.
    pub setkey: &'static str,
    /// Phase 1 attribute value, if the cipher may protect an ISAKMP SA.
    pub phase1: Option<u16>,
    /// ESP transform identifier.
    pub esp: u8,
    /// The kernel's name.
    pub kernel: &'static str,
    /// Legal key lengths in bits; the first is the default. Empty: no key.
    pub key_bits: &'static [u16],
    /// Does a proposal carry the key length attribute?
    pub variable_key: bool,
    /// Block length in octets (1 for NULL).
    pub block: usize,
    /// Judgement.
    pub strength: Strength,
    /// Does this build negotiate it?
    pub supported: bool,
}

impl Cipher {
    /// Every cipher of the table.
    pub const ALL: [Self; 8] = [
        Self::Des,
        Self::TripleDes,
        Self::Blowfish,
        Self::Cast128,
        Self::Aes,
        Self::Twofish,
        Self::Camellia,
        Self::Null,
    ];

    /// The row of the table.
    pub const fn facts(self) -> CipherFacts {
        const fn row(
            racoon: &'static str,
            setkey: &'static str,
            (phase1, esp): (Option<u16>, u8),
            kernel: &'static str,
            (key_bits, variable_key, block): (&'static [u16], bool, usize),
            strength: Strength,
            supported: bool,
        ) -> CipherFacts {
            CipherFacts { racoon, setkey, phase1, esp, kernel, key_bits, variable_key, block, strength, supported }
        }
        use Strength::{Broken, Strong, Weak};
        match self {
            Self::Des => row("des", "des-cbc", (Some(1), 2), "cbc(des)", (&[64], false, 8), Broken, false),
            Self::TripleDes => row("3des", "3des-cbc", (Some(5), 3), "cbc(des3_ede)", (&[192], false, 8), Weak, true),
            Self::Blowfish => {
                row("blowfish", "blowfish-cbc", (Some(3), 7), "cbc(blowfish)", (&[448, 128], true, 8), Broken, false)
            }
            Self::Cast128 => row("cast128", "cast128-cbc", (Some(6), 6), "cbc(cast5)", (&[128], true, 8), Weak, false),
            Self::Aes => row("aes", "aes-cbc", (Some(7), 12), "cbc(aes)", (&[128, 192, 256], true, 16), Strong, true),
            Self::Twofish => {
                row("twofish", "twofish-cbc", (Some(65005), 253), "cbc(twofish)", (&[128, 256], true, 16), Weak, false)
            }
            Self::Camellia => row(
                "camellia",
                "camellia-cbc",
                (Some(8), 22),
                "cbc(camellia)",
                (&[128, 192, 256], true, 16),
                Strong,
                false,
            ),
            Self::Null => row("null_enc", "null", (None, 11), "ecb(cipher_null)", (&[], false, 1), Weak, true),
        }
    }

    /// By phase 1 attribute value.
    pub fn from_phase1(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.facts().phase1 == Some(number))
    }

    /// By ESP transform identifier.
    pub fn from_esp(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.facts().esp == number)
    }

    /// By the kernel's name.
    pub fn from_kernel(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.facts().kernel == name)
    }
}

/// A cipher with its key length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SizedCipher {
    /// The cipher.
    pub cipher: Cipher,
    /// Key length in bits; `None` where the cipher has one length only, or none.
    pub key_bits: Option<u16>,
}

impl SizedCipher {
    /// Octets of key the cipher takes from the keying material.
    pub fn key_octets(self) -> usize {
        let bits = self.key_bits.or_else(|| self.cipher.facts().key_bits.first().copied());
        usize::from(bits.unwrap_or(0)) / 8
    }
}

/// Hash functions: phase 1 hash and PRF, and the HMACs of phase 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

/// Facts about a [`enum@Hash`] and the HMAC made of it.
#[derive(Clone, Copy, Debug)]
pub struct HashFacts {
    /// racoon.conf's spelling of the hash.
    pub racoon: &'static str,
    /// racoon.conf's spelling of the HMAC.
    pub racoon_hmac: &'static str,
    /// setkey's spelling of the HMAC.
    pub setkey_hmac: &'static str,
    /// Phase 1 attribute value.
    pub phase1: u16,
    /// ESP authentication attribute value.
    pub esp_auth: u16,
    /// The kernel's name of the HMAC.
    pub kernel_hmac: &'static str,
    /// Octets of output; also the key length of the HMAC in ESP.
    pub output: usize,
    /// Bits of ICV in ESP (RFC 2403, 2404, 4868).
    pub icv_bits: u16,
    /// Judgement as phase 1 hash.
    pub strength: Strength,
}

impl Hash {
    /// Every hash of the table.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The row of the table.
    pub const fn facts(self) -> HashFacts {
        const fn row(
            (racoon, racoon_hmac, setkey_hmac): (&'static str, &'static str, &'static str),
            (phase1, esp_auth): (u16, u16),
            kernel_hmac: &'static str,
            (output, icv_bits): (usize, u16),
            strength: Strength,
        ) -> HashFacts {
            HashFacts { racoon, racoon_hmac, setkey_hmac, phase1, esp_auth, kernel_hmac, output, icv_bits, strength }
        }
        use Strength::{Strong, Weak};
        match self {
            Self::Md5 => row(("md5", "hmac_md5", "hmac-md5"), (1, 1), "hmac(md5)", (16, 96), Weak),
            Self::Sha1 => row(("sha1", "hmac_sha1", "hmac-sha1"), (2, 2), "hmac(sha1)", (20, 96), Weak),
            Self::Sha256 => row(("sha256", "hmac_sha256", "hmac-sha256"), (4, 5), "hmac(sha256)", (32, 128), Strong),
            Self::Sha384 => row(("sha384", "hmac_sha384", "hmac-sha384"), (5, 6), "hmac(sha384)", (48, 192), Strong),
            Self::Sha512 => row(("sha512", "hmac_sha512", "hmac-sha512"), (6, 7), "hmac(sha512)", (64, 256), Strong),
        }
    }

    /// By phase 1 attribute value.
    pub fn from_phase1(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.facts().phase1 == number)
    }

    /// By ESP authentication attribute value.
    pub fn from_esp_auth(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.facts().esp_auth == number)
    }

    /// By the kernel's name of the HMAC.
    pub fn from_kernel_hmac(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.facts().kernel_hmac == name)
    }
}

/// Diffie-Hellman groups (RFC 2409 §6, RFC 3526).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// 768-bit MODP.
    Modp768,
    /// 1024-bit MODP.
    Modp1024,
    /// 1536-bit MODP.
    Modp1536,
    /// 2048-bit MODP.
    Modp2048,
    /// 3072-bit MODP.
    Modp3072,
    /// 4096-bit MODP.
    Modp4096,
    /// 6144-bit MODP.
    Modp6144,
    /// 8192-bit MODP.
    Modp8192,
}

impl Group {
    /// Every group of the table.
    pub const ALL: [Self; 8] = [
        Self::Modp768,
        Self::Modp1024,
        Self::Modp1536,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Modp6144,
        Self::Modp8192,
    ];

    /// The IANA number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Modp768 => 1,
            Self::Modp1024 => 2,
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Modp6144 => 17,
            Self::Modp8192 => 18,
        }
    }

    /// By IANA number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.number() == number)
    }

    /// racoon.conf's spelling.
    pub const fn racoon_name(self) -> &'static str {
        match self {
            Self::Modp768 => "modp768",
            Self::Modp1024 => "modp1024",
            Self::Modp1536 => "modp1536",
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::Modp6144 => "modp6144",
            Self::Modp8192 => "modp8192",
        }
    }

    /// Octets of a public value.
    pub const fn octets(self) -> usize {
        match self {
            Self::Modp768 => 96,
            Self::Modp1024 => 128,
            Self::Modp1536 => 192,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Modp6144 => 768,
            Self::Modp8192 => 1024,
        }
    }

    /// Judgement (RFC 8247 §2.4).
    pub const fn strength(self) -> Strength {
        match self {
            Self::Modp768 => Strength::Broken,
            Self::Modp1024 | Self::Modp1536 => Strength::Weak,
            _ => Strength::Strong,
        }
    }
}

/// Phase 1 authentication methods this product knows by name.
///
/// Those of hybrid authentication and XAuth say which side we are on: `Server` asks for the password, `Client` gives it.
/// The number on the wire depends on who is the initiator too ([`Self::number`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// Pre-shared key.
    PreSharedKey,
    /// RSA signatures.
    RsaSignature,
    /// ECDSA with SHA-256 on P-256 (RFC 4754).
    EcdsaP256,
    /// ECDSA with SHA-384 on P-384 (RFC 4754).
    EcdsaP384,
    /// ECDSA with SHA-512 on P-521 (RFC 4754).
    EcdsaP521,
    /// Hybrid: the server signs with RSA, the client gives a password (draft-ietf-ipsec-isakmp-hybrid-auth-05).
    HybridRsa(XauthSide),
    /// Pre-shared key, then XAuth (draft-beaulieu-ike-xauth-02).
    XauthPsk(XauthSide),
    /// RSA signatures, then XAuth.
    XauthRsa(XauthSide),
}

/// Our side of extended authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XauthSide {
    /// We ask for the password.
    Server,
    /// We give it.
    Client,
}

impl AuthMethod {
    /// Every method of the table.
    pub const ALL: [Self; 11] = [
        Self::PreSharedKey,
        Self::RsaSignature,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::HybridRsa(XauthSide::Server),
        Self::HybridRsa(XauthSide::Client),
        Self::XauthPsk(XauthSide::Server),
        Self::XauthPsk(XauthSide::Client),
        Self::XauthRsa(XauthSide::Server),
        Self::XauthRsa(XauthSide::Client),
    ];

    /// Phase 1 attribute value; for hybrid authentication and XAuth the number names the side that is the initiator of
    /// phase 1: `Client` of an initiator and `Server` of a responder have the "initiator gives the password" number.
    pub const fn number(self, we_initiate: bool) -> u16 {
        /// `initiator` if the side that gives the password begins phase 1, else `responder`.
        const fn by_client(side: XauthSide, we_initiate: bool, initiator: u16, responder: u16) -> u16 {
            if matches!(side, XauthSide::Client) == we_initiate { initiator } else { responder }
        }
        match self {
            Self::PreSharedKey => 1,
            Self::RsaSignature => 3,
            Self::EcdsaP256 => 9,
            Self::EcdsaP384 => 10,
            Self::EcdsaP521 => 11,
            Self::HybridRsa(side) => by_client(side, we_initiate, 64221, 64222),
            Self::XauthPsk(side) => by_client(side, we_initiate, 65001, 65002),
            Self::XauthRsa(side) => by_client(side, we_initiate, 65005, 65006),
        }
    }

    /// racoon.conf's spelling; the ECDSA methods are an extension.
    pub const fn racoon_name(self) -> &'static str {
        match self {
            Self::PreSharedKey => "pre_shared_key",
            Self::RsaSignature => "rsasig",
            Self::EcdsaP256 => "ecdsa256",
            Self::EcdsaP384 => "ecdsa384",
            Self::EcdsaP521 => "ecdsa521",
            Self::HybridRsa(XauthSide::Server) => "hybrid_rsa_server",
            Self::HybridRsa(XauthSide::Client) => "hybrid_rsa_client",
            Self::XauthPsk(XauthSide::Server) => "xauth_psk_server",
            Self::XauthPsk(XauthSide::Client) => "xauth_psk_client",
            Self::XauthRsa(XauthSide::Server) => "xauth_rsa_server",
            Self::XauthRsa(XauthSide::Client) => "xauth_rsa_client",
        }
    }

    /// Our side of the extended authentication that follows phase 1, if any does.
    pub const fn xauth(self) -> Option<XauthSide> {
        match self {
            Self::HybridRsa(side) | Self::XauthPsk(side) | Self::XauthRsa(side) => Some(side),
            _ => None,
        }
    }

    /// ECDSA's own hash function, which HASH_I and HASH_R are made with whatever hash was negotiated (RFC 4754 §7).
    pub const fn signature_hash(self) -> Option<Hash> {
        match self {
            Self::EcdsaP256 => Some(Hash::Sha256),
            Self::EcdsaP384 => Some(Hash::Sha384),
            Self::EcdsaP521 => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// Does it rest on a pre-shared key?
    pub const fn is_psk(self) -> bool {
        matches!(self, Self::PreSharedKey | Self::XauthPsk(_))
    }

    /// Must we have a certificate and its key?
    pub const fn we_sign(self) -> bool {
        !matches!(self, Self::PreSharedKey | Self::XauthPsk(_) | Self::HybridRsa(XauthSide::Client))
    }

    /// Must the peer have one?
    pub const fn peer_signs(self) -> bool {
        !matches!(self, Self::PreSharedKey | Self::XauthPsk(_) | Self::HybridRsa(XauthSide::Server))
    }
}
