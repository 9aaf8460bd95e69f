//! The user-mode Linux guest: how it is started and watched from outside, how it is set up from inside, and how its kernel
//! gets its modules.

pub mod boot;
pub mod modules;
pub mod rootfs;
