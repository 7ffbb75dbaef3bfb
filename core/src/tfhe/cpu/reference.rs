//! The slow, readable mirror of every step, over the `tfhe` crate's own functions: what fast backends are compared
//! with.

use tfhe::core_crypto::algorithms::polynomial_algorithms;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::fft_impl::fft64::math::fft::Fft;
use tfhe::core_crypto::prelude::*;

use crate::device::error::{BackendError, require};
use crate::device::reference::ReferenceBackend;
use crate::tfhe::cpu::rotation;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::{BootstrapOps, InputOps, KeyswitchOps, LinearOps};
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::plan::affine::AffineMap;
use crate::tfhe::table_set::TableSet;

/// The bootstrapping key with its masks.
fn expanded_bootstrap(key: &SeededEvaluationKey) -> LweBootstrapKeyOwned<u64> {
    let p = &key.params;
    let glwe_size = GlweDimension(p.glwe_dimension).to_glwe_size();
    let (base_log, level) = (DecompositionBaseLog(p.pbs_base_log), DecompositionLevelCount(p.pbs_level));
    let seeded = SeededLweBootstrapKey::from_container(
        key.bootstrap_bodies.as_slice(),
        glwe_size,
        PolynomialSize(p.polynomial_size),
        base_log,
        level,
        Seed(u128::from_le_bytes(key.bootstrap_seed)).into(),
        CiphertextModulus::new_native(),
    );
    let length = LweDimension(p.bootstrap_key_length());
    let size = PolynomialSize(p.polynomial_size);
    let modulus = CiphertextModulus::new_native();
    let mut expanded = LweBootstrapKey::new(0, glwe_size, size, base_log, level, length, modulus);
    par_decompress_seeded_lwe_bootstrap_key::<_, _, _, DefaultRandomGenerator>(&mut expanded, &seeded);
    expanded
}

/// The keyswitching key with its masks.
fn expanded_keyswitch(key: &SeededEvaluationKey) -> LweKeyswitchKeyOwned<u32> {
    let p = &key.params;
    let (base_log, level) = (DecompositionBaseLog(p.ks_base_log), DecompositionLevelCount(p.ks_level));
    let (from, to) = (LweDimension(p.big_dimension()), LweDimension(p.lwe_dimension));
    let seeded = SeededLweKeyswitchKey::from_container(
        key.keyswitch_bodies.as_slice(),
        base_log,
        level,
        to.to_lwe_size(),
        Seed(u128::from_le_bytes(key.keyswitch_seed)).into(),
        CiphertextModulus::new_native(),
    );
    let mut expanded = LweKeyswitchKey::new(0, base_log, level, from, to, CiphertextModulus::new_native());
    par_decompress_seeded_lwe_keyswitch_key::<_, _, _, DefaultRandomGenerator>(&mut expanded, &seeded);
    expanded
}

impl InputOps for ReferenceBackend {}

impl LinearOps for ReferenceBackend {
    type Affine = AffineMap;

    fn load_affine(&self, map: &AffineMap) -> Result<AffineMap, BackendError> {
        Ok(map.clone())
    }

    fn affine(
        &self,
        map: &AffineMap,
        inputs: usize,
        row_words: usize,
        values: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let length = inputs * row_words;
        require("linear map, output", map.rows * length, out.len())?;
        for word in 0..length {
            let column: Vec<u32> = values.chunks_exact(length).map(|row| row[word]).collect();
            let mut map = map.clone();
            if word % row_words != row_words - 1 {
                map.bias.fill(0);
            }
            for (row, value) in crate::tfhe::plan::affine::evaluate(&map, &column).into_iter().enumerate() {
                out[row * length + word] = value;
            }
        }
        Ok(())
    }
}

impl KeyswitchOps for ReferenceBackend {
    type KeyswitchKey = (ParameterSet, LweKeyswitchKeyOwned<u32>);

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<Self::KeyswitchKey, BackendError> {
        Ok((key.params, expanded_keyswitch(key)))
    }

    fn keyswitch(
        &self,
        (params, key): &Self::KeyswitchKey,
        rows: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let (big, small) = (params.big_row_words(), params.small_row_words());
        require("keyswitch, input", rows * big, input.len())?;
        require("keyswitch, output", rows * small, out.len())?;
        for (row, out) in input.chunks_exact(big).zip(out.chunks_exact_mut(small)).take(rows) {
            let from = LweCiphertext::from_container(row, CiphertextModulus::new_native());
            let mut to = LweCiphertext::from_container(out, CiphertextModulus::new_native());
            keyswitch_lwe_ciphertext(key, &from, &mut to);
        }
        Ok(())
    }
}

/// The key in tfhe's Fourier form.
pub struct ReferenceBootstrapKey {
    params: ParameterSet,
    fourier: FourierLweBootstrapKeyOwned,
}

impl BootstrapOps for ReferenceBackend {
    type BootstrapKey = ReferenceBootstrapKey;
    type Tables = TableSet;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<ReferenceBootstrapKey, BackendError> {
        let p = key.params;
        let mut fourier = FourierLweBootstrapKey::new(
            LweDimension(p.bootstrap_key_length()),
            GlweDimension(p.glwe_dimension).to_glwe_size(),
            PolynomialSize(p.polynomial_size),
            DecompositionBaseLog(p.pbs_base_log),
            DecompositionLevelCount(p.pbs_level),
        );
        convert_standard_lwe_bootstrap_key_to_fourier(&expanded_bootstrap(key), &mut fourier);
        Ok(ReferenceBootstrapKey { params: p, fourier })
    }

    fn load_tables(&self, tables: TableSet) -> Result<TableSet, BackendError> {
        Ok(tables)
    }

    fn bootstrap(
        &self,
        key: &ReferenceBootstrapKey,
        tables: &TableSet,
        inputs: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let p = &key.params;
        let rows = tables.check_batch(p, inputs, input.len(), out.len())?;
        let (size, small, big) = (p.polynomial_size, p.small_row_words(), p.big_row_words());
        let fft = Fft::new(PolynomialSize(size));
        let glwe_size = GlweDimension(p.glwe_dimension).to_glwe_size();
        let scratch = programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(
            glwe_size,
            PolynomialSize(size),
            fft.as_view(),
        );
        let mut buffers = ComputationBuffers::new();
        buffers.resize(scratch.unaligned_bytes_required());
        for r in 0..rows {
            let mut exponents = vec![0; small];
            rotation::switch_modulus(&input[r * small..][..small], (2 * size).trailing_zeros(), &mut exponents);
            let mut accumulator =
                GlweCiphertext::new(0_u64, glwe_size, PolynomialSize(size), CiphertextModulus::new_native());
            let table = tables.table(tables.table_of_value()[r / inputs]);
            for (word, &entry) in accumulator.get_mut_body().as_mut().iter_mut().zip(table) {
                *word = u64::from(entry) << 32;
            }
            let mut to = LweCiphertext::new(0_u64, LweSize(big), CiphertextModulus::new_native());
            if p.grouping_factor == 1 {
                // tfhe's own modulus switch finds nothing left to round.
                let shift = 64 - (2 * size).trailing_zeros();
                let words: Vec<u64> = exponents.iter().map(|&e| u64::from(e) << shift).collect();
                programmable_bootstrap_lwe_ciphertext_mem_optimized(
                    &LweCiphertext::from_container(words, CiphertextModulus::new_native()),
                    &mut to,
                    &accumulator,
                    &key.fourier,
                    fft.as_view(),
                    buffers.stack(),
                );
            } else {
                rotate_by_groups(key, &exponents, &mut accumulator, &fft, &mut buffers);
                extract_lwe_sample_from_glwe_ciphertext(&accumulator, &mut to, MonomialDegree(0));
            }
            let row = tables.row_of_value()[r / inputs] as usize * inputs + r % inputs;
            for (word, &wide) in out[row * big..][..big].iter_mut().zip(to.as_ref()) {
                *word = (wide.wrapping_add(1 << 31) >> 32) as u32;
            }
        }
        Ok(())
    }
}

/// Blind rotation by groups of bits: for each set of a group's bits the external product with its GGSW ciphertext,
/// times `X^e - 1`.
fn rotate_by_groups(
    key: &ReferenceBootstrapKey,
    exponents: &[u32],
    accumulator: &mut GlweCiphertextOwned<u64>,
    fft: &Fft,
    buffers: &mut ComputationBuffers,
) {
    let p = &key.params;
    let rotate = |glwe: &mut GlweCiphertextOwned<u64>, degree: usize| {
        for mut polynomial in glwe.as_mut_polynomial_list().iter_mut() {
            polynomial_algorithms::polynomial_wrapping_monic_monomial_mul_assign(
                &mut polynomial,
                MonomialDegree(degree),
            );
        }
    };
    rotate(accumulator, 2 * p.polynomial_size - exponents[p.lwe_dimension] as usize);
    let mut ggsws = key.fourier.as_view().into_ggsw_iter();
    for group in exponents[..p.lwe_dimension].chunks_exact(p.grouping_factor) {
        let before = accumulator.clone();
        for (subset, ggsw) in (1..=p.subsets()).zip(&mut ggsws) {
            let mut product = before.clone();
            product.as_mut().fill(0);
            add_external_product_assign_mem_optimized(&mut product, &ggsw, &before, fft.as_view(), buffers.stack());
            glwe_ciphertext_sub_assign(accumulator, &product);
            rotate(&mut product, rotation::degree_of_set(subset, group) as usize % (2 * p.polynomial_size));
            glwe_ciphertext_add_assign(accumulator, &product);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::container::Fingerprint;
    use crate::tfhe::files::ciphertexts::EncryptedInput;

    /// The masks of our files are made by a generator of our own, and must be those of tfhe's, which encrypts.
    #[test]
    fn keys_expand_to_what_tfhe_expands_them_to() {
        for (grouping_factor, n, k, size, pbs_level, ks_level) in
            [(1, 5, 1, 256, 2, 3), (2, 6, 2, 512, 1, 2), (3, 9, 1, 1024, 3, 5), (1, 3, 4, 512, 1, 7)]
        {
            let small = ParameterSet::with_least_noise(n, k, size, (5, pbs_level), (2, ks_level));
            let params = ParameterSet { grouping_factor, ..small };
            let key = SeededEvaluationKey {
                fingerprint: Fingerprint([0; 16]),
                params,
                bootstrap_seed: std::array::from_fn(|at| (37 * at + n) as u8),
                bootstrap_bodies: (0..SeededEvaluationKey::bootstrap_body_words(&params) as u64).collect(),
                keyswitch_seed: std::array::from_fn(|at| (91 * at + n) as u8),
                keyswitch_bodies: (0..SeededEvaluationKey::keyswitch_body_words(&params) as u32).collect(),
            };
            assert!(key.expand_bootstrap() == expanded_bootstrap(&key).into_container(), "bootstrap, n = {n}");
            let keyswitch = expanded_keyswitch(&key).into_container();
            assert!(key.expand_keyswitch() == keyswitch, "keyswitch, n = {n}");
            let row = params.small_row_words();
            let mut some = vec![0; 3 * row];
            key.expand_keyswitch_rows(2, &mut some);
            assert!(some == keyswitch[2 * row..5 * row], "rows of the keyswitching key, n = {n}");
            let row = params.big_row_words() - 1 + size;
            let mut some = vec![0; 2 * row];
            key.expand_bootstrap_rows(3, &mut some);
            assert!(some == expanded_bootstrap(&key).as_ref()[3 * row..5 * row], "bootstrap, rows, n = {n}");
        }
    }

    #[test]
    fn inputs_expand_to_what_tfhe_expands_them_to() {
        let (inputs, values, row_words) = (4, 5, 258);
        let seeds: Vec<[u8; 16]> = (0..inputs).map(|input| [input as u8 + 9; 16]).collect();
        let bodies: Vec<u32> = (0..(inputs * values) as u32).collect();
        let encrypted = EncryptedInput {
            fingerprint: Fingerprint([0; 16]),
            inputs: inputs as u32,
            batched: true,
            seeds: seeds.clone(),
            bodies: bodies.clone(),
        };
        let (first, count) = (1, 2);
        let rows = encrypted.expand(row_words, first, count);
        for (at, input) in (first..first + count).enumerate() {
            let modulus = CiphertextModulus::new_native();
            let seeded = SeededLweCiphertextList::from_container(
                &bodies[input * values..][..values],
                LweSize(row_words),
                Seed(u128::from_le_bytes(seeds[input])).into(),
                modulus,
            );
            let mut list = LweCiphertextList::new(0_u32, LweSize(row_words), LweCiphertextCount(values), modulus);
            decompress_seeded_lwe_ciphertext_list::<_, _, _, DefaultRandomGenerator>(&mut list, &seeded);
            for (value, row) in list.into_container().chunks_exact(row_words).enumerate() {
                assert!(rows[(value * count + at) * row_words..][..row_words] == *row, "input {input}, value {value}");
            }
        }
    }
}
