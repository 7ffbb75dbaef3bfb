//! The evaluation key as it travels: bodies and two seeds, the masks left out.

use serde::{Deserialize, Serialize};
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::files::container as format;
use crate::files::container::{Binding, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::tfhe::params::public::Params;
use crate::tfhe::params::set::TfheParams;
use crate::words;

/// Largest evaluation key file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 30;

/// Seeded bootstrapping and keyswitching key, with the parameters they were made for.
#[derive(Clone, Serialize, Deserialize)]
pub struct SeededEvaluationKey {
    /// The public parameters.
    pub params: TfheParams,
    /// Seed of the bootstrapping key's masks.
    pub bootstrap_seed: [u8; 16],
    /// Bodies of the rows of GGSW encryptions, under the GLWE key, of the small key's bits, or of which bits of each group are set
    /// ([`TfheParams::indicators`]): `n (2^g - 1) / g x l x (k + 1) x N` words mod 2^64.
    #[serde(with = "words")]
    pub bootstrap_bodies: Vec<u64>,
    /// Seed of the keyswitching key's masks.
    pub keyswitch_seed: [u8; 16],
    /// Bodies of the flattened GLWE key under the small key: `k N x l` words mod 2^32.
    #[serde(with = "words")]
    pub keyswitch_bodies: Vec<u32>,
}

impl SeededEvaluationKey {
    /// Number of body words of the bootstrapping key.
    #[must_use]
    pub fn bootstrap_body_words(params: &TfheParams) -> usize {
        params.bootstrap_key_length() * params.pbs_level * (params.glwe_dimension + 1) * params.polynomial_size
    }

    /// Number of body words of the keyswitching key.
    #[must_use]
    pub fn keyswitch_body_words(params: &TfheParams) -> usize {
        params.big_dimension() * params.ks_level
    }

    /// Size of the file, in bytes.
    #[must_use]
    pub fn file_bytes(params: &TfheParams) -> u64 {
        let words = 8 * Self::bootstrap_body_words(params) + 4 * Self::keyswitch_body_words(params);
        (format::HEADER_BYTES + words + 64) as u64
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self, binding: &Binding) -> Vec<u8> {
        format::seal_value(Kind::EvaluationKey, Scheme::Tfhe, binding, self)
    }

    /// Decodes and checks the body of a key file.
    ///
    /// # Errors
    /// [`FormatError::Body`].
    pub fn from_body(body: &[u8]) -> Result<Self, FormatError> {
        let key: Self = postcard::from_bytes(body).map_err(|e| FormatError::Body(e.to_string()))?;
        key.params.check().map_err(FormatError::Body)?;
        let sound = key.bootstrap_bodies.len() == Self::bootstrap_body_words(&key.params)
            && key.keyswitch_bodies.len() == Self::keyswitch_body_words(&key.params);
        if sound { Ok(key) } else { Err(FormatError::Body("the key's length disagrees with its parameters".into())) }
    }

    /// The bootstrapping key with its masks; takes some hundred milliseconds and `k + 1` times the memory of the bodies.
    #[must_use]
    pub fn expand_bootstrap(&self) -> LweBootstrapKeyOwned<u64> {
        let p = &self.params;
        let seeded = SeededLweBootstrapKey::from_container(
            self.bootstrap_bodies.as_slice(),
            GlweDimension(p.glwe_dimension).to_glwe_size(),
            PolynomialSize(p.polynomial_size),
            DecompositionBaseLog(p.pbs_base_log),
            DecompositionLevelCount(p.pbs_level),
            Seed(u128::from_le_bytes(self.bootstrap_seed)).into(),
            CiphertextModulus::new_native(),
        );
        let mut bootstrap = LweBootstrapKey::new(
            0_u64,
            GlweDimension(p.glwe_dimension).to_glwe_size(),
            PolynomialSize(p.polynomial_size),
            DecompositionBaseLog(p.pbs_base_log),
            DecompositionLevelCount(p.pbs_level),
            LweDimension(p.bootstrap_key_length()),
            CiphertextModulus::new_native(),
        );
        par_decompress_seeded_lwe_bootstrap_key::<_, _, _, DefaultRandomGenerator>(&mut bootstrap, &seeded);
        bootstrap
    }

    /// The keyswitching key with its masks: `n + 1` times the memory of the bodies.
    #[must_use]
    pub fn expand_keyswitch(&self) -> LweKeyswitchKeyOwned<u32> {
        let p = &self.params;
        let seeded = SeededLweKeyswitchKey::from_container(
            self.keyswitch_bodies.as_slice(),
            DecompositionBaseLog(p.ks_base_log),
            DecompositionLevelCount(p.ks_level),
            LweDimension(p.lwe_dimension).to_lwe_size(),
            Seed(u128::from_le_bytes(self.keyswitch_seed)).into(),
            CiphertextModulus::new_native(),
        );
        let mut keyswitch = LweKeyswitchKey::new(
            0_u32,
            DecompositionBaseLog(p.ks_base_log),
            DecompositionLevelCount(p.ks_level),
            LweDimension(p.big_dimension()),
            LweDimension(p.lwe_dimension),
            CiphertextModulus::new_native(),
        );
        par_decompress_seeded_lwe_keyswitch_key::<_, _, _, DefaultRandomGenerator>(&mut keyswitch, &seeded);
        keyswitch
    }

    /// Whether the key was made for these parameters.
    #[must_use]
    pub fn fits(&self, params: &Params) -> bool {
        self.params == params.tfhe
    }
}
