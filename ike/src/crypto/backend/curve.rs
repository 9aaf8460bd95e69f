//! Diffie-Hellman on elliptic curves in Rust alone (RFC 5903, RFC 6932): public values are both coordinates, the shared
//! secret is the first.

use bp256::BrainpoolP256r1;
use bp384::BrainpoolP384r1;
use elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, NonZeroScalar, PublicKey, ecdh};
use p256::NistP256;
use p384::NistP384;
use p521::NistP521;
use policy::model::algorithm::Group;
use policy::model::secret::Secret;
use zeroize::Zeroizing;

use crate::crypto::provider::CryptoError;

/// Draws of a scalar below the curve's order: each succeeds with more than half of all random octets.
const DRAWS: usize = 128;

/// The mark of an uncompressed point (SEC 1 §2.3.3), which IKE leaves out.
const UNCOMPRESSED: u8 = 4;

/// A fresh scalar and its public value.
///
/// # Errors
/// [`CryptoError::Library`] for groups that no crate here has, or if `random` gives nothing but octets beyond the order.
pub fn generate(group: Group, random: &dyn Fn(&mut [u8])) -> Result<(Secret, Vec<u8>), CryptoError> {
    match group {
        Group::Ecp256 => fresh::<NistP256>(random),
        Group::Ecp384 => fresh::<NistP384>(random),
        Group::Ecp521 => fresh::<NistP521>(random),
        Group::Brainpool256 => fresh::<BrainpoolP256r1>(random),
        Group::Brainpool384 => fresh::<BrainpoolP384r1>(random),
        other => Err(lacking(other)),
    }
}

/// The first coordinate of `secret` times the peer's point.
///
/// # Errors
/// [`CryptoError::PublicValue`] for a point that is not on the curve, or of another length.
pub fn agree(group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError> {
    match group {
        Group::Ecp256 => first_coordinate::<NistP256>(group, secret, peer_public),
        Group::Ecp384 => first_coordinate::<NistP384>(group, secret, peer_public),
        Group::Ecp521 => first_coordinate::<NistP521>(group, secret, peer_public),
        Group::Brainpool256 => first_coordinate::<BrainpoolP256r1>(group, secret, peer_public),
        Group::Brainpool384 => first_coordinate::<BrainpoolP384r1>(group, secret, peer_public),
        other => Err(lacking(other)),
    }
}

fn lacking(group: Group) -> CryptoError {
    CryptoError::Library(format!("group {} ({}) is not in this build", group.number(), group.racoon_name()))
}

fn fresh<C>(random: &dyn Fn(&mut [u8])) -> Result<(Secret, Vec<u8>), CryptoError>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let mut octets = Zeroizing::new(FieldBytes::<C>::default());
    // The order of P-521 has one bit in its first octet.
    let mask = if octets.len() == 66 { 1 } else { 0xff };
    for _ in 0..DRAWS {
        random(octets.as_mut_slice());
        if let Some(first) = octets.first_mut() {
            *first &= mask;
        }
        if let Some(scalar) = NonZeroScalar::<C>::from_repr(*octets).into_option() {
            let scalar = Zeroizing::new(scalar);
            let point = PublicKey::<C>::from_secret_scalar(&scalar).to_sec1_point(false);
            let coordinates = point.as_bytes().get(1..).unwrap_or_default().to_vec();
            return Ok((Secret::new(octets.to_vec()), coordinates));
        }
    }
    Err(CryptoError::Library("the source of random octets gives no scalar".to_owned()))
}

fn first_coordinate<C>(group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let octets = peer_public.len();
    let illegal = CryptoError::PublicValue { group, octets };
    if octets != group.octets() {
        return Err(illegal);
    }
    let encoded = [&[UNCOMPRESSED], peer_public].concat();
    let point = PublicKey::<C>::from_sec1_bytes(&encoded).map_err(|_| illegal)?;
    let repr = FieldBytes::<C>::try_from(secret.expose()).map_err(|_| bad_scalar())?;
    let scalar = NonZeroScalar::<C>::from_repr(repr).into_option().map(Zeroizing::new).ok_or_else(bad_scalar)?;
    let shared = ecdh::diffie_hellman::<C>(&*scalar, point.as_affine());
    Ok(Secret::new(shared.raw_secret_bytes().to_vec()))
}

/// Cannot be of a scalar that [`generate`] gave.
fn bad_scalar() -> CryptoError {
    CryptoError::Library("the scalar is of another curve".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    /// RFC 5903 §8.1.
    #[test]
    fn the_256_bit_example_of_rfc_5903() {
        let i = Secret::new(hex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433"));
        let public_r = hex("d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63\
             56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab");
        let secret = agree(Group::Ecp256, &i, &public_r).unwrap();
        assert_eq!(secret.expose(), hex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"));
        let (_, public_i) = generate(Group::Ecp256, &|out| out.copy_from_slice(i.expose())).unwrap();
        assert_eq!(
            public_i,
            hex("dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180\
                 5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3")
        );
    }

    #[test]
    fn groups_without_a_crate_say_so() {
        let error = generate(Group::Brainpool512, &|out| out.fill(1)).unwrap_err();
        assert_eq!(error.to_string(), "group 30 (brainpoolp512r1) is not in this build");
        assert!(agree(Group::Brainpool224, &Secret::new(vec![1; 28]), &[1; 56]).is_err());
    }

    #[test]
    fn a_source_that_gives_nothing_ends() {
        assert!(matches!(generate(Group::Ecp256, &|out| out.fill(0)), Err(CryptoError::Library(_))));
        assert!(matches!(generate(Group::Ecp384, &|out| out.fill(0xff)), Err(CryptoError::Library(_))));
    }
}
