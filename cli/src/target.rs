//! The device that a plan is made for.

use heman_core::either::plan::Plan;
use heman_core::either::planner::Pace;
use heman_core::progress::Progress;
use heman_engine::{DeviceChoice, ForTarget, Profiles, Target, TargetChoice, Targets};
use serde_json::{Value, json};

use crate::error::{Cause, CliError, one_line};
use crate::exit::Failure;
use crate::profile;

/// The targets that a choice names.
pub fn find(choice: &TargetChoice, progress: &dyn Progress) -> Result<Targets, CliError> {
    let profiles = match choice {
        // Times of the host are only told, and nothing is chosen by them.
        TargetChoice::Here(DeviceChoice::Cpu) => profile::read().unwrap_or_default(),
        TargetChoice::Here(_) => profile::read_for(&DeviceChoice::Auto, progress)?,
        TargetChoice::Card(_) | TargetChoice::File(_) => Profiles::default(),
    };
    choice.targets(0, &profiles).map_err(|error| {
        let failure = if matches!(choice, TargetChoice::File(_)) { Failure::File } else { error.failure() };
        CliError::of(failure, format!("--target: {}", error.sentence()))
    })
}

/// What a plan takes on its target, for people.
pub fn text(target: &Target, seconds: Option<f64>, inputs: usize) -> String {
    let source = target.measured().map_or("predicted rates".into(), |day| format!("rates measured {day}"));
    let time = match seconds {
        None => "does not run the plan".into(),
        Some(seconds) if seconds < 0.1 => format!("{:.3} ms for {inputs} input(s)", 1e3 * seconds),
        Some(seconds) => format!("{seconds:.2} s for {inputs} input(s)"),
    };
    format!("target        {}, {source}: {time}", one_line(target.name()))
}

/// The same, for machines.
pub fn json(target: &Target, seconds: Option<f64>, inputs: usize) -> Value {
    json!({
        "name": target.name(),
        "measured": target.measured(),
        "inputs": inputs,
        "predicted_seconds": seconds,
    })
}

/// As [`text`] and [`json()`], of a plan that was made.
pub fn of_planned(planned: &ForTarget) -> (String, Value) {
    let ForTarget { target, seconds, inputs, .. } = planned;
    (text(target, *seconds, *inputs), json(target, *seconds, *inputs))
}

/// The target that runs a plan first, one input at a time, and its seconds.
pub fn of_plan(choice: &TargetChoice, plan: &Plan, progress: &dyn Progress) -> Result<(Target, Option<f64>), CliError> {
    let targets = find(choice, progress)?.targets.into_iter();
    let times = targets.map(|target| (target.seconds(plan, 1), target));
    let fastest = times.min_by(|a, b| a.0.unwrap_or(f64::INFINITY).total_cmp(&b.0.unwrap_or(f64::INFINITY)));
    fastest.map(|(seconds, target)| (target, seconds)).ok_or_else(|| CliError::new("there is no target"))
}
