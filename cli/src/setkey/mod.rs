//! setkey: the SAD and the SPD by hand, in the original's grammar and with its output, over XFRM netlink.

pub mod dump;
pub mod lower;
pub mod monitor;
pub mod names;
pub mod options;
pub mod pfkey;
pub mod protocols;
pub mod run;
pub mod talk;
