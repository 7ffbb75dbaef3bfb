//! The secret key and the evaluation key made from it.

use crate::random::{fresh_fingerprint, fresh_seed, os_seeder};
use crate::text::{read_text, text_bytes, write_text};
use std::io::{self, Write};

use heman_core::files::chunks::Reader;
use heman_core::files::container::{Binding, Fingerprint, FormatError, Kind};
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Sealed;
use heman_core::progress::Progress;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::public::Params;
use tfhe::core_crypto::commons::math::random::{Seed, Seeder};
use tfhe::core_crypto::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::error::ClientError;

/// Binary keys of one client for one set of parameters.
///
/// The small key has n bits; the GLWE key has k N bits, and flattened it is the key of all ciphertexts that travel.
pub struct SecretKey {
    params: Params,
    fingerprint: Fingerprint,
    small: Zeroizing<Vec<u8>>,
    glwe: Zeroizing<Vec<u8>>,
}

impl SecretKey {
    /// Draws fresh keys.
    ///
    /// # Errors
    /// [`ClientError::Params`] if the parameters are malformed or below 128 bits of security, whoever sent them.
    pub fn generate(params: &Params) -> Result<Self, ClientError> {
        params.check()?;
        let mut generator = SecretRandomGenerator::<DefaultRandomGenerator>::new(os_seeder().seed());
        let mut bits = |count: usize| {
            let key = allocate_and_generate_new_binary_lwe_secret_key::<u64, _>(LweDimension(count), &mut generator);
            let mut words = key.into_container();
            let bits = Zeroizing::new(words.iter().map(|&word| word as u8).collect::<Vec<u8>>());
            words.zeroize();
            bits
        };
        let (small, glwe) = (bits(params.tfhe.lwe_dimension), bits(params.tfhe.big_dimension()));
        Ok(Self { params: params.clone(), fingerprint: fresh_fingerprint(), small, glwe })
    }

    /// The public parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Makes the evaluation key. The keyswitching key is quick; the bootstrapping key takes all cores for a second or
    /// two.
    #[must_use]
    pub fn evaluation_key(&self, progress: &dyn Progress) -> SeededEvaluationKey {
        let p = self.params.tfhe;
        progress.start("making the evaluation key", 2);
        let mut seeder = os_seeder();
        let (small64, glwe64) = (widen::<u64>(&self.small), widen::<u64>(&self.glwe));
        let indicators = Zeroizing::new(p.indicators(&small64).collect::<Vec<u64>>());
        let bootstrap_seed = fresh_seed(&mut seeder);
        let mut bootstrap = SeededLweBootstrapKey::from_container(
            vec![0_u64; SeededEvaluationKey::bootstrap_body_words(&p)],
            GlweDimension(p.glwe_dimension).to_glwe_size(),
            PolynomialSize(p.polynomial_size),
            DecompositionBaseLog(p.pbs_base_log),
            DecompositionLevelCount(p.pbs_level),
            Seed(u128::from_le_bytes(bootstrap_seed)).into(),
            CiphertextModulus::new_native(),
        );
        par_generate_seeded_lwe_bootstrap_key(
            &LweSecretKey::from_container(indicators.as_slice()),
            &GlweSecretKey::from_container(glwe64.as_slice(), PolynomialSize(p.polynomial_size)),
            &mut bootstrap,
            DynamicDistribution::<u64>::new_t_uniform(p.pbs_noise_bound_log2),
            &mut seeder,
        );
        progress.advance(1);
        let (small32, glwe32) = (widen::<u32>(&self.small), widen::<u32>(&self.glwe));
        let keyswitch_seed = fresh_seed(&mut seeder);
        let mut keyswitch = SeededLweKeyswitchKey::from_container(
            vec![0_u32; SeededEvaluationKey::keyswitch_body_words(&p)],
            DecompositionBaseLog(p.ks_base_log),
            DecompositionLevelCount(p.ks_level),
            LweDimension(p.lwe_dimension).to_lwe_size(),
            Seed(u128::from_le_bytes(keyswitch_seed)).into(),
            CiphertextModulus::new_native(),
        );
        generate_seeded_lwe_keyswitch_key(
            &LweSecretKey::from_container(glwe32.as_slice()),
            &LweSecretKey::from_container(small32.as_slice()),
            &mut keyswitch,
            DynamicDistribution::<u32>::new_t_uniform(p.ks_noise_bound_log2),
            &mut seeder,
        );
        progress.finish();
        SeededEvaluationKey {
            fingerprint: self.fingerprint,
            params: p,
            bootstrap_seed,
            bootstrap_bodies: bootstrap.into_container(),
            keyswitch_seed,
            keyswitch_bodies: keyswitch.into_container(),
        }
    }

    /// The flattened GLWE key as words mod 2^32.
    pub(crate) fn big_key(&self) -> Zeroizing<Vec<u32>> {
        widen::<u32>(&self.glwe)
    }

    /// The small key as words mod 2^32, for tests that look into a bootstrap.
    #[doc(hidden)]
    #[must_use]
    pub fn small_key_for_tests(&self) -> Zeroizing<Vec<u32>> {
        widen::<u32>(&self.small)
    }
}

impl Sealed for SecretKey {
    const KIND: Kind = Kind::SecretKey;
    const SCHEME: Scheme = Scheme::Tfhe;
    type Given = ();

    fn binding(&self, (): &()) -> Binding {
        self.params.binding()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, (): &()) -> u64 {
        text_bytes(&self.params.to_json()) + (self.small.len() + self.glwe.len()) as u64
    }

    fn write(&self, (): &(), out: &mut dyn Write) -> io::Result<()> {
        write_text(&self.params.to_json(), out)?;
        out.write_all(&self.small)?;
        out.write_all(&self.glwe)
    }

    fn read((): &(), body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let params = Params::from_json(&read_text(body)?).map_err(|error| FormatError::Body(error.to_string()))?;
        let (n, big) = (params.tfhe.lwe_dimension, params.tfhe.big_dimension());
        let (mut small, mut glwe) = (Zeroizing::new(vec![0; n]), Zeroizing::new(vec![0; big]));
        body.fill(&mut small)?;
        body.fill(&mut glwe)?;
        if small.iter().chain(glwe.iter()).any(|&bit| bit > 1) {
            return Err(FormatError::Body("its key bits are not all 0 or 1".into()));
        }
        Ok(Self { params, fingerprint, small, glwe })
    }
}

fn widen<T: From<u8> + Zeroize>(bits: &[u8]) -> Zeroizing<Vec<T>> {
    Zeroizing::new(bits.iter().map(|&bit| T::from(bit)).collect())
}
