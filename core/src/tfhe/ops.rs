#![doc = include_str!("contract.md")]

use crate::device::Device;
use crate::device::error::BackendError;
use crate::tfhe::files::ciphertexts::EncryptedInput;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::plan::affine::AffineMap;
use crate::tfhe::table_set::TableSet;

/// Fresh inputs on a device.
pub trait InputOps: Device {
    /// Rows of fresh inputs, `value x input` for `count` inputs from `first` on, to the buffer from word `at` on; their
    /// masks come from their seeds. The host makes them where a backend does not.
    ///
    /// # Errors
    /// [`BackendError::Shape`] past the buffer's end.
    fn upload_inputs(
        &self,
        inputs: &EncryptedInput,
        (first, count): (usize, usize),
        row_words: usize,
        buffer: &mut Self::Buffer,
        at: usize,
    ) -> Result<(), BackendError> {
        self.upload(&inputs.expand(row_words, first, count), buffer, at)
    }
}

/// Integer affine maps over rows.
pub trait LinearOps: Device {
    /// A map in the backend's own layout.
    type Affine: Send + Sync;

    /// Prepares a map. Its picks are rows of the values buffer, its targets rows of the output.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn load_affine(&self, map: &AffineMap) -> Result<Self::Affine, BackendError>;

    /// `out[r][i] = bias[r] + sum_j weight[r][j] * values[pick[r][j]][i]` mod 2^32 for every row `r` and input `i`.
    ///
    /// Shapes: `values` at least `(largest pick + 1) * inputs` rows of `row_words` words, `out` at least
    /// `rows * inputs`.
    /// Noise: variance times the squared norm of the weights. Exact.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if a buffer is too short.
    fn affine(
        &self,
        map: &Self::Affine,
        inputs: usize,
        row_words: usize,
        values: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError>;
}

/// Keyswitch from the flattened GLWE key to the small key.
pub trait KeyswitchOps: Device {
    /// The keyswitching key in the backend's own layout.
    type KeyswitchKey: Send + Sync;

    /// Prepares the key.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<Self::KeyswitchKey, BackendError>;

    /// Switches `rows` rows of `k N + 1` words to rows of `n + 1` words.
    ///
    /// Noise: adds [`crate::tfhe::noise::keyswitch_variance`]. Exact mod 2^32: digits are those of the balanced
    /// decomposition of the mask words rounded to `ks_base_log * ks_level` bits.
    /// Source: Chillotti, Gama, Georgieva, Izabachene, J. Cryptology 2020, algorithm 2.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if a buffer is too short.
    fn keyswitch(
        &self,
        key: &Self::KeyswitchKey,
        rows: usize,
        input: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError>;
}

/// Modulus switch, blind rotation and sample extraction with one table a row.
pub trait BootstrapOps: Device {
    /// The bootstrapping key in the backend's own layout (mostly the Fourier domain).
    type BootstrapKey: Send + Sync;
    /// Test polynomials and the places of their results in the backend's own layout.
    type Tables: Send + Sync;

    /// Prepares the key.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn load_bootstrap_key(&self, key: &SeededEvaluationKey) -> Result<Self::BootstrapKey, BackendError>;

    /// Prepares tables and the places of their results.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn load_tables(&self, tables: TableSet) -> Result<Self::Tables, BackendError>;

    /// Bootstraps `values * inputs` small rows and writes each value's rows to its place in `out`.
    ///
    /// The modulus switch to 2N is the centred one (Bernard et al., ePrint 2025/809): the sum of the mask's rounding
    /// errors, halved, is moved into the body before it is rounded.
    ///
    /// Shapes: `input` holds `inputs` rows of `n + 1` words for each value of the tables; those of value `v` are
    /// written to rows `row_of_value[v] * inputs ..` of `out`, rows of `k N + 1` words.
    /// Noise: the output's is [`crate::tfhe::noise::bootstrap_variance`], whatever the input's was.
    /// Source: Chillotti et al. 2020, algorithms 3, 4 and 9.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if a buffer is too short or the tables are of another ring.
    fn bootstrap(
        &self,
        key: &Self::BootstrapKey,
        tables: &Self::Tables,
        inputs: usize,
        input: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError>;
}

/// Everything that an encrypted TFHE inference needs.
pub trait TfheBackend: InputOps + LinearOps + KeyswitchOps + BootstrapOps + Sync {}

impl<B: InputOps + LinearOps + KeyswitchOps + BootstrapOps + Sync> TfheBackend for B {}
