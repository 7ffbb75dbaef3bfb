//! Bootstraps by exact transforms on the host: the mirror, word for word, of devices that work modulo two primes
//! ([`crate::tfhe::exact`]). All other steps are the CPU's.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::device::Device;
use crate::device::cpu::CpuBackend;
use crate::device::error::BackendError;
use crate::device::simd::for_each_arch;
use crate::residues::modulus::Modulus;
use crate::residues::ntt::Ntt;
use crate::tfhe::cpu::{SharedMut, rotation};
use crate::tfhe::exact::{self, contribution};
use crate::tfhe::files::ciphertexts::EncryptedInput;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::ops::{BootstrapOps, InputOps, KeyswitchOps, LinearOps};
use crate::tfhe::params::set::ParameterSet;
use crate::tfhe::plan::affine::AffineMap;
use crate::tfhe::table_set::TableSet;

/// Most ciphertexts that share one reading of the key.
const MAX_BATCH: usize = 16;
/// Products of residues that are summed before a reduction: 12 p^2 are below 3 2^32 p.
const MOST_TERMS: usize = 12;

/// The host, with bootstraps by exact transforms.
pub struct ExactBackend {
    host: CpuBackend,
}

impl ExactBackend {
    /// On the threads of a host, with its instruction set.
    #[must_use]
    pub fn new(host: CpuBackend) -> Self {
        Self { host }
    }
}

impl Device for ExactBackend {
    type Buffer = Vec<u32>;

    fn name(&self) -> String {
        format!("{}, exact transforms", self.host.name())
    }

    fn allocate(&self, words: usize) -> Result<Vec<u32>, BackendError> {
        self.host.allocate(words)
    }

    fn upload(&self, words: &[u32], buffer: &mut Vec<u32>, at: usize) -> Result<(), BackendError> {
        self.host.upload(words, buffer, at)
    }

    fn download(&self, buffer: &Vec<u32>, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        self.host.download(buffer, at, words)
    }

    fn buffer_bytes(&self) -> usize {
        self.host.buffer_bytes()
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.host.sync()
    }
}

impl InputOps for ExactBackend {
    fn upload_inputs(
        &self,
        inputs: &EncryptedInput,
        which: (usize, usize),
        row_words: usize,
        buffer: &mut Vec<u32>,
        at: usize,
    ) -> Result<(), BackendError> {
        self.host.upload_inputs(inputs, which, row_words, buffer, at)
    }
}

impl LinearOps for ExactBackend {
    type Affine = <CpuBackend as LinearOps>::Affine;

    fn load_affine(&self, map: &AffineMap) -> Result<Self::Affine, BackendError> {
        self.host.load_affine(map)
    }

    fn affine(
        &self,
        map: &Self::Affine,
        inputs: usize,
        row_words: usize,
        values: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        self.host.affine(map, inputs, row_words, values, out)
    }
}

impl KeyswitchOps for ExactBackend {
    type KeyswitchKey = <CpuBackend as KeyswitchOps>::KeyswitchKey;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<Self::KeyswitchKey, BackendError> {
        self.host.load_keyswitch_key(key)
    }

    fn keyswitch(
        &self,
        key: &Self::KeyswitchKey,
        rows: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        self.host.keyswitch(key, rows, input, out)
    }
}

/// The bootstrapping key modulo both primes.
pub struct ExactBootstrapKey {
    params: ParameterSet,
    primes: [Prime; 2],
}

/// The key modulo one prime, and what it takes to multiply by it.
struct Prime {
    ntt: Ntt,
    fraction: u32,
    /// Transformed polynomials in the key's order (groups, sets, levels, rows, columns), times `(q / p)^-1`, in
    /// Montgomery form.
    key: Vec<u32>,
    monomials: Monomials,
}

/// The values of powers of X, less one.
struct Monomials {
    /// The power of psi that X is at each place of the transform.
    frequencies: Vec<u32>,
    /// `psi^t - 1` in Montgomery form, t below 2N.
    less_one: Vec<u32>,
}

impl Monomials {
    fn new(arch: pulp::Arch, ntt: &Ntt, size: usize) -> Self {
        let modulus = ntt.modulus();
        let mut points = vec![0; size];
        points[1] = 1;
        ntt.forward(arch, &mut points);
        let mut powers = vec![1; 2 * size];
        for t in 1..2 * size {
            powers[t] = modulus.mul(powers[t - 1], points[0]);
        }
        let exponents: HashMap<u32, u32> = powers.iter().copied().zip(0..).collect();
        Self {
            frequencies: points.iter().map(|point| exponents[point]).collect(),
            less_one: powers.iter().map(|&power| modulus.montgomery(modulus.sub(power, 1))).collect(),
        }
    }

    /// `X^degree - 1` at all places, in Montgomery form.
    fn at(&self, degree: u32, out: &mut [u32]) {
        for (factor, &frequency) in out.iter_mut().zip(&self.frequencies) {
            *factor = self.less_one[degree.wrapping_mul(frequency) as usize & (self.less_one.len() - 1)];
        }
    }
}

impl Prime {
    fn new(arch: pulp::Arch, params: &ParameterSet, words: &[u64], at: usize) -> Self {
        let size = params.polynomial_size;
        let modulus = exact::moduli()[at];
        let ntt = Ntt::new(modulus, size.ilog2());
        let exact::Recombination { inverse, fraction } = exact::recombination(at);
        let scale = u64::from(modulus.montgomery(modulus.montgomery(inverse)));
        let mut key = exact::residues(words, at);
        key.par_chunks_exact_mut(size).for_each(|poly| {
            ntt.forward(arch, poly);
            for word in poly {
                *word = modulus.reduce(u64::from(*word) * scale);
            }
        });
        let monomials = Monomials::new(arch, &ntt, size);
        Self { ntt, fraction, key, monomials }
    }
}

/// One ciphertext on its way.
struct Rotation {
    exponents: Vec<u32>,
    accumulator: Vec<u32>,
}

impl Rotation {
    fn new(params: &ParameterSet, table: &[u32], row: &[u32]) -> Self {
        let size = params.polynomial_size;
        let mut exponents = vec![0; row.len()];
        rotation::switch_modulus(row, (2 * size).trailing_zeros(), &mut exponents);
        let back = (2 * size - exponents[row.len() - 1] as usize) % (2 * size);
        let mut accumulator = vec![0; params.big_dimension() + size];
        rotation::rotate(table, back, &mut accumulator[params.big_dimension()..]);
        Self { exponents, accumulator }
    }
}

/// Memory of one thread.
struct Memory {
    rotated: Vec<u32>,
    digits: Vec<u32>,
    transformed: Vec<u32>,
    factors: Vec<u32>,
    sums: Vec<u64>,
    products: Vec<u32>,
}

impl Memory {
    fn new(params: &ParameterSet) -> Self {
        let size = params.polynomial_size;
        let words = params.big_dimension() + size;
        Self {
            rotated: vec![0; size],
            digits: vec![0; params.pbs_level * words],
            transformed: vec![0; params.pbs_level * words],
            factors: vec![0; size],
            sums: vec![0; size],
            products: vec![0; words],
        }
    }
}

impl ExactBootstrapKey {
    /// Rotates by the bits of one group.
    fn step(&self, arch: pulp::Arch, group: usize, row: &mut Rotation, memory: &mut Memory) {
        let p = &self.params;
        let (size, subsets) = (p.polynomial_size, p.subsets());
        let exponents = &row.exponents[group * p.grouping_factor..][..p.grouping_factor];
        if exponents.iter().all(|&exponent| exponent == 0) {
            return;
        }
        let Memory { rotated, digits, transformed, factors, sums, products } = memory;
        decompose(arch, p, exponents, &row.accumulator, rotated, digits);
        let words = products.len();
        let ggsw = p.pbs_level * (p.glwe_dimension + 1) * words;
        for Prime { ntt, fraction, key, monomials } in &self.primes {
            lift(arch, digits, ntt.modulus(), transformed);
            transformed.chunks_exact_mut(size).for_each(|digit| ntt.forward(arch, digit));
            products.fill(0);
            for (key, set) in key[group * subsets * ggsw..].chunks_exact(ggsw).take(subsets).zip(1..) {
                let factors = (p.grouping_factor > 1).then(|| {
                    monomials.at(rotation::degree_of_set(set, exponents), factors);
                    factors.as_slice()
                });
                for (column, product) in products.chunks_exact_mut(size).enumerate() {
                    let terms = Terms { digits: transformed, key: &key[column * size..], words, factors };
                    multiply(arch, &terms, ntt.modulus(), sums, product);
                }
            }
            products.chunks_exact_mut(size).for_each(|product| ntt.inverse(arch, product));
            accumulate(arch, products, *fraction, &mut row.accumulator);
        }
    }
}

/// Digits of `(X^exponent - 1) * accumulator`, or of the accumulator itself with groups of several bits, levels before
/// columns.
fn decompose(
    arch: pulp::Arch,
    params: &ParameterSet,
    exponents: &[u32],
    accumulator: &[u32],
    rotated: &mut [u32],
    digits: &mut [u32],
) {
    let (size, level) = (params.polynomial_size, params.pbs_level);
    let kept = params.pbs_base_log * level;
    for (column, poly) in accumulator.chunks_exact(size).enumerate() {
        match exponents {
            &[exponent] => rotation::difference(arch, poly, exponent as usize, kept, rotated),
            _ => rotation::rounded(arch, poly, kept, rotated),
        }
        for (at, digits) in digits.chunks_exact_mut(accumulator.len()).enumerate() {
            let digit = &mut digits[column * size..][..size];
            if at + 1 < level {
                rotation::split(arch, rotated, digit, params.pbs_base_log);
            } else {
                digit.copy_from_slice(rotated);
            }
        }
    }
}

/// Digits and one column of the key, `words` from row to row there.
struct Terms<'a> {
    digits: &'a [u32],
    key: &'a [u32],
    words: usize,
    factors: Option<&'a [u32]>,
}

for_each_arch! {
    /// See [`lift_words`].
    fn lift = lift_words, (digits: &[u32], modulus: Modulus, out: &mut [u32])
}
for_each_arch! {
    /// See [`multiply_words`].
    fn multiply = multiply_words, (terms: &Terms<'_>, modulus: Modulus, sums: &mut [u64], out: &mut [u32])
}
for_each_arch! {
    /// See [`accumulate_words`].
    fn accumulate = accumulate_words, (products: &[u32], fraction: u32, accumulator: &mut [u32])
}

/// Signed digits of up to 31 bits as residues below 4p.
#[inline(always)]
fn lift_words(digits: &[u32], modulus: Modulus, out: &mut [u32]) {
    for (o, &digit) in out.iter_mut().zip(digits) {
        *o = digit.wrapping_add(2 * modulus.p);
    }
}

/// Adds the sum over rows of digit times key, times a factor where there are some.
#[inline(always)]
fn multiply_words(terms: &Terms<'_>, modulus: Modulus, sums: &mut [u64], out: &mut [u32]) {
    let size = out.len();
    let add = |sum: u32, term: u32| {
        let sum = sum.wrapping_add(term);
        sum.min(sum.wrapping_sub(modulus.p))
    };
    for (digits, key) in terms.digits.chunks(MOST_TERMS * size).zip(terms.key.chunks(MOST_TERMS * terms.words)) {
        sums.fill(0);
        for (digit, key) in digits.chunks_exact(size).zip(key.chunks(terms.words)) {
            for ((sum, &d), &k) in sums.iter_mut().zip(digit).zip(key) {
                *sum = sum.wrapping_add(u64::from(d) * u64::from(k));
            }
        }
        if let Some(factors) = terms.factors {
            for ((o, &sum), &factor) in out.iter_mut().zip(&*sums).zip(factors) {
                *o = add(*o, modulus.reduce(u64::from(modulus.reduce_sum(sum)) * u64::from(factor)));
            }
        } else {
            for (o, &sum) in out.iter_mut().zip(&*sums) {
                *o = add(*o, modulus.reduce_sum(sum));
            }
        }
    }
}

/// Adds the contributions of one prime.
#[inline(always)]
fn accumulate_words(products: &[u32], fraction: u32, accumulator: &mut [u32]) {
    for (word, &y) in accumulator.iter_mut().zip(products) {
        *word = word.wrapping_add(contribution(y, fraction));
    }
}

impl BootstrapOps for ExactBackend {
    type BootstrapKey = ExactBootstrapKey;
    type Tables = TableSet;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<ExactBootstrapKey, BackendError> {
        let params = key.params;
        exact::check(&params).map_err(|message| BackendError::Device {
            step: "loading the bootstrapping key",
            device: self.name(),
            message,
        })?;
        let primes = self.host.pool.install(|| {
            let words = key.expand_bootstrap();
            [0, 1].map(|at| Prime::new(self.host.arch, &params, &words, at))
        });
        Ok(ExactBootstrapKey { params, primes })
    }

    fn load_tables(&self, tables: TableSet) -> Result<TableSet, BackendError> {
        Ok(tables)
    }

    fn bootstrap(
        &self,
        key: &ExactBootstrapKey,
        tables: &TableSet,
        inputs: usize,
        input: &Vec<u32>,
        out: &mut Vec<u32>,
    ) -> Result<(), BackendError> {
        let p = &key.params;
        let rows = tables.check_batch(p, inputs, input.len(), out.len())?;
        let (small, big) = (p.small_row_words(), p.big_row_words());
        let per_batch = rows.div_ceil(self.host.threads()).clamp(1, MAX_BATCH);
        let shared = SharedMut(out.as_mut_ptr());
        self.host.pool.install(|| {
            input[..rows * small].par_chunks(per_batch * small).enumerate().with_max_len(1).for_each(
                |(task, input)| {
                    let value_and_input =
                        |at: usize| ((task * per_batch + at) / inputs, (task * per_batch + at) % inputs);
                    let start = |(at, row)| {
                        let table = tables.table_of_value()[value_and_input(at).0];
                        Rotation::new(p, tables.table(table), row)
                    };
                    let mut rotations: Vec<Rotation> = input.chunks_exact(small).enumerate().map(start).collect();
                    let mut memory = Memory::new(p);
                    for group in 0..p.lwe_dimension / p.grouping_factor {
                        for rotation in &mut rotations {
                            key.step(self.host.arch, group, rotation, &mut memory);
                        }
                    }
                    for (at, Rotation { accumulator, .. }) in rotations.iter().enumerate() {
                        let (value, input) = value_and_input(at);
                        let row = tables.row_of_value()[value] as usize * inputs + input;
                        // SAFETY: rows of different values are distinct (`TableSet::new`) and inside the buffer (`check_batch`),
                        // tasks own different values and inputs.
                        let row = unsafe { shared.slice(row * big, big) };
                        rotation::extract_constant(accumulator, p.polynomial_size, row);
                    }
                },
            );
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::container::Fingerprint;
    use crate::tfhe::exact::{moduli, modulus, recombination};

    const RING: usize = 256;

    fn words(count: usize, seed: u64) -> Vec<u64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        (0..count).map(|_| next()).collect()
    }

    /// A key of arbitrary words: products need no meaning to be right.
    fn key(params: ParameterSet) -> SeededEvaluationKey {
        SeededEvaluationKey {
            fingerprint: Fingerprint::NONE,
            params,
            bootstrap_seed: [7; 16],
            bootstrap_bodies: words(SeededEvaluationKey::bootstrap_body_words(&params), 3),
            keyswitch_seed: [0; 16],
            keyswitch_bodies: Vec::new(),
        }
    }

    /// Adds `X^shift a b` to a sum of integers, a of signed words, by the definition.
    fn add_product(a: &[u32], b: &[i128], shift: usize, sum: &mut [i128]) {
        for (i, &x) in a.iter().enumerate() {
            for (j, &y) in b.iter().enumerate() {
                let product = i128::from(x.cast_signed()) * y;
                let at = (i + j + shift) % (2 * RING);
                sum[at % RING] += if at < RING { product } else { -product };
            }
        }
    }

    /// One step by sums of integers; returns the sums.
    fn step(params: &ParameterSet, key: &[u64], exponents: &[u32], accumulator: &mut [u32]) -> Vec<i128> {
        let columns = params.glwe_dimension + 1;
        let mut rotated = vec![0; RING];
        let mut digits = vec![vec![0; RING]; params.pbs_level * columns];
        for (column, poly) in accumulator.chunks_exact(RING).enumerate() {
            rotated.copy_from_slice(poly);
            if let &[exponent] = exponents {
                rotation::rotate_and_subtract(poly, exponent as usize, &mut rotated);
            }
            rotation::round_words(&mut rotated, params.pbs_base_log * params.pbs_level);
            for level in 0..params.pbs_level - 1 {
                rotation::split_digit(&mut rotated, &mut digits[level * columns + column], params.pbs_base_log);
            }
            digits[(params.pbs_level - 1) * columns + column].copy_from_slice(&rotated);
        }
        let q = i128::from(modulus());
        let switched = |&word: &u64| ((u128::from(word) * q as u128 + (1 << 63)) >> 64) as i128 % q;
        let mut sums = vec![0; columns * RING];
        for (at, poly) in key.chunks_exact(RING).enumerate() {
            let (set, row, column) = (at / columns / digits.len() + 1, at / columns % digits.len(), at % columns);
            let poly: Vec<i128> = poly.iter().map(switched).collect();
            let sum = &mut sums[column * RING..][..RING];
            if exponents.len() == 1 {
                add_product(&digits[row], &poly, 0, sum);
            } else {
                add_product(&digits[row], &poly, rotation::degree_of_set(set, exponents) as usize, sum);
                add_product(&digits[row], &poly, RING, sum);
            }
        }
        for (word, &sum) in accumulator.iter_mut().zip(&sums) {
            for (at, modulus) in moduli().into_iter().enumerate() {
                let p = i128::from(modulus.p);
                let y = sum.rem_euclid(p) * i128::from(recombination(at).inverse) % p;
                *word = word.wrapping_add(contribution(y as u32, recombination(at).fraction));
            }
        }
        sums
    }

    #[test]
    fn words_are_those_of_sums_of_integers() {
        let host = CpuBackend::with_simd(1, None).expect("a thread");
        let backend = ExactBackend::new(host);
        for (grouping_factor, lwe_dimension, base) in
            [(1, 1, (10, 2)), (1, 2, (31, 1)), (2, 2, (7, 3)), (2, 4, (15, 2)), (3, 3, (10, 2))]
        {
            let small = ParameterSet::with_least_noise(lwe_dimension, 1, RING, base, (2, 7));
            let params = ParameterSet { grouping_factor, ..small };
            let evaluation = key(params);
            let table: Vec<u32> = words(RING, 5).iter().map(|&word| word as u32).collect();
            let input: Vec<u32> = words(params.small_row_words(), 9).iter().map(|&word| word as u32).collect();
            let loaded = backend.load_bootstrap_key(&evaluation).expect("loads");
            let mut got = vec![0; params.big_row_words()];
            let tables = TableSet::shared(table.clone(), 1);
            backend.bootstrap(&loaded, &tables, 1, &input, &mut got).expect("runs");

            let Rotation { exponents, mut accumulator } = Rotation::new(&params, &table, &input);
            let expanded = evaluation.expand_bootstrap();
            let groups = lwe_dimension / grouping_factor;
            for (group, key) in expanded.chunks_exact(expanded.len() / groups).enumerate() {
                let before = accumulator.clone();
                let own = &exponents[group * grouping_factor..][..grouping_factor];
                let sums = step(&params, key, own, &mut accumulator);
                let q = i128::from(modulus());
                for ((&before, &after), &sum) in before.iter().zip(&accumulator).zip(&sums) {
                    let exact = ((sum.rem_euclid(q) << 32) / q) as u32;
                    let off = after.wrapping_sub(before).wrapping_sub(exact).cast_signed();
                    assert!((-1..=2).contains(&off), "two roundings away from the turns of the whole: {off}");
                }
            }
            let mut want = vec![0; got.len()];
            rotation::extract_constant(&accumulator, RING, &mut want);
            assert_eq!(got, want, "groups of {grouping_factor}, {base:?}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_words() {
        let params = ParameterSet::with_least_noise(6, 3, 512, (5, 5), (2, 7));
        for grouping_factor in 1..=3 {
            let params = ParameterSet { grouping_factor, ..params };
            let input: Vec<u32> = words(5 * params.small_row_words(), 4).iter().map(|&word| word as u32).collect();
            let run = |simd: &str| {
                let backend = ExactBackend::new(CpuBackend::with_simd(2, Some(simd)).expect("threads"));
                let loaded = backend.load_bootstrap_key(&key(params)).expect("loads");
                let mut out = vec![0; 5 * params.big_row_words()];
                let tables = TableSet::shared((0..512).map(|j| j << 22).collect(), 5);
                backend.bootstrap(&loaded, &tables, 1, &input, &mut out).expect("runs");
                out
            };
            let best = run("avx512");
            assert!(best == run("avx2") && best == run("scalar"), "groups of {grouping_factor}");
        }
    }

    #[test]
    fn large_rings_are_refused() {
        let backend = ExactBackend::new(CpuBackend::with_simd(1, None).expect("a thread"));
        let evaluation = key(ParameterSet::with_least_noise(1, 1, 8192, (10, 1), (2, 7)));
        let error = backend.load_bootstrap_key(&evaluation).err().expect("refused").to_string();
        assert!(error.contains("the CPU takes every ring"), "{error}");
    }
}
