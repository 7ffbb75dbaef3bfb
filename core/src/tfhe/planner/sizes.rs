//! Sizes of keys and ciphertexts.

use crate::files::container::HEADER_BYTES;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::plan::Plan;

/// Fills in the sizes of keys and ciphertexts.
pub(crate) fn fill_sizes(plan: &mut Plan) {
    let tfhe = plan.params.tfhe;
    let (inputs, outputs) = (plan.params.input.tensor.len(), plan.params.output.tensor.len());
    let prediction = &mut plan.params.prediction;
    prediction.evaluation_key_bytes = SeededEvaluationKey::file_bytes(&tfhe);
    prediction.input_bytes = (HEADER_BYTES + 32 + 4 * inputs) as u64;
    prediction.output_bytes = (HEADER_BYTES + 16 + 4 * outputs * tfhe.big_row_words()) as u64;
}
