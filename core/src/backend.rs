#![doc = include_str!("backend_contract.md")]

use crate::affine::AffineMap;
use crate::ciphertext::EncryptedInput;
use crate::evaluation_key::SeededEvaluationKey;
use crate::table_set::TableSet;

/// What a backend can fail with.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Memory for a batch is not to be had; a smaller batch may do.
    #[error("{step}: {bytes} bytes do not fit into the memory of {device}")]
    OutOfMemory {
        /// Which step.
        step: &'static str,
        /// How much was asked for.
        bytes: u64,
        /// Where.
        device: String,
    },
    /// Shapes that do not fit together.
    #[error("{step}: expected {expected}, got {found}")]
    Shape {
        /// Which step.
        step: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        found: String,
    },
    /// The device failed.
    #[error("{step} failed on {device}: {message}")]
    Device {
        /// Which step.
        step: &'static str,
        /// Where.
        device: String,
        /// The driver's words.
        message: String,
    },
}

/// Fails unless a buffer holds at least `expected` words.
///
/// # Errors
/// [`BackendError::Shape`].
pub fn require(step: &'static str, expected: usize, found: usize) -> Result<(), BackendError> {
    if found < expected {
        let (expected, found) = (format!("a buffer of at least {expected} words"), format!("{found}"));
        return Err(BackendError::Shape { step, expected, found });
    }
    Ok(())
}

/// Bytes for the buffers of one pass where a backend knows no better.
pub const DEFAULT_BUFFER_BYTES: usize = 1 << 30;

/// Memory of a device and the way in and out.
pub trait Device {
    /// Words on the device.
    type Buffer: Send;

    /// For people: "CPU, 2 threads, AVX-512".
    fn name(&self) -> String;

    /// A buffer of `words` words, content undefined.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`].
    fn allocate(&self, words: usize) -> Result<Self::Buffer, BackendError>;

    /// Copies `words` to the buffer from word `at` on.
    ///
    /// # Errors
    /// [`BackendError::Shape`] past the buffer's end.
    fn upload(&self, words: &[u32], buffer: &mut Self::Buffer, at: usize) -> Result<(), BackendError>;

    /// Rows of fresh inputs, `value x image` for `count` images from `first` on, to the buffer from word `at` on; their masks come from their
    /// seeds. The host makes them where a backend does not.
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

    /// Copies words `at .. at + words.len()` of the buffer to the host, after all steps before it.
    ///
    /// # Errors
    /// [`BackendError::Shape`] past the buffer's end; any error of the steps before.
    fn download(&self, buffer: &Self::Buffer, at: usize, words: &mut [u32]) -> Result<(), BackendError>;

    /// Bytes that the buffers of one pass should stay within.
    fn buffer_bytes(&self) -> usize {
        DEFAULT_BUFFER_BYTES
    }

    /// Waits for all steps before it.
    ///
    /// # Errors
    /// Any error of the steps before.
    fn sync(&self) -> Result<(), BackendError>;
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

    /// `out[r][i] = bias[r] + sum_j weight[r][j] * values[pick[r][j]][i]` mod 2^32 for every row `r` and image `i`.
    ///
    /// Shapes: `values` at least `(largest pick + 1) * images` rows of `row_words` words, `out` at least `rows * images`.
    /// Noise: variance times the squared norm of the weights. Exact.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if a buffer is too short.
    fn affine(
        &self,
        map: &Self::Affine,
        images: usize,
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
    /// Noise: adds [`crate::noise::keyswitch_variance`]. Exact mod 2^32: digits are those of the balanced decomposition of
    /// the mask words rounded to `ks_base_log * ks_level` bits.
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

    /// Bootstraps `values * images` small rows and writes each value's rows to its place in `out`.
    ///
    /// The modulus switch to 2N is the centred one (Bernard et al., ePrint 2025/809): the sum of the mask's rounding errors,
    /// halved, is moved into the body before it is rounded.
    ///
    /// Shapes: `input` holds `images` rows of `n + 1` words for each value of the tables; those of value `v` are written to
    /// rows `row_of_value[v] * images ..` of `out`, rows of `k N + 1` words.
    /// Noise: the output's is [`crate::noise::bootstrap_variance`], whatever the input's was.
    /// Source: Chillotti et al. 2020, algorithms 3, 4 and 9.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if a buffer is too short or the tables are of another ring.
    fn bootstrap(
        &self,
        key: &Self::BootstrapKey,
        tables: &Self::Tables,
        images: usize,
        input: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), BackendError>;
}

/// Everything that an encrypted TFHE inference needs.
pub trait TfheBackend: LinearOps + KeyswitchOps + BootstrapOps + Sync {}

impl<B: LinearOps + KeyswitchOps + BootstrapOps + Sync> TfheBackend for B {}
