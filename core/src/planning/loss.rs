//! What a plan promises to lose on new inputs.

use serde::{Deserialize, Serialize};

use crate::planning::task::Task;

/// What a plan may lose, and how that is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossBudget {
    /// Largest share of new inputs whose decision may change, or largest relative output error.
    pub max_loss: f64,
    /// Whether the upper bound of the loss must keep to it, not what is to be expected.
    pub confident: bool,
    /// How the loss is measured.
    pub task: Task,
    /// The last so many calibration inputs are new to the model, and the loss is judged by them alone; 0 where that is
    /// said of none, and parts of all are held out in turn. A model is surer of what it was trained on than of other
    /// inputs, and fewer of those decisions change.
    pub unseen: usize,
}

impl Default for LossBudget {
    fn default() -> Self {
        Self { max_loss: 0.005, confident: false, task: Task::Auto, unseen: 0 }
    }
}

/// What an encrypted evaluation loses on inputs like the calibration data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Share of held-out inputs whose decision changes, counted; for classifiers.
    pub disagreement: Option<f64>,
    /// Root mean square error over the root mean square of the centred output, on held-out inputs.
    pub relative_error: f64,
    /// The loss to expect on a new input: the probability that its decision changes, or the relative error.
    pub expected: f64,
    /// Upper bound of that loss at 95 % confidence; none where the data cannot bound it.
    pub upper_95: Option<f64>,
    /// Why the calibration data say nothing of new inputs, if they do not.
    pub doubt: Option<Doubt>,
}

impl Loss {
    /// Whether all numbers are losses: none negative, infinite or none at all.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let numbers = [Some(self.relative_error), Some(self.expected), self.disagreement, self.upper_95];
        numbers.into_iter().flatten().all(|x| x.is_finite() && x >= 0.0)
    }
}

/// What calibration data lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// There is one input, or copies of one: none can be held out.
    OneInput,
    /// The model answers all inputs in the same way: nothing is known of inputs that it answers otherwise.
    OneAnswer,
    /// The output is the same for all inputs: errors are absolute, as there is no deviation to compare them with.
    ConstantOutput,
}
