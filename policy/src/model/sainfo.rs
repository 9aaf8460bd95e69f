//! Phase 2 parameters (racoon.conf: `sainfo`).

use super::algorithm::{Group, Integrity, SizedCipher};
use super::identity::{Identity, PeersIdentifier};
use super::lifetime::Lifetime;
use super::selector::UpperProtocol;

/// One side of a sainfo header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SainfoId {
    /// `anonymous`: anything.
    Anonymous,
    /// `clientaddr`, remote side only: the address that mode config gave the peer, or the peer's own.
    ClientAddress,
    /// An address, network or range, with protocol and port (0 any).
    Selector {
        /// `Address`, `Subnet` or `Range`; a name (`fqdn`, `user_fqdn`, `keyid`) is kept, but no traffic is like it.
        id: Identity,
        /// Upper-layer protocol.
        protocol: UpperProtocol,
        /// Port, 0 any.
        port: u16,
    },
}

/// One `sainfo` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sainfo {
    /// Local side.
    pub local: SainfoId,
    /// Remote side.
    pub remote: SainfoId,
    /// `from IDTYPE [value]`: only for peers with this phase 1 identity.
    pub from: Option<PeersIdentifier>,
    /// `group "G"`: only for peers whose XAuth user is in this group.
    pub group: Option<String>,
    /// Group of PFS; `None` proposes none and, as responder, accepts any.
    pub pfs_group: Option<Group>,
    /// Life of the IPsec SAs.
    pub lifetime: Lifetime,
    /// Ciphers in order of preference, each with one key length.
    pub ciphers: Vec<SizedCipher>,
    /// Integrity algorithms in order of preference; `None` in the list is `non_auth`. Ciphers that protect integrity
    /// themselves go without.
    pub integrity: Vec<Option<Integrity>>,
    /// `remoteid`: must equal the remote's `ph1id`; 0 none.
    pub remote_id: u32,
    /// `esn`, an extension: extended sequence numbers.
    pub esn: Esn,
    /// `allow_weak`, an extension: broken algorithms that the block names are negotiated.
    pub allow_weak: bool,
}

/// Extended sequence numbers (RFC 4304): both sides count with 64 bits, or none does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Esn {
    /// Neither offered nor accepted.
    #[default]
    Off,
    /// Nothing else is offered or accepted.
    On,
    /// Offered first and accepted, with plain sequence numbers as second choice.
    Prefer,
}
