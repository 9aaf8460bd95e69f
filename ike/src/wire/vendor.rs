//! Vendor IDs (RFC 2408 §3.16): who is at the other end and what it can do, told by well-known hashes.

/// NAT traversal (RFC 3947 §3.1).
pub const NAT_T_RFC3947: [u8; 16] =
    [0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f];

/// Dead peer detection 1.0 (RFC 3706 §5.1).
pub const DPD: [u8; 16] =
    [0xaf, 0xca, 0xd7, 0x13, 0x68, 0xa1, 0xf1, 0xc9, 0x6b, 0x86, 0x96, 0xfc, 0x77, 0x57, 0x01, 0x00];

/// XAUTH (draft-ietf-ipsec-isakmp-xauth-06).
pub const XAUTH: [u8; 8] = [0x09, 0x00, 0x26, 0x89, 0xdf, 0xd6, 0xb7, 0x12];

/// Cisco's Unity 1.0.
pub const CISCO_UNITY: [u8; 16] =
    [0x12, 0xf5, 0xf2, 0x8c, 0x45, 0x71, 0x68, 0xa9, 0x70, 0x2d, 0x9f, 0xe2, 0x74, 0xcc, 0x01, 0x00];

/// IKE fragmentation; four octets of capabilities may follow (\[MS-IKEE\] §2.2.3).
pub const FRAGMENTATION: [u8; 16] =
    [0x40, 0x48, 0xb7, 0xd5, 0x6e, 0xbc, 0xe8, 0x85, 0x25, 0xe7, 0xde, 0x7f, 0x00, 0xd6, 0xc2, 0xd3];

/// racoon.
pub const KAME_RACOON: [u8; 16] =
    [0x70, 0x03, 0xcb, 0xc1, 0x09, 0x7d, 0xbe, 0x9c, 0x26, 0x00, 0xba, 0x69, 0x83, 0xbc, 0x8b, 0x35];

/// Microsoft; four octets of version may follow.
pub const MS_NT5: [u8; 16] =
    [0x1e, 0x2b, 0x51, 0x69, 0x05, 0x99, 0x1c, 0x7d, 0x7c, 0x96, 0xfc, 0xbf, 0xb5, 0x87, 0xe4, 0x61];

/// NAT traversal draft 00.
pub const NAT_T_00: [u8; 16] =
    [0x44, 0x85, 0x15, 0x2d, 0x18, 0xb6, 0xbb, 0xcd, 0x0b, 0xe8, 0xa8, 0x46, 0x95, 0x79, 0xdd, 0xcc];

/// NAT traversal draft 02.
pub const NAT_T_02: [u8; 16] =
    [0xcd, 0x60, 0x46, 0x43, 0x35, 0xdf, 0x21, 0xf8, 0x7c, 0xfd, 0xb2, 0xfc, 0x68, 0xb6, 0xa4, 0x48];

/// NAT traversal draft 02, hashed with a newline: what most peers of that time sent.
pub const NAT_T_02_NEWLINE: [u8; 16] =
    [0x90, 0xcb, 0x80, 0x91, 0x3e, 0xbb, 0x69, 0x6e, 0x08, 0x63, 0x81, 0xb5, 0xec, 0x42, 0x7b, 0x1f];

/// NAT traversal draft 03.
pub const NAT_T_03: [u8; 16] =
    [0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d, 0x56];

/// Whether more octets (a version, capabilities) may follow the known ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Whole,
    Prefix,
}

/// Octets, how they match, and the name as racoon logs it.
const KNOWN: [(&[u8], Match, &str); 11] = [
    (&NAT_T_RFC3947, Match::Whole, "RFC 3947"),
    // The last two octets are the version.
    (DPD.split_at(14).0, Match::Prefix, "DPD"),
    (&XAUTH, Match::Whole, "draft-ietf-ipsra-isakmp-xauth-06.txt"),
    (CISCO_UNITY.split_at(14).0, Match::Prefix, "CISCO-UNITY"),
    (&FRAGMENTATION, Match::Prefix, "FRAGMENTATION"),
    (&KAME_RACOON, Match::Whole, "KAME/racoon"),
    (&MS_NT5, Match::Prefix, "MS NT5 ISAKMPOAKLEY"),
    (&NAT_T_00, Match::Whole, "draft-ietf-ipsec-nat-t-ike-00"),
    (&NAT_T_02, Match::Whole, "draft-ietf-ipsec-nat-t-ike-02"),
    (&NAT_T_02_NEWLINE, Match::Whole, "draft-ietf-ipsec-nat-t-ike-02"),
    (&NAT_T_03, Match::Whole, "draft-ietf-ipsec-nat-t-ike-03"),
];

/// The name of a vendor ID, as racoon logs it.
pub fn name_of(id: &[u8]) -> Option<&'static str> {
    KNOWN.iter().find_map(|(octets, how, name)| {
        let same = match how {
            Match::Whole => id == *octets,
            Match::Prefix => id.starts_with(octets),
        };
        same.then_some(*name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_tail() {
        assert_eq!(name_of(&DPD), Some("DPD"));
        assert_eq!(name_of(&NAT_T_RFC3947), Some("RFC 3947"));
        assert_eq!(name_of(&[&FRAGMENTATION[..], &[0x80, 0, 0, 0]].concat()), Some("FRAGMENTATION"));
        assert_eq!(name_of(&FRAGMENTATION), Some("FRAGMENTATION"));
        assert_eq!(name_of(&[&NAT_T_RFC3947[..], &[0]].concat()), None);
        for length in 0..8 {
            assert_eq!(name_of(&XAUTH[..length]), None);
        }
    }
}
