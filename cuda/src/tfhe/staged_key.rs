//! The standard bootstrapping key on the device, a part at a time, for kernels that transform it.

use std::ops::Range;

use cudarc::driver::CudaSlice;
use heman_core::device::error::BackendError;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;

use crate::device::CudaBackend;
use crate::tfhe::seeded_rows::SeededRows;

pub(crate) const STEP: &str = "bootstrap";

/// Words of the standard key that are on the device at a time while the key is prepared.
const STAGED_WORDS: usize = 1 << 20;

/// Calls `transform` with the standard key, words mod 2^64 on the device, and the range of all its words that they are,
/// a part at a time.
pub(crate) fn for_staged_rows(
    backend: &CudaBackend,
    key: &SeededEvaluationKey,
    mut transform: impl FnMut(&CudaSlice<u64>, Range<usize>) -> Result<(), BackendError>,
) -> Result<(), BackendError> {
    let size = key.params.polynomial_size;
    let row_words = (key.params.glwe_dimension + 1) * size;
    let (mask_words, body_words, stride) = (2 * key.params.big_dimension(), 2 * size, 2 * row_words);
    let rows = SeededRows { seed: &key.bootstrap_seed, mask_words, body_words, stride };
    let staged_rows = (STAGED_WORDS / row_words).max(1);
    let mut staged = backend.reserve::<u64>(STEP, staged_rows * row_words)?;
    for (chunk, bodies) in key.bootstrap_bodies.chunks(staged_rows * size).enumerate() {
        let (first, count) = (chunk * staged_rows, bodies.len() / size);
        let bodies = backend.load(STEP, bodies)?;
        rows.expand(backend, STEP, first..first + count, &bodies.as_view(), &mut staged.as_view_mut())?;
        transform(&staged, first * row_words..(first + count) * row_words)?;
    }
    Ok(())
}
