//! The keys of IPsec SAs (RFC 2409 §5.5).

use policy::model::algorithm::Hash;
use policy::model::sa::Spi;
use policy::model::secret::Secret;
use zeroize::Zeroizing;

use super::backend::prf;
use crate::wire::number::ProtocolId;

/// KEYMAT of one direction: K1 | K2 | ... cut to `octets`, with K1 = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b |
/// Nr_b) and each further block over the one before and the same. The encryption key comes first, then the HMAC's.
///
/// `gqm` is the secret of quick mode's own exchange (PFS); `spi` the one chosen by the receiver of that direction; `ni`
/// and `nr` the bodies of quick mode's nonces.
#[expect(clippy::too_many_arguments, reason = "the inputs of the formula, in its order")]
pub fn keymat(
    hash: Hash,
    skeyid_d: &Secret,
    gqm: Option<&Secret>,
    protocol: ProtocolId,
    spi: Spi,
    ni: &[u8],
    nr: &[u8],
    octets: usize,
) -> Secret {
    let block = |before: &[u8]| {
        let gqm = gqm.map(Secret::expose).unwrap_or_default();
        Zeroizing::new(prf(hash, skeyid_d.expose(), &[before, gqm, &[protocol.0], &spi.0.to_be_bytes(), ni, nr]))
    };
    let mut keymat = Zeroizing::new(Vec::with_capacity(octets + hash.facts().output));
    let mut last = block(&[]);
    while keymat.len() < octets {
        keymat.extend_from_slice(&last);
        last = block(&last);
    }
    Secret::new(keymat.get(..octets).unwrap_or_default().to_vec())
}
