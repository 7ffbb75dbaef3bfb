//! Encryption of inputs.

use heman_core::files::sealed::Sealed;
use heman_core::tfhe::files::ciphertexts::EncryptedInput;
use heman_core::tfhe::torus::to_word;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::random::{fresh_seed, os_seeder};
use crate::tfhe::key::SecretKey;
use crate::values::Encoding;

impl SecretKey {
    /// Encrypts a batch of inputs, one after the other in `values`.
    ///
    /// Each value x becomes an LWE body of phase `x * turns_per_unit` plus TUniform noise; masks come from a fresh seed
    /// an input.
    ///
    /// # Errors
    /// [`ClientError::InputLength`] if `values` is no whole number of inputs, [`ClientError::InputRange`] for values
    /// that are not finite or outside of the range that the parameters were made for.
    pub fn encrypt(&self, values: &[f32], batched: bool) -> Result<EncryptedInput, ClientError> {
        let input = &self.params().input;
        let encoding = Encoding::from(input);
        let (expected, numbers) = (encoding.len, encoding.encoded(values)?);
        let mut seeder = os_seeder();
        let key = self.big_key();
        let (mut seeds, mut bodies) = (Vec::new(), Vec::with_capacity(values.len()));
        for own in numbers.chunks_exact(expected) {
            let words = own.iter().map(|&x| to_word(x * input.turns_per_unit));
            let plaintexts = Zeroizing::new(words.collect::<Vec<u32>>());
            let seed = fresh_seed(&mut seeder);
            let mut list = SeededLweCiphertextList::from_container(
                vec![0_u32; expected],
                LweSize(self.params().tfhe.big_row_words()),
                Seed(u128::from_le_bytes(seed)).into(),
                CiphertextModulus::new_native(),
            );
            par_encrypt_seeded_lwe_ciphertext_list(
                &LweSecretKey::from_container(key.as_slice()),
                &mut list,
                &PlaintextList::from_container(plaintexts.as_slice()),
                DynamicDistribution::<u32>::new_t_uniform(self.params().tfhe.input_noise_bound_log2),
                &mut seeder,
            );
            seeds.push(seed);
            bodies.extend(list.into_container());
        }
        Ok(EncryptedInput { fingerprint: self.fingerprint(), inputs: seeds.len() as u32, batched, seeds, bodies })
    }
}
