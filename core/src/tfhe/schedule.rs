//! The schedule: batched steps over slots, as plain data that can be printed and replayed.

use std::fmt;

use crate::tfhe::plan::Plan;

/// One batched step of an inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The linear map of a stage: values to table inputs.
    Linear {
        /// Stage.
        stage: usize,
        /// Rows an input.
        rows: usize,
        /// Multiply-accumulates on rows.
        terms: usize,
    },
    /// Keyswitch of all table inputs.
    Keyswitch {
        /// Stage.
        stage: usize,
        /// Rows an input.
        rows: usize,
    },
    /// Bootstrap of all table inputs to the stage's slots.
    Bootstrap {
        /// Stage.
        stage: usize,
        /// Rows an input.
        rows: usize,
        /// First slot of the results.
        slot: usize,
    },
    /// The linear map of the output.
    Output {
        /// Rows an input.
        rows: usize,
        /// Multiply-accumulates on rows.
        terms: usize,
    },
}

/// Steps of one inference and where each value lives meanwhile.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Slots that the values need at most at one time.
    pub slots: usize,
    /// For each value its slot; slots are reused once no later step reads them.
    pub slot_of_value: Vec<u32>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Largest number of table inputs or outputs of one step.
    pub widest: usize,
}

impl Schedule {
    /// Schedules a plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut lengths = vec![plan.params.input.tensor.len()];
        lengths.extend(plan.stages.iter().map(|stage| stage.affine.rows));
        let last_reads = last_reads(plan, &lengths);
        let mut free = FreeList::default();
        let mut live: Vec<(usize, usize, usize)> = Vec::new();
        let mut slot_of_value = Vec::with_capacity(plan.value_count());
        let mut first_slots = Vec::with_capacity(lengths.len());
        for (block, &length) in lengths.iter().enumerate() {
            // Block b is written at the end of stage b - 1, when that stage's reads are over.
            live.retain(|&(last, slot, length)| {
                let needed = last >= block;
                if !needed {
                    free.give_back(slot, length);
                }
                needed
            });
            let slot = free.take(length);
            live.push((last_reads[block], slot, length));
            first_slots.push(slot);
            slot_of_value.extend((slot..slot + length).map(|s| s as u32));
        }
        let mut steps = Vec::with_capacity(3 * plan.stages.len() + 1);
        for (stage, plan_stage) in plan.stages.iter().enumerate() {
            let rows = plan_stage.affine.rows;
            steps.push(Step::Linear { stage, rows, terms: plan_stage.affine.term_count() });
            steps.push(Step::Keyswitch { stage, rows });
            steps.push(Step::Bootstrap { stage, rows, slot: first_slots[stage + 1] });
        }
        steps.push(Step::Output { rows: plan.output.rows, terms: plan.output.term_count() });
        let widest = plan.stages.iter().map(|s| s.affine.rows).chain([plan.output.rows]).max().unwrap_or(0);
        Self { slots: free.end, slot_of_value, steps, widest }
    }
}

/// For each block of values the last stage that reads it; the output counts as one past the last stage.
fn last_reads(plan: &Plan, lengths: &[usize]) -> Vec<usize> {
    let mut block_of_value = Vec::new();
    for (block, &length) in lengths.iter().enumerate() {
        block_of_value.resize(block_of_value.len() + length, block);
    }
    let mut last = vec![0; lengths.len()];
    let maps = plan.stages.iter().map(|stage| &stage.affine).chain([&plan.output]);
    for (reader, map) in maps.enumerate() {
        for pick in map.blocks.iter().flat_map(|block| &block.picks) {
            last[block_of_value[*pick as usize]] = reader;
        }
    }
    last
}

/// First-fit allocation of slot ranges.
#[derive(Default)]
struct FreeList {
    holes: Vec<(usize, usize)>,
    end: usize,
}

impl FreeList {
    fn take(&mut self, length: usize) -> usize {
        if let Some(hole) = self.holes.iter_mut().find(|hole| hole.1 >= length) {
            let slot = hole.0;
            *hole = (hole.0 + length, hole.1 - length);
            return slot;
        }
        self.end += length;
        self.end - length
    }

    fn give_back(&mut self, slot: usize, length: usize) {
        self.holes.push((slot, length));
        self.holes.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(self.holes.len());
        for &(slot, length) in &self.holes {
            match merged.last_mut() {
                Some(last) if last.0 + last.1 == slot => last.1 += length,
                _ => merged.push((slot, length)),
            }
        }
        self.holes = merged;
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} slots an input", self.slots)?;
        for step in &self.steps {
            match *step {
                Step::Linear { stage, rows, terms } => writeln!(f, "stage {stage}: linear, {rows} rows, {terms} terms"),
                Step::Keyswitch { stage, rows } => writeln!(f, "stage {stage}: keyswitch, {rows} rows"),
                Step::Bootstrap { stage, rows, slot } => {
                    writeln!(f, "stage {stage}: bootstrap, {rows} rows to slots {slot}..{}", slot + rows)
                }
                Step::Output { rows, terms } => writeln!(f, "output: linear, {rows} rows, {terms} terms"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_slots_are_merged_and_reused() {
        let mut free = FreeList::default();
        assert_eq!((free.take(4), free.take(2), free.take(3)), (0, 4, 6));
        free.give_back(0, 4);
        free.give_back(4, 2);
        assert_eq!((free.take(5), free.take(1), free.take(1)), (0, 5, 9));
        assert_eq!(free.end, 10);
    }
}
