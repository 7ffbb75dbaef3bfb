//! Throughput packing on real key sets: a network of all shapes that the order must cope with, against plaintext.

use std::collections::BTreeSet;

use heman_client::ckks::secret::SecretPolynomial;
use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::SeededCiphertext;
use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::plan::polynomials::PolynomialNetwork;
use heman_core::ckks::plan::width::Width;
use heman_core::ckks::ring::slots::SlotEncoder;
use heman_core::ckks::schedule::throughput::{ThroughputSchedule, Work};
use heman_core::ckks::session::throughput::ThroughputSession;
use heman_core::device::cpu::CpuBackend;
use heman_core::model::function::{Function, Unary};
use heman_core::model::network::{Network, Row, Stage};
use heman_core::progress::NoProgress;
use heman_testing::networks::{self, row, stage};
use tfhe_fft::c64;

/// Weights that follow from the sources.
fn weighted(bias: f64, sources: impl IntoIterator<Item = usize>) -> Row {
    row(bias, sources.into_iter().map(|source| (source, 0.3 - 0.1 * (source % 5) as f32)))
}

fn rectified(rows: Vec<Row>, channels: usize) -> Stage {
    stage(&[1, rows.len()], rows, channels, &Function::unary(Unary::Relu))
}

/// A convolution, one with a pooling before it and a channel of constants, a residual sum, products; all but the first read values of
/// several levels.
fn network() -> Network {
    let window = |x: usize, y: usize, width: usize, size: usize| {
        (0..size * size).map(move |at| (y + at / size) * width + x + at % size)
    };
    // Input 63 is not read.
    let convolution: Vec<Row> =
        (0..72).map(|at| weighted(0.1, window(at % 6, at % 36 / 6, 8, 3).filter(|&source| source != 63))).collect();
    let pooled =
        |at: usize| (0..2).flat_map(move |c| window(at % 2 * 2, at / 2 * 2, 6, 4).map(move |v| 64 + 36 * c + v));
    let second: Vec<Row> = (0..8)
        .map(|at| {
            // One weight for each window of 2 x 2.
            let tap = |source: usize| {
                let place = (source - 64) % 36;
                let pool = place / 12 * 3 + place % 6 / 2;
                (source, 0.02 * ((pool + at / 4) % 4) as f32 - 0.03)
            };
            row(0.0, pooled(at % 4).map(tap))
        })
        .chain((0..4).map(|_| Row::constant(0.5)))
        .collect();
    let third: Vec<Row> = (0..4).map(|at| weighted(0.0, [64 + at, 136 + at, 140 + at, 144 + at])).collect();
    let values = (0..4).map(|at| weighted(0.0, [148 + at])).collect();
    let factors = (0..4).map(|at| weighted(0.3, [64 + at, 148])).collect();
    let stages = vec![
        rectified(convolution, 2),
        rectified(second, 3),
        rectified(third, 2),
        networks::products(&[1, 4], values, factors, 2),
    ];
    let outputs =
        vec![weighted(0.2, [148, 150, 151, 152, 155]), weighted(-0.1, [70, 139, 149, 153]), Row::constant(0.25)];
    networks::network(&[1, 1, 8, 8], stages, outputs)
}

#[test]
fn sessions_compute_what_polynomials_do_within_their_budget() {
    let network = network();
    let input = |at: usize| -> Vec<f32> { (0..64).map(|i| ((at * 64 + i) as f32 * 0.7).sin()).collect() };
    let samples: Vec<Vec<f32>> = (0..16).map(input).collect();
    let polynomials = PolynomialNetwork::fit(&network, &samples, 4, 1.15);
    let params = ParameterSet::of(RingKind::Real, 14, polynomials.levels(), 28, 1).expect("a secure set");
    let (scale, encoder) = (f64::from(params.scale_log2).exp2(), SlotEncoder::new(&params));
    let ring = CpuBackend::new(0).expect("threads").ring(&params, Occupancy::Many).expect("a secure set");
    let host = ring.host();
    let key = SecretPolynomial::generate(host);
    let relinearise = key.relinearisation_key(host, host.limbs());
    let session = |bytes: u64| ThroughputSession::new(&ring, &polynomials, Some(&relinearise), bytes);

    let encrypt = |element: usize| {
        let values: Vec<f64> = samples.iter().map(|input| f64::from(input[element])).collect();
        key.encrypt(host, &encoder.coefficients(&values, scale))
    };
    let inputs: Vec<SeededCiphertext> = (0..64).map(encrypt).collect();
    let all = session(u64::MAX).expect("enough levels");
    let outputs = all.run(&inputs, &NoProgress).expect("enough levels");
    let columns: Vec<Vec<c64>> =
        outputs.iter().map(|output| encoder.slots(&key.decrypt(host, output), output.scale)).collect();
    for (at, input) in samples.iter().enumerate() {
        for (column, want) in columns.iter().zip(polynomials.evaluate(input)) {
            assert!((column[at].re - want).abs() < 1e-3, "input {at}: {} instead of {want}", column[at].re);
        }
    }
    let mut fetched: Vec<u32> = all.schedule().waves.iter().flat_map(|wave| &wave.nodes).copied().collect();
    fetched.retain(|&node| node < 64);
    fetched.sort_unstable();
    assert_eq!(fetched, (0..63).collect::<Vec<u32>>(), "every input that is read, once");

    let needed = all.schedule().peak_bytes();
    assert!(session(needed).is_ok());
    assert_eq!(session(needed - 1).err(), Some(CkksError::Memory { needed, budget: needed - 1 }));
    let mut low = inputs.clone();
    low[0].body.truncate(2 * host.degree());
    assert_eq!(all.run(&low, &NoProgress).err(), Some(CkksError::Level { left: 2, right: host.limbs() }));
    assert_eq!(all.run(&inputs[..3], &NoProgress).err(), Some(CkksError::Level { left: 3, right: 64 }));
}

/// Rows of two stages become ready by turns, as those of a normalisation do; each wave evaluates what is alike at once.
#[test]
fn waves_bring_together_what_is_alike() {
    let first = rectified((0..4).map(|at| weighted(0.1, [at])).collect(), 1);
    let halves = |weight: f32| (0..4).map(move |at| row(0.0, [(4 + at, weight)]));
    let stages = vec![
        first,
        rectified(halves(0.5).collect(), 1),
        rectified(halves(-0.5).map(|own| Row { bias: 0.2, ..own }).collect(), 1),
    ];
    let outputs = (0..2).map(|at| weighted(0.0, [8 + at, 10 + at, 12 + at, 14 + at])).collect();
    let network = networks::network(&[1, 4], stages, outputs);
    let samples: Vec<Vec<f32>> =
        (0..16).map(|at| (0..4).map(|i| ((at * 4 + i) as f32 * 0.7).sin()).collect()).collect();
    let polynomials = PolynomialNetwork::fit(&network, &samples, 2, 1.15);
    let params = ParameterSet::of(RingKind::Complex, 14, polynomials.levels(), 28, 1).expect("a secure set");
    let schedule = ThroughputSchedule::new(&polynomials, &params, Width::of_threads(&params, 2)).expect("levels");
    let of_two = |nodes: &[u32]| {
        let maps: BTreeSet<usize> = nodes
            .iter()
            .filter_map(|&node| match schedule.works[node as usize] {
                Work::Row { map, .. } => Some(map),
                _ => None,
            })
            .collect();
        maps.len() > 1
    };
    assert!(schedule.waves.iter().any(|wave| of_two(&wave.nodes)), "a wave has rows of both stages");
    for wave in &schedule.waves {
        let groups: Vec<&[u32]> = schedule.groups(&wave.nodes).collect();
        assert!(groups.len() <= 2, "{groups:?}");
        assert!(groups.iter().all(|group| !of_two(group)));
    }
}
