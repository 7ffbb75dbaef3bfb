//! What the steps of a linear map cost.

use crate::ckks::cost::{CkksCost, WorkSeconds};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::steps::{Axis, Steps};
use crate::ckks::plan::steps::{baby_amounts, rotations_of};

/// What something costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Thread-seconds of a run.
    pub work: WorkSeconds,
    /// What the keys are worth, in seconds as well.
    pub keys: f64,
}

impl Price {
    /// What choices are compared by.
    #[must_use]
    pub fn weight(self) -> f64 {
        self.work.total() + self.keys
    }
}

impl std::ops::AddAssign for Price {
    fn add_assign(&mut self, other: Self) {
        self.work += other.work;
        self.keys += other.keys;
    }
}

/// What steps of a map cost where.
pub struct Pricing<'a> {
    /// Parameters.
    pub params: &'a ParameterSet,
    /// Times of operations.
    pub cost: &'a CkksCost,
    /// Limbs of the ciphertexts.
    pub limbs: usize,
}

impl Pricing<'_> {
    fn key_seconds(&self, rotations: usize) -> f64 {
        rotations as f64 * self.cost.key_seconds(self.params, self.limbs)
    }

    pub(in crate::ckks) fn rotate(&self) -> f64 {
        self.cost.rotate_seconds(self.params, self.limbs)
    }

    /// Rotations of one operand's ciphertexts by all baby steps: those by several amounts at a time, which share their
    /// digits, and those by one.
    pub(in crate::ckks) fn babies(&self, steps: &Steps, inputs: usize) -> Babies {
        let mut babies = Babies::default();
        let mut variants = inputs;
        for amounts in baby_amounts(steps) {
            let moved = amounts.iter().filter(|&&amount| amount != 0).count();
            let seconds = self.cost.decompose_seconds(self.params, self.limbs)
                + moved as f64 * self.cost.switch_seconds(self.params, self.limbs);
            match moved {
                0 => {}
                1 => babies.single += variants as f64 * seconds,
                _ => babies.hoisted += variants as f64 * seconds,
            }
            variants *= amounts.len();
        }
        babies
    }

    /// All rotations of one operand.
    pub(in crate::ckks) fn steps(&self, steps: &Steps, inputs: usize, outputs: usize) -> Price {
        let Babies { hoisted, single } = self.babies(steps, inputs);
        let giants: usize = steps.axes.iter().map(Axis::giants).product();
        let switching = hoisted + single + (outputs * (giants - 1)) as f64 * self.rotate();
        let work = WorkSeconds { switching, products: 0.0 };
        Price { work, keys: self.key_seconds(rotations_of(steps).len()) }
    }
}

/// Thread-seconds of baby steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::ckks) struct Babies {
    /// Of those that share digits.
    pub hoisted: f64,
    /// Of those by themselves.
    pub single: f64,
}
