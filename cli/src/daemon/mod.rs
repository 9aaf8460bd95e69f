//! The daemon: everything around the core. Start at [`run`], the loop; [`lower`] is where the core's words and the
//! kernel's meet.

pub mod addresses;
pub mod clock;
pub mod control;
pub mod held;
pub mod kernel;
pub mod lower;
pub mod mirror;
pub mod registry;
pub mod udp;
pub mod workers;
