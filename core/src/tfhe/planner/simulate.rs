//! Runs a plan in the clear with the noise that the model predicts: the integers, tables and wrap-around are the real
//! ones.

use crate::planning::judge::{Judge, Observation};
use crate::planning::random::Gaussian;
use crate::tfhe::noise;
use crate::tfhe::plan::Plan;
use crate::tfhe::plan::affine::evaluate;
use crate::tfhe::torus::to_word;

/// A plan made ready for simulation.
pub struct Simulator<'a> {
    plan: &'a Plan,
    tables: Vec<Vec<Vec<u32>>>,
    steps: u32,
    input_std: f64,
    bootstrap_std: f64,
    table_std: f64,
}

impl<'a> Simulator<'a> {
    /// Makes the plan's tables.
    #[must_use]
    pub fn new(plan: &'a Plan) -> Self {
        let tfhe = &plan.params.tfhe;
        let size = tfhe.polynomial_size;
        let steps = 2.0 * size as f64;
        // The rounding of the body happens for real below.
        let switch = noise::modulus_switch_variance(tfhe) - 1.0 / (12.0 * steps * steps);
        Self {
            plan,
            tables: plan.stages.iter().map(|s| s.tables.iter().map(|t| t.polynomial(size)).collect()).collect(),
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
        let mut values: Vec<u32> = Vec::with_capacity(self.plan.value_count());
        values.extend(input.iter().map(|&x| to_word(f64::from(x) * scale + self.input_std * noise.next())));
        for (stage, tables) in self.plan.stages.iter().zip(&self.tables) {
            let phases = evaluate(&stage.affine, &values);
            let bits = 32 - self.steps.trailing_zeros();
            for (&phase, &table) in phases.iter().zip(&stage.table_of_value) {
                let noisy = phase.wrapping_add(to_word(self.table_std * noise.next()));
                let index = (noisy.wrapping_add(1 << (bits - 1)) >> bits) as usize;
                let table = &tables[table as usize];
                let entry = if index < table.len() { table[index] } else { table[index - table.len()].wrapping_neg() };
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
        let simulator = Simulator::new(plan);
        self.observe(fold, terms, 4, |input, seed| simulator.run(input, seed))
    }
}
