//! What there is to say about TFHE parameters and plans.

use heman_core::files::sealed::OfBatch;
use heman_core::tfhe::files::ciphertexts::{EncryptedInput, EncryptedOutput};
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::noise::tuniform_variance;
use heman_core::tfhe::params::public::Params;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::params::set::bits;
use heman_core::tfhe::plan::Plan;
use serde_json::{Value, json};

use super::{Layer, bytes, client, input, loss, merge};

/// How many bits of the key a step takes, if it is more than one.
pub fn grouping(p: &ParameterSet) -> String {
    if p.grouping_factor == 1 { String::new() } else { format!(" ({} bits a step)", p.grouping_factor) }
}

/// Every parameter under its literature name.
pub fn set_json(p: &ParameterSet) -> Value {
    json!({
        "scheme": "tfhe",
        "lwe_dimension": p.lwe_dimension,
        "grouping_factor": p.grouping_factor,
        "glwe_dimension": p.glwe_dimension,
        "polynomial_size": p.polynomial_size,
        "pbs_base_log": p.pbs_base_log,
        "pbs_level": p.pbs_level,
        "ks_base_log": p.ks_base_log,
        "ks_level": p.ks_level,
        "lwe_noise_log2_std": 0.5 * tuniform_variance(p.ks_noise_bound_log2, 32.0).log2(),
        "glwe_noise_log2_std": 0.5 * tuniform_variance(p.pbs_noise_bound_log2, 64.0).log2(),
        "input_noise_log2_std": 0.5 * tuniform_variance(p.input_noise_bound_log2, 32.0).log2(),
        "ciphertext_modulus_log2": 32,
        "bootstrapping_key_modulus_log2": 64,
        "security_bits": bits(p),
    })
}

/// Parameters, encodings and promises.
pub fn params_json(params: &Params) -> Value {
    let mut object = set_json(&params.tfhe);
    let promised = &params.prediction;
    merge(
        &mut object,
        json!({
            "p_fail_log2": promised.p_fail_log2,
            "predicted_thread_seconds_per_input": promised.thread_seconds_per_input,
            "bootstraps_per_input": promised.bootstraps,
            "evaluation_key_bytes": SeededEvaluationKey::file_bytes(&params.tfhe),
            "encrypted_input_bytes": EncryptedInput::file_bytes(params, 1),
            "encrypted_output_bytes": EncryptedOutput::file_bytes(params, 1),
            "input": params.input.tensor,
            "output": params.output.tensor,
        }),
    );
    merge(&mut object, input::json(&params.input.columns, (params.input.low, params.input.high)));
    merge(&mut object, loss::json(&promised.loss));
    merge(&mut object, client::json(&params.input.parts, &params.output.tensor, &params.output.client_ops));
    object
}

/// Parameters, encodings and promises, for people.
pub fn params_text(params: &Params) -> String {
    let p = &params.tfhe;
    let promised = &params.prediction;
    let loss = loss::text(&promised.loss);
    let risk = if promised.bootstraps == 0 {
        String::new()
    } else {
        let what = if params.output.steps.is_some() { "a bootstrap fails" } else { "a table input leaves its range" };
        format!("; {what} with probability 2^{:.1}", promised.p_fail_log2)
    };
    let grouping = grouping(p);
    let client = client::text(&params.output.tensor, &params.output.client_ops).unwrap_or_default();
    format!(
        "scheme        TFHE, n = {}{grouping}, k = {}, N = {}; bootstrap base 2^{}, {} level(s); keyswitch base 2^{}, {} level(s)\n\
         security      {:.0} bits\n\
         input         {} {:?}, {}\n\
         output        {} {:?}\n\
         {client}bootstraps    {} an input\n\
         prediction    {loss}; {:.1} thread-seconds an input{risk}\n\
         sizes         evaluation key {}, encrypted input {}, encrypted output {}",
        p.lwe_dimension,
        p.glwe_dimension,
        p.polynomial_size,
        p.pbs_base_log,
        p.pbs_level,
        p.ks_base_log,
        p.ks_level,
        bits(p),
        params.input.tensor.name,
        params.input.tensor.shape,
        input::text(&params.input.columns, (params.input.low, params.input.high)),
        params.output.tensor.name,
        params.output.tensor.shape,
        promised.bootstraps,
        promised.thread_seconds_per_input,
        bytes(SeededEvaluationKey::file_bytes(p)),
        bytes(EncryptedInput::file_bytes(params, 1)),
        bytes(EncryptedOutput::file_bytes(params, 1)),
    )
}

/// The layers of a plan.
pub fn plan_layers(plan: &Plan) -> Vec<Layer> {
    let model = heman_core::tfhe::cost::CostModel::default();
    let bits = |map: &heman_core::tfhe::plan::affine::AffineMap| {
        let largest = map.blocks.iter().flat_map(|b| &b.weights).map(|w| w.unsigned_abs()).max().unwrap_or(0);
        17 - largest.leading_zeros()
    };
    let tfhe = &plan.params.tfhe;
    let mut layers: Vec<Layer> = plan
        .stages
        .iter()
        .map(|stage| Layer {
            operator: stage.operator.clone(),
            name: stage.name.clone(),
            shape: stage.shape.clone(),
            activations: stage.affine.rows,
            terms: stage.affine.term_count(),
            bits: Some(bits(&stage.affine)),
            seconds: Some(
                model.linear_seconds(stage.affine.term_count(), tfhe)
                    + stage.affine.rows as f64 * model.bootstrap_seconds(tfhe),
            ),
        })
        .collect();
    layers.push(Layer {
        operator: plan.output_operator.clone(),
        name: plan.params.output.tensor.name.clone(),
        shape: plan.params.output.tensor.shape.clone(),
        activations: 0,
        terms: plan.output.term_count(),
        bits: Some(bits(&plan.output)),
        seconds: Some(model.linear_seconds(plan.output.term_count(), tfhe)),
    });
    layers
}
