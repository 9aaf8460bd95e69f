//! PF_KEY messages (RFC 2367, with KAME's and Linux's extensions): what `-x` prints and what recordings of it hold.
//!
//! The kernel is heard over XFRM netlink; its notices are written as the messages PF_KEY would have sent.

pub mod message;
pub mod number;
pub mod text;
