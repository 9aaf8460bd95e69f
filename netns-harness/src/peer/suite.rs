//! Algorithms in each daemon's spelling. A new one is a constant here, or in the scenario that wants it.

/// One algorithm, in three configuration languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelling {
    /// racoon.conf; of a hash, without `hmac_`.
    pub racoon: &'static str,
    /// swanctl.conf.
    pub charon: &'static str,
    /// ipsec.conf of libreswan.
    pub pluto: &'static str,
}

const fn spelt(racoon: &'static str, charon: &'static str, pluto: &'static str) -> Spelling {
    Spelling { racoon, charon, pluto }
}

/// AES-CBC, 128 bits.
pub const AES128: Spelling = spelt("aes 128", "aes128", "aes128");
/// AES-CBC, 192 bits.
pub const AES192: Spelling = spelt("aes 192", "aes192", "aes192");
/// AES-CBC, 256 bits.
pub const AES256: Spelling = spelt("aes 256", "aes256", "aes256");
/// Triple DES.
pub const TRIPLE_DES: Spelling = spelt("3des", "3des", "3des");
/// Camellia-CBC, 192 bits.
pub const CAMELLIA192: Spelling = spelt("camellia 192", "camellia192", "camellia192");
/// Camellia-CBC, 256 bits.
pub const CAMELLIA256: Spelling = spelt("camellia 256", "camellia256", "camellia256");
/// AES-GCM, ICV of 16 octets, 128 bits.
pub const AES128_GCM16: Spelling = spelt("aes128gcm16", "aes128gcm16", "aes_gcm_c-128-null");
/// AES-GCM, ICV of 16 octets, 256 bits.
pub const AES256_GCM16: Spelling = spelt("aes_gcm16 256", "aes256gcm16", "aes_gcm_c-256-null");
/// AES-GCM, ICV of 8 octets.
pub const AES128_GCM8: Spelling = spelt("aes_gcm8 128", "aes128gcm8", "aes_gcm_a-128-null");
/// AES-CCM, ICV of 12 octets.
pub const AES128_CCM12: Spelling = spelt("aes_ccm12 128", "aes128ccm12", "aes_ccm_b-128-null");
/// AES in counter mode.
pub const AES256_CTR: Spelling = spelt("aes_ctr 256", "aes256ctr", "aes_ctr256");
/// AES-GMAC: integrity only.
pub const AES128_GMAC: Spelling = spelt("aes_gmac 128", "aes128gmac", "null_auth_aes_gmac128");
/// No encryption.
pub const NULL: Spelling = spelt("null_enc", "null", "null");

/// MD5.
pub const MD5: Spelling = spelt("md5", "md5", "md5");
/// SHA-1.
pub const SHA1: Spelling = spelt("sha1", "sha1", "sha1");
/// SHA2-256.
pub const SHA256: Spelling = spelt("sha256", "sha256", "sha2_256");
/// AES-XCBC, phase 2 only.
pub const AES_XCBC: Spelling = spelt("aes_xcbc", "aesxcbc", "aes_xcbc");
/// SHA2-384.
pub const SHA384: Spelling = spelt("sha384", "sha384", "sha2_384");
/// SHA2-512.
pub const SHA512: Spelling = spelt("sha512", "sha512", "sha2_512");

/// 1024-bit MODP.
pub const MODP1024: Spelling = spelt("2", "modp1024", "modp1024");
/// 1536-bit MODP.
pub const MODP1536: Spelling = spelt("5", "modp1536", "modp1536");
/// 2048-bit MODP.
pub const MODP2048: Spelling = spelt("14", "modp2048", "modp2048");
/// 3072-bit MODP.
pub const MODP3072: Spelling = spelt("15", "modp3072", "modp3072");
/// 4096-bit MODP.
pub const MODP4096: Spelling = spelt("16", "modp4096", "modp4096");
/// P-256.
pub const ECP256: Spelling = spelt("19", "ecp256", "dh19");
/// P-384.
pub const ECP384: Spelling = spelt("20", "ecp384", "dh20");
/// P-521.
pub const ECP521: Spelling = spelt("21", "ecp521", "dh21");

/// brainpoolP256r1.
pub const BRAINPOOL256: Spelling = spelt("brainpoolp256r1", "ecp256bp", "dh28");

/// What protects the ISAKMP SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase1Suite {
    /// The cipher.
    pub cipher: Spelling,
    /// The hash, and the PRF made of it.
    pub hash: Spelling,
    /// The group.
    pub group: Spelling,
}

/// ESP or AH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Encapsulating security payload.
    Esp,
    /// Authentication header.
    Ah,
}

/// What protects the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase2Suite {
    /// ESP or AH.
    pub protocol: Protocol,
    /// The cipher; AH has none, whatever stands here.
    pub cipher: Spelling,
    /// The HMAC; none where the cipher authenticates.
    pub hash: Option<Spelling>,
    /// The group of a Diffie-Hellman exchange, if there is one.
    pub group: Spelling,
    /// What else stands in charon's proposal.
    pub suffix: &'static str,
}

/// What the tunnels of the scenarios use unless they say otherwise.
pub const PHASE1: Phase1Suite = Phase1Suite { cipher: AES256, hash: SHA256, group: MODP2048 };
/// What the tunnels of the scenarios use unless they say otherwise.
pub const PHASE2: Phase2Suite =
    Phase2Suite { protocol: Protocol::Esp, cipher: AES256, hash: Some(SHA256), group: MODP2048, suffix: "" };

impl Phase1Suite {
    /// As swanctl.conf's `proposals` wants it.
    pub fn charon(&self) -> String {
        [self.cipher.charon, self.hash.charon, self.group.charon].join("-")
    }

    /// As libreswan's `ike=` wants it.
    pub fn pluto(&self) -> String {
        format!("{}-{};{}", self.cipher.pluto, self.hash.pluto, self.group.pluto)
    }
}

impl Phase2Suite {
    /// As swanctl.conf's `esp_proposals` or `ah_proposals` wants it.
    pub fn charon(&self, pfs: bool) -> String {
        let cipher = (self.protocol == Protocol::Esp).then_some(self.cipher.charon);
        let group = pfs.then_some(self.group.charon);
        [cipher, self.hash.map(|hash| hash.charon), group].into_iter().flatten().collect::<Vec<_>>().join("-")
            + self.suffix
    }

    /// As libreswan's `phase2alg=` wants it.
    pub fn pluto(&self, pfs: bool) -> String {
        let cipher = (self.protocol == Protocol::Esp).then_some(self.cipher.pluto);
        let algorithms = [cipher, self.hash.map(|hash| hash.pluto)].into_iter().flatten().collect::<Vec<_>>().join("-");
        if pfs { format!("{algorithms};{}", self.group.pluto) } else { algorithms }
    }

    /// The word of setkey.
    pub fn setkey(&self) -> &'static str {
        match self.protocol {
            Protocol::Esp => "esp",
            Protocol::Ah => "ah",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_spelt_for_each_daemon() {
        assert_eq!(PHASE1.charon(), "aes256-sha256-modp2048");
        assert_eq!(PHASE1.pluto(), "aes256-sha2_256;modp2048");
        assert_eq!(PHASE2.charon(true), "aes256-sha256-modp2048");
        assert_eq!(PHASE2.charon(false), "aes256-sha256");
        assert_eq!(Phase2Suite { protocol: Protocol::Ah, ..PHASE2 }.charon(false), "sha256");
        assert_eq!(PHASE2.pluto(true), "aes256-sha2_256;modp2048");
    }
}
