//! Quick mode (RFC 2409 §5.5): a file per role, what both share in `exchange`, `proposal`, `sainfo` and
//! `selector`.

pub(crate) mod exchange;
pub(crate) mod proposal;
pub(crate) mod quick;
pub(crate) mod quick_initiator;
pub(crate) mod quick_responder;
pub(crate) mod sainfo;
pub(crate) mod selector;
pub(crate) mod suite;
pub(crate) mod wish;
mod words;
