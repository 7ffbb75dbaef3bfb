//! `heman evaluate --scheme ckks`: throughput packing, one slot an input.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use heman_client::ckks::CkksSecretKey;
use heman_core::ckks::activation::PolynomialNetwork;
use heman_core::ckks::context::{CkksParams, Context as Ring};
use heman_core::ckks::encode::{Complex, Encoder};
use heman_core::ckks::evaluator::Ciphertext;
use heman_core::ckks::throughput::ThroughputSession;
use heman_core::network::Network;
use rayon::prelude::*;
use serde_json::json;

use super::evaluate::{Evaluated, Run};
use crate::args::{DeviceChoice, Evaluate};
use crate::error::CliError;
use crate::io::samples::{Samples, read_samples};
use crate::progress::Bar;

/// Fits polynomials, derives parameters and evaluates all samples, or only the polynomials with `--simulate`.
pub fn evaluate(args: &Evaluate, network: &Network, samples: &Samples, bar: &Bar) -> Result<Evaluated, CliError> {
    if !matches!(args.running.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        return Err(CliError::new("CKKS runs on the CPU only so far; use --device cpu"));
    }
    if args.planning.exact {
        return Err(CliError::new("--exact is for TFHE: CKKS computes approximately"));
    }
    let calibration = read_samples(&args.planning.calibration, &network.input.shape)?;
    let inputs: Vec<Vec<f32>> = calibration.iter().map(<[f32]>::to_vec).collect();
    let (polynomials, loss) = PolynomialNetwork::choose(network, &inputs, args.planning.max_loss);
    let params = CkksParams::for_levels(polynomials.levels()).map_err(CliError::new)?;
    let object = json!({
        "log2_degree": params.log2_degree,
        "polynomial_size": 1_u64 << params.log2_degree,
        "primes": params.primes,
        "special_primes": params.special_primes,
        "scale_log2": params.scale_log2,
        "levels": polynomials.levels(),
        "modulus_bits": params.modulus_bits(),
        "security_bits": 128,
        "calibration_disagreement": loss,
    });
    let text = format!(
        "scheme        CKKS, N = 2^{}, log2(QP) = {:.1}, {} levels of {} bits, {} special primes; at least 128 bits of security\n\
         polynomials   {:.2} % of the decisions on calibration data change",
        params.log2_degree,
        params.modulus_bits(),
        polynomials.levels(),
        params.scale_log2,
        params.special_primes.len(),
        100.0 * loss,
    );
    let start = Instant::now();
    let exact = polynomial_outputs(network, &polynomials, samples);
    let run = if args.simulate {
        let seconds = start.elapsed().as_secs_f64();
        Run { outputs: exact, seconds, device: "polynomials in plaintext".into(), details: json!({}) }
    } else {
        encrypted(args, network, &polynomials, params, samples, &exact, bar)?
    };
    Ok(Evaluated { scheme: "ckks", params: object, text, run })
}

/// What the polynomials give without encryption.
fn polynomial_outputs(network: &Network, polynomials: &PolynomialNetwork, samples: &Samples) -> Vec<Vec<f64>> {
    let inputs: Vec<&[f32]> = samples.iter().collect();
    inputs.par_iter().map(|x| polynomials.evaluate(network, x)).collect()
}

fn encrypted(
    args: &Evaluate,
    network: &Network,
    polynomials: &PolynomialNetwork,
    params: CkksParams,
    samples: &Samples,
    exact: &[Vec<f64>],
    bar: &Bar,
) -> Result<Run, CliError> {
    let threads = args.running.threads;
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| CliError::new(e.to_string()))?;
    let start = Instant::now();
    let (slots, scale) = (params.slots(), f64::from(params.scale_log2).exp2());
    let encoder = Encoder::new(params.log2_degree);
    let ring = Ring::new(params).map_err(CliError::new)?;
    let key = CkksSecretKey::generate(&ring);
    let relinearise = key.relinearisation_key(&ring);
    let keygen = start.elapsed().as_secs_f64();
    let session = pool.install(|| ThroughputSession::new(&ring, network, polynomials, &relinearise))?;
    let inputs: Vec<&[f32]> = samples.iter().collect();
    let mut outputs = Vec::with_capacity(samples.count);
    let (mut seconds, mut client) = (0.0, 0.0);
    for batch in inputs.chunks(slots) {
        let start = Instant::now();
        let ciphertexts: Vec<Mutex<Option<Ciphertext>>> = pool.install(|| {
            let encrypt = |element: usize| {
                let values: Vec<Complex> = batch.iter().map(|x| Complex::new(f64::from(x[element]), 0.0)).collect();
                Mutex::new(Some(key.encrypt(&ring, &encoder.coefficients(&values, scale), scale)))
            };
            (0..network.input.len()).into_par_iter().map(encrypt).collect()
        });
        client += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let take = |element: usize| {
            let mut ciphertext = ciphertexts[element].lock().unwrap_or_else(PoisonError::into_inner);
            ciphertext.take().expect("inputs are asked for once")
        };
        let results = pool.install(|| session.run(&take, bar))?;
        seconds += start.elapsed().as_secs_f64();
        let columns: Vec<Vec<Complex>> =
            results.iter().map(|result| encoder.slots(&key.decrypt(&ring, result), result.scale)).collect();
        outputs.extend((0..batch.len()).map(|image| columns.iter().map(|column| column[image].re).collect()));
    }
    let errors = outputs.iter().zip(exact).flat_map(|(got, want): (&Vec<f64>, _)| got.iter().zip(want));
    let largest = errors.map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
    let key_bytes: usize = relinearise.digits.iter().flatten().map(|part| 4 * part.len()).sum();
    let details = json!({
        "seconds_keygen": keygen,
        "seconds_encrypt": client,
        "slots": slots,
        "max_abs_error_against_polynomials": largest,
        "evaluation_key_bytes": key_bytes,
        "evaluation_peak_bytes": pool.install(|| session.peak_bytes()),
        "inputs_per_second_full_batch": slots as f64 * inputs.len().div_ceil(slots) as f64 / seconds,
    });
    let name = format!("CPU, {} threads", pool.current_num_threads());
    Ok(Run { outputs, seconds, device: name, details })
}
