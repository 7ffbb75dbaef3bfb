//! Two reports, figure by figure.

use std::collections::BTreeMap;
use std::path::Path;

use heman_load::compare::{Verdict, verdict};
use heman_load::figure::Figure;
use serde_json::{Value, json};

use super::figures::{Unit, read};
use crate::error::{CliError, printable};
use crate::io::samples::read_bounded;
use crate::report;
use crate::verbs::Output;

/// Largest report that is read: what it holds takes sixteen times its size in memory, at the worst.
const MAX_BYTES: u64 = 16 << 20;
/// Columns that names of figures take at the most; longer ones are not followed in line.
const MOST_WIDTH: usize = 100;
/// Deepest nesting that is looked into.
const MAX_DEPTH: usize = 16;
/// What tells elements of a list apart, the first that there is.
const NAMES: [&[&str]; 5] = [&["id"], &["scenario"], &["stage"], &["device_choice", "threads", "batch"], &["inputs"]];

/// Figures by where they stand.
type Figures = BTreeMap<String, (Figure, Unit)>;

/// Compares two reports.
pub fn run(out: &Output, first: &Path, second: &Path) -> Result<(), CliError> {
    let (before, after) = (figures_of(first)?, figures_of(second)?);
    let rows: Vec<Value> = before
        .iter()
        .filter_map(|(name, (old, unit))| {
            let (new, other) = after.get(name)?;
            (unit == other).then(|| row(name, old, new, *unit))
        })
        .collect();
    let missing = |one: &Figures, other: &Figures| -> Vec<String> {
        one.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
    };
    if rows.is_empty() {
        return Err(CliError::bad_file(format!(
            "{} and {} have no figure in common",
            first.display(),
            second.display()
        )));
    }
    let object = json!({
        "kind": "comparison",
        "first": report::path(first),
        "second": report::path(second),
        "figures": rows,
        "only_first": missing(&before, &after),
        "only_second": missing(&after, &before),
    });
    report::print_either(out.json, &object, &printable(&text(&object)))
}

fn figures_of(path: &Path) -> Result<Figures, CliError> {
    let bytes = read_bounded(path, MAX_BYTES)?;
    let object: Value = serde_json::from_slice(&bytes).map_err(|error| CliError::file(path, error.to_string()))?;
    if object["kind"] != "bench" {
        return Err(CliError::file(path, "this is no report of heman bench; its --json writes one"));
    }
    let mut found = Figures::new();
    collect(&object, "", 0, &mut found);
    Ok(found)
}

/// Adds all figures below an object, each named by its way there.
fn collect(value: &Value, way: &str, depth: usize, found: &mut Figures) {
    if depth > MAX_DEPTH {
        return;
    }
    if let Some(figure) = read(value) {
        found.insert(way.into(), figure);
        return;
    }
    let below = |name: &str| if way.is_empty() { name.to_string() } else { format!("{way}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| collect(field, &below(name), depth + 1, found)),
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                collect(element, &below(&element_name(element, at)), depth + 1, found);
            }
        }
        _ => {}
    }
}

fn element_name(element: &Value, at: usize) -> String {
    let names = NAMES.iter().find(|names| element.get(names[0]).is_some());
    let part = |name: &&str| match &element[*name] {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(format!("{name} {other}")),
    };
    names.map_or_else(|| at.to_string(), |names| names.iter().filter_map(part).collect::<Vec<_>>().join(" "))
}

fn row(name: &str, old: &Figure, new: &Figure, unit: Unit) -> Value {
    let ratio = (old.value != 0.0).then_some(new.value / old.value);
    let verdict = match (verdict(old, new), unit.is_better_larger()) {
        (Verdict::Same, _) => "same",
        (Verdict::Unknown, _) => "unknown",
        (Verdict::Larger, true) | (Verdict::Smaller, false) => "better",
        (Verdict::Larger, false) | (Verdict::Smaller, true) => "worse",
    };
    json!({
        "figure": name,
        "first": super::figures::figure(*old, unit),
        "second": super::figures::figure(*new, unit),
        "ratio": ratio,
        "verdict": verdict,
    })
}

fn text(object: &Value) -> String {
    let rows = object["figures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let value = |row: &Value, name: &str| read(&row[name]).map_or("-".into(), |(figure, unit)| unit.text(figure.value));
    let width =
        rows.iter().filter_map(|row| row["figure"].as_str()).map(str::len).max().unwrap_or(0).clamp(6, MOST_WIDTH);
    let mut text = format!("{:width$}  {:>12}  {:>12}  {:>7}  verdict\n", "figure", "first", "second", "ratio");
    for row in rows {
        text += &format!(
            "{:width$}  {:>12}  {:>12}  {:>7}  {}\n",
            row["figure"].as_str().unwrap_or_default(),
            value(row, "first"),
            value(row, "second"),
            row["ratio"].as_f64().map_or("-".into(), |ratio| format!("{ratio:.3}")),
            match row["verdict"].as_str() {
                Some("same") => "within the spread",
                Some("unknown") => "spread not known",
                Some(other) => other,
                None => "-",
            },
        );
    }
    for (name, file) in [("only_first", "first"), ("only_second", "second")] {
        let count = object[name].as_array().map_or(0, Vec::len);
        if count > 0 {
            text += &format!("{count} figure(s) are in the {file} report only\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, unit: Unit) -> Value {
        super::super::figures::figure(Figure { value, interval: Some((0.95 * value, 1.05 * value)) }, unit)
    }

    #[test]
    fn figures_are_named_by_their_way_and_not_by_their_place() {
        let one = json!({ "scenario": "offline", "throughput": figure(2.0, Unit::PerSecond) });
        let other = json!({ "scenario": "server", "throughput": figure(3.0, Unit::PerSecond) });
        let (mut there, mut back) = (Figures::new(), Figures::new());
        collect(&json!({ "scenarios": [one, other] }), "", 0, &mut there);
        collect(&json!({ "scenarios": [other, one] }), "", 0, &mut back);
        assert_eq!(there, back);
        assert_eq!(there["scenarios.server.throughput"].0.value, 3.0);
    }

    #[test]
    fn better_is_faster_whatever_the_unit() {
        let compared = |old: f64, new: f64, unit| {
            let read_back = |value| read(&figure(value, unit)).expect("a figure").0;
            row("x", &read_back(old), &read_back(new), unit)["verdict"].clone()
        };
        assert_eq!(compared(1.0, 2.0, Unit::Seconds), "worse");
        assert_eq!(compared(1.0, 2.0, Unit::PerSecond), "better");
        assert_eq!(compared(1.0, 1.05, Unit::Seconds), "same");
    }

    #[test]
    fn mutated_reports_are_compared_or_refused() {
        use heman_hostile::{json as spoil, random::Random};
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.json");
        let one = json!({ "scenario": "offline", "threads": 2, "throughput": figure(2.0, Unit::PerSecond) });
        let report = json!({ "kind": "bench", "scenarios": [one], "latency": figure(0.5, Unit::Seconds) });
        for seed in 0..2000 {
            let mut bytes = report.to_string().into_bytes();
            spoil::mutate(&mut bytes, &mut Random::new(seed));
            std::fs::write(&path, bytes).expect("writable");
            let Ok(figures) = figures_of(&path) else { continue };
            let rows: Vec<Value> = figures.iter().map(|(name, (own, unit))| row(name, own, own, *unit)).collect();
            let _ = text(&json!({ "figures": rows }));
        }
    }
}
