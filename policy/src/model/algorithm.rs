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
    /// AES in counter mode (RFC 3686); phase 2 only, as are those below.
    AesCtr,
    /// AES-CCM with an ICV of 8 octets (RFC 4309).
    AesCcm8,
    /// AES-CCM with an ICV of 12 octets.
    AesCcm12,
    /// AES-CCM with an ICV of 16 octets.
    AesCcm16,
    /// AES-GCM with an ICV of 8 octets (RFC 4106).
    AesGcm8,
    /// AES-GCM with an ICV of 12 octets.
    AesGcm12,
    /// AES-GCM with an ICV of 16 octets.
    AesGcm16,
    /// No encryption, integrity by AES-GMAC (RFC 4543).
    AesGmac,
    /// No encryption (RFC 2410).
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
    /// Block length in octets (1 for NULL and for counters).
    pub block: usize,
    /// Octets of salt that ESP takes from the keying material behind the key.
    pub salt: usize,
    /// Of ciphers that protect integrity themselves: ICV length in bits. They go with no HMAC.
    pub aead_icv_bits: Option<u16>,
    /// Judgement.
    pub strength: Strength,
    /// Does this build negotiate it?
    pub supported: bool,
}

impl Cipher {
    /// Every cipher of the table.
    pub const ALL: [Self; 16] = [
        Self::Des,
        Self::TripleDes,
        Self::Blowfish,
        Self::Cast128,
        Self::Aes,
        Self::Twofish,
        Self::Camellia,
        Self::AesCtr,
        Self::AesCcm8,
        Self::AesCcm12,
        Self::AesCcm16,
        Self::AesGcm8,
        Self::AesGcm12,
        Self::AesGcm16,
        Self::AesGmac,
        Self::Null,
    ];

    /// The row of the table.
    pub const fn facts(self) -> CipherFacts {
        const AES_KEYS: &[u16] = &[128, 192, 256];
        const fn row(
            racoon: &'static str,
            setkey: &'static str,
            (phase1, esp): (Option<u16>, u8),
            kernel: &'static str,
            (key_bits, variable_key, block): (&'static [u16], bool, usize),
            strength: Strength,
            supported: bool,
        ) -> CipherFacts {
            CipherFacts {
                racoon,
                setkey,
                phase1,
                esp,
                kernel,
                key_bits,
                variable_key,
                block,
                salt: 0,
                aead_icv_bits: None,
                strength,
                supported,
            }
        }
        /// A mode of AES that only ESP has: `salt` octets, and the ICV's bits if there is one.
        const fn counter(
            (racoon, setkey): (&'static str, &'static str),
            esp: u8,
            kernel: &'static str,
            (salt, aead_icv_bits): (usize, Option<u16>),
            strength: Strength,
        ) -> CipherFacts {
            let plain = row(racoon, setkey, (None, esp), kernel, (AES_KEYS, true, 1), strength, true);
            CipherFacts { salt, aead_icv_bits, ..plain }
        }
        const CCM: &str = "rfc4309(ccm(aes))";
        const GCM: &str = "rfc4106(gcm(aes))";
        use Strength::{Broken, Strong, Weak};
        match self {
            Self::Des => row("des", "des-cbc", (Some(1), 2), "cbc(des)", (&[64], false, 8), Broken, true),
            Self::TripleDes => row("3des", "3des-cbc", (Some(5), 3), "cbc(des3_ede)", (&[192], false, 8), Weak, true),
            Self::Blowfish => {
                row("blowfish", "blowfish-cbc", (Some(3), 7), "cbc(blowfish)", (&[448, 128], true, 8), Broken, false)
            }
            Self::Cast128 => row("cast128", "cast128-cbc", (Some(6), 6), "cbc(cast5)", (&[128], true, 8), Weak, false),
            Self::Aes => row("aes", "aes-cbc", (Some(7), 12), "cbc(aes)", (AES_KEYS, true, 16), Strong, true),
            Self::Twofish => {
                row("twofish", "twofish-cbc", (Some(65005), 253), "cbc(twofish)", (&[128, 256], true, 16), Weak, false)
            }
            Self::Camellia => {
                row("camellia", "camellia-cbc", (Some(8), 22), "cbc(camellia)", (AES_KEYS, true, 16), Strong, true)
            }
            Self::AesCtr => counter(("aes_ctr", "aes-ctr"), 13, "rfc3686(ctr(aes))", (4, None), Strong),
            Self::AesCcm8 => counter(("aes_ccm8", "aes-ccm-8"), 14, CCM, (3, Some(64)), Weak),
            Self::AesCcm12 => counter(("aes_ccm12", "aes-ccm-12"), 15, CCM, (3, Some(96)), Strong),
            Self::AesCcm16 => counter(("aes_ccm16", "aes-ccm-16"), 16, CCM, (3, Some(128)), Strong),
            Self::AesGcm8 => counter(("aes_gcm8", "aes-gcm-8"), 18, GCM, (4, Some(64)), Weak),
            Self::AesGcm12 => counter(("aes_gcm12", "aes-gcm-12"), 19, GCM, (4, Some(96)), Strong),
            Self::AesGcm16 => counter(("aes_gcm16", "aes-gcm-16"), 20, GCM, (4, Some(128)), Strong),
            Self::AesGmac => counter(("aes_gmac", "aes-gmac"), 23, "rfc4543(gcm(aes))", (4, Some(128)), Weak),
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

    /// By the kernel's name, of those that an HMAC goes with.
    pub fn from_kernel(name: &str) -> Option<Self> {
        Self::from_kernel_aead(name, None)
    }

    /// By the kernel's name and the ICV length in bits.
    pub fn from_kernel_aead(name: &str, icv_bits: Option<u16>) -> Option<Self> {
        let same = |cipher: &Self| (cipher.facts().kernel, cipher.facts().aead_icv_bits) == (name, icv_bits);
        Self::ALL.into_iter().find(same)
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
    /// Octets of key.
    pub fn key_octets(self) -> usize {
        let bits = self.key_bits.or_else(|| self.cipher.facts().key_bits.first().copied());
        usize::from(bits.unwrap_or(0)) / 8
    }

    /// Octets of key and salt that ESP takes from the keying material.
    pub fn material_octets(self) -> usize {
        self.key_octets() + self.cipher.facts().salt
    }

    /// Is the ICV the cipher's own business?
    pub fn is_aead(self) -> bool {
        self.cipher.facts().aead_icv_bits.is_some()
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
}

/// Integrity algorithms of ESP and AH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Integrity {
    /// The HMAC of a hash (RFC 2403, 2404, 4868).
    Hmac(Hash),
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbc,
}

/// Facts about an [`Integrity`].
#[derive(Clone, Copy, Debug)]
pub struct IntegrityFacts {
    /// racoon.conf's spelling; `aes_xcbc` is an extension.
    pub racoon: &'static str,
    /// setkey's spelling.
    pub setkey: &'static str,
    /// Value of the authentication attribute (RFC 2407 §4.5).
    pub auth: u16,
    /// AH transform identifier (RFC 2407 §4.4.3).
    pub ah: u8,
    /// The kernel's name.
    pub kernel: &'static str,
    /// Octets of key.
    pub key_octets: usize,
    /// Bits of ICV.
    pub icv_bits: u16,
    /// Judgement.
    pub strength: Strength,
}

impl Integrity {
    /// Every algorithm of the table.
    pub const ALL: [Self; 6] = [
        Self::Hmac(Hash::Md5),
        Self::Hmac(Hash::Sha1),
        Self::Hmac(Hash::Sha256),
        Self::Hmac(Hash::Sha384),
        Self::Hmac(Hash::Sha512),
        Self::AesXcbc,
    ];

    /// The row of the table.
    pub const fn facts(self) -> IntegrityFacts {
        match self {
            Self::Hmac(hash) => {
                let facts = hash.facts();
                IntegrityFacts {
                    racoon: facts.racoon_hmac,
                    setkey: facts.setkey_hmac,
                    auth: facts.esp_auth,
                    ah: match hash {
                        Hash::Md5 => 2,
                        Hash::Sha1 => 3,
                        Hash::Sha256 => 5,
                        Hash::Sha384 => 6,
                        Hash::Sha512 => 7,
                    },
                    kernel: facts.kernel_hmac,
                    key_octets: facts.output,
                    icv_bits: facts.icv_bits,
                    strength: facts.strength,
                }
            }
            Self::AesXcbc => IntegrityFacts {
                racoon: "aes_xcbc",
                setkey: "aes-xcbc-mac",
                auth: 9,
                ah: 9,
                kernel: "xcbc(aes)",
                key_octets: 16,
                icv_bits: 96,
                strength: Strength::Strong,
            },
        }
    }

    /// By value of the authentication attribute.
    pub fn from_auth(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|integrity| integrity.facts().auth == number)
    }

    /// By AH transform identifier.
    pub fn from_ah(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|integrity| integrity.facts().ah == number)
    }

    /// By the kernel's name.
    pub fn from_kernel(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|integrity| integrity.facts().kernel == name)
    }
}

/// Diffie-Hellman groups (RFC 2409 §6, RFC 3526, RFC 5903, RFC 6932).
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
    /// NIST P-256.
    Ecp256,
    /// NIST P-384.
    Ecp384,
    /// NIST P-521.
    Ecp521,
    /// brainpoolP224r1.
    Brainpool224,
    /// brainpoolP256r1.
    Brainpool256,
    /// brainpoolP384r1.
    Brainpool384,
    /// brainpoolP512r1.
    Brainpool512,
}

/// Facts about a [`Group`].
#[derive(Clone, Copy, Debug)]
pub struct GroupFacts {
    /// racoon.conf's spelling; those of curves are an extension.
    pub racoon: &'static str,
    /// The IANA number.
    pub number: u16,
    /// Octets of a public value: the prime's, or both coordinates'.
    pub octets: usize,
    /// Is it an elliptic curve? The shared secret is then one coordinate, half as long as a public value.
    pub is_curve: bool,
    /// Judgement (RFC 8247 §2.4).
    pub strength: Strength,
}

impl Group {
    /// Every group of the table.
    pub const ALL: [Self; 15] = [
        Self::Modp768,
        Self::Modp1024,
        Self::Modp1536,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Modp6144,
        Self::Modp8192,
        Self::Ecp256,
        Self::Ecp384,
        Self::Ecp521,
        Self::Brainpool224,
        Self::Brainpool256,
        Self::Brainpool384,
        Self::Brainpool512,
    ];

    /// The row of the table.
    pub const fn facts(self) -> GroupFacts {
        const fn modp(racoon: &'static str, number: u16, octets: usize, strength: Strength) -> GroupFacts {
            GroupFacts { racoon, number, octets, is_curve: false, strength }
        }
        const fn curve(racoon: &'static str, number: u16, octets: usize) -> GroupFacts {
            GroupFacts { racoon, number, octets, is_curve: true, strength: Strong }
        }
        use Strength::{Broken, Strong, Weak};
        match self {
            Self::Modp768 => modp("modp768", 1, 96, Broken),
            Self::Modp1024 => modp("modp1024", 2, 128, Weak),
            Self::Modp1536 => modp("modp1536", 5, 192, Weak),
            Self::Modp2048 => modp("modp2048", 14, 256, Strong),
            Self::Modp3072 => modp("modp3072", 15, 384, Strong),
            Self::Modp4096 => modp("modp4096", 16, 512, Strong),
            Self::Modp6144 => modp("modp6144", 17, 768, Strong),
            Self::Modp8192 => modp("modp8192", 18, 1024, Strong),
            Self::Ecp256 => curve("ecp256", 19, 64),
            Self::Ecp384 => curve("ecp384", 20, 96),
            Self::Ecp521 => curve("ecp521", 21, 132),
            Self::Brainpool224 => curve("brainpoolp224r1", 27, 56),
            Self::Brainpool256 => curve("brainpoolp256r1", 28, 64),
            Self::Brainpool384 => curve("brainpoolp384r1", 29, 96),
            Self::Brainpool512 => curve("brainpoolp512r1", 30, 128),
        }
    }

    /// The IANA number.
    pub const fn number(self) -> u16 {
        self.facts().number
    }

    /// By IANA number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.number() == number)
    }

    /// racoon.conf's spelling.
    pub const fn racoon_name(self) -> &'static str {
        self.facts().racoon
    }

    /// Octets of a public value.
    pub const fn octets(self) -> usize {
        self.facts().octets
    }

    /// Octets of the shared secret: of a curve's point only the first coordinate counts (RFC 5903 §9).
    pub const fn secret_octets(self) -> usize {
        let facts = self.facts();
        if facts.is_curve { facts.octets / 2 } else { facts.octets }
    }

    /// Judgement (RFC 8247 §2.4).
    pub const fn strength(self) -> Strength {
        self.facts().strength
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
