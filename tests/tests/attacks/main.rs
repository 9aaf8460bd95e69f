//! Attacks on an endpoint, each beside the legal traffic it resembles. Names refer to the rows of the catalogue of attacks.

mod clear;
mod floods;
mod fragments;
mod identities;
mod informationals;
mod logins;
mod missing;
mod proposals;
mod states;
mod stranger;
