//! What `heman evaluate` measured, for people and for machines.

use heman_core::planning::output_kind::OutputKind;
use serde_json::{Value, json};

use super::compare::{Comparison, Share, Target};

/// Most targets that have a line of their own.
const MOST_TARGETS: usize = 8;

/// A share or a relative error in percent, with two significant digits or more; never rounded to 0 or 100 %.
pub fn percent(value: f64) -> String {
    let percent = 100.0 * value;
    let rest = percent.abs().min(if percent > 50.0 { (100.0 - percent).abs() } else { f64::MAX });
    match rest {
        0.0 => format!("{percent:.0} %"),
        rest if rest < 1e-6 || percent >= 1e6 => format!("{percent:.1e} %"),
        rest => format!("{percent:.*} %", (1.0 - rest.log10().floor()).clamp(1.0, 8.0) as usize),
    }
}

/// The fields of the JSON object.
pub fn json(found: &Comparison, kind: OutputKind, reading: Option<&str>) -> Value {
    let decisions = found.decisions.as_ref();
    let accuracy = decisions.and_then(|decisions| decisions.accuracy);
    let target = |target: &Target| {
        json!({
            "rms_error": target.error,
            "deviation": target.deviation,
            "constant": target.constant,
            "relative_error": target.relative_error(),
            "r2": target.r2,
            "r2_labels": target.r2_labels.map(|(ours, _)| ours),
            "plain_r2_labels": target.r2_labels.map(|(_, plain)| plain),
        })
    };
    json!({
        "output_kind": name(kind),
        "labels": reading,
        "loss": found.loss(),
        "agreement": decisions.map(|decisions| decisions.agreement.value()),
        "agreement_interval_95": decisions.map(|decisions| decisions.agreement.interval()),
        "interval_method": "Clopper-Pearson",
        "decisions": decisions.map(|decisions| decisions.agreement.of),
        "changed_decisions": decisions.map(|decisions| decisions.agreement.of - decisions.agreement.hits),
        "inputs_unchanged": decisions.map(|decisions| decisions.whole_inputs),
        "accuracy": accuracy.map(|(ours, _)| ours.value()),
        "accuracy_interval_95": accuracy.map(|(ours, _)| ours.interval()),
        "plain_accuracy": accuracy.map(|(_, plain)| plain.value()),
        "relative_error": found.relative_error,
        "targets": found.targets.iter().map(target).collect::<Vec<Value>>(),
        "all_numbers": target(&found.all),
        "outputs_exploded": found.exploded,
        "max_abs_error": found.differences.0,
        "mean_abs_error": found.differences.1,
        "mean_cosine": found.cosines.map(|(mean, _)| mean),
        "min_cosine": found.cosines.map(|(_, least)| least),
    })
}

/// A word for the kind.
fn name(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::Decision { .. } => "decision",
        OutputKind::Labels { .. } => "labels",
        OutputKind::Classes { .. } => "classes",
        OutputKind::Targets => "targets",
        OutputKind::Embedding => "embedding",
        OutputKind::Signal => "signal",
        OutputKind::Constant => "constant",
    }
}

/// The lines of the report.
pub fn text(found: &Comparison, kind: OutputKind, shape: &[usize], reading: Option<&str>) -> String {
    let mut lines = vec![format!("judged by     {}", described(kind, shape))];
    if let Some(decisions) = &found.decisions {
        lines.push(format!("agreement     {} with the plaintext model", share(&decisions.agreement)));
        if decisions.agreement.of > decisions.agreement.inputs {
            let (whole, inputs) = (decisions.whole_inputs, decisions.agreement.inputs);
            lines.push(format!("whole inputs  {whole} of {inputs} with all decisions as in plaintext"));
        }
        if let Some((ours, plain)) = &decisions.accuracy {
            lines.push(format!("accuracy      {} (plaintext {})", share(ours), percent(plain.value())));
        }
    }
    match reading {
        Some(reading) => lines.push(format!("labels        read as {reading}")),
        None => lines.push("labels        none".into()),
    }
    let (largest, mean) = found.differences;
    lines.push(format!("error         largest {largest:.3e}, mean {mean:.3e}"));
    if found.exploded > 0 {
        let text = "output(s) exploded: they are many times as large as any in plaintext";
        lines.push(format!("              {} {text}", found.exploded));
    }
    if found.targets.is_empty() {
        lines.push(format!("all numbers   {}", measures(&found.all)));
    }
    let shown = found.targets.len().min(MOST_TARGETS);
    for (at, target) in found.targets.iter().take(shown).enumerate() {
        lines.push(format!("target {at:<6} {}", measures(target)));
    }
    if found.targets.len() > shown {
        let worst = found.targets.iter().filter_map(Target::relative_error).reduce(f64::max);
        let (more, worst) = (found.targets.len() - shown, worst.map_or("-".into(), percent));
        lines.push(format!("              {more} more; the worst of all is off by {worst}"));
    }
    if let Some((mean, least)) = found.cosines.filter(|_| !kind.decides()) {
        lines.push(format!("cosine        mean {mean:.6}, least {least:.6}"));
    }
    lines.join("\n")
}

/// What the output is for.
fn described(kind: OutputKind, shape: &[usize]) -> String {
    let elements: usize = shape.iter().product();
    match kind {
        OutputKind::Decision { threshold } => format!("a decision: one number, above {threshold} or not"),
        OutputKind::Labels { threshold } => format!("{elements} decisions: each number above {threshold} or not"),
        OutputKind::Classes { axis } if shape[axis] == elements => format!("the largest of {elements} numbers"),
        OutputKind::Classes { axis } => {
            format!("the largest of {} numbers at each of {} positions", shape[axis], elements / shape[axis])
        }
        OutputKind::Targets => format!("the error of each of {elements} number(s)"),
        OutputKind::Embedding => format!("error and angle of a vector of {elements} numbers"),
        OutputKind::Signal => format!("the error of {elements} numbers together"),
        OutputKind::Constant => "its error alone: the output is the same for all calibration inputs".into(),
    }
}

fn share(share: &Share) -> String {
    let (low, high) = share.interval();
    format!(
        "{} of {}, {} (95 %: {} to {}, Clopper-Pearson)",
        share.hits,
        share.of,
        percent(share.value()),
        percent(low),
        percent(high)
    )
}

fn measures(target: &Target) -> String {
    let error = match target.relative_error() {
        None => format!("off by {:.3e} (it is 0 for all calibration inputs)", target.error),
        Some(relative) if target.constant => {
            format!("off by {:.3e}, {} of its size (it is constant)", target.error, percent(relative))
        }
        Some(relative) => format!("off by {} of the deviation of {:.3e}", percent(relative), target.deviation),
    };
    let r2 = target.r2.map(|r2| format!("; R² {r2:.6} of plaintext")).unwrap_or_default();
    let labels = target.r2_labels.map(|(ours, plain)| format!("; R² {ours:.4} of the labels (plaintext {plain:.4})"));
    format!("{error}{r2}{}", labels.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_not_rounded_away() {
        let cases = [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.5, "50.0 %"),
            (0.123, "12.3 %"),
            (1.085, "108.5 %"),
            (0.000_012_3, "0.0012 %"),
            (0.999_987_7, "99.9988 %"),
            (1e-12, "1.0e-10 %"),
        ];
        for (value, want) in cases {
            assert_eq!(percent(value), want);
        }
    }
}
