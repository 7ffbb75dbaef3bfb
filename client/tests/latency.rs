//! Latency packing on real key sets: networks of all shapes that layouts must cope with, against plaintext.

use heman_client::ckks::SecretKey;
use heman_core::ckks::ops::RnsDevice;
use heman_core::ckks::params::packing::Packing;
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::plan::Plan;
use heman_core::ckks::planner::{Options, plan};
use heman_core::ckks::session::Session;
use heman_core::device::cpu::CpuBackend;
use heman_core::files::chunks::Reader;
use heman_core::files::sealed::Sealed;
use heman_core::model::function::{Binary, Function, Unary};
use heman_core::model::network::{Network, Row};
use heman_core::planning::error::PlanError;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_testing::networks::{network, products, row, stage};

fn weight(seed: usize) -> f32 {
    ((seed * 2_654_435_761) % 1009) as f32 / 1009.0 - 0.5
}

/// Values of a tensor `[channels, size, size]` whose first value is `first`.
#[derive(Clone, Copy)]
struct Image {
    first: usize,
    channels: usize,
    size: usize,
}

impl Image {
    fn at(self, c: usize, y: usize, x: usize) -> usize {
        self.first + (c * self.size + y) * self.size + x
    }

    /// Rows of a 3 x 3 convolution with a border of zeros; `pool` inputs in each direction are averaged before.
    fn convolution(self, channels: usize, stride: usize, pool: usize) -> Vec<Row> {
        let inner = self.size / pool;
        let outer = inner / stride;
        let rows = (0..channels * outer * outer).map(|at| {
            let (c, y, x) = (at / (outer * outer), at / outer % outer, at % outer);
            let mut taps = Vec::new();
            for (from, dy, dx) in (0..self.channels * 9).map(|i| (i / 9, i / 3 % 3, i % 3)) {
                let (v, u) = ((y * stride + dy).wrapping_sub(1), (x * stride + dx).wrapping_sub(1));
                if v < inner && u < inner {
                    let w = weight(c * 1000 + from * 9 + dy * 3 + dx) / (pool * pool) as f32;
                    let window = (0..pool * pool).map(|p| self.at(from, v * pool + p / pool, u * pool + p % pool));
                    taps.extend(window.map(|source| (source, w)));
                }
            }
            row(0.1 * c as f64, taps)
        });
        rows.collect()
    }
}

/// A convolution with a border, one behind a pooling, a residual sum of both pooled, a dense layer.
fn images() -> Network {
    let square = Function::Binary(Binary::Mul, Box::new(Function::X), Box::new(Function::X));
    let input = Image { first: 0, channels: 2, size: 8 };
    let first = Image { first: 128, channels: 3, size: 8 };
    let second = Image { first: 128 + 192, channels: 5, size: 4 };
    let residual: Vec<Row> = (0..2 * 16)
        .map(|at| {
            let (c, y, x) = (at / 16, at / 4 % 4, at % 4);
            let pooled = (0..4).map(|p| (first.at(c, 2 * y + p / 2, 2 * x + p % 2), 0.25));
            row(0.0, pooled.chain([(second.at(c, y, x), 0.5)]))
        })
        .collect();
    let third = second.first + 80;
    let dense = (0..5).map(|o| row(0.2, (0..32).map(|i| (third + i, weight(o * 32 + i))))).collect();
    let stages = vec![
        stage(&[1, 3, 8, 8], input.convolution(3, 1, 1), 3, &square),
        stage(&[1, 5, 4, 4], first.convolution(5, 1, 2), 5, &square),
        stage(&[1, 2, 4, 4], residual, 2, &square),
    ];
    network(&[1, 2, 8, 8], stages, dense)
}

/// A strided convolution without a pooling, rectifiers, constant rows.
fn strided() -> Network {
    let relu = Function::unary(Unary::Relu);
    let input = Image { first: 0, channels: 1, size: 12 };
    let mut convolved = input.convolution(4, 2, 1);
    (0..36).for_each(|at| convolved[at] = Row::constant(0.3));
    let dense = (0..7).map(|o| row(-0.1, (0..144).map(|i| (144 + i, weight(o * 144 + i))))).collect();
    let last = vec![row(0.0, (0..7).map(|i| (288 + i, 0.5 - 0.1 * i as f32))), row(1.0, []), row(0.0, [(290, 1.0)])];
    let stages = vec![stage(&[1, 4, 6, 6], convolved, 4, &relu), stage(&[1, 7], dense, 7, &relu)];
    network(&[1, 12, 12], stages, last)
}

/// A convolution whose channels are weighted by functions of their means, and products of its results with the input.
fn gated() -> Network {
    let input = Image { first: 0, channels: 1, size: 8 };
    let first = Image { first: 64, channels: 4, size: 8 };
    let gates = first.first + 256;
    let product = gates + 4;
    let tanh = Function::unary(Unary::Tanh);
    let means = (0..4).map(|c| row(0.1, (0..256).map(|i| (first.first + i, weight(c * 4 + i / 64) / 64.0)))).collect();
    let multiply = |rows: Vec<Row>, factors: Vec<Row>| products(&[1, 4, 8, 8], rows, factors, 4);
    let value = |first: usize| (0..256).map(|i| row(0.0, [(first + i, 1.0)])).collect::<Vec<Row>>();
    let gate = (0..256).map(|i| row(0.5, [(gates + i / 64, 2.0)])).collect();
    let pixel = (0..256).map(|i| row(0.0, [(i % 64, 1.0)])).collect();
    let stages = vec![
        stage(&[1, 4, 8, 8], input.convolution(4, 1, 1), 4, &tanh),
        stage(&[1, 4], means, 4, &tanh),
        multiply(value(first.first), gate),
        multiply(pixel, value(product)),
    ];
    let dense = (0..3).map(|o| row(0.2, (0..512).map(|i| (product + i, 0.5 + weight(o * 512 + i))))).collect();
    network(&[1, 1, 8, 8], stages, dense)
}

fn samples(count: usize, length: usize) -> Vec<Vec<f32>> {
    (0..count).map(|at| (0..length).map(|i| ((at * length + i) as f32 * 0.37).sin()).collect()).collect()
}

/// The rings that a planner is let choose between: one at a time.
const EACH_RING: [&[RingKind]; 2] = [&[RingKind::Complex], &[RingKind::Real]];

fn planned(network: &Network, rings: &'static [RingKind], batch: usize, task: Task) -> Plan {
    let options = Options {
        budget: LossBudget { max_loss: 0.2, task, ..LossBudget::default() },
        batch,
        rings,
        ..Options::default()
    };
    plan(network, &samples(64, network.input.len()), &options, &NoProgress).expect("a plan")
}

/// Runs a batch through files in memory, as the verbs do; the largest error against the polynomials, of the largest output. All errors
/// together are of the size that was predicted.
fn largest_error(plan: &Plan, inputs: &[Vec<f32>]) -> f64 {
    let key = SecretKey::generate(&plan.params).expect("sound parameters");
    let ring = CpuBackend::new(0).expect("threads").ring(&plan.params.ckks, plan.params.packing.occupancy());
    let ring = ring.expect("sound parameters");
    let session = Session::new(std::slice::from_ref(&ring), plan, &key.evaluation_key(&NoProgress), u64::MAX)
        .expect("a plan and its keys");
    let encrypted = key.encrypt(&inputs.concat(), true).expect("values in range");
    let (output, _) = session.run(&encrypted, &NoProgress).expect("fresh ciphertexts");
    let results = key.decrypt_values(&output).expect("sound ciphertexts");
    assert_eq!(results.len(), inputs.len());
    let errors = inputs.iter().zip(&results).flat_map(|(input, got)| {
        let want = plan.network.evaluate(input);
        got.iter().zip(want).map(|(g, w)| (g - w).abs()).collect::<Vec<f64>>()
    });
    let errors: Vec<f64> = errors.collect();
    let measured = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
    let ratio = measured / plan.params.output.noise;
    println!("noise of {} results: {ratio:.2} of the prediction", errors.len());
    // Few results may by chance have little noise, or more than predicted. Predictions take values and factors at the ends of
    // their ranges: 0.2 to 1 of them is common for convolutions (twelve keys, 25 and 15 results), 0.1 to 0.3 for products.
    let count = errors.len() as f64;
    assert!(ratio < 1.0 + 3.0 / count.sqrt(), "noise is {ratio} of the prediction");
    assert!(count < 10.0 || ratio > 0.03, "noise is {ratio} of the prediction");
    errors.into_iter().fold(0.0, f64::max) / plan.network.output_bound
}

/// Six deviations of what was predicted, of the largest output; where polynomials miss much, noise may be more than a
/// thousandth.
fn most_error(plan: &Plan) -> f64 {
    1e-3_f64.max(6.0 * plan.params.output.noise / plan.network.output_bound)
}

#[test]
fn networks_of_all_shapes_agree_with_plaintext() {
    for network in [images(), strided(), gated()] {
        for (rings, batch) in EACH_RING.into_iter().flat_map(|rings| [(rings, 1), (rings, 5)]) {
            let plan = planned(&network, rings, batch, Task::Regress);
            assert!(matches!(plan.params.packing, Packing::Latency { .. }));
            let error = largest_error(&plan, &samples(batch, network.input.len()));
            println!("{rings:?}, {batch} inputs, lanes {}: {error:.1e}", plan.params.inputs_per_run());
            assert!(error < most_error(&plan), "{error}");
            let bytes = plan.seal(&());
            let read = Plan::open(Reader::of_bytes(&bytes).expect("just written"), &(), None);
            assert_eq!(read.expect("just written").network, plan.network);
        }
    }
}

#[test]
fn inputs_and_outputs_of_several_ciphertexts() {
    let inputs = 5000;
    let wide: Vec<Row> = (0..12).map(|o| row(0.0, (0..inputs).map(|i| (i, 0.1 * weight(o * inputs + i))))).collect();
    let many: Vec<Row> = (0..6000).map(|o| row(0.5, [(o % 60, 1.0), (o / 100, -0.5)])).collect();
    for network in [network(&[1, inputs], Vec::new(), wide), network(&[1, 60], Vec::new(), many)] {
        for rings in EACH_RING {
            let plan = planned(&network, rings, 1, Task::Regress);
            let (ins, outs) = plan.params.ciphertexts_per_run();
            assert!(ins.max(outs) > 1, "{ins} and {outs} ciphertexts");
            let error = largest_error(&plan, &samples(1, network.input.len()));
            println!("{rings:?}, {ins} to {outs} ciphertexts: {error:.1e}");
            assert!(error < most_error(&plan), "{error}");
        }
    }
}

#[test]
fn what_polynomials_cannot_do_is_refused() {
    let step = Function::Binary(Binary::Less, Box::new(Function::X), Box::new(Function::Constant(0.0)));
    let rows = (0..4).map(|o| row(0.0, (0..16).map(|i| (i, weight(o * 16 + i))))).collect();
    let network = network(&[1, 16], vec![stage(&[1, 4], rows, 4, &step)], vec![row(0.0, [(16, 1.0), (17, 2.0)])]);
    let options = Options {
        budget: LossBudget { max_loss: 0.005, task: Task::Regress, ..LossBudget::default() },
        ..Options::default()
    };
    let error = plan(&network, &samples(64, 16), &options, &NoProgress).expect_err("no polynomial is a step");
    assert!(matches!(error, PlanError::Polynomials { .. }), "{error}");
}
