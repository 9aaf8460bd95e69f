//! Initialisation vectors (RFC 2409 appendix B).

use policy::model::algorithm::{Hash, SizedCipher};

use super::backend::digest;

/// For the first encrypted message of phase 1: hash(g^xi | g^xr), cut to a block.
pub fn phase1_iv(hash: Hash, cipher: SizedCipher, gxi: &[u8], gxr: &[u8]) -> Vec<u8> {
    cut(digest(hash, &[gxi, gxr]), cipher)
}

/// For the first message of a message ID after phase 1: hash(last ciphertext block of phase 1 | M-ID), cut to a block.
///
/// If nothing was encrypted in phase 1 (aggressive mode may end so), [`phase1_iv`] stands for that block.
pub fn phase2_iv(hash: Hash, cipher: SizedCipher, last_block: &[u8], message_id: u32) -> Vec<u8> {
    cut(digest(hash, &[last_block, &message_id.to_be_bytes()]), cipher)
}

/// For the next message: the last ciphertext block of this one.
pub fn last_block(cipher: SizedCipher, ciphertext: &[u8]) -> Option<&[u8]> {
    ciphertext.get(ciphertext.len().checked_sub(cipher.cipher.facts().block)?..)
}

/// Every hash of the table is at least as long as every block.
fn cut(mut digest: Vec<u8>, cipher: SizedCipher) -> Vec<u8> {
    digest.truncate(cipher.cipher.facts().block);
    digest
}
