//! Cutting a certificate off: the deny list, the journal that says which kernel SA rests on which certificate, and how
//! an operator names a certificate.
//!
//! Nothing here needs a running daemon: `xfrmctl` uses these modules as they are when `xfrmd` is dead.

pub mod audit;
pub mod crl;
pub mod deletion;
pub mod deny_list;
pub mod issuer;
pub mod journal;
pub mod keylime;
pub mod revoke;
pub mod serial;
pub mod stamp;

#[cfg(test)]
mod kill_tests;
