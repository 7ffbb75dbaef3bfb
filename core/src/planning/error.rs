//! Why there is no plan.

use crate::deadline::Late;
use crate::model::network::Network;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Calibration data do not fit the model.
    #[error("calibration input {index} has {found} elements; the model takes {expected}")]
    CalibrationShape {
        /// Which one.
        index: usize,
        /// Elements found.
        found: usize,
        /// Elements needed.
        expected: usize,
    },
    /// Calibration data hold NaN or infinities.
    #[error("calibration input {index} holds a value that is not finite")]
    CalibrationValue {
        /// Which one.
        index: usize,
    },
    /// No calibration data at all.
    #[error("there are no calibration inputs")]
    NoCalibration,
    /// The plaintext network gives something that is not finite.
    #[error("the model's own output for calibration input {index} is not finite")]
    PlainOutput {
        /// Which one.
        index: usize,
    },
    /// No secure parameters are accurate enough.
    #[error("no parameters keep the loss within {max_loss}: the most precise set that was tried loses {best:.4}")]
    Accuracy {
        /// What was asked for.
        max_loss: f64,
        /// What can be had.
        best: f64,
    },
    /// No polynomials are accurate enough.
    #[error("no polynomials keep the loss within {max_loss}: the best that were tried lose {best:.4}")]
    Polynomials {
        /// What was asked for.
        max_loss: f64,
        /// What can be had.
        best: f64,
    },
    /// The network does nothing with its inputs but compare them.
    #[error("the model compares its inputs with constants, as decision trees do, and no polynomial does that")]
    Comparisons,
    /// So few inputs prove no such loss, whatever they show.
    #[error("{inputs} inputs to judge by cannot prove a loss of {max_loss} with 95 % confidence; {needed} could")]
    Confidence {
        /// Inputs that judge.
        inputs: usize,
        /// What was asked for.
        max_loss: f64,
        /// How many could.
        needed: usize,
    },
    /// Nothing is left to judge by.
    #[error(
        "none of the inputs that are to judge the loss is new: all are among the calibration inputs, or there are none"
    )]
    Unseen,
    /// The device that the plan is for runs no ring that the planner tries.
    #[error("TFHE: the device runs none of the rings that plans have")]
    Rings,
    /// No ring is large enough.
    #[error("CKKS: {0}")]
    Depth(String),
    /// There is a plan, and whoever reads it would refuse it.
    #[error("{scheme}: the model's numbers lie outside of what plans can hold, scale its weights: {reason}")]
    Refused {
        /// The scheme.
        scheme: &'static str,
        /// What a reader says.
        reason: String,
    },
    /// The caller's time is over.
    #[error("planning: {0}")]
    Late(#[from] Late),
    /// Exact mode needs a model on an integer grid.
    #[error("exact mode: {0}")]
    Exact(String),
}

pub(crate) fn check_calibration(network: &Network, calibration: &[Vec<f32>]) -> Result<(), PlanError> {
    if calibration.is_empty() {
        return Err(PlanError::NoCalibration);
    }
    let expected = network.input.len();
    for (index, input) in calibration.iter().enumerate() {
        if input.len() != expected {
            return Err(PlanError::CalibrationShape { index, found: input.len(), expected });
        }
        if input.iter().any(|x| !x.is_finite()) {
            return Err(PlanError::CalibrationValue { index });
        }
    }
    Ok(())
}
