//! Runs a plan in the clear with the noise that the model predicts: the integers, tables and wrap-around are the real
//! ones.

use crate::planning::judge::{Judge, Observation};
use crate::planning::random::Gaussian;
use crate::tfhe::noise;
use crate::tfhe::plan::affine::evaluate;
use crate::tfhe::plan::{Plan, PlanStage};
use crate::tfhe::torus::to_word;

/// Draws of the noise for each input.
const REPEATS: usize = 4;

/// A plan made ready for simulation.
pub struct Simulator<'a> {
    plan: &'a Plan,
    /// The tables of each stage; none where few of their entries will be read.
    tables: Vec<Option<Vec<Vec<u32>>>>,
    steps: u32,
    input_std: f64,
    bootstrap_std: f64,
    table_std: f64,
}

impl<'a> Simulator<'a> {
    /// For any number of runs: makes the plan's tables.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        Self::for_runs(plan, usize::MAX)
    }

    /// For about so many runs: makes those of the plan's tables whose entries will be read more often than they have
    /// entries.
    #[must_use]
    pub fn for_runs(plan: &'a Plan, runs: usize) -> Self {
        let tfhe = &plan.params.tfhe;
        let size = tfhe.polynomial_size;
        let steps = 2.0 * size as f64;
        // The rounding of the body happens for real below.
        let switch = noise::modulus_switch_variance(tfhe) - 1.0 / (12.0 * steps * steps);
        let tables = |stage: &PlanStage| {
            let is_worthwhile = runs.saturating_mul(stage.table_of_value.len()) >= stage.tables.len() * size;
            is_worthwhile.then(|| stage.tables.iter().map(|table| table.polynomial(size)).collect())
        };
        Self {
            plan,
            tables: plan.stages.iter().map(tables).collect(),
            steps: 2 * size as u32,
            input_std: noise::input_variance(tfhe).sqrt(),
            bootstrap_std: noise::bootstrap_variance(tfhe).sqrt(),
            table_std: (noise::keyswitch_variance(tfhe) + switch).sqrt(),
        }
    }

    /// The output phases of one input, encoded and with noise, decoded to values before the client's operators.
    #[must_use]
    pub fn run(&self, input: &[f32], seed: u64) -> Vec<f64> {
        let mut noise = Gaussian::new(seed);
        let scale = self.plan.params.input.turns_per_unit;
        let size = self.plan.params.tfhe.polynomial_size;
        let mut values: Vec<u32> = Vec::with_capacity(self.plan.value_count());
        values.extend(input.iter().map(|&x| to_word(f64::from(x) * scale + self.input_std * noise.next())));
        for (stage, tables) in self.plan.stages.iter().zip(&self.tables) {
            let phases = evaluate(&stage.affine, &values);
            let bits = 32 - self.steps.trailing_zeros();
            for (&phase, &table) in phases.iter().zip(&stage.table_of_value) {
                let noisy = phase.wrapping_add(to_word(self.table_std * noise.next()));
                let index = (noisy.wrapping_add(1 << (bits - 1)) >> bits) as usize;
                let (at, is_negated) = if index < size { (index, false) } else { (index - size, true) };
                let entry = match tables {
                    Some(tables) => tables[table as usize][at],
                    None => stage.tables[table as usize].entry(at, size),
                };
                let entry = if is_negated { entry.wrapping_neg() } else { entry };
                values.push(entry.wrapping_add(to_word(self.bootstrap_std * noise.next())));
            }
        }
        let phases = evaluate(&self.plan.output, &values);
        self.plan.params.output.decode(&phases)
    }
}

impl Judge<'_> {
    /// Simulates a plan on the inputs that a fold holds out.
    pub(crate) fn measure(&self, fold: usize, plan: &Plan) -> Vec<Observation> {
        let terms = plan.output.term_count() + plan.stages.iter().map(|s| s.affine.term_count()).sum::<usize>();
        let simulator = Simulator::for_runs(plan, REPEATS * self.folds.held_out(fold).len());
        self.observe(fold, terms, REPEATS, |input, seed| simulator.run(input, seed))
    }
}
