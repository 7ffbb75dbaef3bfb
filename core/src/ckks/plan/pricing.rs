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

    /// All rotations of one operand.
    pub(in crate::ckks) fn steps(&self, steps: &Steps, inputs: usize, outputs: usize) -> Price {
        let (mut variants, mut decompositions, mut switches) = (1, 0, 0);
        for amounts in baby_amounts(steps) {
            let moved = amounts.iter().filter(|&&amount| amount != 0).count();
            decompositions += if moved > 0 { variants } else { 0 };
            switches += variants * moved;
            variants *= amounts.len();
        }
        let giants: usize = steps.axes.iter().map(Axis::giants).product();
        let babies = decompositions as f64 * self.cost.decompose_seconds(self.params, self.limbs)
            + switches as f64 * self.cost.switch_seconds(self.params, self.limbs);
        let switching = inputs as f64 * babies + (outputs * (giants - 1)) as f64 * self.rotate();
        let work = WorkSeconds { switching, products: 0.0 };
        Price { work, keys: self.key_seconds(rotations_of(steps).len()) }
    }
}
