//! Main mode (RFC 2409 §5): a file per role, what both share in `exchange` and `proposal`.

pub(crate) mod aggressive_initiator;
pub(crate) mod aggressive_responder;
pub(crate) mod exchange;
pub(crate) mod main_initiator;
pub(crate) mod main_responder;
pub(crate) mod proof;
pub(crate) mod proposal;
mod psk;
