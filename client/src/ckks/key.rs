//! A client's CKKS key for one set of public parameters: key file, encryption and decryption of batches.

use std::io::{self, Write};

use heman_core::ckks::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use heman_core::ckks::files::evaluation_key::SeededEvaluationKey;
use heman_core::ckks::files::seeded::SeededCiphertext;
use heman_core::ckks::params::packing::Packing;
use heman_core::ckks::params::public::Params;
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::encode::Complex;
use heman_core::ckks::ring::slots::SlotEncoder;
use heman_core::files::chunks::Reader;
use heman_core::files::container::{Binding, Fingerprint, FormatError, Kind};
use heman_core::files::params::ParamsError;
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Sealed;
use heman_core::progress::Progress;
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::ckks::secret::SecretPolynomial;
use crate::ckks::share::{Flood, Sharing};
use crate::error::ClientError;
use crate::random::fresh_fingerprint;
use crate::tensor::{Output, outputs};
use crate::text::{read_text, text_bytes, write_text};
use crate::values::Encoding;

/// A ternary secret with the parameters it belongs to.
pub struct SecretKey {
    params: Params,
    fingerprint: Fingerprint,
    ring: Ring,
    encoder: SlotEncoder,
    secret: SecretPolynomial,
}

impl SecretKey {
    /// Draws a fresh key.
    ///
    /// # Errors
    /// [`ClientError::Params`] if the parameters are malformed or below 128 bits of security, whoever sent them.
    pub fn generate(params: &Params) -> Result<Self, ClientError> {
        params.check()?;
        let ring = Ring::new(params.ckks.clone()).map_err(ParamsError::Invalid)?;
        let secret = SecretPolynomial::generate(&ring);
        Ok(Self::with(params.clone(), fresh_fingerprint(), ring, secret))
    }

    fn with(params: Params, fingerprint: Fingerprint, ring: Ring, secret: SecretPolynomial) -> Self {
        let encoder = SlotEncoder::new(&params.ckks);
        Self { params, fingerprint, ring, encoder, secret }
    }

    /// The public parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Makes the keys that the parameters ask for.
    #[must_use]
    pub fn evaluation_key(&self, progress: &dyn Progress) -> SeededEvaluationKey {
        let request = &self.params.keys;
        progress.start("making the evaluation key", request.rotation_limbs.len() as u64 + 1);
        let limbs = request.relinearisation_limbs;
        let relinearise = (limbs > 0).then(|| self.secret.relinearisation_key(&self.ring, limbs));
        progress.advance(1);
        let rotation = |(&steps, &limbs): (&usize, &usize)| {
            let element = self.ring.rotation_element(steps);
            let key = self.secret.galois_key(&self.ring, element, limbs);
            progress.advance(1);
            (steps as u32, key)
        };
        let rotations = request.rotation_limbs.par_iter().map(rotation).collect();
        let bootstrap = request.bootstrap.map(|limbs| self.secret.sparse_keys(&self.ring, limbs));
        progress.finish();
        SeededEvaluationKey { fingerprint: self.fingerprint, relinearise, rotations, bootstrap }
    }

    /// Encrypts a batch of inputs, one after the other in `values`. Noise: that of fresh ciphertexts.
    ///
    /// # Errors
    /// [`ClientError::InputLength`] if `values` is no whole number of inputs, [`ClientError::InputRange`] for values
    /// that are not finite or outside of the range that the parameters were made for.
    pub fn encrypt(&self, values: &[f32], batched: bool) -> Result<EncryptedInput, ClientError> {
        let encoding = Encoding::from(&self.params.input);
        let numbers = encoding.encoded(values)?;
        let inputs: Vec<&[f64]> = numbers.chunks_exact(encoding.len).collect();
        let (per_run, _) = self.params.ciphertexts_per_run();
        let mut ciphertexts = Vec::new();
        for run in inputs.chunks(self.params.inputs_per_run()) {
            let encrypt = |at: usize| self.encrypt_slots(&self.input_slots(run, at));
            ciphertexts.extend((0..per_run).into_par_iter().map(encrypt).collect::<Vec<SeededCiphertext>>());
        }
        let (fingerprint, inputs) = (self.fingerprint, inputs.len() as u32);
        Ok(EncryptedInput { fingerprint, inputs, batched, ciphertexts })
    }

    fn encrypt_slots(&self, slots: &[f64]) -> SeededCiphertext {
        let scale = f64::from(self.params.ckks.scale_log2).exp2();
        let coefficients = Zeroizing::new(self.encoder.coefficients(slots, scale));
        self.secret.encrypt(&self.ring, &coefficients)
    }

    /// Slots of ciphertext `at` of a run.
    fn input_slots(&self, run: &[&[f64]], at: usize) -> Vec<f64> {
        match &self.params.packing {
            Packing::Throughput => run.iter().map(|input| input[at]).collect(),
            Packing::Latency { lanes, input, .. } => {
                let mut slots = vec![0.0; self.params.ckks.slots()];
                for (lane, values) in run.iter().enumerate() {
                    let own = input.spread(at, |value| values[value]);
                    slots[lane..].iter_mut().step_by(*lanes).zip(own).for_each(|(slot, x)| *slot = x);
                }
                slots
            }
        }
    }

    /// Decrypts a batch to one vector of values an input, before the client's operators.
    ///
    /// # Errors
    /// [`ClientError::Format`] for ciphertexts that no evaluation gives.
    pub fn decrypt_values(&self, output: &EncryptedOutput) -> Result<Vec<Vec<f64>>, ClientError> {
        self.decrypt_parts(output, |slot| slot.re)
    }

    /// One number of every value's slot, a vector an input.
    fn decrypt_parts(
        &self,
        output: &EncryptedOutput,
        part: impl Fn(&Complex) -> f64,
    ) -> Result<Vec<Vec<f64>>, ClientError> {
        let bad = || ClientError::Format(FormatError::Body("a ciphertext has words that are no residues".into()));
        let (_, per_run) = self.params.ciphertexts_per_run();
        let (inputs, scale) = (self.params.inputs_per_run(), self.params.output.scale);
        let mut values = Vec::with_capacity(output.inputs as usize);
        for run in output.ciphertexts.chunks(per_run) {
            let slots = |parts: &heman_core::ckks::files::ciphertexts::Parts| {
                let ciphertext = parts.ciphertext(&self.ring, scale).ok_or_else(bad)?;
                Ok(Slots(self.encoder.slots(&self.secret.decrypt(&self.ring, &ciphertext), scale)))
            };
            let slots: Result<Vec<Slots>, ClientError> = run.par_iter().map(slots).collect();
            let slots = slots?;
            let left = (output.inputs as usize - values.len()).min(inputs);
            for input in 0..left {
                let element = |at: usize| match &self.params.packing {
                    Packing::Throughput => part(&slots[at].0[input]),
                    Packing::Latency { lanes, output, .. } => {
                        let (ciphertext, slot) = output.place(at);
                        part(&slots[ciphertext].0[slot * lanes + input])
                    }
                };
                values.push((0..self.params.output.tensor.len()).map(element).collect());
            }
        }
        Ok(values)
    }

    /// Decrypts a batch and runs the client's program. The outputs have a batch axis if the input had one.
    ///
    /// With `sharing`, for a result that leaves the client's hands, Gaussian noise hides the encryption's own, or
    /// nothing is decrypted: see [`crate::ckks::share`].
    ///
    /// # Errors
    /// As [`SecretKey::decrypt_values`]; [`ClientError::Untrusted`] and [`ClientError::Flooded`] where no noise both
    /// hides the error and leaves the result, [`ClientError::Outside`] for values that no honest evaluation gives.
    pub fn decrypt(&self, output: &EncryptedOutput, sharing: Option<Sharing>) -> Result<Vec<Output>, ClientError> {
        let encoding = &self.params.output;
        let flood = sharing.map(|sharing| Flood::new(&self.params, sharing)).transpose()?;
        let mut values = Zeroizing::new(self.decrypt_values(output)?);
        if let Some(flood) = flood {
            let imaginary = Zeroizing::new(self.decrypt_parts(output, |slot| slot.im)?);
            flood.add(&mut values, &imaginary)?;
        }
        Ok(outputs(&values, &encoding.tensor, &encoding.client_ops, output.batched))
    }
}

/// Decrypted slots, with the noise that depends on the secret; wiped when dropped.
struct Slots(Vec<Complex>);

impl Drop for Slots {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|slot| {
            slot.re.zeroize();
            slot.im.zeroize();
        });
    }
}

impl Sealed for SecretKey {
    const KIND: Kind = Kind::SecretKey;
    const SCHEME: Scheme = Scheme::Ckks;
    type Given = ();

    fn binding(&self, (): &()) -> Binding {
        self.params.binding()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn body_bytes(&self, (): &()) -> u64 {
        text_bytes(&self.params.to_json()) + self.secret.coefficients().len() as u64
    }

    fn write(&self, (): &(), out: &mut dyn Write) -> io::Result<()> {
        write_text(&self.params.to_json(), out)?;
        out.write_all(bytemuck::cast_slice(self.secret.coefficients()))
    }

    fn read((): &(), body: &mut Reader<'_>) -> Result<Self, FormatError> {
        let fingerprint = body.header().fingerprint;
        let invalid = |error: ParamsError| FormatError::Body(error.to_string());
        let params = Params::from_json(&read_text(body)?).map_err(invalid)?;
        let ring = Ring::new(params.ckks.clone()).map_err(FormatError::Body)?;
        let mut coefficients = Zeroizing::new(vec![0_i8; ring.degree()]);
        body.fill(bytemuck::cast_slice_mut(&mut coefficients))?;
        if coefficients.iter().any(|s| !(-1..=1).contains(s)) {
            return Err(FormatError::Body("its key digits are not all -1, 0 or 1".into()));
        }
        let secret = SecretPolynomial::from_coefficients(&ring, coefficients);
        Ok(Self::with(params, fingerprint, ring, secret))
    }
}
