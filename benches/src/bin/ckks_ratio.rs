//! CKKS multiplication with relinearisation and rotation beside SEAL, one thread each, in one run.
//!
//! `ckks_ratio PYTHON [ROUNDS]`: PYTHON is an interpreter that has the wheel `tenseal`; rounds of ours and SEAL's
//! alternate.

use std::process::{Command, ExitCode};
use std::time::Instant;

use heman_benches::{exit_code, median};
use heman_client::ckks::secret::SecretPolynomial;
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::ring::context::Ring;

/// Repetitions within a round.
const REPETITIONS: usize = 15;
/// log2 N, our levels of 28 bits and special primes, SEAL's primes: both close to the largest QP that SEAL takes.
const SETS: [(u32, usize, usize, &str); 4] = [
    (13, 4, 2, "50,39,39,39,51"),
    (13, 5, 1, "50,39,39,39,51"),
    (14, 11, 3, "58,40,40,40,40,40,40,40,40,60"),
    (14, 12, 2, "58,40,40,40,40,40,40,40,40,60"),
];

fn milliseconds(mut run: impl FnMut()) -> f64 {
    let once = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        1e3 * start.elapsed().as_secs_f64()
    };
    median((0..REPETITIONS).map(|_| once(&mut run)).collect())
}

fn theirs(python: &str, log2_degree: u32, bits: &str) -> Result<(f64, f64), String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/seal_ckks.py");
    let output = Command::new(python)
        .args([script, &log2_degree.to_string(), bits, &REPETITIONS.to_string()])
        .output()
        .map_err(|error| format!("{python}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [multiply, rotate] => Ok((multiply, rotate)),
        _ => Err(format!("SEAL did not run: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn run() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let python = args.next().ok_or("ckks_ratio PYTHON [ROUNDS]")?;
    let rounds = args.next().and_then(|text| text.parse().ok()).unwrap_or(5_usize).max(1);
    println!("milliseconds, medians of {rounds} alternating rounds, one thread");
    println!("{:36} {:>14} {:>14} {:>14} {:>14}", "set", "multiply", "SEAL, ratio", "rotate", "SEAL, ratio");
    for (log2_degree, levels, special, bits) in SETS {
        let params = ParameterSet::of(RingKind::Complex, log2_degree, levels, 28, special)?;
        let name = format!("2^{log2_degree}, log QP {:.0}, {special} special", params.modulus_bits());
        let ring = Ring::new(params)?;
        let key = SecretPolynomial::generate(&ring);
        let limbs = ring.limbs();
        let sound = "fresh from generation";
        let relinearise = ring.expand_key(&key.relinearisation_key(&ring, limbs)).expect(sound);
        let rotation = ring.expand_rotation(&key.galois_key(&ring, 5, limbs), 1).expect(sound);
        let ciphertext = ring.expand(&key.encrypt(&ring, &vec![1e6; ring.degree()]), 2_f64.powi(28));
        let ciphertext = ciphertext.expect(sound);
        let (mut ours, mut seal) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let multiply = milliseconds(|| {
                ring.recycle(ring.multiply(&ciphertext, &ciphertext, &relinearise).expect("one level"));
            });
            let rotate = milliseconds(|| {
                ring.recycle(ring.automorphism(&ciphertext, &rotation));
            });
            ours.push((multiply, rotate));
            seal.push(theirs(&python, log2_degree, bits)?);
        }
        let column = |times: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| median(times.iter().map(pick).collect());
        let pairs = || ours.iter().zip(&seal);
        let (multiply, rotate) = (column(&ours, |t| t.0), column(&ours, |t| t.1));
        let (seal_multiply, seal_rotate) = (column(&seal, |t| t.0), column(&seal, |t| t.1));
        let multiply_ratio = median(pairs().map(|(o, s)| s.0 / o.0).collect());
        let rotate_ratio = median(pairs().map(|(o, s)| s.1 / o.1).collect());
        println!(
            "{name:36} {multiply:>14.3} {:>14} {rotate:>14.3} {:>14}",
            format!("{seal_multiply:.2}, {multiply_ratio:.1}x"),
            format!("{seal_rotate:.2}, {rotate_ratio:.1}x"),
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    exit_code(run())
}
