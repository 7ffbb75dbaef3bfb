//! Runs a plan in the clear with the noise that the model predicts: the integers, tables and wrap-around are the real
//! ones.

use crate::planning::judge::{Judge, Observation};
use crate::planning::random::Gaussian;
use crate::tfhe::noise;
use crate::tfhe::plan::affine::{AffineMap, LANES, evaluate, evaluate_lanes};
use crate::tfhe::plan::{Plan, PlanStage};
use crate::tfhe::torus::to_word;

/// Draws of the noise for each input.
pub(crate) const REPEATS: usize = 4;

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
        self.run_together(&[(input, seed)]).remove(0)
    }

    /// As [`Simulator::run`], for inputs side by side, each with its seed.
    #[must_use]
    pub fn run_together(&self, inputs: &[(&[f32], u64)]) -> Vec<Vec<f64>> {
        inputs.chunks(LANES).flat_map(|inputs| self.run_lanes(inputs)).collect()
    }

    fn run_lanes(&self, inputs: &[(&[f32], u64)]) -> Vec<Vec<f64>> {
        let mut noises: Vec<Gaussian> = inputs.iter().map(|&(_, seed)| Gaussian::new(seed)).collect();
        let scale = self.plan.params.input.turns_per_unit;
        let mut values: Vec<[u32; LANES]> = Vec::with_capacity(self.plan.value_count());
        values.resize(self.plan.params.input.tensor.len(), [0; LANES]);
        for (lane, ((input, _), noise)) in inputs.iter().zip(&mut noises).enumerate() {
            for (value, &x) in values.iter_mut().zip(*input) {
                value[lane] = to_word(f64::from(x) * scale + self.input_std * noise.next());
            }
        }
        for (stage, tables) in self.plan.stages.iter().zip(&self.tables) {
            let phases = linear(&stage.affine, &values, inputs.len());
            let start = values.len();
            values.resize(start + phases.len(), [0; LANES]);
            for (lane, noise) in noises.iter_mut().enumerate() {
                let rows = phases.iter().zip(&stage.table_of_value).zip(&mut values[start..]);
                for ((phases, &table), value) in rows {
                    let entry = self.look_up(stage, tables.as_ref(), table as usize, phases[lane], noise);
                    value[lane] = entry.wrapping_add(to_word(self.bootstrap_std * noise.next()));
                }
            }
        }
        let phases = linear(&self.plan.output, &values, inputs.len());
        let output = |lane: usize| {
            let own: Vec<u32> = phases.iter().map(|phases| phases[lane]).collect();
            self.plan.params.output.decode(&own)
        };
        (0..inputs.len()).map(output).collect()
    }

    /// The table's entry at a phase, with the noise of keyswitch and modulus switch.
    fn look_up(
        &self,
        stage: &PlanStage,
        tables: Option<&Vec<Vec<u32>>>,
        table: usize,
        phase: u32,
        noise: &mut Gaussian,
    ) -> u32 {
        let size = self.plan.params.tfhe.polynomial_size;
        let bits = 32 - self.steps.trailing_zeros();
        let noisy = phase.wrapping_add(to_word(self.table_std * noise.next()));
        let index = (noisy.wrapping_add(1 << (bits - 1)) >> bits) as usize;
        let (at, is_negated) = if index < size { (index, false) } else { (index - size, true) };
        let entry = match tables {
            Some(tables) => tables[table][at],
            None => stage.tables[table].entry(at, size),
        };
        if is_negated { entry.wrapping_neg() } else { entry }
    }
}

/// The map on the first `inputs` lanes.
fn linear(map: &AffineMap, values: &[[u32; LANES]], inputs: usize) -> Vec<[u32; LANES]> {
    if inputs > 1 {
        return evaluate_lanes(map, values);
    }
    let alone: Vec<u32> = values.iter().map(|lanes| lanes[0]).collect();
    evaluate(map, &alone).into_iter().map(|word| [word; LANES]).collect()
}

impl Judge<'_> {
    /// Simulates a plan on the inputs that a fold holds out.
    pub(crate) fn measure(&self, fold: usize, plan: &Plan) -> Vec<Observation> {
        let terms = plan.output.term_count() + plan.stages.iter().map(|s| s.affine.term_count()).sum::<usize>();
        let simulator = Simulator::for_runs(plan, REPEATS * self.folds.held_out(fold).len());
        // As many as are simulated side by side take about the time of one.
        self.observe_together(fold, (terms / LANES, LANES), REPEATS, |inputs| simulator.run_together(inputs))
    }
}
