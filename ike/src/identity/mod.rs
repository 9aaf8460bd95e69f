//! Who a peer says it is, and whether that is whom the configuration expects.
//!
//! Names are compared by the rules of RFC 5280 §7.1, never octet by octet; nothing here opens a file or knows a key.

pub mod choice;
pub mod der;
pub mod dn;
pub mod matching;
