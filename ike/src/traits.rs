//! What a peer can do, told by its vendor IDs (RFC 2408 §3.16), and what we tell of ourselves.

use policy::model::remote::{IkeFrag, NatTraversal, Remote};

use crate::message::Role;
use crate::wire::number::PayloadType;

/// Vendor ID of this implementation: 16 octets drawn once.
///
/// A peer that sends it installs its inbound SA before it answers a quick mode, so that we may send on the outbound SA
/// at once; others install after QM3 and get a grace.
const XFRMD: [u8; 16] =
    [0x6c, 0x3a, 0x51, 0x0e, 0x8f, 0x27, 0xd4, 0x92, 0x1b, 0xc5, 0x7e, 0x60, 0xa9, 0x33, 0xee, 0x48];
/// RFC 3706 §3.1; two octets of version follow.
const DPD: [u8; 14] = [0xaf, 0xca, 0xd7, 0x13, 0x68, 0xa1, 0xf1, 0xc9, 0x6b, 0x86, 0x96, 0xfc, 0x77, 0x57];
const DPD_VERSION: [u8; 2] = [1, 0];
/// IKE fragmentation as Cisco and Microsoft have it; capabilities may follow.
const FRAGMENTATION: [u8; 16] =
    [0x40, 0x48, 0xb7, 0xd5, 0x6e, 0xbc, 0xe8, 0x85, 0x25, 0xe7, 0xde, 0x7f, 0x00, 0xd6, 0xc2, 0xd3];
const FRAGMENTATION_CAPABILITIES: [u8; 4] = [0x80, 0, 0, 0];
/// draft-beaulieu-ike-xauth-02 §3.
const XAUTH: [u8; 8] = [0x09, 0x00, 0x26, 0x89, 0xdf, 0xd6, 0xb7, 0x12];
/// Cisco Unity; two octets of version follow.
const UNITY: [u8; 14] = [0x12, 0xf5, 0xf2, 0x8c, 0x45, 0x71, 0x68, 0xa9, 0x70, 0x2d, 0x9f, 0xe2, 0x74, 0xcc];
const UNITY_VERSION: [u8; 2] = [1, 0];

/// NAT traversal as an RFC and its drafts had it, best last (payload and encapsulation numbers of all drafts are the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NatDialect {
    /// draft-ietf-ipsec-nat-t-ike-02, its name hashed with a newline, as most implementations of it did.
    Draft02Newline,
    /// draft-ietf-ipsec-nat-t-ike-02.
    Draft02,
    /// draft-ietf-ipsec-nat-t-ike-03.
    Draft03,
    /// RFC 3947.
    Rfc3947,
}

/// MD5 of "draft-ietf-ipsec-nat-t-ike-02", of the same with a newline, of "draft-ietf-ipsec-nat-t-ike-03" and of
/// "RFC 3947".
const NAT_DIALECTS: [(NatDialect, [u8; 16]); 4] = [
    (
        NatDialect::Draft02,
        [0xcd, 0x60, 0x46, 0x43, 0x35, 0xdf, 0x21, 0xf8, 0x7c, 0xfd, 0xb2, 0xfc, 0x68, 0xb6, 0xa4, 0x48],
    ),
    (
        NatDialect::Draft02Newline,
        [0x90, 0xcb, 0x80, 0x91, 0x3e, 0xbb, 0x69, 0x6e, 0x08, 0x63, 0x81, 0xb5, 0xec, 0x42, 0x7b, 0x1f],
    ),
    (
        NatDialect::Draft03,
        [0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d, 0x56],
    ),
    (
        NatDialect::Rfc3947,
        [0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f],
    ),
];

impl NatDialect {
    /// As racoon logs it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Draft02Newline => "draft-ietf-ipsec-nat-t-ike-02\\n",
            Self::Draft02 => "draft-ietf-ipsec-nat-t-ike-02",
            Self::Draft03 => "draft-ietf-ipsec-nat-t-ike-03",
            Self::Rfc3947 => "RFC 3947",
        }
    }

    /// The payload of a hashed address.
    pub(crate) fn discovery_payload(self) -> PayloadType {
        if self == Self::Rfc3947 { PayloadType::NAT_D } else { PayloadType::NAT_D_DRAFT }
    }

    /// The payload of an original address.
    pub(crate) fn address_payload(self) -> PayloadType {
        if self == Self::Rfc3947 { PayloadType::NAT_OA } else { PayloadType::NAT_OA_DRAFT }
    }
}

/// What NAT discovery found on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    /// The dialect that both sides speak and the configuration allows; without it nothing is sent or found.
    pub(crate) dialect: Option<NatDialect>,
    /// Something rewrites our address: we keep its mapping alive.
    pub(crate) own: bool,
    /// Something rewrites the peer's address, or the peer says so: it may move.
    pub(crate) peer: bool,
    /// `nat_traversal force`: encapsulated whether there is a NAT or not.
    pub(crate) forced: bool,
}

impl Nat {
    /// The dialect in which ESP goes into UDP; `None` is plain ESP.
    pub(crate) fn in_udp(&self) -> Option<NatDialect> {
        self.dialect.filter(|_| self.own || self.peer || self.forced)
    }
}

/// What the peer's vendor IDs promise, and what NAT discovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerTraits {
    /// It is an xfrmd.
    pub(crate) xfrmd: bool,
    /// It answers R-U-THERE.
    pub(crate) dpd: bool,
    /// It reassembles IKE fragments.
    pub(crate) fragmentation: bool,
    /// It does extended authentication.
    pub(crate) xauth: bool,
    /// It knows Cisco's configuration attributes.
    pub(crate) unity: bool,
    /// The best NAT traversal it speaks.
    pub(crate) nat: Option<NatDialect>,
    /// What discovery found between us.
    pub(crate) path_nat: Nat,
}

impl PeerTraits {
    /// Reads the vendor IDs of one message and adds them to what is known.
    pub(crate) fn read<'a>(&mut self, vendor_ids: impl Iterator<Item = &'a [u8]>) {
        for vendor in vendor_ids {
            self.xfrmd |= vendor == XFRMD;
            self.dpd |= vendor.starts_with(&DPD);
            self.fragmentation |= vendor.starts_with(&FRAGMENTATION);
            self.xauth |= vendor == XAUTH;
            self.unity |= vendor.starts_with(&UNITY);
            let dialect = NAT_DIALECTS.iter().find(|(_, id)| vendor == id).map(|(dialect, _)| *dialect);
            self.nat = self.nat.max(dialect);
        }
    }

    /// Are large messages to this peer cut: `ike_frag on` if it says that it takes fragments, `force` whatever it says?
    pub(crate) fn takes_fragments(&self, remote: &Remote) -> bool {
        match remote.ike_frag {
            IkeFrag::Off => false,
            IkeFrag::On => self.fragmentation,
            IkeFrag::Force => true,
        }
    }

    /// Our vendor IDs for a first message: all that the configuration allows as initiator, as responder those of them
    /// that the peer sent, so that MM2 is never larger than MM1 (ATTACKS section 1).
    pub(crate) fn ours(&self, remote: &Remote, role: Role) -> Vec<Vec<u8>> {
        let first = role == Role::Initiator;
        let uses_xauth = remote.proposals.iter().any(|proposal| proposal.auth.xauth().is_some());
        let mut list = Vec::new();
        let mut add = |wanted: bool, offered: bool, parts: &[&[u8]]| {
            if wanted && (first || offered) {
                list.push(parts.concat());
            }
        };
        add(true, self.xfrmd, &[&XFRMD]);
        add(remote.dpd.offered, self.dpd, &[&DPD, &DPD_VERSION]);
        add(remote.ike_frag != IkeFrag::Off, self.fragmentation, &[&FRAGMENTATION, &FRAGMENTATION_CAPABILITIES]);
        add(uses_xauth, self.xauth, &[&XAUTH]);
        add(uses_xauth || remote.mode_cfg, self.unity, &[&UNITY, &UNITY_VERSION]);
        if remote.nat_traversal != NatTraversal::Off {
            for (dialect, id) in NAT_DIALECTS.iter().rev() {
                // A responder names the one that it chose.
                add(true, self.nat == Some(*dialect), &[id]);
            }
        }
        list
    }
}
