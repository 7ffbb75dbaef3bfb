//! How far inputs may go.

use heman_core::model::columns::Columns;
use serde_json::{Value, json};

/// For people.
pub fn text(columns: &Columns, (low, high): (f64, f64)) -> String {
    if columns.is_empty() {
        return format!("values {low:.4} to {high:.4}");
    }
    let cut = if columns.is_cut() { ", cut off at its ends" } else { "" };
    format!("each element at a scale of its own{cut}")
}

/// For machines: the range of all elements, and of each where they have scales of their own.
pub fn json(columns: &Columns, (low, high): (f64, f64)) -> Value {
    if columns.is_empty() {
        return json!({ "input_low": low, "input_high": high });
    }
    let ranges: Vec<(f64, f64)> = (0..columns.len()).map(|at| columns.taken(at, (low, high))).collect();
    let (least, most) = ranges.iter().fold((f64::MAX, f64::MIN), |(l, m), &(low, high)| (l.min(low), m.max(high)));
    json!({ "input_low": least, "input_high": most, "input_ranges": ranges, "input_is_cut_off": columns.is_cut() })
}
