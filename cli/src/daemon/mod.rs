//! The daemon: everything around the core. Start at [`run`], the loop; [`lower`] is where the core's words and the
//! kernel's meet.

pub mod addresses;
pub mod clock;
pub mod commands;
pub mod control;
pub mod driver;
pub mod feed;
pub mod files;
pub mod generated;
pub mod held;
pub mod hooks;
pub mod kernel;
pub mod listen;
pub mod lower;
pub mod mirror;
pub mod neighbour;
pub mod password;
pub mod peers;
pub mod pidfile;
pub mod racoon;
pub mod registry;
pub mod revokers;
pub mod run;
pub mod start;
pub mod udp;
pub mod workers;
