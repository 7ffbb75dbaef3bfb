//! What a plan loses on new inputs, for people and for machines.

use heman_core::planning::loss::{Doubt, Loss};
use serde_json::{Value, json};

/// A share as a percentage that is never rounded to nothing.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        x if x >= 10.0 => format!("{x:.1} %"),
        x if x >= 0.01 => format!("{x:.2} %"),
        x if x > 0.0 => "less than 0.01 %".to_string(),
        _ => "nothing measurable".to_string(),
    }
}

/// What the calibration data cannot tell, for people.
fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::OneInput => "there is one input to judge by: nothing can be said of new ones; give at least 200",
        Doubt::OneAnswer => {
            "the model gives all inputs that judge the same answer: nothing can be said of inputs that it answers \
             otherwise; give inputs of all kinds"
        }
        Doubt::ConstantOutput => "the output is the same for all calibration inputs: errors are absolute",
    }
}

/// The promise in one sentence.
pub fn text(loss: &Loss) -> String {
    let promise = promise(loss);
    loss.doubt.map_or(promise.clone(), |own| format!("{promise}; {}", doubt(own)))
}

fn promise(loss: &Loss) -> String {
    let bound = match loss.upper_95 {
        Some(upper) => format!("at most {} with 95 % confidence", percent(upper.min(1.0))),
        None => "without a bound: too few calibration inputs".to_string(),
    };
    match loss.disagreement {
        Some(_) => format!(
            "on new inputs {} of decisions change ({bound}); logits are off by {}",
            percent(loss.expected),
            percent(loss.relative_error)
        ),
        None => format!("on new inputs outputs are off by {} ({bound})", percent(loss.expected)),
    }
}

/// The fields of a promise.
pub fn json(loss: &Loss) -> Value {
    json!({
        "expected_loss": loss.expected,
        "loss_upper_95": loss.upper_95,
        "doubt": loss.doubt,
        "predicted_disagreement": loss.disagreement,
        "predicted_relative_error": loss.relative_error,
    })
}
