//! The keys of an ISAKMP SA (RFC 2409 §5 and appendix B).

use policy::model::algorithm::{Hash, SizedCipher};
use policy::model::secret::Secret;
use zeroize::Zeroizing;

use super::backend::prf;
use crate::wire::header::Cookie;

/// SKEYID and what is derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeyids {
    /// SKEYID_d: keying material of the children.
    pub d: Secret,
    /// SKEYID_a: authenticates messages.
    pub a: Secret,
    /// SKEYID_e: encrypts messages.
    pub e: Secret,
    /// SKEYID: authenticates phase 1.
    pub base: Secret,
}

/// For signatures: SKEYID = prf(Ni_b | Nr_b, g^xy).
///
/// `ni` and `nr` are the bodies of the nonces, `gxy` is as long as the group's prime.
pub fn derive_signature(hash: Hash, ni: &[u8], nr: &[u8], gxy: &Secret, cky_i: Cookie, cky_r: Cookie) -> Skeyids {
    let base = prf(hash, &[ni, nr].concat(), &[gxy.expose()]);
    derive(hash, Secret::new(base), gxy, cky_i, cky_r)
}

/// For pre-shared keys: SKEYID = prf(key, Ni_b | Nr_b). Otherwise as [`derive_signature`].
pub fn derive_psk(
    hash: Hash,
    psk: &Secret,
    ni: &[u8],
    nr: &[u8],
    gxy: &Secret,
    cky_i: Cookie,
    cky_r: Cookie,
) -> Skeyids {
    let base = prf(hash, psk.expose(), &[ni, nr]);
    derive(hash, Secret::new(base), gxy, cky_i, cky_r)
}

/// SKEYID_d, _a and _e from SKEYID, however that was made.
pub fn derive(hash: Hash, base: Secret, gxy: &Secret, cky_i: Cookie, cky_r: Cookie) -> Skeyids {
    let step = |before: &[u8], number: u8| {
        Secret::new(prf(hash, base.expose(), &[before, gxy.expose(), &cky_i.0, &cky_r.0, &[number]]))
    };
    let d = step(&[], 0);
    let a = step(d.expose(), 1);
    let e = step(a.expose(), 2);
    Skeyids { d, a, e, base }
}

/// The key of the ISAKMP SA's cipher: the first octets of SKEYID_e, stretched if there are too few (appendix B).
pub fn phase1_key(hash: Hash, e: &Secret, cipher: SizedCipher) -> Secret {
    let octets = cipher.key_octets();
    if let Some(key) = e.expose().get(..octets) {
        return Secret::new(key.to_vec());
    }
    let mut key = Zeroizing::new(Vec::with_capacity(octets + hash.facts().output));
    let mut block = Zeroizing::new(prf(hash, e.expose(), &[&[0]]));
    while key.len() < octets {
        key.extend_from_slice(&block);
        block = Zeroizing::new(prf(hash, e.expose(), &[&block]));
    }
    Secret::new(key.get(..octets).unwrap_or_default().to_vec())
}
