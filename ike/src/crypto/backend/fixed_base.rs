//! Powers of the generator of the 2048-bit group from a table: no squarings, a product per window of the exponent.
//!
//! g^x is half the Diffie-Hellman work of a handshake and always has the same base. Every entry of a window is read
//! whatever the exponent, so neither time nor the addresses touched tell of it.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{CtAssign, CtEq, Odd, U2048};
use policy::model::algorithm::Group;
use policy::model::secret::Secret;
use zeroize::Zeroizing;

use crate::crypto::group;

/// Bits of the exponent that one product takes care of.
const WINDOW: usize = 4;

/// Powers in a window, the zeroth included.
const ENTRIES: usize = 1 << WINDOW;

/// Octets of exponent the table serves.
const EXPONENT_OCTETS: usize = group::exponent_octets(Group::Modp2048);

/// Windows of such an exponent.
const WINDOWS: usize = EXPONENT_OCTETS * 8 / WINDOW;

/// g^(entry * 16^window) in Montgomery form: 256 KiB, computed at first use (about 2 ms).
struct Table {
    params: FixedMontyParams<{ U2048::LIMBS }>,
    powers: Vec<[U2048; ENTRIES]>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::compute);

/// g^secret of the 2048-bit group; `None` for another group or an exponent of another length, which need the long way.
pub fn generator_power(group: Group, secret: &Secret) -> Option<Secret> {
    match secret.expose().try_into() {
        Ok(exponent) if group == Group::Modp2048 => Some(power_of_two(exponent)),
        _ => None,
    }
}

fn power_of_two(exponent: &[u8; EXPONENT_OCTETS]) -> Secret {
    let table = &*TABLE;
    let mut product = Zeroizing::new(FixedMontyForm::one(&table.params));
    let digits = exponent.iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
    for (entries, digit) in table.powers.iter().zip(digits) {
        let mut factor = Zeroizing::new(U2048::ZERO);
        for (entry, number) in entries.iter().zip(0_u8..) {
            factor.ct_assign(entry, number.ct_eq(&digit));
        }
        *product *= &FixedMontyForm::from_montgomery(*factor, &table.params);
    }
    let power = Zeroizing::new(product.retrieve());
    Secret::new(power.to_be_bytes().as_ref().to_vec())
}

impl Table {
    fn compute() -> Self {
        let prime = Odd::new(U2048::from_be_slice(group::prime(Group::Modp2048)))
            .into_option()
            .expect("the prime of the group is odd");
        let params = FixedMontyParams::new_vartime(prime);
        let mut base = FixedMontyForm::new(&U2048::from_u8(group::GENERATOR), &params);
        let mut powers = Vec::with_capacity(WINDOWS);
        for _ in 0..WINDOWS {
            let mut power = FixedMontyForm::one(&params);
            powers.push(std::array::from_fn(|_| {
                let entry = power.to_montgomery();
                power *= &base;
                entry
            }));
            base = power;
        }
        Self { params, powers }
    }
}

#[cfg(test)]
mod tests {
    use super::super::power;
    use super::*;

    #[test]
    fn the_table_gives_what_exponentiation_gives() {
        let prime = group::prime(Group::Modp2048);
        let mut generator = vec![0; prime.len()];
        generator[prime.len() - 1] = group::GENERATOR;
        let counting = std::array::from_fn(|at| u8::try_from(at).unwrap().wrapping_mul(37));
        let one = std::array::from_fn(|at| u8::from(at == EXPONENT_OCTETS - 1));
        for exponent in [[0; EXPONENT_OCTETS], one, [0xff; EXPONENT_OCTETS], counting, [0x5a; EXPONENT_OCTETS]] {
            let expected = power(prime, &generator, &Secret::new(exponent.to_vec())).unwrap();
            assert_eq!(power_of_two(&exponent), expected, "{exponent:02x?}");
        }
    }

    #[test]
    fn other_groups_and_lengths_go_the_long_way() {
        let secret = |octets| Secret::new(vec![1; octets]);
        assert_eq!(generator_power(Group::Modp3072, &secret(EXPONENT_OCTETS)), None);
        assert_eq!(generator_power(Group::Modp2048, &secret(EXPONENT_OCTETS + 1)), None);
        assert!(generator_power(Group::Modp2048, &secret(EXPONENT_OCTETS)).is_some());
    }
}
