//! Exact mode: an integer message grid with a failure probability per bootstrap.

use crate::calibrate::Calibration;
use crate::network::Network;
use crate::planner::{Options, PlanError, Planned};

/// Plans a model whose inputs, weights and activations already lie on grids.
///
/// # Errors
/// [`PlanError::Exact`] if they do not.
pub fn plan(_network: &Network, _statistics: &Calibration, _options: &Options) -> Result<Planned, PlanError> {
    Err(PlanError::Exact("not built yet".into()))
}
