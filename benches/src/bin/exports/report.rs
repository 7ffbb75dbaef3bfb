//! The table of all models, and what it comes to.

use serde_json::Value;

use crate::arrays::Difference;

/// One model.
pub struct Line {
    /// Name.
    pub name: String,
    /// What is known of the plan, or why there is none.
    pub planned: Result<Planned, String>,
}

/// What was promised, and what was measured.
pub struct Planned {
    scheme: String,
    expected_loss: Option<f64>,
    upper: Option<f64>,
    loss: Result<Option<f64>, String>,
    kind: Option<String>,
    inputs: Option<u64>,
    outside: Option<u64>,
    difference: Option<Result<Difference, String>>,
    planning_seconds: Option<f64>,
    key_bytes: Option<f64>,
    seconds: Option<f64>,
}

impl Planned {
    /// From what `keyparams` and `evaluate` printed. Where a version states no expected loss, the loss that it predicts
    /// for the calibration inputs stands for it.
    pub fn new(plan: &Value, evaluated: Result<Value, String>, difference: Option<Result<Difference, String>>) -> Self {
        let of_plan = |field: &str| plan[field].as_f64();
        let predicted = || of_plan("predicted_disagreement").or(of_plan("predicted_relative_error"));
        let measured = |evaluated: &Value| {
            let changed = evaluated["agreement"].as_f64().filter(|_| of_plan("predicted_disagreement").is_some());
            evaluated["loss"].as_f64().or(changed.map(|agreement| 1.0 - agreement))
        };
        let of_run = evaluated.as_ref().ok();
        Self {
            scheme: plan["scheme"].as_str().unwrap_or("-").to_uppercase(),
            expected_loss: of_plan("expected_loss").or_else(predicted),
            upper: of_plan("loss_upper_95"),
            kind: of_run.and_then(|run| run["output_kind"].as_str()).map(str::to_string),
            inputs: of_run.and_then(|run| run["inputs"].as_u64()),
            outside: of_run.and_then(|run| run["inputs_outside"].as_u64()).filter(|&outside| outside > 0),
            loss: evaluated.as_ref().map(measured).map_err(Clone::clone),
            difference,
            planning_seconds: of_plan("seconds"),
            key_bytes: of_plan("evaluation_key_bytes"),
            seconds: of_plan("predicted_thread_seconds_per_input"),
        }
    }

    fn measured(&self) -> Option<f64> {
        self.loss.as_ref().ok().copied().flatten()
    }

    fn above_expected(&self) -> bool {
        self.measured().zip(self.expected_loss).is_some_and(|(measured, expected)| measured > expected)
    }

    fn above_upper(&self) -> bool {
        self.measured().zip(self.upper).is_some_and(|(measured, upper)| measured > upper)
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| match 100.0 * value {
        0.0 => "0 %".into(),
        percent if !(0.1..1e4).contains(&percent) => format!("{percent:.1e} %"),
        percent => format!("{percent:.2} %"),
    })
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Line {
    /// As a row of the table.
    pub fn row(&self) -> String {
        let plan = match &self.planned {
            Err(reason) => return format!("| {} | refused: {} | | | | | | | |", self.name, cell(reason)),
            Ok(plan) => plan,
        };
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let kind = plan.kind.as_ref().map(|kind| format!(", {kind}")).unwrap_or_default();
        let measured = match &plan.loss {
            Ok(loss) => {
                let mark = if plan.above_upper() { "**above the bound** " } else { "" };
                let inputs = plan.inputs.map(|inputs| format!(" of {inputs}")).unwrap_or_default();
                let outside = plan.outside.map(|n| format!(" ({n} outside of the range left out)"));
                format!("{mark}{}{inputs}{}", percent(*loss), outside.unwrap_or_default())
            }
            Err(reason) => cell(reason),
        };
        let difference = match &plan.difference {
            None => "-".into(),
            Some(Err(reason)) => cell(reason),
            Some(Ok(found)) => format!("{:.2e} ({}) in {}", found.largest, percent(found.relative), found.inputs),
        };
        format!(
            "| {} | {}{kind} | {} | {} | {measured} | {difference} | {} | {} | {} |",
            self.name,
            plan.scheme,
            percent(plan.expected_loss),
            percent(plan.upper),
            number(plan.planning_seconds, 1),
            number(plan.key_bytes.map(|bytes| bytes / 1_048_576.0), 1),
            number(plan.seconds, 3),
        )
    }
}

/// The table as Markdown.
pub fn table(lines: &[Line]) -> String {
    let columns = [
        "model",
        "verdict",
        "expected loss",
        "at most (95 %)",
        "measured loss, of test inputs",
        "largest difference from the framework's outputs (over their deviation), of encrypted inputs",
        "planning, s",
        "evaluation key, MiB",
        "predicted thread-s an input",
    ];
    let mut text = format!("| {} |\n{}|\n", columns.join(" | "), "|---".repeat(columns.len()));
    for line in lines {
        text += &line.row();
        text.push('\n');
    }
    text
}

/// What the table comes to.
pub fn summary(lines: &[Line]) -> String {
    let plans: Vec<&Planned> = lines.iter().filter_map(|line| line.planned.as_ref().ok()).collect();
    let both: Vec<(f64, f64)> = plans.iter().filter_map(|plan| plan.measured().zip(plan.expected_loss)).collect();
    let count = both.len().max(1) as f64;
    let bounded = plans.iter().filter(|plan| plan.upper.is_some() && plan.measured().is_some()).count();
    let names = |broken: fn(&Planned) -> bool| -> String {
        let broken = lines.iter().filter(|line| line.planned.as_ref().is_ok_and(broken));
        let names: Vec<&str> = broken.map(|line| line.name.as_str()).collect();
        format!("{} ({})", names.len(), names.join(", "))
    };
    format!(
        "Accepted: {} of {}. Measured and expected loss are both known of {}: {} and {} on average.\n\
         Above the expected loss: {}.\nAbove the upper bound, of {bounded} that state one: {}.\n\
         Not evaluated, or not compared with the framework's outputs: {}.",
        plans.len(),
        lines.len(),
        both.len(),
        percent(Some(both.iter().map(|(measured, _)| measured).sum::<f64>() / count)),
        percent(Some(both.iter().map(|(_, expected)| expected).sum::<f64>() / count)),
        names(Planned::above_expected),
        names(Planned::above_upper),
        names(|plan| plan.loss.is_err() || matches!(plan.difference, Some(Err(_)))),
    )
}
