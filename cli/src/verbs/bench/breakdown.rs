//! Where the time of a pass goes: by stage and kind of step, beside prediction and bound.

use std::time::Instant;

use heman_core::batch::Timings;
use heman_core::either::plan::Plan;
use heman_core::progress::NoProgress;
use heman_engine::{Session, StepForecast};
use heman_load::figure::Figure;
use serde_json::{Map, Value, json};

use super::figures::{Unit, figure, single};
use super::pool::Pool;
use crate::error::CliError;
use crate::report;

/// Passes at the least.
const LEAST_PASSES: usize = 5;
/// Passes at the most.
const MOST_PASSES: usize = 100;

/// Passes of so many inputs on a session that tells its steps apart, for so many seconds.
pub fn measure(
    session: &dyn Session,
    pool: &mut Pool<'_>,
    inputs: usize,
    seconds: f64,
) -> Result<Vec<Timings>, CliError> {
    let start = Instant::now();
    let mut passes = Vec::new();
    while passes.len() < LEAST_PASSES || (start.elapsed().as_secs_f64() < seconds && passes.len() < MOST_PASSES) {
        passes.push(session.pass(pool.take(inputs)?, &NoProgress)?.1);
    }
    Ok(passes)
}

/// Means over passes of so many inputs, stage by stage, and the fastest pass of each: of a machine that others use as
/// well, predictions are held to what it does when it is left alone.
pub fn json(plan: &Plan, inputs: usize, passes: &[Timings], forecast: &[StepForecast]) -> Value {
    let over = |seconds: &dyn Fn(&Timings) -> f64| -> Measured {
        let all: Vec<f64> = passes.iter().map(seconds).collect();
        Measured { mean: Figure::mean(&all), least: all.into_iter().reduce(f64::min) }
    };
    let (_, _, layers) = report::plan(plan);
    let of_stage = |stage: usize| {
        let layer = layers.get(stage);
        let own = |timings: &Timings| -> f64 {
            timings.stages.iter().filter(|(at, ..)| *at == stage).map(|(.., time)| time.as_secs_f64()).sum()
        };
        let kind = |step: &str| {
            let of_kind = |timings: &Timings| -> f64 {
                let same = |(at, name, _): &&(usize, &str, _)| *at == stage && *name == step;
                timings.stages.iter().filter(same).map(|(.., time)| time.as_secs_f64()).sum()
            };
            (
                step.to_string(),
                step_json(over(&of_kind), forecast.iter().find(|f| f.stage == Some(stage) && f.step == step)),
            )
        };
        let kinds = passes.first().into_iter().flat_map(|timings| &timings.stages).filter(|(at, ..)| *at == stage);
        let steps: Map<String, Value> = kinds.map(|(_, step, _)| kind(step)).collect();
        let sum = |part: fn(&StepForecast) -> Option<f64>| -> Option<f64> {
            let own = |step: &&StepForecast| step.stage == Some(stage);
            forecast.iter().filter(own).filter_map(part).reduce(|sum, part| sum + part)
        };
        let mut object = json!({
            "stage": stage,
            "operator": layer.map(|layer| layer.operator.clone()),
            "name": layer.map(|layer| layer.name.clone()),
            "steps": steps,
        });
        let whole = StepForecast {
            stage: Some(stage),
            step: "stage",
            predicted_seconds: sum(|step| step.predicted_seconds),
            bound_seconds: sum(|step| step.bound_seconds),
        };
        report::merge(&mut object, step_json(over(&own), Some(&whole)));
        object
    };
    let all = |step: &str| {
        let of_kind = |timings: &Timings| -> f64 {
            timings.steps.iter().filter(|(name, _)| *name == step).map(|(_, time)| time.as_secs_f64()).sum()
        };
        (step.to_string(), over(&of_kind).json())
    };
    let kinds = passes.first().map(|timings| timings.steps.as_slice()).unwrap_or_default();
    let predicted: Option<f64> = forecast.iter().map(|step| step.predicted_seconds).sum();
    let whole = over(&|timings| timings.total.as_secs_f64());
    json!({
        "inputs": inputs,
        "passes": passes.len(),
        "seconds": whole.json(),
        "least_seconds": whole.least,
        "predicted_seconds": predicted,
        "steps": kinds.iter().map(|(step, _)| all(step)).collect::<Map<_, _>>(),
        "stages": (0..layers.len()).map(of_stage).collect::<Vec<_>>(),
    })
}

/// Seconds over passes.
struct Measured {
    mean: Option<Figure>,
    least: Option<f64>,
}

impl Measured {
    /// The mean as a figure with its spread.
    fn json(&self) -> Value {
        self.mean.map_or(Value::Null, |mean| figure(mean, Unit::Seconds))
    }
}

/// Measured seconds, what was predicted, and the share of the bound.
fn step_json(spent: Measured, forecast: Option<&StepForecast>) -> Value {
    let measured = spent.mean.map(|mean| mean.value).filter(|&seconds| seconds > 0.0);
    let predicted = forecast.and_then(|step| step.predicted_seconds);
    let bound = forecast.and_then(|step| step.bound_seconds);
    let share = bound.zip(measured).map(|(bound, measured)| single(bound / measured, Unit::Share));
    json!({
        "seconds": spent.json(),
        "least_seconds": spent.least,
        "predicted_seconds": predicted,
        "bound_seconds": bound,
        "share_of_bound": share,
    })
}
