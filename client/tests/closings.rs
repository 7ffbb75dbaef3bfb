//! Products that are summed before they are relinearised, and maps without a division: on real keys, every chain of
//! primes that the planner may take, and noise beside what is predicted.

use heman_client::ckks::secret::SecretPolynomial;
use heman_core::ckks::files::seeded::SeededCiphertext;
use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::plan::polynomials::{Closing, PolynomialNetwork};
use heman_core::ckks::planner::chains::{Chain, chains, closings};
use heman_core::ckks::planner::simulate::SlotNoise;
use heman_core::ckks::ring::encode::Encoder;
use heman_core::ckks::session::throughput::ThroughputSession;
use heman_core::device::cpu::CpuBackend;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Network, Row, Stage};
use heman_core::progress::NoProgress;
use heman_testing::networks::{self, row, stage};
use tfhe_fft::c64;

const INPUTS: usize = 256;

fn weighted(bias: f64, sources: impl IntoIterator<Item = usize>) -> Row {
    row(bias, sources.into_iter().map(|source| (source, 0.31 - 0.1 * (source % 7) as f32)))
}

fn activated(rows: Vec<Row>, function: Unary) -> Stage {
    stage(&[1, rows.len()], rows, 1, &Function::unary(function))
}

/// A squared layer between two dense ones.
fn squared() -> Network {
    let rows = (0..12).map(|at| weighted(0.1 * at as f64, (0..16).filter(|source| (source + at) % 5 != 0))).collect();
    let outputs = (0..3).map(|at| weighted(0.3, (16..28).filter(|source| source % 3 != at))).collect();
    networks::network(&[1, 16], vec![activated(rows, Unary::Square)], outputs)
}

fn samples(count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..16).map(|i| ((at * 16 + i) as f32 * 0.7).sin()).collect()).collect()
}

/// Root mean square of the output's error over many inputs, measured and predicted.
fn errors(plain: &PolynomialNetwork, chain: &Chain) -> [f64; 2] {
    let mut network = plain.clone();
    network.keep(chain);
    assert_eq!(network.check(), Ok(()));
    let params = &chain.params;
    let (scale, encoder) = (f64::from(params.scale_log2).exp2(), Encoder::new(params.log2_degree));
    let ring = CpuBackend::new(0).expect("threads").ring(params, Occupancy::Many).expect("a secure set");
    let host = ring.host();
    let key = SecretPolynomial::generate(host);
    let relinearise = key.relinearisation_key(host, params.key_limbs);
    let session = ThroughputSession::new(&ring, &network, Some(&relinearise), u64::MAX).expect("enough levels");
    let samples = samples(INPUTS);
    let encrypt = |element: usize| {
        let values: Vec<c64> = samples.iter().map(|input| c64::new(f64::from(input[element]), 0.0)).collect();
        key.encrypt(host, &encoder.coefficients(&values, scale))
    };
    let inputs: Vec<SeededCiphertext> = (0..16).map(encrypt).collect();
    let outputs = session.run(&inputs, &NoProgress).expect("enough levels");
    let columns: Vec<Vec<c64>> =
        outputs.iter().map(|output| encoder.slots(&key.decrypt(host, output), output.scale)).collect();
    let noise = SlotNoise::new(&network, params, false).expect("enough levels");
    let (mut measured, mut predicted) = (0.0, 0.0);
    for (at, input) in samples.iter().enumerate() {
        let (exact, noisy) = (network.evaluate(input), network.simulate(input, &noise, at as u64));
        for ((column, exact), noisy) in columns.iter().zip(exact).zip(noisy) {
            measured += (column[at].re - exact).powi(2);
            predicted += (noisy - exact).powi(2);
        }
    }
    [measured, predicted].map(|sum| (sum / (INPUTS * columns.len()) as f64).sqrt())
}

fn check(network: &Network, degree: usize, log2_degree: u32, expected: &[Closing]) {
    let plain = PolynomialNetwork::fit(network, &samples(64), degree, 1.15);
    let closings = closings(&plain);
    assert_eq!(closings, expected);
    let found = chains(&plain, (RingKind::Complex, log2_degree), 4, false, &closings);
    let kinds = |chain: &Chain| {
        let kind = chain.scalings.iter().map(|scaling| (scaling.rescales, scaling.closing)).collect::<Vec<_>>();
        (kind, chain.params.primes.len())
    };
    let mut seen: Vec<_> = Vec::new();
    for chain in &found {
        if seen.contains(&kinds(chain)) {
            continue;
        }
        seen.push(kinds(chain));
        let [measured, predicted] = errors(&plain, chain);
        let ratio = measured / predicted;
        println!("N = 2^{log2_degree}, {:?}: {measured:.2e}, {ratio:.2} of predicted", kinds(chain));
        let params = &chain.params;
        // Rounded weights are one draw, of few here; a slot's error has an imaginary half as well.
        assert!(
            (0.3..1.6).contains(&ratio),
            "{measured:.2e}, predicted {predicted:.2e}: {params:?}, {:?}",
            seen.last()
        );
    }
    assert!(seen.len() > 2, "{seen:?}");
}

#[test]
fn squares_are_relinearised_in_the_output() {
    check(&squared(), 2, 12, &[Closing::Output]);
    check(&squared(), 2, 13, &[Closing::Output]);
}
