//! The blind rotation by exact transforms modulo two primes: [`heman_core::tfhe::exact`] on the device.
//!
//! **Bound.** Per step and ciphertext, modulo each prime, with K = k + 1: `K (l + 1)` transforms of `N / 2 log2 N`
//! butterflies, three multiplications and four other instructions each; `K^2 l N` products with the key, two
//! multiplications each (a product of 64 bits); `K l N` digits and `K N` results that are reduced. A group of g bits
//! takes `2^g - 1` times the products, for each of which digits are multiplied first. Multiplications and other
//! instructions have units of their own. [`crate::ExactOperations`] is what a benchmark divides by the device's rate.
//! Addresses, loads and the making of digits are not counted.
//!
//! Bytes from the second-level cache: `8 K^2 l N` a step and block, for all its ciphertexts, and as many times as there
//! are sets. Bytes of shared memory a transform: `4 N` are written and read for each of its two or three phases.

use cudarc::driver::{CudaFunction, CudaSlice};
use heman_core::device::error::BackendError;
use heman_core::residues::modulus::Factor;
use heman_core::residues::ntt;
use heman_core::tfhe::exact;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::set::ParameterSet;
use heman_kernels::ExactBootstrapShape;

use crate::device::CudaBackend;
use crate::launch::{config, launch};
use crate::roots_by_thread::roots_by_thread;
use crate::tfhe::staged_key::{STEP, for_staged_rows};

/// The bootstrapping key modulo both primes: steps, sets of bits, levels, rows, columns, primes, leaves.
pub(crate) struct ExactKey {
    pub(crate) shape: ExactBootstrapShape,
    pub(crate) values: CudaSlice<u32>,
    /// Moduli, recombination, the key's factors and roots: see the kernel.
    pub(crate) constants: CudaSlice<u32>,
    /// Powers of the root of order 2N, less one, for groups of bits.
    pub(crate) turns: CudaSlice<u32>,
}

/// The shape of a set, if exact transforms have a kernel for it.
///
/// # Errors
/// [`BackendError::Shape`] names what is missing.
pub(crate) fn shape(params: &ParameterSet, shared_bytes: usize) -> Result<ExactBootstrapShape, BackendError> {
    let unsupported = |expected: String, found: String| BackendError::Shape { step: STEP, expected, found };
    let ring = || format!("N = {}, k = {}", params.polynomial_size, params.glwe_dimension);
    let shape = ExactBootstrapShape::find(params.polynomial_size, params.glwe_dimension).ok_or_else(|| {
        unsupported("a ring that has a CUDA kernel (N up to 4096; the CPU takes every ring)".into(), ring())
    })?;
    let needed = shape.shared_bytes(1);
    if needed > shared_bytes {
        let expected = format!("at most {shared_bytes} bytes of shared memory a ciphertext");
        return Err(unsupported(expected, format!("{needed}")));
    }
    Ok(shape)
}

/// The kernel's constants, a pair each.
fn constants(params: &ParameterSet, shape: &ExactBootstrapShape) -> Vec<[u32; 2]> {
    let moduli = exact::moduli();
    let recombinations = [0, 1].map(exact::recombination);
    let pair = |factor: Factor| [factor.value, factor.quotient];
    let mut table: Vec<[u32; 2]> = moduli.iter().map(|modulus| [modulus.p, modulus.negative_inverse()]).collect();
    table.extend(recombinations.map(|recombination| [recombination.fraction, 0]));
    for (modulus, recombination) in moduli.into_iter().zip(recombinations) {
        let scale = modulus.mul(recombination.inverse, modulus.inverse(params.polynomial_size as u32));
        // Montgomery form, and 2^32 for the reduction of the switched word.
        table.push(pair(Factor::new(modulus.montgomery(modulus.montgomery(scale)), modulus)));
    }
    let trees = moduli.map(|modulus| ntt::tree(modulus, params.polynomial_size.trailing_zeros()));
    let log2_points = (params.polynomial_size / shape.threads_a_polynomial()).trailing_zeros();
    for direction in 0..2 {
        table.extend(trees.iter().flat_map(|tree| roots_by_thread(&tree[direction], log2_points)).map(pair));
    }
    table
}

/// `psi^t - 1` for t below 2N in Montgomery form, modulo both primes.
fn turns(params: &ParameterSet) -> Vec<u32> {
    let size = params.polynomial_size;
    let mut table = Vec::with_capacity(4 * size);
    for modulus in exact::moduli() {
        // Node i of the tree is psi to i with its bits reversed.
        let psi = ntt::tree(modulus, size.trailing_zeros())[0][size / 2].value;
        let powers = std::iter::successors(Some(1), |&power| Some(modulus.mul(power, psi)));
        table.extend(powers.take(2 * size).map(|power| modulus.montgomery(modulus.sub(power, 1))));
    }
    table
}

impl CudaBackend {
    pub(crate) fn load_exact_key(&self, key: &SeededEvaluationKey) -> Result<ExactKey, BackendError> {
        let params = key.params;
        let shape = shape(&params, self.shared_bytes())?;
        let constants = self.load(STEP, constants(&params, &shape).as_flattened())?;
        let turns = if params.grouping_factor > 1 { turns(&params) } else { vec![] };
        let turns = self.load(STEP, &turns)?;
        let columns = params.glwe_dimension + 1;
        let mut values = self.reserve::<u32>(STEP, 2 * columns * key.bootstrap_bodies.len())?;
        let shared = shape.key_shared_bytes();
        let function = self.function(STEP, &shape.image(), &shape.key_kernel(), shared)?;
        for_staged_rows(self, key, |staged, words| {
            let mut target = values.slice_mut(2 * words.start..2 * words.end);
            let config = config((words.len() / params.polynomial_size, 1), 2 * shape.threads_a_polynomial(), shared);
            launch!(self, STEP, &function, config, staged, &constants, &mut target)
        })?;
        Ok(ExactKey { shape, values, constants, turns })
    }

    /// The kernel of a form, allowed the shared memory of a block.
    pub(crate) fn exact_kernel(
        &self,
        key: &ExactKey,
        params: &ParameterSet,
        ciphertexts: usize,
    ) -> Result<CudaFunction, BackendError> {
        let shape = &key.shape;
        self.function(STEP, &shape.image(), &shape.kernel(params.pbs_level), shape.shared_bytes(ciphertexts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_by_thread_are_those_of_the_tree() {
        let modulus = exact::moduli()[0];
        for (log2_size, log2_points) in [(8, 4), (9, 4), (10, 5), (11, 4), (12, 4)] {
            let [tree, _] = ntt::tree(modulus, log2_size);
            let by_thread = roots_by_thread(&tree, log2_points);
            for depth in 0..log2_size {
                let of_depth = |table: &[Factor]| {
                    let mut values: Vec<u32> = table[1 << depth..2 << depth].iter().map(|root| root.value).collect();
                    values.sort_unstable();
                    values
                };
                assert_eq!(of_depth(&by_thread), of_depth(&tree), "depth {depth} of 2^{log2_size}");
            }
        }
        // Of 512 words with 16 a thread: depth 5, the second of a phase, has its even nodes first; depth 8, whose
        // threads have eight groups, every eighth node.
        let [tree, _] = ntt::tree(modulus, 9);
        let by_thread = roots_by_thread(&tree, 4);
        assert_eq!((by_thread[32 + 1], by_thread[32 + 16]), (tree[32 + 2], tree[32 + 1]));
        assert_eq!((by_thread[256 + 1], by_thread[256 + 32]), (tree[256 + 8], tree[256 + 1]));
    }
}
