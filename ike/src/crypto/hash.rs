//! The HASH payloads (RFC 2409 §5, §5.5, §5.7).

use policy::model::algorithm::Hash;
use policy::model::secret::Secret;

use super::backend::{equal, prf};
use crate::wire::header::Cookie;

/// What both sides sent in phase 1, as HASH_I and HASH_R cover it.
#[derive(Clone, Copy, Debug)]
pub struct Transcript<'a> {
    /// Body of the initiator's KE payload.
    pub gxi: &'a [u8],
    /// Body of the responder's KE payload.
    pub gxr: &'a [u8],
    /// Initiator cookie.
    pub cky_i: Cookie,
    /// Responder cookie.
    pub cky_r: Cookie,
    /// Body of the initiator's SA payload as it was received, for both hashes.
    pub sa_i: &'a [u8],
}

/// HASH_I over the body of the initiator's ID payload; `base` is SKEYID.
pub fn hash_i(hash: Hash, base: &Secret, sent: &Transcript<'_>, id_i: &[u8]) -> Vec<u8> {
    let parts = [sent.gxi, sent.gxr, &sent.cky_i.0, &sent.cky_r.0, sent.sa_i, id_i];
    prf(hash, base.expose(), &parts)
}

/// HASH_R over the body of the responder's ID payload; `base` is SKEYID.
pub fn hash_r(hash: Hash, base: &Secret, sent: &Transcript<'_>, id_r: &[u8]) -> Vec<u8> {
    let parts = [sent.gxr, sent.gxi, &sent.cky_r.0, &sent.cky_i.0, sent.sa_i, id_r];
    prf(hash, base.expose(), &parts)
}

/// HASH(1) of quick mode; `rest` is every payload behind HASH, without the cipher's padding.
pub fn quick1(hash: Hash, skeyid_a: &Secret, message_id: u32, rest: &[u8]) -> Vec<u8> {
    prf(hash, skeyid_a.expose(), &[&message_id.to_be_bytes(), rest])
}

/// HASH(2) of quick mode: as [`quick1`] with the initiator's nonce body before `rest`.
pub fn quick2(hash: Hash, skeyid_a: &Secret, message_id: u32, rest: &[u8], ni: &[u8]) -> Vec<u8> {
    prf(hash, skeyid_a.expose(), &[&message_id.to_be_bytes(), ni, rest])
}

/// HASH(3) of quick mode, over both nonce bodies.
pub fn quick3(hash: Hash, skeyid_a: &Secret, message_id: u32, ni: &[u8], nr: &[u8]) -> Vec<u8> {
    prf(hash, skeyid_a.expose(), &[&[0], &message_id.to_be_bytes(), ni, nr])
}

/// HASH of an informational or transaction exchange: the formula of [`quick1`].
pub fn informational(hash: Hash, skeyid_a: &Secret, message_id: u32, rest: &[u8]) -> Vec<u8> {
    quick1(hash, skeyid_a, message_id, rest)
}

/// Is the received HASH the expected one? Takes as long wherever they differ.
pub fn matches(expected: &[u8], received: &[u8]) -> bool {
    equal(expected, received)
}
