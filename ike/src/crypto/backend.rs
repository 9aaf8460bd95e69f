//! The only module that names crates of cryptography: hashes, HMAC, CBC and modular exponentiation (dependencies.md says
//! which crate serves where).
//!
//! Everything secret is wiped: keys by the crates' `zeroize` features, numbers and buffers here.

pub mod curve;
pub mod fixed_base;

use aes::{Aes128, Aes192, Aes256};
use camellia::{Camellia128, Camellia192, Camellia256};
use cipher::array::Array;
use cipher::typenum::Unsigned;
use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U768, U1024, U1536, U2048, U3072, U4096, U6144, U8192, Uint};
use des::{Des, TdesEde3};
use digest::Digest;
use hmac::{EagerHash, Hmac, Mac};
use md5::Md5;
use policy::model::algorithm::{Cipher, Hash, SizedCipher};
use policy::model::secret::Secret;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::provider::CryptoError;

/// The hash of the parts, one after the other.
pub fn digest(hash: Hash, parts: &[&[u8]]) -> Vec<u8> {
    fn of<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().fold(D::new(), |state, part| state.chain_update(part)).finalize().to_vec()
    }
    match hash {
        Hash::Md5 => of::<Md5>(parts),
        Hash::Sha1 => of::<Sha1>(parts),
        Hash::Sha256 => of::<Sha256>(parts),
        Hash::Sha384 => of::<Sha384>(parts),
        Hash::Sha512 => of::<Sha512>(parts),
    }
}

/// The pseudo-random function: HMAC of the negotiated hash over the parts, one after the other (RFC 2409 §4).
pub fn prf(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn of<D: EagerHash>(key: &[u8], parts: &[&[u8]]) -> Vec<u8>
    where
        Hmac<D>: Mac + KeyInit,
    {
        let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
    match hash {
        Hash::Md5 => of::<Md5>(key, parts),
        Hash::Sha1 => of::<Sha1>(key, parts),
        Hash::Sha256 => of::<Sha256>(key, parts),
        Hash::Sha384 => of::<Sha384>(key, parts),
        Hash::Sha512 => of::<Sha512>(key, parts),
    }
}

/// Are both equal? Takes as long for any two of the same lengths.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Encrypts whole blocks.
///
/// # Errors
/// [`CryptoError::Library`] for a cipher that protects no ISAKMP SA here, a key or an initialisation vector of another
/// length, or a length that is no multiple of the block.
pub fn cbc_encrypt(cipher: SizedCipher, key: &Secret, iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    match CbcCipher::of(cipher)? {
        CbcCipher::Aes128 => encrypt_blocks::<Aes128>(key, iv, plain),
        CbcCipher::Aes192 => encrypt_blocks::<Aes192>(key, iv, plain),
        CbcCipher::Aes256 => encrypt_blocks::<Aes256>(key, iv, plain),
        CbcCipher::Camellia128 => encrypt_blocks::<Camellia128>(key, iv, plain),
        CbcCipher::Camellia192 => encrypt_blocks::<Camellia192>(key, iv, plain),
        CbcCipher::Camellia256 => encrypt_blocks::<Camellia256>(key, iv, plain),
        CbcCipher::TripleDes => encrypt_blocks::<TdesEde3>(key, iv, plain),
        CbcCipher::Des => encrypt_blocks::<Des>(key, iv, plain),
    }
}

/// Decrypts whole blocks; padding stays.
///
/// # Errors
/// As [`cbc_encrypt`].
pub fn cbc_decrypt(cipher: SizedCipher, key: &Secret, iv: &[u8], octets: &[u8]) -> Result<Vec<u8>, CryptoError> {
    match CbcCipher::of(cipher)? {
        CbcCipher::Aes128 => decrypt_blocks::<Aes128>(key, iv, octets),
        CbcCipher::Aes192 => decrypt_blocks::<Aes192>(key, iv, octets),
        CbcCipher::Aes256 => decrypt_blocks::<Aes256>(key, iv, octets),
        CbcCipher::Camellia128 => decrypt_blocks::<Camellia128>(key, iv, octets),
        CbcCipher::Camellia192 => decrypt_blocks::<Camellia192>(key, iv, octets),
        CbcCipher::Camellia256 => decrypt_blocks::<Camellia256>(key, iv, octets),
        CbcCipher::TripleDes => decrypt_blocks::<TdesEde3>(key, iv, octets),
        CbcCipher::Des => decrypt_blocks::<Des>(key, iv, octets),
    }
}

/// The ciphers this file can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CbcCipher {
    Aes128,
    Aes192,
    Aes256,
    Camellia128,
    Camellia192,
    Camellia256,
    TripleDes,
    Des,
}

impl CbcCipher {
    pub(super) fn of(cipher: SizedCipher) -> Result<Self, CryptoError> {
        match (cipher.cipher, cipher.key_octets()) {
            (Cipher::Aes, 16) => Ok(Self::Aes128),
            (Cipher::Aes, 24) => Ok(Self::Aes192),
            (Cipher::Aes, 32) => Ok(Self::Aes256),
            (Cipher::Camellia, 16) => Ok(Self::Camellia128),
            (Cipher::Camellia, 24) => Ok(Self::Camellia192),
            (Cipher::Camellia, 32) => Ok(Self::Camellia256),
            (Cipher::TripleDes, 24) => Ok(Self::TripleDes),
            (Cipher::Des, 8) => Ok(Self::Des),
            (other, octets) => Err(CryptoError::Library(format!("no CBC of {other:?} with a key of {octets} octets"))),
        }
    }
}

fn encrypt_blocks<C>(key: &Secret, iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError>
where
    C: BlockCipherEncrypt + KeyInit,
{
    let mut mode = cbc::Encryptor::<C>::new_from_slices(key.expose(), iv).map_err(|_| wrong_lengths(key, iv))?;
    let mut octets = plain.to_vec();
    mode.encrypt_blocks(blocks::<C>(&mut octets)?);
    Ok(octets)
}

fn decrypt_blocks<C>(key: &Secret, iv: &[u8], octets: &[u8]) -> Result<Vec<u8>, CryptoError>
where
    C: BlockCipherDecrypt + KeyInit,
{
    let mut mode = cbc::Decryptor::<C>::new_from_slices(key.expose(), iv).map_err(|_| wrong_lengths(key, iv))?;
    let mut octets = octets.to_vec();
    mode.decrypt_blocks(blocks::<C>(&mut octets)?);
    Ok(octets)
}

fn blocks<C: cipher::BlockSizeUser>(octets: &mut [u8]) -> Result<&mut [Block<C>], CryptoError> {
    let len = octets.len();
    match Array::slice_as_chunks_mut(octets) {
        (blocks, []) => Ok(blocks),
        _ => Err(CryptoError::Library(format!("{len} octets are no whole blocks of {}", C::BlockSize::USIZE))),
    }
}

fn wrong_lengths(key: &Secret, iv: &[u8]) -> CryptoError {
    CryptoError::Library(format!("key of {} and vector of {} octets do not fit the cipher", key.len(), iv.len()))
}

/// `base^exponent mod modulus`, as long as the modulus; the exponent and the base are secret.
///
/// The modulus must be odd and the base below it; both are of equal length. `None` if not, or beyond 8192 bits.
pub(super) fn power(modulus: &[u8], base: &[u8], exponent: &Secret) -> Option<Secret> {
    sized(modulus, base, exponent.expose(), Timing::Constant).map(Secret::new)
}

/// As [`power`] for an exponent that everybody knows.
pub(super) fn power_public(modulus: &[u8], base: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    sized(modulus, base, exponent, Timing::Variable)
}

#[derive(Clone, Copy)]
enum Timing {
    Constant,
    Variable,
}

/// Picks the number type the modulus fits.
fn sized(modulus: &[u8], base: &[u8], exponent: &[u8], timing: Timing) -> Option<Vec<u8>> {
    let power = match modulus.len() {
        0..=96 => power_mod::<{ U768::LIMBS }>,
        97..=128 => power_mod::<{ U1024::LIMBS }>,
        129..=192 => power_mod::<{ U1536::LIMBS }>,
        193..=256 => power_mod::<{ U2048::LIMBS }>,
        257..=384 => power_mod::<{ U3072::LIMBS }>,
        385..=512 => power_mod::<{ U4096::LIMBS }>,
        513..=768 => power_mod::<{ U6144::LIMBS }>,
        769..=1024 => power_mod::<{ U8192::LIMBS }>,
        _ => return None,
    };
    power(modulus, base, exponent, timing)
}

fn power_mod<const LIMBS: usize>(modulus: &[u8], base: &[u8], exponent: &[u8], timing: Timing) -> Option<Vec<u8>> {
    let modulus_number = number::<LIMBS>(modulus)?;
    let params = FixedMontyParams::new_vartime(Odd::new(*modulus_number).into_option()?);
    let base = number::<LIMBS>(base)?;
    if *base >= *modulus_number {
        return None;
    }
    let base = Zeroizing::new(FixedMontyForm::new(&base, &params));
    let exponent_number = number::<LIMBS>(exponent)?;
    let power = Zeroizing::new(match timing {
        Timing::Constant => base.pow_amm_bounded_exp(&exponent_number, u32::try_from(exponent.len() * 8).ok()?),
        Timing::Variable => base.pow_vartime(&*exponent_number),
    });
    let mut power = Zeroizing::new(power.retrieve());
    let mut encoded = power.to_be_bytes();
    power.zeroize();
    let octets = encoded.as_ref();
    let result = octets.get(octets.len().checked_sub(modulus.len())?..).map(<[u8]>::to_vec);
    encoded.as_mut().zeroize();
    result
}

/// A number from up to as many octets as it holds.
fn number<const LIMBS: usize>(octets: &[u8]) -> Option<Zeroizing<Uint<LIMBS>>> {
    let mut padded = Zeroizing::new(vec![0; Uint::<LIMBS>::BITS as usize / 8]);
    let start = padded.len().checked_sub(octets.len())?;
    padded.get_mut(start..)?.copy_from_slice(octets);
    Some(Zeroizing::new(Uint::from_be_slice(&padded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    fn sized_cipher(cipher: Cipher, key_bits: u16) -> SizedCipher {
        SizedCipher { cipher, key_bits: (cipher != Cipher::TripleDes).then_some(key_bits) }
    }

    #[test]
    fn hmac_of_rfc_2202_and_rfc_4231() {
        let jefe = |hash| prf(hash, b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(jefe(Hash::Md5), hex("750c783e6ab0b503eaa86e310a5db738"));
        assert_eq!(jefe(Hash::Sha1), hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
        assert_eq!(jefe(Hash::Sha256), hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
        for hash in Hash::ALL {
            assert_eq!(jefe(hash).len(), hash.facts().output);
            assert_eq!(digest(hash, &[b"ab", b"c"]), digest(hash, &[b"abc"]));
        }
        // RFC 4231 test case 6: a key longer than the block is hashed first (K-4).
        let long = prf(Hash::Sha256, &[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(long, hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"));
    }

    #[test]
    fn cbc_of_nist_sp_800_38a() {
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        for (bits, key, octets) in [
            (
                128,
                "2b7e151628aed2a6abf7158809cf4f3c",
                "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
            ),
            (
                192,
                "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a",
            ),
            (
                256,
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
            ),
        ] {
            let (cipher, key) = (sized_cipher(Cipher::Aes, bits), Secret::new(hex(key)));
            assert_eq!(cbc_encrypt(cipher, &key, &iv, &plain).unwrap(), hex(octets));
            assert_eq!(cbc_decrypt(cipher, &key, &iv, &hex(octets)).unwrap(), plain);
        }
    }

    /// RFC 5529 has no vectors; the blocks are those of RFC 3713 appendix A, which CBC with a vector of zeros keeps.
    #[test]
    fn camellia_of_rfc_3713() {
        let plain = hex("0123456789abcdeffedcba9876543210");
        let key = "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff";
        for (bits, octets) in [
            (128, "67673138549669730857065648eabe43"),
            (192, "b4993401b3e996f84ee5cee7d79b09b9"),
            (256, "9acc237dff16d76c20ef7c919e3a7509"),
        ] {
            let (cipher, key) = (sized_cipher(Cipher::Camellia, bits), Secret::new(hex(&key[..usize::from(bits) / 4])));
            assert_eq!(cbc_encrypt(cipher, &key, &[0; 16], &plain).unwrap(), hex(octets), "{bits}");
            assert_eq!(cbc_decrypt(cipher, &key, &[0; 16], &hex(octets)).unwrap(), plain, "{bits}");
        }
    }

    #[test]
    fn cbc_refuses_lengths_that_do_not_fit() {
        let aes = sized_cipher(Cipher::Aes, 128);
        let key = Secret::new(vec![1; 16]);
        assert!(cbc_encrypt(aes, &key, &[0; 16], &[0; 17]).is_err());
        assert!(cbc_decrypt(aes, &key, &[0; 16], &[0; 15]).is_err());
        assert!(cbc_decrypt(aes, &key, &[0; 8], &[0; 16]).is_err());
        assert!(cbc_decrypt(aes, &Secret::new(vec![1; 24]), &[0; 16], &[0; 16]).is_err());
        assert!(cbc_encrypt(sized_cipher(Cipher::Blowfish, 128), &key, &[0; 8], &[0; 8]).is_err());
        assert_eq!(cbc_decrypt(aes, &key, &[0; 16], &[]), Ok(vec![]));
        let triple = sized_cipher(Cipher::TripleDes, 192);
        let key = Secret::new((0..24).collect());
        let octets = cbc_encrypt(triple, &key, &[7; 8], &[3; 24]).unwrap();
        assert_eq!(cbc_decrypt(triple, &key, &[7; 8], &octets), Ok(vec![3; 24]));
    }

    #[test]
    fn powers_keep_leading_zeros_and_refuse_even_moduli() {
        assert_eq!(power(&[0, 0, 101], &[0, 0, 5], &Secret::new(vec![0, 3])).unwrap().expose(), [0, 0, 24]);
        assert_eq!(power_public(&[101], &[5], &[0, 0, 3]), Some(vec![24]));
        assert_eq!(power_public(&[100], &[5], &[3]), None);
        assert_eq!(power_public(&[101], &[101], &[3]), None);
        assert_eq!(power_public(&[], &[], &[3]), None);
        assert_eq!(power_public(&[1; 1025], &[1; 1025], &[3]), None);
        // Fermat's little theorem; the larger groups would take seconds, `pure` tries them with short exponents.
        use policy::model::algorithm::Group;
        for group in [Group::Modp768, Group::Modp1024, Group::Modp1536, Group::Modp2048] {
            let prime = super::super::group::prime(group);
            let mut base = vec![0; prime.len()];
            base[3] = 7;
            let mut expected = vec![0; prime.len()];
            expected[prime.len() - 1] = 1;
            let mut exponent = prime.to_vec();
            exponent[prime.len() - 1] -= 1;
            assert_eq!(power_public(prime, &base, &exponent).unwrap(), expected, "{group:?}");
        }
    }
}
