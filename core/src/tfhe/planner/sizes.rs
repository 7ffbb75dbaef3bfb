//! What is worked out of a plan that is kept: its digest, and sizes of keys and ciphertexts.

use crate::files::sealed::OfBatch;
use crate::tfhe::files::ciphertexts::EncryptedInput;
use crate::tfhe::files::ciphertexts::EncryptedOutput;
use crate::tfhe::files::evaluation_key::SeededEvaluationKey;
use crate::tfhe::plan::Plan;

/// Fills in the digest, and the sizes of keys and ciphertexts.
pub(crate) fn complete(plan: &mut Plan) {
    plan.params.plan_digest = plan.digest();
    let tfhe = plan.params.tfhe;
    let (input_bytes, output_bytes) =
        (EncryptedInput::file_bytes(&plan.params, 1), EncryptedOutput::file_bytes(&plan.params, 1));
    let prediction = &mut plan.params.prediction;
    prediction.evaluation_key_bytes = SeededEvaluationKey::file_bytes(&tfhe);
    prediction.input_bytes = input_bytes;
    prediction.output_bytes = output_bytes;
}
