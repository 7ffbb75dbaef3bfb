//! How long a plan takes on a device, predicted from the plan and the device's profile.

use heman_core::ckks::plan as ckks;
use heman_core::ckks::plan::linear::{LinearMap, Operand};
use heman_core::ckks::plan::steps::{Axis, Steps};
use heman_core::either::plan::Plan;
use heman_core::files::scheme::Scheme;
use heman_core::tfhe::cost::rings::Ring;
use heman_core::tfhe::cost::{CostModel, keyswitch_operations};
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::plan as tfhe;
use heman_core::tfhe::schedule::{Schedule, Step};

use crate::profile::DeviceProfile;

/// log2 of the ring whose ciphertexts profiles count.
pub(crate) const LOG2_COUNTED_RING: u32 = 13;
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
    /// The stage that they belong to, and their kind.
    stage: usize,
    step: &'static str,
    /// Rows of all of them together.
    operations: f64,
    count: f64,
    /// Bootstraps or ciphertexts side by side in each.
    rows: f64,
    /// Thread-seconds of each.
    thread_seconds: f64,
    /// Whether they are blind rotations, whose time depends on the ring.
    is_rotation: bool,
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
                Self { scheme: Scheme::Tfhe, set: Some(plan.params.tfhe), steps: tfhe_steps(plan, inputs.max(1)) }
            }
            Plan::Ckks(plan) => Self { scheme: Scheme::Ckks, set: None, steps: ckks_steps(plan, inputs.max(1)) },
        }
    }

    /// Stage, kind and operations of each step.
    pub fn operations(&self) -> impl Iterator<Item = (usize, &'static str, f64)> {
        self.steps.iter().map(|step| (step.stage, step.step, step.operations))
    }

    /// Predicted seconds on a device.
    pub fn seconds(&self, device: &DeviceProfile) -> Result<f64, NotRun> {
        Ok(self.step_seconds(device)?.iter().sum())
    }

    /// Predicted seconds of each step on a device.
    pub fn step_seconds(&self, device: &DeviceProfile) -> Result<Vec<f64>, NotRun> {
        let speed = match self.scheme {
            Scheme::Tfhe => device.tfhe,
            Scheme::Ckks => device.ckks,
        };
        let speed = speed.ok_or(NotRun::Scheme)?;
        // A rotation's own time, a unit of what the device's threads would take for it.
        let rotation = match &self.set {
            None => 1.0,
            Some(set) => {
                let bit = device.bit_seconds(Ring::of(set)).ok_or(NotRun::Ring)?;
                bit * set.lwe_dimension as f64 * speed.threads / CostModel::default().rotation_seconds(set)
            }
        };
        let at_least = f64::from(speed.rows);
        let step = |step: &Repeated| {
            if step.rows <= 0.0 {
                return 0.0;
            }
            // Fewer rows than the device takes side by side take as long as so many.
            let taken = (step.rows / at_least).ceil() * at_least / step.rows;
            let own = if step.is_rotation { rotation } else { 1.0 };
            step.count * device.step_seconds.max(own * step.thread_seconds * taken / speed.threads)
        };
        Ok(self.steps.iter().map(step).collect())
    }
}

fn tfhe_steps(plan: &tfhe::Plan, inputs: usize) -> Vec<Repeated> {
    let (cost, params) = (CostModel::default(), &plan.params.tfhe);
    let keyswitch = 1e-9 * cost.keyswitch_ns * keyswitch_operations(params);
    let bootstrap = cost.rotation_seconds(params);
    let step = |step: &Step| {
        let output = plan.stages.len();
        let linear = |rows: usize, terms| cost.linear_seconds(terms, params) / rows.max(1) as f64;
        let (stage, step, rows, each) = match *step {
            Step::Linear { stage, rows, terms } => (stage, "linear", rows, linear(rows, terms)),
            Step::Output { rows, terms } => (output, "linear", rows, linear(rows, terms)),
            Step::Keyswitch { stage, rows } => (stage, "keyswitch", rows, keyswitch),
            Step::Bootstrap { stage, rows, .. } => (stage, "bootstrap", rows, bootstrap),
        };
        let rows = (rows * inputs) as f64;
        let is_rotation = step == "bootstrap";
        Repeated { stage, step, operations: rows, count: 1.0, rows, thread_seconds: rows * each, is_rotation }
    };
    Schedule::new(plan).steps.iter().map(step).collect()
}

/// The plan knows the time of a whole run; it is shared out over the steps. A device takes one run after the other.
fn ckks_steps(plan: &ckks::Plan, inputs: usize) -> Vec<Repeated> {
    let params = &plan.params;
    let runs = inputs.div_ceil(params.inputs_per_run()) as f64;
    // Larger rings fill a device with fewer ciphertexts.
    let ring = f64::from(params.ckks.log2_degree as i32 - LOG2_COUNTED_RING as i32).exp2();
    let products = |at: usize| plan.network.stages.get(at).map_or(0, |stage| stage.products().len());
    // For each map how many steps it takes, and how many ciphertexts each of them has.
    let maps: Vec<(usize, usize)> = match &plan.latency {
        Some(latency) => latency
            .maps
            .iter()
            .enumerate()
            .map(|(at, map)| (rotations_in_a_row(map) + products(at), map.ciphertexts()))
            .collect(),
        None => {
            let stages = plan.network.stages.iter().map(|stage| stage.rows.len());
            let rows = stages.chain([plan.network.output_rows.len()]);
            rows.enumerate()
                .map(|(at, rows)| (rows.div_ceil(WAVE_ROWS) * (1 + products(at)), rows.min(WAVE_ROWS)))
                .collect()
        }
    };
    let work = |&(steps, rows): &(usize, usize)| (steps * rows) as f64;
    let each = params.prediction.thread_seconds_per_run / maps.iter().map(work).sum::<f64>().max(1.0);
    let step = |(stage, &(steps, rows)): (usize, &(usize, usize))| Repeated {
        stage,
        step: "stage",
        operations: runs * (steps * rows) as f64,
        count: runs * steps as f64,
        rows: rows as f64 * ring,
        thread_seconds: each * rows as f64,
        is_rotation: false,
    };
    maps.iter().enumerate().map(step).collect()
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
    use crate::profile::{RingRate, Speed};

    fn device(threads: f64, rows: u32, step_seconds: f64) -> DeviceProfile {
        let tfhe = Some(Speed { threads, rows });
        DeviceProfile { name: "GPU (sm_90)".into(), measured: None, tfhe, ckks: None, step_seconds, rings: vec![] }
    }

    fn work(rows: f64) -> Work {
        let (stage, operations) = (0, rows);
        let step =
            Repeated { stage, step: "linear", operations, count: 2.0, rows, thread_seconds: rows, is_rotation: false };
        Work { scheme: Scheme::Tfhe, set: None, steps: vec![step] }
    }

    #[test]
    fn few_rows_take_as_long_as_fill_the_device() {
        let seconds = |rows| work(rows).seconds(&device(4.0, 8, 0.0)).expect("TFHE runs");
        assert_eq!([1.0, 8.0, 9.0, 16.0].map(seconds), [4.0, 4.0, 8.0, 8.0]);
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
    fn rotations_take_what_the_device_takes_for_their_ring() {
        let set = ParameterSet::with_least_noise(800, 2, 1024, (15, 2), (2, 7));
        let rotation = CostModel::default().rotation_seconds(&set);
        let (stage, step, operations) = (0, "bootstrap", 10.0);
        let step = |is_rotation| Repeated {
            stage,
            step,
            operations,
            count: 1.0,
            rows: 10.0,
            thread_seconds: 10.0 * rotation,
            is_rotation,
        };
        let work = Work { set: Some(set), steps: vec![step(true), step(false)], ..work(0.0) };
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
