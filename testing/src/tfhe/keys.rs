//! Keys and ciphertexts for tests, straight from tfhe.

use heman_core::files::container::Fingerprint;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::set::ParameterSet;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;
use tfhe::core_crypto::seeders::UnixSeeder;

/// A toy set: `(N, k, n, (bootstrap b, l), (keyswitch b, l))`.
#[must_use]
pub const fn toy_insecure(size: usize, k: usize, n: usize, pbs: (usize, usize), ks: (usize, usize)) -> ParameterSet {
    ParameterSet {
        lwe_dimension: n,
        grouping_factor: 1,
        glwe_dimension: k,
        polynomial_size: size,
        pbs_base_log: pbs.0,
        pbs_level: pbs.1,
        ks_base_log: ks.0,
        ks_level: ks.1,
        ks_noise_bound_log2: 4,
        pbs_noise_bound_log2: 10,
        input_noise_bound_log2: 4,
    }
}

/// Small and insecure: quick tests of shapes and exact steps.
pub const TOY_INSECURE_K2: ParameterSet = toy_insecure(256, 2, 37, (10, 2), (3, 4));

/// Another shape: one mask polynomial, three levels.
pub const TOY_INSECURE_K1: ParameterSet = toy_insecure(512, 1, 20, (7, 3), (5, 2));

/// Bits in pairs and in threes.
pub const TOY_INSECURE_GROUPS: [ParameterSet; 2] = [
    ParameterSet { grouping_factor: 2, ..toy_insecure(256, 2, 36, (10, 2), (3, 4)) },
    ParameterSet { grouping_factor: 3, ..toy_insecure(512, 1, 21, (7, 3), (5, 2)) },
];

/// One toy set for every ring size of the GPU kernels, with all numbers of levels, narrow and wide keyswitch digits.
pub const TOY_INSECURE_RINGS: [ParameterSet; 6] = [
    toy_insecure(256, 5, 21, (10, 2), (3, 4)),
    toy_insecure(512, 3, 17, (7, 3), (5, 2)),
    toy_insecure(512, 4, 11, (23, 1), (2, 7)),
    toy_insecure(1024, 2, 9, (23, 1), (2, 7)),
    toy_insecure(2048, 1, 9, (15, 2), (7, 3)),
    toy_insecure(4096, 1, 5, (10, 3), (10, 2)),
];

/// The rings of [`TOY_INSECURE_RINGS`] with bits in pairs and in threes.
#[must_use]
pub fn toy_insecure_rings_in_groups() -> [ParameterSet; 6] {
    let factors = [3, 2, 2, 3, 3, 2];
    std::array::from_fn(|at| {
        let (params, grouping_factor) = (TOY_INSECURE_RINGS[at], factors[at]);
        let lwe_dimension = params.lwe_dimension.next_multiple_of(grouping_factor);
        ParameterSet { grouping_factor, lwe_dimension, pbs_base_log: params.pbs_base_log.min(22), ..params }
    })
}

/// Secret and evaluation keys of one set.
pub struct TestKeys {
    /// Bits of the small key.
    pub small: Vec<u32>,
    /// Bits of the flattened GLWE key.
    pub big: Vec<u32>,
    /// The evaluation key.
    pub evaluation: SeededEvaluationKey,
}

impl TestKeys {
    /// Reproducible keys, secure or not.
    #[must_use]
    pub fn new(p: ParameterSet, seed: u128) -> Self {
        let mut seeder = UnixSeeder::new(0);
        let mut secrets = SecretRandomGenerator::<DefaultRandomGenerator>::new(Seed(seed));
        let size = PolynomialSize(p.polynomial_size);
        let small =
            allocate_and_generate_new_binary_lwe_secret_key::<u64, _>(LweDimension(p.lwe_dimension), &mut secrets);
        let glwe = allocate_and_generate_new_binary_glwe_secret_key::<u64, _>(
            GlweDimension(p.glwe_dimension),
            size,
            &mut secrets,
        );
        let (bootstrap_seed, keyswitch_seed) = (seed + 1, seed + 2);
        let mut bootstrap = SeededLweBootstrapKey::from_container(
            vec![0_u64; SeededEvaluationKey::bootstrap_body_words(&p)],
            GlweDimension(p.glwe_dimension).to_glwe_size(),
            size,
            DecompositionBaseLog(p.pbs_base_log),
            DecompositionLevelCount(p.pbs_level),
            Seed(bootstrap_seed).into(),
            CiphertextModulus::new_native(),
        );
        par_generate_seeded_lwe_bootstrap_key(
            &LweSecretKey::from_container(p.indicators(small.as_ref()).collect::<Vec<u64>>()),
            &glwe,
            &mut bootstrap,
            DynamicDistribution::<u64>::new_t_uniform(p.pbs_noise_bound_log2),
            &mut seeder,
        );
        let narrow = |words: &[u64]| words.iter().map(|&word| word as u32).collect::<Vec<u32>>();
        let (small, big) = (narrow(small.as_ref()), narrow(glwe.into_lwe_secret_key().as_ref()));
        let mut keyswitch = SeededLweKeyswitchKey::from_container(
            vec![0_u32; SeededEvaluationKey::keyswitch_body_words(&p)],
            DecompositionBaseLog(p.ks_base_log),
            DecompositionLevelCount(p.ks_level),
            LweDimension(p.lwe_dimension).to_lwe_size(),
            Seed(keyswitch_seed).into(),
            CiphertextModulus::new_native(),
        );
        generate_seeded_lwe_keyswitch_key(
            &LweSecretKey::from_container(big.as_slice()),
            &LweSecretKey::from_container(small.as_slice()),
            &mut keyswitch,
            DynamicDistribution::<u32>::new_t_uniform(p.ks_noise_bound_log2),
            &mut seeder,
        );
        let evaluation = SeededEvaluationKey {
            fingerprint: Fingerprint(seed.to_le_bytes()),
            params: p,
            bootstrap_seed: bootstrap_seed.to_le_bytes(),
            bootstrap_bodies: bootstrap.into_container(),
            keyswitch_seed: keyswitch_seed.to_le_bytes(),
            keyswitch_bodies: keyswitch.into_container(),
        };
        Self { small, big, evaluation }
    }

    /// Fresh rows under `key` for the given phases.
    #[must_use]
    pub fn encrypt(&self, key: &[u32], phases: &[u32], noise_bound_log2: u32, seed: u128) -> Vec<u32> {
        let mut seeder = UnixSeeder::new(0);
        let mut noise = EncryptionRandomGenerator::<DefaultRandomGenerator>::new(Seed(seed), &mut seeder);
        let modulus = CiphertextModulus::new_native();
        let count = LweCiphertextCount(phases.len());
        let mut list = LweCiphertextList::new(0_u32, LweSize(key.len() + 1), count, modulus);
        encrypt_lwe_ciphertext_list(
            &LweSecretKey::from_container(key),
            &mut list,
            &PlaintextList::from_container(phases),
            DynamicDistribution::<u32>::new_t_uniform(noise_bound_log2),
            &mut noise,
        );
        list.into_container()
    }
}

/// Phases of rows under a key.
#[must_use]
pub fn phases(key: &[u32], rows: &[u32]) -> Vec<u32> {
    rows.chunks_exact(key.len() + 1)
        .map(|row| {
            let (mask, body) = row.split_at(key.len());
            mask.iter().zip(key).fold(body[0], |sum, (&a, &s)| sum.wrapping_sub(a.wrapping_mul(s)))
        })
        .collect()
}

/// Reproducible arbitrary words.
#[must_use]
pub fn words(count: usize, seed: u32) -> Vec<u32> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as u32
        })
        .collect()
}
