//! Public-key work by OpenSSL and random octets from the system, for the core (dependencies.md says why these).

use std::fmt;

use ike::crypto::backend::fixed_base::generator_power;
use ike::crypto::group::{self, check_public, exponent_octets};
use ike::crypto::provider::{CryptoError, DhPair, EcCurve, EcPublicKey, Provider, RsaPublicKey};
use ike::crypto::signature::check_rsa_input;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint, EcPointRef};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::rsa::{Padding, Rsa};
use policy::model::algorithm::Group;
use policy::model::secret::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The provider of the daemon.
pub struct OpensslProvider {
    random: SystemRandom,
}

impl OpensslProvider {
    /// Nothing is opened or computed yet.
    pub fn new() -> Self {
        Self { random: SystemRandom::new() }
    }
}

impl Default for OpensslProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OpensslProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpensslProvider")
    }
}

impl Provider for OpensslProvider {
    fn random(&self, out: &mut [u8]) {
        // Nothing can be kept secret without it, so there is nothing to go on with.
        self.random.fill(out).expect("the kernel gives random octets");
    }

    fn dh_generate(&self, group: Group) -> Result<DhPair, CryptoError> {
        if let Some(curve) = Curve::of(group) {
            return curve.and_then(|curve| curve.generate()).map_err(library);
        }
        let mut exponent = Zeroizing::new(vec![0; exponent_octets(group)]);
        self.random(&mut exponent);
        // The top bit makes the exponent as long as it is meant to be; it is never 0 or 1 so.
        if let Some(first) = exponent.first_mut() {
            *first |= 0x80;
        }
        let secret = Secret::new(exponent.to_vec());
        // A table is about twice as fast as OpenSSL where there is one.
        let public = match generator_power(group, &secret) {
            Some(public) => public,
            None => power(group, &[group::GENERATOR], &secret).map_err(library)?,
        };
        Ok(DhPair { secret, public: public.expose().to_vec() })
    }

    fn dh_agree(&self, group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        check_public(group, peer_public)?;
        if let Some(curve) = Curve::of(group) {
            let curve = curve.map_err(library)?;
            let point =
                curve.point(peer_public).ok_or(CryptoError::PublicValue { group, octets: peer_public.len() })?;
            return curve.agree(secret, &point).map_err(library);
        }
        power(group, peer_public, secret).map_err(library)
    }

    fn rsa_public(&self, key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        check_rsa_input(key, input)?;
        rsa_public(key, input).map_err(library)
    }

    fn ecdsa_verify(&self, key: &EcPublicKey, digest: &[u8], r: &[u8], s: &[u8]) -> Result<bool, CryptoError> {
        let group = ec_group(key.curve).map_err(library)?;
        let number = |octets: &[u8]| BigNum::from_slice(octets).map_err(library);
        // Refuses what is not on the curve.
        let key = EcKey::from_public_key_affine_coordinates(&group, &*number(&key.x)?, &*number(&key.y)?)
            .map_err(|_| CryptoError::Ecdsa("the key is no point of its curve"))?;
        let (r, s) = (number(r)?, number(s)?);
        let mut order = BigNum::new().map_err(library)?;
        let mut context = BigNumContext::new().map_err(library)?;
        group.order(&mut order, &mut context).map_err(library)?;
        if [&r, &s].into_iter().any(|number| number.num_bits() == 0 || *number >= order) {
            return Err(CryptoError::Ecdsa("r or s is zero or not below the order of the curve"));
        }
        let signature = EcdsaSig::from_private_components(r, s).map_err(library)?;
        signature.verify(digest, &key).map_err(library)
    }
}

/// OpenSSL's name of a curve.
pub fn curve_nid(curve: EcCurve) -> Nid {
    match curve {
        EcCurve::P256 => Nid::X9_62_PRIME256V1,
        EcCurve::P384 => Nid::SECP384R1,
        EcCurve::P521 => Nid::SECP521R1,
    }
}

fn ec_group(curve: EcCurve) -> Result<EcGroup, ErrorStack> {
    EcGroup::from_curve_name(curve_nid(curve))
}

/// An elliptic curve of OpenSSL's.
struct Curve {
    group: EcGroup,
    /// Octets of a coordinate.
    octets: i32,
}

impl Curve {
    /// `None` for groups that are no curves.
    fn of(group: Group) -> Option<Result<Self, ErrorStack>> {
        let nid = match group {
            Group::Ecp256 => Nid::X9_62_PRIME256V1,
            Group::Ecp384 => Nid::SECP384R1,
            Group::Ecp521 => Nid::SECP521R1,
            Group::Brainpool224 => Nid::BRAINPOOL_P224R1,
            Group::Brainpool256 => Nid::BRAINPOOL_P256R1,
            Group::Brainpool384 => Nid::BRAINPOOL_P384R1,
            Group::Brainpool512 => Nid::BRAINPOOL_P512R1,
            _ => return None,
        };
        let octets = i32::try_from(group.secret_octets()).unwrap_or(i32::MAX);
        Some(EcGroup::from_curve_name(nid).map(|group| Self { group, octets }))
    }

    fn generate(&self) -> Result<DhPair, ErrorStack> {
        let key = EcKey::generate(&self.group)?;
        let mut context = BigNumContext::new()?;
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        key.public_key().affine_coordinates(&self.group, &mut x, &mut y, &mut context)?;
        let mut public = x.to_vec_padded(self.octets)?;
        public.extend(y.to_vec_padded(self.octets)?);
        Ok(DhPair { secret: Secret::new(key.private_key().to_vec_padded(self.octets)?), public })
    }

    /// The point with these coordinates, if it lies on the curve and is not infinity: OpenSSL looks when it reads it,
    /// and once more when asked. The curves have no subgroups.
    fn point(&self, coordinates: &[u8]) -> Option<EcPoint> {
        let uncompressed = [&[4], coordinates].concat();
        let mut context = BigNumContext::new().ok()?;
        let point = EcPoint::from_bytes(&self.group, &uncompressed, &mut context).ok()?;
        let lies_on_it = point.is_on_curve(&self.group, &mut context).unwrap_or(false);
        (lies_on_it && !point.is_infinity(&self.group)).then_some(point)
    }

    /// One product of a point and a scalar runs in constant time.
    fn agree(&self, secret: &Secret, point: &EcPointRef) -> Result<Secret, ErrorStack> {
        let mut scalar = BigNum::new_secure()?;
        scalar.copy_from_slice(secret.expose())?;
        scalar.set_const_time();
        let mut context = BigNumContext::new_secure()?;
        let mut product = EcPoint::new(&self.group)?;
        let outcome = product.mul2(&self.group, point, &scalar, &mut context);
        scalar.clear();
        outcome?;
        let (mut x, mut y) = (BigNum::new_secure()?, BigNum::new_secure()?);
        let coordinates = product.affine_coordinates(&self.group, &mut x, &mut y, &mut context);
        let octets = coordinates.and_then(|()| x.to_vec_padded(self.octets));
        x.clear();
        y.clear();
        octets.map(Secret::new)
    }
}

/// `base^secret mod p` in constant time, left-padded to the group's length.
fn power(group: Group, base: &[u8], secret: &Secret) -> Result<Secret, ErrorStack> {
    let prime = BigNum::from_slice(group::prime(group))?;
    let base = BigNum::from_slice(base)?;
    let mut exponent = BigNum::new_secure()?;
    exponent.copy_from_slice(secret.expose())?;
    // Chooses BN_mod_exp_mont_consttime: same multiplications and table accesses for every exponent of this length.
    exponent.set_const_time();
    let mut result = BigNum::new_secure()?;
    let mut context = BigNumContext::new_secure()?;
    let outcome = result.mod_exp(&base, &exponent, &prime, &mut context);
    exponent.clear();
    outcome?;
    let octets = result.to_vec_padded(i32::try_from(group.octets()).unwrap_or(i32::MAX));
    result.clear();
    octets.map(Secret::new)
}

fn rsa_public(key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let rsa = Rsa::from_public_components(BigNum::from_slice(&key.modulus)?, BigNum::from_slice(&key.exponent)?)?;
    let mut output = vec![0; key.modulus.len()];
    let written = rsa.public_decrypt(input, &mut output, Padding::NONE)?;
    output.truncate(written);
    Ok(output)
}

fn library(error: ErrorStack) -> CryptoError {
    CryptoError::Library(error.to_string())
}

#[cfg(test)]
mod tests {
    use ike::crypto::pure::PureProvider;
    use openssl::pkey::Private;

    use super::*;

    /// Random octets are the system's here too.
    fn pure() -> PureProvider {
        let random = SystemRandom::new();
        PureProvider::new(move |out| random.fill(out).unwrap())
    }

    #[test]
    fn both_providers_agree_with_each_other_in_every_group() {
        let (openssl, pure) = (OpensslProvider::new(), pure());
        for group in Group::ALL {
            let ours = openssl.dh_generate(group).unwrap();
            assert_eq!(ours.public.len(), group.octets());
            let theirs = match pure.dh_generate(group) {
                Ok(theirs) => theirs,
                Err(error) => {
                    assert!(matches!(group, Group::Brainpool224 | Group::Brainpool512), "{group:?}: {error}");
                    let theirs = openssl.dh_generate(group).unwrap();
                    let agreed = openssl.dh_agree(group, &ours.secret, &theirs.public).unwrap();
                    assert_eq!(agreed.len(), group.secret_octets());
                    assert_eq!(openssl.dh_agree(group, &theirs.secret, &ours.public), Ok(agreed), "{group:?}");
                    continue;
                }
            };
            assert_eq!(ours.secret.len(), theirs.secret.len());
            let agreed = openssl.dh_agree(group, &ours.secret, &theirs.public).unwrap();
            assert_eq!(agreed.len(), group.secret_octets());
            assert_eq!(pure.dh_agree(group, &theirs.secret, &ours.public), Ok(agreed), "{group:?}");
        }
    }

    #[test]
    fn the_table_of_the_generator_gives_what_openssl_gives() {
        let openssl = OpensslProvider::new();
        for _ in 0..20 {
            let pair = openssl.dh_generate(Group::Modp2048).unwrap();
            let long_way = power(Group::Modp2048, &[group::GENERATOR], &pair.secret).unwrap();
            assert_eq!(pair.public, long_way.expose());
        }
    }

    #[test]
    fn primes_are_openssl_s() {
        type Constant = fn() -> Result<BigNum, ErrorStack>;
        let constants: [(Group, Constant); 8] = [
            (Group::Modp768, BigNum::get_rfc2409_prime_768),
            (Group::Modp1024, BigNum::get_rfc2409_prime_1024),
            (Group::Modp1536, BigNum::get_rfc3526_prime_1536),
            (Group::Modp2048, BigNum::get_rfc3526_prime_2048),
            (Group::Modp3072, BigNum::get_rfc3526_prime_3072),
            (Group::Modp4096, BigNum::get_rfc3526_prime_4096),
            (Group::Modp6144, BigNum::get_rfc3526_prime_6144),
            (Group::Modp8192, BigNum::get_rfc3526_prime_8192),
        ];
        for (group, constant) in constants {
            assert_eq!(group::prime(group), constant().unwrap().to_vec(), "{group:?}");
        }
    }

    /// K-3: the secret keeps its leading zeros, or SKEYID would differ from the peer's once in 256 handshakes.
    #[test]
    fn a_leading_zero_of_the_shared_secret_is_kept() {
        let (openssl, pure) = (OpensslProvider::new(), pure());
        let group = Group::Modp1024;
        let ours = openssl.dh_generate(group).unwrap();
        let short = (0_u32..10_000).find_map(|attempt| {
            let exponent = Secret::new([&[0x80; 28], attempt.to_be_bytes().as_slice()].concat());
            let public = power(group, &[group::GENERATOR], &exponent).unwrap();
            let agreed = openssl.dh_agree(group, &ours.secret, public.expose()).unwrap();
            (agreed.expose()[0] == 0).then_some((exponent, public, agreed))
        });
        let (exponent, public, agreed) = short.unwrap();
        assert_eq!(agreed.len(), 128);
        for provider in [&openssl as &dyn Provider, &pure] {
            assert_eq!(provider.dh_agree(group, &exponent, &ours.public).unwrap(), agreed);
            assert_eq!(provider.dh_agree(group, &ours.secret, public.expose()).unwrap(), agreed);
        }
    }

    /// ATTACKS A-25: infinity, a point beside the curve, one with swapped or too large coordinates, compressed ones, a
    /// mark in front, and wrong lengths.
    #[test]
    fn what_is_no_point_of_the_curve_is_refused() {
        let (openssl, pure) = (OpensslProvider::new(), pure());
        for group in Group::ALL.into_iter().filter(|group| group.facts().is_curve) {
            let ours = openssl.dh_generate(group).unwrap();
            let right = openssl.dh_generate(group).unwrap().public;
            let (x, y) = right.split_at(right.len() / 2);
            let mut beside = right.clone();
            *beside.last_mut().unwrap() ^= 1;
            let illegal = [
                vec![0; right.len()],
                beside,
                [y, x].concat(),
                vec![0xff; right.len()],
                [&[2], x].concat(),
                [&[4], right.as_slice()].concat(),
                x.to_vec(),
                right[1..].to_vec(),
                vec![0],
                vec![],
            ];
            for value in illegal {
                let refused = Err(CryptoError::PublicValue { group, octets: value.len() });
                assert_eq!(openssl.dh_agree(group, &ours.secret, &value), refused, "{group:?}");
                let of_pure = pure.dh_agree(group, &ours.secret, &value);
                assert!(of_pure == refused || matches!(of_pure, Err(CryptoError::Library(_))), "{group:?}");
            }
        }
    }

    #[test]
    fn illegal_public_values_are_refused_before_any_work() {
        let (openssl, pure) = (OpensslProvider::new(), pure());
        for group in Group::ALL.into_iter().filter(|group| !group.facts().is_curve) {
            let prime = group::prime(group).to_vec();
            let mut below = prime.clone();
            below[prime.len() - 1] -= 1;
            let mut one = vec![0; prime.len()];
            one[prime.len() - 1] = 1;
            let illegal = [vec![0; prime.len()], one, below, prime.clone(), prime[1..].to_vec(), vec![]];
            for value in illegal {
                for provider in [&openssl as &dyn Provider, &pure] {
                    let refused = provider.dh_agree(group, &Secret::new(vec![5]), &value);
                    assert_eq!(refused, Err(CryptoError::PublicValue { group, octets: value.len() }));
                }
            }
        }
    }

    fn keypair(bits: u32) -> (Rsa<Private>, RsaPublicKey) {
        let rsa = Rsa::generate(bits).unwrap();
        let public = RsaPublicKey { modulus: rsa.n().to_vec(), exponent: rsa.e().to_vec() };
        (rsa, public)
    }

    #[test]
    fn rsa_public_keeps_leading_zeros_in_both() {
        let (openssl, pure) = (OpensslProvider::new(), pure());
        let (_, key) = keypair(1024);
        for input in [[vec![0; 127], vec![2]].concat(), [vec![0; 128]].concat(), vec![0x3c; 128]] {
            let ours = openssl.rsa_public(&key, &input).unwrap();
            assert_eq!(ours.len(), 128);
            assert_eq!(pure.rsa_public(&key, &input), Ok(ours));
        }
        let above = vec![0xff; 128];
        assert!(matches!(openssl.rsa_public(&key, &above), Err(CryptoError::Rsa(_))));
        assert!(matches!(pure.rsa_public(&key, &above), Err(CryptoError::Rsa(_))));
        let even = RsaPublicKey { exponent: vec![4], ..key };
        assert!(matches!(openssl.rsa_public(&even, &[0; 128]), Err(CryptoError::Rsa(_))));
    }

    /// ATTACKS A-17 with a real key: each wrong encoding, signed by the key's owner, is refused by both.
    #[test]
    fn malformed_signatures_are_refused() {
        use ike::crypto::signature::{SignatureError, verify};
        let (rsa, key) = keypair(2048);
        let (openssl, pure) = (OpensslProvider::new(), pure());
        let hash = [0x42; 32];
        let encode = |padding: usize, tail: &[u8]| [&[0, 1], vec![0xff; padding].as_slice(), &[0], tail].concat();
        let sign = |encoded: &[u8]| {
            let mut signature = vec![0; 256];
            rsa.private_encrypt(encoded, &mut signature, Padding::NONE).unwrap();
            signature
        };
        let right = sign(&encode(221, &hash));
        let mut hole = encode(221, &hash);
        hole[90] = 0;
        let wrong = [
            ("shorter hash", sign(&encode(222, &hash[..31])), SignatureError::Mismatch),
            ("longer hash", sign(&encode(220, &[hash.as_slice(), &[0]].concat())), SignatureError::Mismatch),
            ("trailing octets", sign(&encode(8, &[hash.as_slice(), &[7; 213]].concat())), SignatureError::Mismatch),
            ("short padding", sign(&encode(3, &[&[0; 218], hash.as_slice()].concat())), SignatureError::Mismatch),
            ("zero in the padding", sign(&hole), SignatureError::Mismatch),
            ("all zero", vec![0; 256], SignatureError::Mismatch),
            ("one octet less", right[1..].to_vec(), SignatureError::Length { octets: 255, modulus: 256 }),
            ("one octet more", [&[0], right.as_slice()].concat(), SignatureError::Length { octets: 257, modulus: 256 }),
            ("empty", vec![], SignatureError::Length { octets: 0, modulus: 256 }),
            (
                "not below the modulus",
                vec![0xff; 256],
                SignatureError::Crypto(CryptoError::Rsa("number is not below the modulus")),
            ),
        ];
        for provider in [&openssl as &dyn Provider, &pure] {
            assert_eq!(verify(provider, &key, &right, &hash), Ok(()));
            for (what, signature, error) in &wrong {
                assert_eq!(verify(provider, &key, signature, &hash).as_ref(), Err(error), "{what}");
            }
        }
    }

    #[test]
    fn random_octets_differ() {
        let mut buffers = [[0; 32]; 2];
        buffers.iter_mut().for_each(|buffer| OpensslProvider::new().random(buffer));
        assert_ne!(buffers[0], buffers[1]);
        assert_ne!(buffers[0], [0; 32]);
    }
}
