//! The evaluation key as it travels: bodies and two seeds, the masks left out.

use std::io::{self, Write};

use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::files::chunks::{Reader, value_bytes, write_value};
use crate::files::container as format;
use crate::files::container::{Fingerprint, FormatError, Kind};
use crate::files::scheme::Scheme;
use crate::files::sealed::{Sealed, check_rest};
use crate::tfhe::params::public::Params;
use crate::tfhe::params::set::ParameterSet;

/// Bytes of both seeds.
const SEED_BYTES: u64 = 32;

/// Seeded bootstrapping and keyswitching key, with the parameters they were made for.
#[derive(Clone)]
pub struct SeededEvaluationKey {
    /// The client's key.
    pub fingerprint: Fingerprint,
    /// The public parameters.
    pub params: ParameterSet,
    /// Seed of the bootstrapping key's masks.
    pub bootstrap_seed: [u8; 16],
    /// Bodies of the rows of GGSW encryptions, under the GLWE key, of the small key's bits, or of which bits of each
    /// group are set ([`ParameterSet::indicators`]): `n (2^g - 1) / g x l x (k + 1) x N` words mod 2^64.
    pub bootstrap_bodies: Vec<u64>,
    /// Seed of the keyswitching key's masks.
    pub keyswitch_seed: [u8; 16],
    /// Bodies of the flattened GLWE key under the small key: `k N x l` words mod 2^32.
    pub keyswitch_bodies: Vec<u32>,
}

impl SeededEvaluationKey {
    /// Number of body words of the bootstrapping key.
    #[must_use]
    pub fn bootstrap_body_words(params: &ParameterSet) -> usize {
        params.bootstrap_key_length() * params.pbs_level * (params.glwe_dimension + 1) * params.polynomial_size
    }

    /// Number of body words of the keyswitching key.
    #[must_use]
    pub fn keyswitch_body_words(params: &ParameterSet) -> usize {
        params.big_dimension() * params.ks_level
    }

    /// Length of the file, in bytes.
    #[must_use]
    pub fn file_bytes(params: &ParameterSet) -> u64 {
        format::file_bytes(value_bytes(params) + Self::rest_bytes(params))
    }

    fn rest_bytes(params: &ParameterSet) -> u64 {
        let words = 8 * Self::bootstrap_body_words(params) + 4 * Self::keyswitch_body_words(params);
        SEED_BYTES + words as u64
    }

    /// The bootstrapping key with its masks; takes some hundred milliseconds and `k + 1` times the memory of the
    /// bodies.
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
}

impl Sealed for SeededEvaluationKey {
    const KIND: Kind = Kind::EvaluationKey;
    const SCHEME: Scheme = Scheme::Tfhe;
    type Given = Params;

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, _params: &Params) -> u64 {
        value_bytes(&self.params) + Self::rest_bytes(&self.params)
    }

    fn write(&self, _params: &Params, out: &mut dyn Write) -> io::Result<()> {
        write_value(&self.params, out)?;
        out.write_all(&self.bootstrap_seed)?;
        out.write_all(&self.keyswitch_seed)?;
        out.write_all(bytemuck::cast_slice(&self.bootstrap_bodies))?;
        out.write_all(bytemuck::cast_slice(&self.keyswitch_bodies))
    }

    fn read(given: &Params, body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let params: ParameterSet = body.value()?;
        if params != given.tfhe {
            return Err(FormatError::Body("the key was made for other parameters than its header says".into()));
        }
        check_rest(body, Self::rest_bytes(&params))?;
        Ok(Self {
            fingerprint,
            params,
            bootstrap_seed: body.array()?,
            keyswitch_seed: body.array()?,
            bootstrap_bodies: body.words(Self::bootstrap_body_words(&params))?,
            keyswitch_bodies: body.words(Self::keyswitch_body_words(&params))?,
        })
    }
}
