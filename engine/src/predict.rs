//! How long a plan takes on a device, predicted from the plan and the device's profile.

use heman_core::ckks::cost::{CkksCost, WorkSeconds};
use heman_core::ckks::plan as ckks;
use heman_core::ckks::plan::linear::{LinearMap, Operand};
use heman_core::ckks::plan::steps::{Axis, Steps};
use heman_core::ckks::planner::choice::{expansion_seconds, throughput_seconds};
use heman_core::either::plan::Plan;
use heman_core::files::scheme::Scheme;
use heman_core::tfhe::cost::rings::Ring;
use heman_core::tfhe::cost::{CostModel, keyswitch_operations};
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan as tfhe;
use heman_core::tfhe::schedule::{Schedule, Step};

use crate::profile::{DeviceProfile, Load, Shape, Speed};

/// log2 of the ring whose ciphertexts profiles count.
pub(crate) const LOG2_COUNTED_RING: u32 = 13;
/// Bytes of keys and masks, or of ciphertexts, that the caches of a host hold from step to step.
const CACHED_BYTES: u64 = 4 << 20;
/// Rows of a map that devices take side by side in CKKS, where a ciphertext holds one value of each input.
const WAVE_ROWS: usize = 128;

/// Steps of a plan for so many inputs.
pub(crate) struct Work {
    scheme: Scheme,
    /// The set of a TFHE plan.
    set: Option<ParameterSet>,
    steps: Vec<Repeated>,
}

/// Equal steps.
struct Repeated {
    /// Which map of the network, the output's last; none for transfers.
    stage: Option<usize>,
    kind: StepKind,
    /// Rows of all of them together.
    operations: f64,
    count: f64,
    /// Bootstraps or ciphertexts side by side in each.
    rows: f64,
    /// Values whose polynomials are evaluated side by side, each on a thread of its own where a host runs them; none
    /// where all threads share each.
    elements: Option<usize>,
    each: Spent,
}

/// What each of some equal steps takes.
#[derive(Clone, Copy)]
enum Spent {
    /// Thread-seconds of TFHE.
    Threads(f64),
    /// Those of CKKS, by kind of work.
    Work {
        work: WorkSeconds,
        /// Of the switching what rotates one ciphertext by several amounts.
        hoisted: f64,
        /// What is read for it.
        load: Load,
    },
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A linear map (TFHE).
    Linear,
    /// Keyswitches (TFHE).
    Keyswitch,
    /// Bootstraps: blind rotations, whose time depends on the ring (TFHE).
    Bootstrap,
    /// A linear map and its polynomials (CKKS).
    Stage,
    /// Inputs that are made of what clients send (CKKS).
    Transfer,
}

impl StepKind {
    /// Its name, as [`Timings`](heman_core::batch::Timings) has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Keyswitch => "keyswitch",
            Self::Bootstrap => "bootstrap",
            Self::Stage => "stage",
            Self::Transfer => "transfer",
        }
    }
}

/// A step, or several equal ones, as a device will see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictedStep {
    /// Which map of the network, the output's last; none for transfers.
    pub stage: Option<usize>,
    /// What it does.
    pub kind: StepKind,
    /// Equal steps, one after the other.
    pub count: f64,
    /// Bootstraps or ciphertexts side by side in each.
    pub rows: f64,
    /// Seconds of each on a device that has enough to do.
    pub seconds: f64,
    /// Seconds of each at the least.
    pub at_least: f64,
    /// Rows that the device takes side by side: fewer leave it partly idle.
    pub fill: f64,
}

impl PredictedStep {
    /// Seconds of all of them, where nothing else runs on the device.
    #[must_use]
    pub fn alone(&self) -> f64 {
        if self.rows <= 0.0 {
            return 0.0;
        }
        let taken = (self.rows / self.fill).ceil() * self.fill / self.rows;
        self.count * self.at_least.max(self.seconds * taken)
    }
}

/// Why a device does not run a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRun {
    #[error("its profile tells no speed for this scheme")]
    Scheme,
    #[error("it has no kernel for the plan's ring")]
    Ring,
}

impl Work {
    /// The steps of a plan.
    pub fn of(plan: &Plan, inputs: usize) -> Self {
        match plan {
            Plan::Tfhe(plan) => {
                let steps = tfhe_steps(plan, inputs.max(1));
                Self { scheme: Scheme::Tfhe, set: Some(plan.params.tfhe), steps }
            }
            Plan::Ckks(plan) => {
                let steps = ckks_steps(plan, inputs.max(1));
                Self { scheme: Scheme::Ckks, set: None, steps }
            }
        }
    }

    /// Stage, kind and operations of each step.
    pub fn operations(&self) -> impl Iterator<Item = (Option<usize>, &'static str, f64)> {
        self.steps.iter().map(|step| (step.stage, step.kind.name(), step.operations))
    }

    /// Predicted seconds on a device.
    pub fn seconds(&self, device: &DeviceProfile) -> Result<f64, NotRun> {
        Ok(self.steps_on(device)?.iter().map(PredictedStep::alone).sum())
    }

    /// The steps on a device, in the order of [`Work::operations`].
    pub fn steps_on(&self, device: &DeviceProfile) -> Result<Vec<PredictedStep>, NotRun> {
        let Speed { threads, rows } = match self.scheme {
            Scheme::Tfhe => device.tfhe,
            Scheme::Ckks => device.ckks,
        }
        .ok_or(NotRun::Scheme)?;
        // A rotation's own time, a unit of what the device's threads would take for it.
        let rotation = match &self.set {
            None => 1.0,
            Some(set) => {
                let bit = device.bit_seconds(Ring::of(set)).ok_or(NotRun::Ring)?;
                bit * set.lwe_dimension as f64 * threads / CostModel::default().rotation_seconds(set)
            }
        };
        let step = |step: &Repeated| {
            let (seconds, rows) = match step.each {
                Spent::Threads(seconds) if step.kind == StepKind::Bootstrap => (rotation * seconds / threads, rows),
                Spent::Threads(seconds) => (seconds / threads, rows),
                Spent::Work { work, hoisted, load } => {
                    let (rates, rows) = device.ckks_rates(load).ok_or(NotRun::Scheme)?;
                    (rates.seconds(work, hoisted, step.elements), rows)
                }
            };
            Ok(PredictedStep {
                stage: step.stage,
                kind: step.kind,
                count: step.count,
                rows: step.rows,
                seconds,
                at_least: device.step_seconds,
                // What takes one ciphertext at its full rate takes any part of one as well: those of small rings.
                fill: if rows > 1 || step.rows <= 0.0 { f64::from(rows.max(1)) } else { step.rows },
            })
        };
        self.steps.iter().map(step).collect()
    }
}

fn tfhe_steps(plan: &tfhe::Plan, inputs: usize) -> Vec<Repeated> {
    let (cost, params) = (CostModel::default(), &plan.params.tfhe);
    let keyswitch = 1e-9 * cost.keyswitch_ns * keyswitch_operations(params);
    let bootstrap = cost.rotation_seconds(params);
    let linear = |rows: usize, terms| cost.linear_seconds(terms, params) / rows.max(1) as f64;
    let step = |step: &Step| {
        let output = plan.stages.len();
        let (stage, kind, rows, each) = match *step {
            Step::Linear { stage, rows, terms } => (stage, StepKind::Linear, rows, linear(rows, terms)),
            Step::Output { rows, terms } => (output, StepKind::Linear, rows, linear(rows, terms)),
            Step::Keyswitch { stage, rows } => (stage, StepKind::Keyswitch, rows, keyswitch),
            Step::Bootstrap { stage, rows, .. } => (stage, StepKind::Bootstrap, rows, bootstrap),
        };
        let rows = (rows * inputs) as f64;
        let each = Spent::Threads(rows * each);
        Repeated { stage: Some(stage), kind, operations: rows, count: 1.0, rows, elements: None, each }
    };
    Schedule::new(plan).steps.iter().map(step).collect()
}

/// What the steps of each map read, the output's last.
fn ckks_loads(plan: &ckks::Plan) -> Vec<Load> {
    let params = &plan.params;
    let (maps, ring) = (plan.network.stages.len() + 1, &params.ckks);
    let Some(latency) = &plan.latency else {
        let of_stages = plan.network.stages.iter().map(|stage| stage.rows.len()).sum::<usize>();
        let ciphertexts = plan.network.input.len() + of_stages + plan.network.output_rows.len();
        let bytes = (ciphertexts * 2 * size_of::<u32>() * ring.primes.len()) << ring.log2_degree;
        return vec![if bytes as u64 <= CACHED_BYTES { Load::ManyCached } else { Load::Many }; maps];
    };
    let masks = size_of::<u32>() * latency.mask_words(&plan.network, ring);
    // The second half of each key is a seed in files.
    let keys = 2 * params.keys.file_bytes(ring);
    let is_cached = masks as u64 + keys <= CACHED_BYTES;
    let (log2_degree, special_primes) = (ring.log2_degree, ring.special_primes.len() as u32);
    let load = |limbs: usize| Load::Few(Shape { log2_degree, limbs: limbs as u32, special_primes, is_cached });
    latency.limbs_of_maps(&plan.network, ring.primes.len()).into_iter().map(load).collect()
}

/// The plan knows the time of each map; it is shared out over the map's steps. A device takes one run after the other.
fn ckks_steps(plan: &ckks::Plan, inputs: usize) -> Vec<Repeated> {
    let params = &plan.params;
    let runs = inputs.div_ceil(params.inputs_per_run()) as f64;
    // Larger rings fill a device with fewer ciphertexts.
    let ring = f64::from(params.ckks.log2_degree as i32 - LOG2_COUNTED_RING as i32).exp2();
    let products = |at: usize| plan.network.stages.get(at).map_or(0, |stage| stage.products().len());
    // For each map how many steps it takes, and how many ciphertexts each of them has.
    let (maps, work): (Vec<(usize, usize)>, Vec<WorkSeconds>) = match &plan.latency {
        Some(latency) => {
            let steps = |(at, map): (usize, &LinearMap)| (rotations_in_a_row(map) + products(at), map.ciphertexts());
            (latency.maps.iter().enumerate().map(steps).collect(), latency.seconds.clone())
        }
        None => {
            let stages = plan.network.stages.iter().map(|stage| stage.rows.len());
            let rows = stages.chain([plan.network.output_rows.len()]);
            let steps =
                |(at, rows): (usize, usize)| (rows.div_ceil(WAVE_ROWS) * (1 + products(at)), rows.min(WAVE_ROWS));
            let work = throughput_seconds(&plan.network, &params.ckks, &CkksCost::default());
            (rows.enumerate().map(steps).collect(), work)
        }
    };
    let loads = ckks_loads(plan);
    let hoisted = match &plan.latency {
        Some(latency) => latency.hoisted_seconds(&plan.network, &params.ckks, &CkksCost::default()),
        None => vec![0.0; loads.len()],
    };
    let step = |(stage, (&(steps, rows), work)): (usize, (&(usize, usize), WorkSeconds))| {
        let steps = steps.max(1) as f64;
        Repeated {
            stage: Some(stage),
            kind: StepKind::Stage,
            operations: runs * steps * rows as f64,
            count: runs * steps,
            rows: rows as f64 * ring,
            elements: plan.latency.is_none().then_some(rows),
            each: Spent::Work { work: work / steps, hoisted: hoisted[stage] / steps, load: loads[stage] },
        }
    };
    let stages = maps.iter().zip(work).enumerate().map(step);
    transfer(plan, runs, ring, loads[0]).into_iter().chain(stages).collect()
}

/// The inputs of each run of throughput packing.
fn transfer(plan: &ckks::Plan, runs: f64, ring: f64, load: Load) -> Option<Repeated> {
    if plan.latency.is_some() {
        return None;
    }
    let products = expansion_seconds(&plan.network, &plan.params.ckks, &CkksCost::default());
    let inputs = plan.network.input.len() as f64;
    Some(Repeated {
        stage: None,
        kind: StepKind::Transfer,
        operations: runs * inputs,
        count: runs,
        rows: inputs * ring,
        elements: None,
        each: Spent::Work { work: WorkSeconds { switching: 0.0, products }, hoisted: 0.0, load },
    })
}

/// Steps of a map of latency packing that wait for each other: rotations of one ciphertext are one, and each rotation
/// of a sum is one.
fn rotations_in_a_row(map: &LinearMap) -> usize {
    let of_steps = |steps: &Steps| 1 + steps.axes.iter().map(Axis::giants).product::<usize>();
    let of_operand = |operand: &Operand| operand.window.iter().chain([&operand.steps]).map(of_steps).sum::<usize>();
    map.operands.iter().map(of_operand).sum::<usize>() + map.folds().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{CkksRates, KindRates, RingRate, ShapeRates};

    fn device(threads: f64, rows: u32, step_seconds: f64) -> DeviceProfile {
        let tfhe = Some(Speed { threads, rows });
        DeviceProfile {
            name: "GPU (sm_90)".into(),
            measured: None,
            tfhe,
            ckks: None,
            ckks_rates: None,
            step_seconds,
            rings: vec![],
        }
    }

    fn work(rows: f64) -> Work {
        let (kind, operations) = (StepKind::Linear, rows);
        let each = Spent::Threads(rows);
        let step = Repeated { stage: Some(0), kind, operations, count: 2.0, rows, elements: None, each };
        Work { scheme: Scheme::Tfhe, set: None, steps: vec![step] }
    }

    #[test]
    fn few_rows_take_as_long_as_fill_the_device() {
        let seconds = |rows| work(rows).seconds(&device(4.0, 8, 0.0)).expect("TFHE runs");
        assert_eq!([1.0, 8.0, 9.0, 16.0].map(seconds), [4.0, 4.0, 8.0, 8.0]);
    }

    #[test]
    fn small_rings_leave_no_part_of_a_host_idle() {
        let seconds = |rows| work(rows).seconds(&device(4.0, 1, 0.0)).expect("TFHE runs");
        assert_eq!([0.5, 1.0, 1.5].map(seconds), [0.25, 0.5, 0.75]);
    }

    #[test]
    fn a_step_takes_its_launch_at_the_least() {
        assert_eq!(work(8.0).seconds(&device(1e9, 1, 0.5)), Ok(1.0));
        assert_eq!(work(0.0).seconds(&device(1.0, 1, 0.5)), Ok(0.0));
    }

    #[test]
    fn a_scheme_that_the_device_does_not_run_has_no_time() {
        assert_eq!(Work { scheme: Scheme::Ckks, ..work(1.0) }.seconds(&device(1.0, 1, 0.5)), Err(NotRun::Scheme));
    }

    #[test]
    fn each_kind_of_ckks_work_takes_what_the_device_takes_for_it() {
        let work = WorkSeconds { switching: 6.0, products: 2.0 };
        let own = |switching, products, step_seconds| KindRates {
            switching,
            hoisted: 4.0 * switching,
            products,
            step_seconds,
            threads: 0,
        };
        let (kind, elements) = (StepKind::Stage, None);
        let seconds = |load, ckks_rates| {
            let ckks = Some(Speed { threads: 2.0, rows: 3 });
            let device = DeviceProfile { ckks, ckks_rates, ..device(1.0, 1, 0.0) };
            let hoisted = if let Load::Few(_) = load { 4.0 } else { 0.0 };
            let each = Spent::Work { work, hoisted, load };
            let step = Repeated { stage: Some(0), kind, operations: 1.0, count: 1.0, rows: 3.0, elements, each };
            Work { scheme: Scheme::Ckks, set: None, steps: vec![step] }.seconds(&device).expect("CKKS runs")
        };
        let large = Shape { log2_degree: 14, limbs: 8, special_primes: 4, is_cached: false };
        let small = Shape { log2_degree: 12, limbs: 2, special_primes: 1, is_cached: true };
        let few = [(large, own(1.0, 2.0, 0.25)), (small, own(2.0, 4.0, 0.5))];
        let few = few.map(|(shape, rates)| ShapeRates { shape, rates }).to_vec();
        let rates = Some(CkksRates { many: own(2.0, 0.5, 0.0), few });
        assert_eq!(seconds(Load::Many, rates.clone()), 3.0 + 4.0);
        assert_eq!(seconds(Load::ManyCached, rates.clone()), 3.0 + 2.0, "twice as fast from caches");
        assert_eq!(seconds(Load::Few(large), rates.clone()), 2.0 + 1.0 + 1.0 + 0.25);
        assert_eq!(seconds(Load::Few(small), rates), 1.0 + 0.5 + 0.5 + 0.5);
        let without = Some(CkksRates { many: own(2.0, 0.5, 0.0), few: vec![] });
        assert_eq!(seconds(Load::Few(large), without), 4.0, "as many threads as the device has");
        assert_eq!(seconds(Load::Few(large), None), 4.0);
    }

    #[test]
    fn rotations_take_what_the_device_takes_for_their_ring() {
        let set = ParameterSet::with_least_noise(800, 2, 1024, (15, 2), (2, 7));
        let rotation = CostModel::default().rotation_seconds(&set);
        let (stage, operations) = (Some(0), 10.0);
        let each = Spent::Threads(10.0 * rotation);
        let step = |kind| Repeated { stage, kind, operations, count: 1.0, rows: 10.0, elements: None, each };
        let steps = vec![step(StepKind::Bootstrap), step(StepKind::Linear)];
        let work = Work { set: Some(set), steps, ..work(0.0) };
        let seconds = |rings| work.seconds(&DeviceProfile { rings, ..device(2.0, 1, 0.0) }).expect("TFHE runs");
        assert!((seconds(vec![]) / (10.0 * rotation) - 1.0).abs() < 1e-12, "two threads, two steps");
        let rate = RingRate::new(Ring::of(&set), 1e-3);
        let want = 10.0 * 0.8 + 10.0 * rotation / 2.0;
        assert!((seconds(vec![rate]) / want - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_ring_without_a_kernel_is_not_run() {
        let set = ParameterSet::with_least_noise(800, 1, 8192, (23, 1), (2, 7));
        assert_eq!(Work { set: Some(set), ..work(1.0) }.seconds(&device(1.0, 1, 0.5)), Err(NotRun::Ring));
    }
}
