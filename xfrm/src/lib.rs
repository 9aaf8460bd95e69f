//! Linux XFRM over netlink: typed security associations, policies and notices.
//!
//! Values ([`model`]) become messages ([`request`], [`codec`]), travel in pipelined windows ([`batch`], [`socket`]), and
//! what the kernel tells on its own comes back as notices ([`event_stream`]). Only `socket` and `event_stream` do I/O;
//! everything else turns values into octets and back, and is tested without root.
#![deny(unsafe_code)]

pub mod abi;
pub mod batch;
pub mod codec;
pub mod event_stream;
pub mod model;
pub mod request;
pub mod socket;
pub mod socket_policy;
