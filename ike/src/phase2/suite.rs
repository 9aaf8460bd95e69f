//! How a child is protected: one [`Protection`] for each of its protocols, and what of it stands in a transform
//! (RFC 2407 §4.4 and §4.5, RFC 4304 §2).

use policy::model::algorithm::{Cipher, Group, Integrity, SizedCipher};
use policy::model::lifetime::Lifetime;
use policy::model::remote::Remote;
use policy::model::sa::Protocol;
use policy::model::sainfo::{Esn, Sainfo};

use crate::nat::Framing;
use crate::phase1::proposal::{duration, short};
use crate::wire::attribute::Attribute;
use crate::wire::number::{extended_sequence, life_type, phase2_attr};

/// DEFLATE (RFC 2407 §4.4.5), the only compression that Linux has.
pub(super) const DEFLATE: u8 = 2;

/// What one protocol does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Encrypts, and protects integrity by itself or by an algorithm beside the cipher.
    Esp { cipher: SizedCipher, integrity: Option<Integrity>, esn: bool },
    /// Protects integrity.
    Ah { integrity: Integrity, esn: bool },
    /// Compresses.
    Ipcomp,
}

impl Protection {
    /// What a sainfo allows for a protocol, in its order of preference.
    pub(crate) fn allowed(protocol: Protocol, sainfo: &Sainfo) -> Vec<Self> {
        let plain: Vec<Self> = match protocol {
            Protocol::Esp => sainfo.ciphers.iter().flat_map(|cipher| with_integrity(*cipher, sainfo)).collect(),
            Protocol::Ah => {
                let some = sainfo.integrity.iter().copied().flatten();
                some.map(|integrity| Self::Ah { integrity, esn: false }).collect()
            }
            Protocol::Ipcomp => return vec![Self::Ipcomp],
        };
        let choices: &[bool] = match sainfo.esn {
            Esn::Off => &[false],
            Esn::On => &[true],
            Esn::Prefer => &[true, false],
        };
        choices.iter().flat_map(|esn| plain.iter().map(|protection| protection.with_esn(*esn))).collect()
    }

    fn with_esn(self, esn: bool) -> Self {
        match self {
            Self::Esp { cipher, integrity, .. } => Self::Esp { cipher, integrity, esn },
            Self::Ah { integrity, .. } => Self::Ah { integrity, esn },
            Self::Ipcomp => Self::Ipcomp,
        }
    }

    /// Which protocol.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Esp { .. } => Protocol::Esp,
            Self::Ah { .. } => Protocol::Ah,
            Self::Ipcomp => Protocol::Ipcomp,
        }
    }

    /// Transform identifier.
    pub(crate) fn transform(&self) -> u8 {
        match self {
            Self::Esp { cipher, .. } => cipher.cipher.facts().esp,
            Self::Ah { integrity, .. } => integrity.facts().ah,
            Self::Ipcomp => DEFLATE,
        }
    }

    pub(crate) fn cipher(&self) -> Option<SizedCipher> {
        match self {
            Self::Esp { cipher, .. } => Some(*cipher),
            _ => None,
        }
    }

    pub(crate) fn integrity(&self) -> Option<Integrity> {
        match self {
            Self::Esp { integrity, .. } => *integrity,
            Self::Ah { integrity, .. } => Some(*integrity),
            Self::Ipcomp => None,
        }
    }

    /// Extended sequence numbers?
    pub(crate) fn esn(&self) -> bool {
        matches!(self, Self::Esp { esn: true, .. } | Self::Ah { esn: true, .. })
    }

    /// Octets of keying material for the cipher, salt included.
    pub(crate) fn cipher_octets(&self) -> usize {
        self.cipher().map_or(0, SizedCipher::material_octets)
    }

    /// Octets of keying material for one direction: cipher key, then integrity key (RFC 2409 §5.5).
    pub(crate) fn key_octets(&self) -> usize {
        self.cipher_octets() + self.integrity().map_or(0, |integrity| integrity.facts().key_octets)
    }

    /// ICV length in bits; `sha256_96` serves peers that truncate HMAC-SHA2-256 as old Linux did.
    pub(crate) fn icv_bits(&self, remote: &Remote) -> u16 {
        use policy::model::algorithm::Hash::Sha256;
        match (self.integrity(), self.cipher()) {
            (Some(Integrity::Hmac(Sha256)), _) if remote.sha256_96 => 96,
            (Some(integrity), _) => integrity.facts().icv_bits,
            (None, Some(cipher)) => cipher.cipher.facts().aead_icv_bits.unwrap_or(0),
            (None, None) => 0,
        }
    }

    /// The attributes of a transform. The group stands in every one of them (RFC 2409 §5.5).
    pub(crate) fn attributes(&self, framing: Framing, group: Option<Group>, lifetime: Lifetime) -> Vec<Attribute> {
        let mut list = vec![
            short(phase2_attr::LIFE_TYPE, life_type::SECONDS),
            Attribute { kind: phase2_attr::LIFE_DURATION, value: duration(lifetime.time.as_secs()) },
        ];
        if let Some(kilobytes) = lifetime.kilobytes {
            list.push(short(phase2_attr::LIFE_TYPE, life_type::KILOBYTES));
            list.push(Attribute { kind: phase2_attr::LIFE_DURATION, value: duration(kilobytes) });
        }
        list.push(short(phase2_attr::ENCAPSULATION, framing.attribute()));
        if let Some(integrity) = self.integrity() {
            list.push(short(phase2_attr::AUTH, integrity.facts().auth));
        }
        if let Some(SizedCipher { cipher, key_bits: Some(bits) }) = self.cipher()
            && cipher.facts().variable_key
        {
            list.push(short(phase2_attr::KEY_LENGTH, bits));
        }
        if let Some(group) = group {
            list.push(short(phase2_attr::GROUP, group.number()));
        }
        if self.esn() {
            list.push(short(phase2_attr::EXTENDED_SEQUENCE, extended_sequence::BITS_64));
        }
        list
    }
}

/// A cipher with each integrity algorithm, as far as that is a protection at all (ATTACKS A-19).
fn with_integrity(cipher: SizedCipher, sainfo: &Sainfo) -> Vec<Protection> {
    if !cipher.cipher.facts().supported {
        return Vec::new();
    }
    if cipher.is_aead() {
        return vec![Protection::Esp { cipher, integrity: None, esn: false }];
    }
    let fits = |integrity: &Option<Integrity>| integrity.is_some() || !needs_integrity(cipher.cipher);
    let list = sainfo.integrity.iter().copied().filter(fits);
    list.map(|integrity| Protection::Esp { cipher, integrity, esn: false }).collect()
}

/// NULL alone is no protection, and a counter alone lets everybody turn the bits he likes (RFC 3686 §2.2).
pub(super) fn needs_integrity(cipher: Cipher) -> bool {
    matches!(cipher, Cipher::Null | Cipher::AesCtr)
}

/// What a quick mode agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildSuite {
    pub(crate) framing: Framing,
    /// One for each protocol.
    pub(crate) protections: Vec<Protection>,
    pub(crate) group: Option<Group>,
    pub(crate) lifetime: Lifetime,
}

impl ChildSuite {
    /// What a protocol does, if it was agreed on.
    pub(crate) fn protection(&self, protocol: Protocol) -> Option<&Protection> {
        self.protections.iter().find(|protection| protection.protocol() == protocol)
    }
}
