//! A provider in Rust alone, for builds without C libraries and for tests.

use std::fmt;

use policy::model::algorithm::Group;
use policy::model::secret::Secret;
use zeroize::Zeroizing;

use super::backend::fixed_base::generator_power;
use super::backend::{curve, power, power_public};
use super::group;
use super::provider::{CryptoError, DhPair, Provider, RsaPublicKey};
use super::signature::check_rsa_input;

/// Fills a buffer with random octets.
pub type RandomSource = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// Diffie-Hellman in constant time and the RSA public operation; y^x takes about twice the time of OpenSSL.
pub struct PureProvider {
    random: RandomSource,
}

impl PureProvider {
    /// With this source of random octets, which must be fit for keys.
    pub fn new(random: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self { random: Box::new(random) }
    }
}

impl fmt::Debug for PureProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PureProvider")
    }
}

impl Provider for PureProvider {
    fn random(&self, out: &mut [u8]) {
        (self.random)(out);
    }

    fn dh_generate(&self, group: Group) -> Result<DhPair, CryptoError> {
        if group.facts().is_curve {
            let (secret, public) = curve::generate(group, &self.random)?;
            return Ok(DhPair { secret, public });
        }
        let mut exponent = Zeroizing::new(vec![0; group::exponent_octets(group)]);
        self.random(&mut exponent);
        // The top bit makes the exponent as long as it is meant to be; it is never 0 or 1 so.
        if let Some(first) = exponent.first_mut() {
            *first |= 0x80;
        }
        let secret = Secret::new(exponent.to_vec());
        let public = match generator_power(group, &secret) {
            Some(public) => public,
            None => {
                let mut generator = vec![0; group.octets()];
                if let Some(last) = generator.last_mut() {
                    *last = group::GENERATOR;
                }
                power(group::prime(group), &generator, &secret).ok_or_else(out_of_range)?
            }
        };
        Ok(DhPair { secret, public: public.expose().to_vec() })
    }

    fn dh_agree(&self, group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        group::check_public(group, peer_public)?;
        if group.facts().is_curve {
            return curve::agree(group, secret, peer_public);
        }
        power(group::prime(group), peer_public, secret).ok_or_else(out_of_range)
    }

    fn rsa_public(&self, key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        check_rsa_input(key, input)?;
        power_public(&key.modulus, input, &key.exponent).ok_or_else(out_of_range)
    }
}

/// Cannot be after the checks, except for an exponent longer than the prime.
fn out_of_range() -> CryptoError {
    CryptoError::Library("number out of range for modular exponentiation".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_in_every_group() {
        let lacking = [Group::Brainpool224, Group::Brainpool512];
        for group in Group::ALL.into_iter().filter(|group| !lacking.contains(group)) {
            let side = |octet: u8| PureProvider::new(move |out| out.fill(octet));
            let (one, other) = (side(0x5a), side(0x3c));
            let (ours, theirs) = (one.dh_generate(group).unwrap(), other.dh_generate(group).unwrap());
            assert_eq!(ours.public.len(), group.octets());
            let agreed = one.dh_agree(group, &ours.secret, &theirs.public).unwrap();
            assert_eq!(agreed.len(), group.secret_octets());
            assert_eq!(Ok(agreed), other.dh_agree(group, &theirs.secret, &ours.public));
        }
    }

    #[test]
    fn a_leading_zero_of_the_shared_secret_stays() {
        // g^(8k) mod p for the group's p begins with a zero octet where the exponent makes it less than 2^2040.
        let provider = PureProvider::new(|out| out.fill(1));
        let mut public = vec![0; 256];
        public[255] = 2;
        let agreed = provider.dh_agree(Group::Modp2048, &Secret::new(vec![7, 0xf7]), &public).unwrap();
        // 2^0x7f7 = 2^2039: octet 1 is 0x80.
        let mut expected = vec![0; 256];
        expected[1] = 0x80;
        assert_eq!(agreed.expose(), expected);
    }
}
