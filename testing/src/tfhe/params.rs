//! Parameters that were not planned.

use heman_core::files::params::{FORMAT, VERSION};
use heman_core::files::scheme::Scheme;
use heman_core::model::client_op::ClientOps;
use heman_core::model::columns::Columns;
use heman_core::model::network::TensorInfo;
use heman_core::tfhe::params::public::{InputEncoding, OutputEncoding, Params, Prediction};
use heman_core::tfhe::params::set::ParameterSet;

/// Secure parameters for so many values between -1.5 and 1.5, with the output's encoding equal to the input's: what was
/// encrypted can be decrypted as it is.
#[must_use]
pub fn identity(values: usize) -> Params {
    let tensor = TensorInfo { name: "x".into(), shape: vec![1, values] };
    Params {
        format: FORMAT.into(),
        version: VERSION,
        scheme: Scheme::Tfhe,
        tfhe: ParameterSet::with_least_noise(640, 5, 256, (20, 1), (2, 5)),
        input: InputEncoding {
            tensor: tensor.clone(),
            parts: vec![tensor.clone()],
            turns_per_unit: 0.25,
            low: -1.5,
            high: 1.5,
            columns: Columns::default(),
        },
        output: OutputEncoding {
            tensor,
            turns_per_unit: vec![0.25; values],
            offset: vec![0.0; values],
            steps: None,
            client_ops: ClientOps::default(),
        },
        plan_digest: String::new(),
        prediction: Prediction { security_bits: 128.0, ..Prediction::default() },
    }
}
