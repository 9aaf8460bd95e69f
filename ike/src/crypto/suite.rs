//! Which algorithms can protect an ISAKMP SA in this build.

use policy::model::algorithm::{Hash, SizedCipher};

use super::backend::CbcCipher;

/// Can phase 1 messages be encrypted with this cipher? AES with 128, 192 or 256 bits, and triple DES.
pub fn cipher_is_usable(cipher: SizedCipher) -> bool {
    CbcCipher::of(cipher).is_ok()
}

/// Can this hash serve as phase 1 hash and PRF? All of the table can; which may is for the configuration to say.
pub const fn hash_is_usable(hash: Hash) -> bool {
    match hash {
        Hash::Md5 | Hash::Sha1 | Hash::Sha256 | Hash::Sha384 | Hash::Sha512 => true,
    }
}

#[cfg(test)]
mod tests {
    use policy::model::algorithm::Cipher;

    use super::*;

    #[test]
    fn usable_is_what_the_table_calls_supported_and_numbers_in_phase_1() {
        for cipher in Cipher::ALL {
            let facts = cipher.facts();
            for &bits in facts.key_bits {
                let sized = SizedCipher { cipher, key_bits: facts.variable_key.then_some(bits) };
                assert_eq!(cipher_is_usable(sized), facts.supported && facts.phase1.is_some(), "{sized:?}");
            }
        }
        assert!(!cipher_is_usable(SizedCipher { cipher: Cipher::Aes, key_bits: Some(127) }));
        assert!(!cipher_is_usable(SizedCipher { cipher: Cipher::Null, key_bits: None }));
    }
}
