//! What a benchmark finds in place: a journal of many SAs with the setkey script that makes them, a CRL of many entries.

pub mod crl;
pub mod journal;
pub mod run;
