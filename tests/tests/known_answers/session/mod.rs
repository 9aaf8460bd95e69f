//! Recorded sessions with our endpoint in the place of one side: it is given the recorded cookie, nonces, public values
//! and SPIs, and has to send what was recorded and to install the keys that the kernel got.
//!
//! What the other side recorded goes in as it was, but encrypted along the chain of blocks that our own messages make
//! (ours have other vendor IDs and certificate requests than charon's). As initiator our SA payload has its attributes in
//! another order, which SKEYID does not depend on but HASH_R and the responder's signature do: these two are made anew.

pub mod peer;
pub mod play;
pub mod provider;

use std::net::IpAddr;

use ike::crypto::hash::Transcript;
use ike::crypto::skeyid::Skeyids;
use ike::wire::header::Cookie;
use ike::wire::identification::IdPayload;
use ike::wire::number::{ExchangeType, PayloadType, phase1_attr, phase2_attr};
use ike::wire::sa::{SaPayload, Transform};
use policy::model::algorithm::{AuthMethod, Cipher, Group, Hash, Integrity, SizedCipher, XauthSide};
use policy::model::identity::Identity;
use policy::model::secret::Secret;

use crate::replay::{Message, Replay};

/// What a recording is told apart by beyond its messages.
pub struct Session {
    pub name: String,
    /// Initiator's and responder's address.
    pub addresses: [[u8; 4]; 2],
    pub cookies: (Cookie, Cookie),
    pub hash: Hash,
    pub cipher: SizedCipher,
    /// The pre-shared key, where there is one.
    pub psk: Option<&'static str>,
    pub skeyids: Skeyids,
    /// Shared secrets of phase 1 and of the first quick mode (empty without PFS).
    pub gxy: Secret,
    pub quick_gxy: Secret,
    pub messages: Vec<Message>,
}

/// A side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Initiator,
    Responder,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::Initiator => "I",
            Self::Responder => "R",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

impl Session {
    /// The address of a side.
    pub fn address(&self, side: Side) -> IpAddr {
        let [initiator, responder] = self.addresses;
        IpAddr::from(if side == Side::Initiator { initiator } else { responder })
    }

    /// The messages of a recording in order.
    pub fn messages(replay: Replay) -> Vec<Message> {
        let Replay { mut phase1, protected, .. } = replay;
        phase1.extend(protected);
        phase1
    }

    /// Bodies of a kind that a side sent, in order.
    pub fn bodies(&self, side: Side, kind: PayloadType) -> Vec<Vec<u8>> {
        let mine = self.messages.iter().filter(|message| message.from == side.name());
        mine.filter_map(|message| message.body_of(kind)).map(<[u8]>::to_vec).collect()
    }

    fn first(&self, side: Side, kind: PayloadType) -> Vec<u8> {
        self.bodies(side, kind).first().unwrap_or_else(|| panic!("{}: no {kind:?}", self.name)).clone()
    }

    /// The only transform of phase 1.
    pub fn phase1_transform(&self) -> Transform {
        SaPayload::decode(&self.first(Side::Initiator, PayloadType::SA)).unwrap().proposals[0].transforms[0].clone()
    }

    /// Quick mode's first messages.
    pub fn quick_firsts(&self) -> Vec<&Message> {
        self.of_quick(Side::Initiator).into_iter().filter(|m| m.body_of(PayloadType::SA).is_some()).collect()
    }

    /// A side's messages of quick modes.
    pub fn of_quick(&self, side: Side) -> Vec<&Message> {
        let quick = |message: &&Message| message.header.exchange == ExchangeType::QUICK && message.from == side.name();
        self.messages.iter().filter(quick).collect()
    }

    /// The SPIs that a side chose, in order.
    pub fn spis(&self, side: Side) -> Vec<u32> {
        let with_sa = |message: &&&Message| message.body_of(PayloadType::SA).is_some();
        self.of_quick(side).iter().filter(with_sa).map(|message| message.first_spi()).collect()
    }

    pub fn auth(&self, ours: Side) -> AuthMethod {
        let number = number(&self.phase1_transform(), phase1_attr::AUTH_METHOD).unwrap();
        // The recorded XAuth sessions have their client as initiator.
        let xauth = if ours == Side::Initiator { XauthSide::Client } else { XauthSide::Server };
        let known = |method: &AuthMethod| {
            u64::from(method.number(ours == Side::Initiator)) == number
                && method.xauth().is_none_or(|side| side == xauth)
        };
        AuthMethod::ALL.into_iter().find(known).unwrap()
    }

    pub fn group(&self) -> Group {
        group(&self.phase1_transform(), phase1_attr::GROUP).unwrap()
    }

    pub fn phase1_life(&self) -> u64 {
        number(&self.phase1_transform(), phase1_attr::LIFE_DURATION).unwrap()
    }

    pub fn identity(&self, side: Side) -> Identity {
        IdPayload::decode(&self.first(side, PayloadType::ID)).unwrap().to_identity().unwrap()
    }

    /// Are the first messages of aggressive mode?
    pub fn is_aggressive(&self) -> bool {
        self.messages[0].header.exchange == ExchangeType::AGGRESSIVE
    }

    /// Does the initiator's proof come with INITIAL-CONTACT?
    pub fn tells_initial_contact(&self) -> bool {
        self.messages
            .iter()
            .any(|message| message.header.message_id == 0 && message.body_of(PayloadType::NOTIFY).is_some())
    }

    /// Quick mode's transform, taken apart.
    pub fn quick_suite(&self) -> QuickSuite {
        let first = self.quick_firsts()[0];
        let sa = SaPayload::decode(first.body_of(PayloadType::SA).unwrap()).unwrap();
        let transform = &sa.proposals[0].transforms[0];
        let cipher = Cipher::from_esp(transform.id).unwrap();
        let bits = number(transform, phase2_attr::KEY_LENGTH).map(|bits| u16::try_from(bits).unwrap());
        QuickSuite {
            cipher: SizedCipher { cipher, key_bits: bits },
            integrity: number(transform, phase2_attr::AUTH)
                .map(|auth| Integrity::from_auth(u16::try_from(auth).unwrap()).unwrap()),
            group: group(transform, phase2_attr::GROUP),
            tunnel: number(transform, phase2_attr::ENCAPSULATION) == Some(1),
            life: number(transform, phase2_attr::LIFE_DURATION).unwrap(),
        }
    }

    pub fn transcript<'a>(&self, publics: &'a [Vec<u8>; 2], sa_i: &'a [u8]) -> Transcript<'a> {
        let (cky_i, cky_r) = self.cookies;
        Transcript { gxi: &publics[0], gxr: &publics[1], cky_i, cky_r, sa_i }
    }

    /// Both public values of phase 1.
    pub fn publics(&self) -> [Vec<u8>; 2] {
        [Side::Initiator, Side::Responder].map(|side| self.first(side, PayloadType::KE))
    }
}

/// What a quick mode negotiated.
pub struct QuickSuite {
    pub cipher: SizedCipher,
    pub integrity: Option<Integrity>,
    pub group: Option<Group>,
    pub tunnel: bool,
    pub life: u64,
}

fn number(transform: &Transform, kind: u16) -> Option<u64> {
    transform.attribute(kind).and_then(|attribute| attribute.as_number())
}

fn group(transform: &Transform, kind: u16) -> Option<Group> {
    number(transform, kind).map(|group| Group::from_number(u16::try_from(group).unwrap()).unwrap())
}
