//! What may be negotiated.

use super::algorithm::{AuthMethod, Group, Hash, SizedCipher};
use super::lifetime::Lifetime;

/// One phase 1 transform (racoon.conf: a `proposal {}` block).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase1Proposal {
    /// Cipher and key length.
    pub cipher: SizedCipher,
    /// Hash, also the PRF.
    pub hash: Hash,
    /// Authentication method.
    pub auth: AuthMethod,
    /// Diffie-Hellman group.
    pub group: Group,
    /// Life of the ISAKMP SA.
    pub lifetime: Lifetime,
}

/// How a responder treats a proposal that differs from its own (racoon.conf: `proposal_check`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProposalCheck {
    /// The peer decides.
    Obey,
    /// A longer life or a weaker key than ours is refused.
    #[default]
    Strict,
    /// As strict, but a longer phase 2 life is cut to ours and the peer told (RESPONDER-LIFETIME).
    Claim,
    /// Everything must be equal.
    Exact,
}
