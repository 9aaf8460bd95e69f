//! Numbers of `linux/pfkeyv2.h`.

use policy::model::algorithm::{Cipher, Hash};
use policy::model::sa::{Direction, Mode, Protocol};
use xfrm::model::sa::Stage;

/// `PF_KEY_V2`.
pub const VERSION: u8 = 2;

/// `SADB_*` and `SADB_X_*`: what a message is about.
pub mod kind {
    /// `SADB_GETSPI`.
    pub const GET_SPI: u8 = 1;
    /// `SADB_UPDATE`.
    pub const UPDATE: u8 = 2;
    /// `SADB_ADD`.
    pub const ADD: u8 = 3;
    /// `SADB_DELETE`.
    pub const DELETE: u8 = 4;
    /// `SADB_GET`.
    pub const GET: u8 = 5;
    /// `SADB_ACQUIRE`.
    pub const ACQUIRE: u8 = 6;
    /// `SADB_EXPIRE`.
    pub const EXPIRE: u8 = 8;
    /// `SADB_FLUSH`.
    pub const FLUSH: u8 = 9;
    /// `SADB_DUMP`.
    pub const DUMP: u8 = 10;
    /// `SADB_X_SPDUPDATE`.
    pub const SPD_UPDATE: u8 = 13;
    /// `SADB_X_SPDADD`.
    pub const SPD_ADD: u8 = 14;
    /// `SADB_X_SPDDELETE`.
    pub const SPD_DELETE: u8 = 15;
    /// `SADB_X_SPDGET`.
    pub const SPD_GET: u8 = 16;
    /// `SADB_X_SPDDUMP`.
    pub const SPD_DUMP: u8 = 18;
    /// `SADB_X_SPDFLUSH`.
    pub const SPD_FLUSH: u8 = 19;
    /// `SADB_X_SPDEXPIRE`.
    pub const SPD_EXPIRE: u8 = 21;
    /// `SADB_X_NAT_T_NEW_MAPPING`.
    pub const NEW_MAPPING: u8 = 23;
}

/// `SADB_EXT_*` and `SADB_X_EXT_*`.
pub mod extension {
    /// `SADB_EXT_SA`.
    pub const SA: u16 = 1;
    /// `SADB_EXT_LIFETIME_CURRENT`.
    pub const LIFETIME_CURRENT: u16 = 2;
    /// `SADB_EXT_LIFETIME_HARD`.
    pub const LIFETIME_HARD: u16 = 3;
    /// `SADB_EXT_LIFETIME_SOFT`.
    pub const LIFETIME_SOFT: u16 = 4;
    /// `SADB_EXT_ADDRESS_SRC`.
    pub const ADDRESS_SRC: u16 = 5;
    /// `SADB_EXT_ADDRESS_DST`.
    pub const ADDRESS_DST: u16 = 6;
    /// `SADB_EXT_ADDRESS_PROXY`.
    pub const ADDRESS_PROXY: u16 = 7;
    /// `SADB_EXT_KEY_AUTH`.
    pub const KEY_AUTH: u16 = 8;
    /// `SADB_EXT_KEY_ENCRYPT`.
    pub const KEY_ENCRYPT: u16 = 9;
    /// `SADB_EXT_SPIRANGE`.
    pub const SPI_RANGE: u16 = 16;
    /// `SADB_X_EXT_POLICY`.
    pub const POLICY: u16 = 18;
    /// `SADB_X_EXT_SA2`.
    pub const SA2: u16 = 19;
    /// `SADB_X_EXT_NAT_T_TYPE`.
    pub const NAT_T_TYPE: u16 = 20;
    /// `SADB_X_EXT_NAT_T_SPORT`.
    pub const NAT_T_SPORT: u16 = 21;
    /// `SADB_X_EXT_NAT_T_DPORT`.
    pub const NAT_T_DPORT: u16 = 22;
    /// `SADB_X_EXT_NAT_T_OA`.
    pub const NAT_T_OA: u16 = 23;
    /// `SADB_X_EXT_SEC_CTX`.
    pub const SEC_CTX: u16 = 24;
}

/// `SADB_SATYPE_*`; 0 is none in particular.
pub fn sa_type(protocol: Option<Protocol>) -> u8 {
    match protocol {
        None => 0,
        Some(Protocol::Ah) => 2,
        Some(Protocol::Esp) => 3,
        Some(Protocol::Ipcomp) => 9,
    }
}

/// `SADB_SASTATE_*`.
pub fn state(stage: Stage) -> u8 {
    match stage {
        Stage::Larval => 0,
        Stage::Mature => 1,
        Stage::Dying => 2,
        Stage::Dead => 3,
    }
}

/// `IPSEC_MODE_*`.
pub fn mode(mode: Mode) -> u8 {
    match mode {
        Mode::Transport => 1,
        Mode::Tunnel => 2,
    }
}

/// `IPSEC_DIR_*`.
pub fn direction(direction: Direction) -> u8 {
    match direction {
        Direction::In => 1,
        Direction::Out => 2,
        Direction::Fwd => 3,
    }
}

/// `SADB_EALG_*`: the numbers of ESP. 0 for what has none.
pub fn encryption(kernel_name: &str, icv_bits: Option<u16>) -> u8 {
    Cipher::from_kernel_aead(kernel_name, icv_bits).map_or(0, |cipher| cipher.facts().esp)
}

/// `SADB_AALG_*`. 0 for what has none.
pub fn integrity(kernel_name: &str) -> u8 {
    match Hash::ALL.into_iter().find(|hash| hash.facts().kernel_hmac == kernel_name) {
        Some(Hash::Md5) => 2,
        Some(Hash::Sha1) => 3,
        Some(Hash::Sha256) => 5,
        Some(Hash::Sha384) => 6,
        Some(Hash::Sha512) => 7,
        None if kernel_name == "hmac(rmd160)" => 8,
        None if kernel_name == "xcbc(aes)" => 9,
        None => 0,
    }
}

/// `SADB_X_CALG_DEFLATE`.
pub const DEFLATE: u8 = 2;
