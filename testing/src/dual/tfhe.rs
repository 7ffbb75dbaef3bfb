//! TFHE's steps on two devices.
//!
//! Linear maps, key switches and uploads are compared word for word. Bootstraps are not equal in words, since the
//! devices' Fourier transforms round differently: see [`Dual::with_phases`]. Behind each of them the second device goes
//! on with the first one's words, so that exact steps always start from the same.

use heman_core::device::Device;
use heman_core::device::error::BackendError;
use heman_core::tfhe::files::ciphertexts::EncryptedInput;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::{BootstrapOps, InputOps, KeyswitchOps, LinearOps};
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan::affine::AffineMap;
use heman_core::tfhe::table_set::TableSet;

use crate::dual::{Dual, DualBuffer, Pair, differ};
use crate::tfhe::keys::phases;

/// How results of bootstraps are compared.
pub(in crate::dual) struct Phases {
    key: Vec<u32>,
    tolerance: u32,
}

impl<A, B> Dual<A, B> {
    /// Bootstraps on both devices, and compares the phases of their results under the flattened GLWE key: they may
    /// differ by `tolerance`, words of the torus. Without this, bootstraps run on the first device alone.
    #[must_use]
    pub fn with_phases(mut self, key: Vec<u32>, tolerance: u32) -> Self {
        self.phases = Some(Phases { key, tolerance });
        self
    }
}

impl Phases {
    fn compare(&self, rows: &Pair<Vec<u32>, Vec<u32>>, first_row: usize) -> Result<(), BackendError> {
        let (first, second) = (phases(&self.key, &rows.first), phases(&self.key, &rows.second));
        let apart = |(&a, &b): (&u32, &u32)| a.wrapping_sub(b).cast_signed().unsigned_abs() > self.tolerance;
        let Some(row) = first.iter().zip(&second).position(apart) else { return Ok(()) };
        let (row, phases) = (first_row + row, [first[row], second[row]]);
        Err(differ("bootstrap", format_args!("row {row}: phases {} and {}", phases[0], phases[1])))
    }
}

impl<A: InputOps, B: InputOps> InputOps for Dual<A, B> {
    fn upload_inputs(
        &self,
        inputs: &EncryptedInput,
        range: (usize, usize),
        row_words: usize,
        buffer: &mut Self::Buffer,
        at: usize,
    ) -> Result<(), BackendError> {
        let first = self.first.upload_inputs(inputs, range, row_words, &mut buffer.pair.first, at);
        let second = self.second.upload_inputs(inputs, range, row_words, &mut buffer.pair.second, at);
        Pair::of("upload of inputs", first, second)?;
        let values = inputs.bodies.len() / (inputs.inputs as usize).max(1);
        self.compare("upload of inputs", buffer, at, row_words, values * range.1 * row_words).map(|_| ())
    }
}

/// A linear map on two devices.
pub struct DualAffine<A, B> {
    pair: Pair<A, B>,
    rows: usize,
}

impl<A: LinearOps, B: LinearOps> LinearOps for Dual<A, B> {
    type Affine = DualAffine<A::Affine, B::Affine>;

    fn load_affine(&self, map: &AffineMap) -> Result<Self::Affine, BackendError> {
        let pair = Pair::of("loading a linear map", self.first.load_affine(map), self.second.load_affine(map))?;
        Ok(DualAffine { pair, rows: map.rows })
    }

    fn affine(
        &self,
        map: &Self::Affine,
        inputs: usize,
        row_words: usize,
        values: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError> {
        let (values, to) = (&values.pair, &mut out.pair);
        let first = self.first.affine(&map.pair.first, inputs, row_words, &values.first, &mut to.first);
        let second = self.second.affine(&map.pair.second, inputs, row_words, &values.second, &mut to.second);
        Pair::of("linear map", first, second)?;
        self.compare("linear map", out, 0, row_words, map.rows * inputs * row_words).map(|_| ())
    }
}

/// A key on two devices.
pub struct DualKey<A, B> {
    pair: Pair<A, B>,
    params: ParameterSet,
}

impl<A: KeyswitchOps, B: KeyswitchOps> KeyswitchOps for Dual<A, B> {
    type KeyswitchKey = DualKey<A::KeyswitchKey, B::KeyswitchKey>;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<Self::KeyswitchKey, BackendError> {
        let (first, second) = (self.first.load_keyswitch_key(key), self.second.load_keyswitch_key(key));
        Ok(DualKey { pair: Pair::of("loading a keyswitching key", first, second)?, params: key.params })
    }

    fn keyswitch(
        &self,
        key: &Self::KeyswitchKey,
        rows: usize,
        input: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError> {
        let first = self.first.keyswitch(&key.pair.first, rows, &input.pair.first, &mut out.pair.first);
        let second = self.second.keyswitch(&key.pair.second, rows, &input.pair.second, &mut out.pair.second);
        Pair::of("keyswitch", first, second)?;
        let words = key.params.small_row_words();
        self.compare("keyswitch", out, 0, words, rows * words).map(|_| ())
    }
}

/// Tables on two devices.
pub struct DualTables<A, B> {
    pair: Pair<A, B>,
    set: TableSet,
}

impl<A: BootstrapOps, B: BootstrapOps> BootstrapOps for Dual<A, B> {
    type BootstrapKey = DualKey<A::BootstrapKey, B::BootstrapKey>;
    type Tables = DualTables<A::Tables, B::Tables>;

    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<Self::BootstrapKey, BackendError> {
        let (first, second) = (self.first.load_bootstrap_key(key), self.second.load_bootstrap_key(key));
        Ok(DualKey { pair: Pair::of("loading a bootstrapping key", first, second)?, params: key.params })
    }

    fn load_tables(&self, set: TableSet) -> Result<Self::Tables, BackendError> {
        let (first, second) = (self.first.load_tables(set.clone()), self.second.load_tables(set.clone()));
        Ok(DualTables { pair: Pair::of("loading tables", first, second)?, set })
    }

    fn bootstrap(
        &self,
        key: &Self::BootstrapKey,
        tables: &Self::Tables,
        inputs: usize,
        input: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError> {
        tables.set.check_batch(&key.params, inputs, input.words, out.words)?;
        let (from, to) = (&input.pair, &mut out.pair);
        self.first.bootstrap(&key.pair.first, &tables.pair.first, inputs, &from.first, &mut to.first)?;
        if self.phases.is_some() {
            self.second.bootstrap(&key.pair.second, &tables.pair.second, inputs, &from.second, &mut to.second)?;
        }
        let words = inputs * key.params.big_row_words();
        for &row in tables.set.row_of_value() {
            let at = row as usize * words;
            let rows = match &self.phases {
                Some(phases) => {
                    let rows = self.words_of(out, at, words)?;
                    phases.compare(&rows, row as usize * inputs)?;
                    rows.first
                }
                None => self.words_of_first(out, at, words)?,
            };
            self.second.upload(&rows, &mut out.pair.second, at)?;
        }
        Ok(())
    }
}

impl<A: Device, B: Device> Dual<A, B> {
    fn words_of_first(
        &self,
        buffer: &DualBuffer<A::Buffer, B::Buffer>,
        at: usize,
        count: usize,
    ) -> Result<Vec<u32>, BackendError> {
        let mut words = vec![0; count];
        self.first.download(&buffer.pair.first, at, &mut words)?;
        Ok(words)
    }
}
