//! What the caller of the planner may choose, and what it finds.

use crate::planning::loss::LossBudget;
use crate::tfhe::cost::CostModel;
use crate::tfhe::plan::Plan;
use crate::tfhe::planner::search::Candidate;

/// With which the judge takes errors: many candidates differ little, and the search takes the one that just keeps to
/// the budget.
pub(crate) const CAUTION: f64 = 14.0;

/// What the caller may choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What new inputs may lose.
    pub budget: LossBudget,
    /// Integer message grid with a failure probability a bootstrap, for models that are quantised already.
    pub exact: bool,
    /// log2 of the failure probability of one bootstrap in exact mode.
    pub p_fail_log2: f64,
    /// Cost of the device that will run the plan; the promise stays in thread-seconds of the CPU.
    pub cost: CostModel,
}

impl Default for Options {
    fn default() -> Self {
        Self { budget: LossBudget::default(), exact: false, p_fail_log2: -40.0, cost: CostModel::default() }
    }
}

/// What the planner found.
pub struct Planned {
    /// Plan with its public parameters, prediction included.
    pub plan: Plan,
    /// Largest weight width that was allowed, in bits.
    pub weight_bits: u32,
    /// Candidates that were tried, in order, with their loss: by the folds that were asked, where these refused them.
    pub trials: Vec<(Candidate, f64)>,
}
