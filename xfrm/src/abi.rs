//! Numbers and sizes of the kernel's interface (`linux/xfrm.h`, `linux/netlink.h`) that netlink-packet-xfrm does not
//! name, and the least length of every message.

use std::fmt;

use netlink_packet_xfrm::constants as c;

/// A netlink message type; `Display` prints the XFRM name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u16);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ROWS.iter().find(|row| row.kind == self.0) {
            Some(row) => f.write_str(row.name),
            None => write!(f, "message {:#x}", self.0),
        }
    }
}

impl Kind {
    /// Octets of the fixed part of the payload. Anything shorter must not reach a decoder; `None`: not an XFRM message.
    pub fn fixed_len(self) -> Option<usize> {
        ROWS.iter().find(|row| row.kind == self.0).map(|row| row.fixed_len)
    }
}

struct Row {
    kind: u16,
    name: &'static str,
    fixed_len: usize,
}

const fn row(kind: u16, name: &'static str, fixed_len: usize) -> Row {
    Row { kind, name, fixed_len }
}

/// `sizeof` of the structure each message begins with, as the kernel's `xfrm_msg_min` has it.
const ROWS: [Row; 25] = [
    row(c::XFRM_MSG_NEWSA, "NEWSA", 224),
    row(c::XFRM_MSG_DELSA, "DELSA", 24),
    row(c::XFRM_MSG_GETSA, "GETSA", 24),
    row(c::XFRM_MSG_NEWPOLICY, "NEWPOLICY", 168),
    row(c::XFRM_MSG_DELPOLICY, "DELPOLICY", 64),
    row(c::XFRM_MSG_GETPOLICY, "GETPOLICY", 64),
    row(c::XFRM_MSG_ALLOCSPI, "ALLOCSPI", 232),
    row(c::XFRM_MSG_ACQUIRE, "ACQUIRE", 280),
    row(c::XFRM_MSG_EXPIRE, "EXPIRE", 232),
    row(c::XFRM_MSG_UPDPOLICY, "UPDPOLICY", 168),
    row(c::XFRM_MSG_UPDSA, "UPDSA", 224),
    row(c::XFRM_MSG_POLEXPIRE, "POLEXPIRE", 176),
    row(c::XFRM_MSG_FLUSHSA, "FLUSHSA", 1),
    row(c::XFRM_MSG_FLUSHPOLICY, "FLUSHPOLICY", 0),
    row(c::XFRM_MSG_NEWAE, "NEWAE", 48),
    row(c::XFRM_MSG_GETAE, "GETAE", 48),
    row(c::XFRM_MSG_REPORT, "REPORT", 60),
    row(c::XFRM_MSG_MIGRATE, "MIGRATE", 64),
    row(c::XFRM_MSG_NEWSADINFO, "NEWSADINFO", 4),
    row(c::XFRM_MSG_GETSADINFO, "GETSADINFO", 4),
    row(c::XFRM_MSG_NEWSPDINFO, "NEWSPDINFO", 4),
    row(c::XFRM_MSG_GETSPDINFO, "GETSPDINFO", 4),
    row(c::XFRM_MSG_MAPPING, "MAPPING", 64),
    row(c::XFRM_MSG_SETDEFAULT, "SETDEFAULT", 3),
    row(c::XFRM_MSG_GETDEFAULT, "GETDEFAULT", 3),
];

/// `NLMSG_ERROR`: an ACK or a refusal.
pub const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub const NLMSG_DONE: u16 = 3;

/// `NLM_F_REQUEST`.
pub const NLM_F_REQUEST: u16 = 0x1;
/// `NLM_F_MULTI`.
pub const NLM_F_MULTI: u16 = 0x2;
/// `NLM_F_ACK`.
pub const NLM_F_ACK: u16 = 0x4;
/// `NLM_F_DUMP_INTR`: the table changed during the dump.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// `NLM_F_CAPPED`: the refusal repeats only the header of the request.
pub const NLM_F_CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: attributes follow (extended ack).
pub const NLM_F_ACK_TLVS: u16 = 0x200;
/// `NLM_F_DUMP`.
pub const NLM_F_DUMP: u16 = 0x300;
/// `NLM_F_EXCL | NLM_F_CREATE`, which iproute2 and strongSwan send with additions.
pub const NLM_F_ADD: u16 = 0x200 | 0x400;

/// `NLMSGERR_ATTR_MSG`: the kernel's words.
pub const NLMSGERR_ATTR_MSG: u16 = 1;

/// Octets of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;
/// Octets of `struct nlattr`.
pub const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Alignment of messages and attributes.
pub const ALIGN: usize = 4;

/// Octets of `alg_name` in `struct xfrm_algo` and its kin.
pub const ALGORITHM_NAME_LEN: usize = 64;
/// Templates in a policy (`XFRM_MAX_DEPTH`).
pub const MAX_TEMPLATES: usize = 6;
/// Packets in the largest replay window (`XFRMA_REPLAY_ESN_MAX`).
pub const MAX_REPLAY_WINDOW: u32 = 4096;

/// Lowest and highest reqid that setkey may choose by hand (`IPSEC_MANUAL_REQID_MAX`); above, the system chooses.
pub const MANUAL_REQID_MAX: u32 = 0x3fff;

/// Octets rounded up to the alignment.
pub const fn align(len: usize) -> usize {
    len.div_ceil(ALIGN) * ALIGN
}
