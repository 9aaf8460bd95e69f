//! Ways in for revocations beside the operator's own (racoon.conf: `revocation`, an extension).

/// `revocation {}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationConfig {
    /// Users who may revoke over the control socket; they may do nothing else there.
    pub allowed_users: Vec<String>,
}
