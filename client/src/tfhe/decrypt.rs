//! Decryption of outputs, and the operators that only the client can apply.

use heman_core::tfhe::files::ciphertexts::EncryptedOutput;

use zeroize::Zeroizing;

use crate::tensor::{Output, outputs};
use crate::tfhe::key::SecretKey;

impl SecretKey {
    /// Phases of LWE rows under the flattened GLWE key, as words.
    #[must_use]
    pub fn phases(&self, rows: &[u32]) -> Vec<u32> {
        let key = self.big_key();
        rows.chunks_exact(key.len() + 1)
            .map(|row| {
                let (mask, body) = row.split_at(key.len());
                mask.iter().zip(key.iter()).fold(body[0], |sum, (&a, &s)| sum.wrapping_sub(a.wrapping_mul(s)))
            })
            .collect()
    }

    /// Decrypts a batch to one vector of values an input, before the client's operators.
    ///
    /// The rows must have been checked against the parameters, as opening their file does.
    #[must_use]
    pub fn decrypt_values(&self, output: &EncryptedOutput) -> Vec<Vec<f64>> {
        let inputs = output.inputs as usize;
        let phases = Zeroizing::new(self.phases(&output.rows));
        let encoding = &self.params().output;
        (0..inputs)
            .map(|input| {
                let own: Vec<u32> = phases.iter().skip(input).step_by(inputs).copied().collect();
                let own = Zeroizing::new(own);
                encoding.decode(&own)
            })
            .collect()
    }

    /// Decrypts a batch and runs the client's program. The outputs have a batch axis if the input had one.
    #[must_use]
    pub fn decrypt(&self, output: &EncryptedOutput) -> Vec<Output> {
        let encoding = &self.params().output;
        outputs(&self.decrypt_values(output), &encoding.tensor, &encoding.client_ops, output.batched)
    }
}
