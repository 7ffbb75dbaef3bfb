//! The plots of a report.

use serde_json::Value;

use super::svg::{Anchor, Drawing, WIDTH, ticks};
use crate::verbs::bench::figures::{digits, plain, read, seconds};
use crate::verbs::bench::text::shortened;

/// Room for labels on the left of bars.
const LABELS: f64 = 230.0;
/// Room for numbers on the right of bars.
const NUMBERS: f64 = 90.0;
/// Height of a row of bars.
const ROW: f64 = 26.0;
/// Most rows of bars: further ones are left out, the shortest first.
const MOST_ROWS: usize = 40;
/// Kinds of steps, each with a colour of its own.
const STEPS: [&str; 5] = ["linear", "bootstrap", "keyswitch", "polynomial", "rescale"];

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

fn value_of(object: &Value) -> Option<f64> {
    read(object).map(|(figure, _)| figure.value)
}

fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How often which latency was seen, with marks at percentiles; none without a histogram.
pub fn histogram(scenario: &Value) -> Option<String> {
    const HEIGHT: f64 = 220.0;
    let histogram = scenario.get("histogram").filter(|histogram| !histogram.is_null())?;
    let (first, width) = (number(&histogram["first"])?, number(&histogram["width"])?);
    let counts: Vec<f64> = list(histogram, "counts").iter().filter_map(number).collect();
    let most = counts.iter().copied().fold(0.0, f64::max);
    if counts.is_empty() || most <= 0.0 {
        return None;
    }
    let (left, right, top, bottom) = (50.0, WIDTH - 20.0, 34.0, HEIGHT - 30.0);
    let end = first + width * counts.len() as f64;
    let x = |value: f64| left + (value - first) / (end - first) * (right - left);
    let scale = ticks(most);
    let highest = scale.last().copied().unwrap_or(most);
    let y = |count: f64| bottom - count / highest * (bottom - top);
    let name = scenario["scenario"].as_str().unwrap_or_default();
    let mut drawing = Drawing::new(HEIGHT, &format!("Latency histogram of {name}"));
    for tick in scale.iter().filter(|tick| tick.fract() == 0.0) {
        drawing.line((left, y(*tick)), (right, y(*tick)), "axis");
        drawing.text((left - 8.0, y(*tick) + 4.0), Anchor::End, "tick", &format!("{tick}"));
    }
    let each = (right - left) / counts.len() as f64;
    // A single bin is drawn narrow: its width says nothing.
    let drawn = each.min(60.0);
    for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
        let from = first + width * at as f64;
        let title = format!("{} to {}: {count}", seconds(from), seconds(from + width));
        let start = x(from) + (each - drawn) / 2.0;
        drawing.bar((start + 0.5, y(count)), (drawn - 1.0, bottom - y(count)), 0, &title);
    }
    drawing.text((left, HEIGHT - 8.0), Anchor::Start, "tick", &seconds(first));
    drawing.text(
        (f64::midpoint(left, right), HEIGHT - 8.0),
        Anchor::Middle,
        "tick",
        &seconds(f64::midpoint(first, end)),
    );
    drawing.text((right, HEIGHT - 8.0), Anchor::End, "tick", &seconds(end));
    let mut free_from = f64::NEG_INFINITY;
    for name in ["p50", "p90", "p99", "p99.9"] {
        let Some(value) = value_of(&scenario["latency"][name]) else { continue };
        let at = x(value.clamp(first, end));
        drawing.line((at, top - 8.0), (at, bottom), "mark-line");
        if at > free_from {
            let anchor = if at > right - 30.0 { Anchor::End } else { Anchor::Middle };
            drawing.text((at, top - 14.0), anchor, "tick", name);
            free_from = at + 36.0;
        }
    }
    let what = if name == "offline" { "passes" } else { "queries" };
    Some(drawing.figure(&format!("Latency of {what}, {name}: how many took how long; dashed lines are percentiles.")))
}

/// One stage behind the other, each step in its colour; none without stages.
pub fn waterfall(breakdown: &Value) -> Option<String> {
    let mut stages: Vec<(usize, &Value, f64)> = list(breakdown, "stages")
        .iter()
        .enumerate()
        .filter_map(|(at, stage)| Some((at, stage, value_of(&stage["seconds"])?)))
        .collect();
    if stages.len() > MOST_ROWS {
        stages.sort_by(|a, b| b.2.total_cmp(&a.2));
        stages.truncate(MOST_ROWS);
        stages.sort_by_key(|(at, ..)| *at);
    }
    let total: f64 = stages.iter().map(|(.., seconds)| seconds).sum();
    if stages.is_empty() || total <= 0.0 {
        return None;
    }
    let scale = (WIDTH - LABELS - NUMBERS) / total;
    let height = 40.0 + ROW * stages.len() as f64;
    let mut drawing = Drawing::new(height, "Time of a pass by stage");
    let mut x = LABELS;
    for (row, (at, stage, spent)) in stages.iter().enumerate() {
        let y = 8.0 + ROW * row as f64;
        let name = format!("{} {}", at + 1, stage["operator"].as_str().unwrap_or_default());
        drawing.text((LABELS - 10.0, y + 15.0), Anchor::End, "", &shortened(&name, 30));
        let steps = stage["steps"].as_object();
        let mut from = x;
        for (step, own) in steps.into_iter().flatten() {
            let took = value_of(&own["seconds"]).unwrap_or(0.0);
            let title = format!("{name}, {step}: {}", seconds(took));
            drawing.bar((from, y + 3.0), (took * scale, ROW - 8.0), colour(step), &title);
            from += took * scale;
        }
        drawing.text((x + spent * scale + 6.0, y + 15.0), Anchor::Start, "tick", &seconds(*spent));
        x += spent * scale;
    }
    legend(&mut drawing, height - 10.0, &kinds(breakdown));
    let inputs = &breakdown["inputs"];
    Some(drawing.figure(&format!("A pass of {inputs} input(s) by stage, from the first to the output.")))
}

/// Kinds of steps that a pass has, transfers left out.
fn kinds(breakdown: &Value) -> Vec<(usize, String)> {
    let steps = breakdown["steps"].as_object();
    let names = steps.into_iter().flatten().map(|(name, _)| name.clone()).filter(|name| name != "transfer");
    names.map(|name| (colour(&name), name)).collect()
}

fn colour(step: &str) -> usize {
    STEPS.iter().position(|known| *known == step).unwrap_or(STEPS.len() - 1)
}

fn legend(drawing: &mut Drawing, y: f64, entries: &[(usize, String)]) {
    let mut x = LABELS;
    for (colour, name) in entries {
        drawing.bar((x, y - 9.0), (10.0, 10.0), *colour, name);
        drawing.text((x + 15.0, y), Anchor::Start, "tick", name);
        x += 35.0 + 7.0 * name.chars().count() as f64;
    }
}

/// Measured beside predicted, stage by stage; none where nothing is predicted.
pub fn prediction(breakdown: &Value) -> Option<String> {
    let mut stages: Vec<(usize, &Value, f64, f64)> = list(breakdown, "stages")
        .iter()
        .enumerate()
        .filter_map(|(at, stage)| Some((at, stage, value_of(&stage["seconds"])?, number(&stage["predicted_seconds"])?)))
        .collect();
    if stages.len() > MOST_ROWS {
        stages.sort_by(|a, b| b.2.total_cmp(&a.2));
        stages.truncate(MOST_ROWS);
        stages.sort_by_key(|(at, ..)| *at);
    }
    let most = stages.iter().map(|(.., measured, predicted)| measured.max(*predicted)).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let scale = (WIDTH - LABELS - NUMBERS) / most;
    let height = 40.0 + ROW * stages.len() as f64;
    let mut drawing = Drawing::new(height, "Measured and predicted time by stage");
    for (row, (at, stage, measured, predicted)) in stages.iter().enumerate() {
        let y = 8.0 + ROW * row as f64;
        let name = format!("{} {}", at + 1, stage["operator"].as_str().unwrap_or_default());
        drawing.text((LABELS - 10.0, y + 15.0), Anchor::End, "", &shortened(&name, 30));
        let half = (ROW - 8.0) / 2.0;
        drawing.bar(
            (LABELS, y + 2.0),
            (measured * scale, half),
            0,
            &format!("{name}: measured {}", seconds(*measured)),
        );
        let title = format!("{name}: predicted {}", seconds(*predicted));
        drawing.bar((LABELS, y + 2.0 + half), (predicted * scale, half), 1, &title);
        let end = LABELS + measured.max(*predicted) * scale + 6.0;
        let ratio = if *predicted > 0.0 { format!("× {:.2}", measured / predicted) } else { String::new() };
        drawing.text((end, y + 15.0), Anchor::Start, "tick", &ratio);
    }
    legend(&mut drawing, height - 10.0, &[(0, "measured".into()), (1, "predicted".into())]);
    Some(drawing.figure("What the cost model predicted for each stage; the number is measured over predicted."))
}

/// Throughput of Offline over the number of inputs at a time, a curve a device and its threads; none without two
/// numbers to join.
pub fn batches(configurations: &[Value]) -> Option<String> {
    const HEIGHT: f64 = 280.0;
    let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for configuration in configurations {
        let offline = list(configuration, "scenarios").iter().find(|scenario| scenario["scenario"] == "offline");
        let throughput = offline.and_then(|offline| value_of(&offline["throughput"]));
        let (Some(batch), Some(throughput)) = (number(&configuration["batch"]), throughput) else { continue };
        let name = configuration["device"].as_str().unwrap_or_default();
        match curves.iter_mut().find(|(known, _)| known == name) {
            Some((_, points)) => points.push((batch, throughput)),
            None => curves.push((name.into(), vec![(batch, throughput)])),
        }
    }
    curves.retain(|(_, points)| points.len() > 1);
    curves.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    let all: Vec<(f64, f64)> = curves.iter().flat_map(|(_, points)| points).copied().collect();
    let least = all.iter().map(|point| point.0).fold(f64::INFINITY, f64::min).log2();
    let most = all.iter().map(|point| point.0).fold(1.0, f64::max).log2();
    let scale = ticks(all.iter().map(|point| point.1).fold(0.0, f64::max));
    let highest = scale.last().copied().unwrap_or(1.0);
    if all.is_empty() || most <= least {
        return None;
    }
    let (left, right, top, bottom) = (70.0, WIDTH - 20.0, 20.0, HEIGHT - 58.0);
    let x = |batch: f64| left + (batch.log2() - least) / (most - least) * (right - left);
    let y = |rate: f64| bottom - rate / highest * (bottom - top);
    let mut drawing = Drawing::new(HEIGHT, "Throughput over inputs at a time");
    for tick in scale {
        drawing.line((left, y(tick)), (right, y(tick)), "axis");
        drawing.text((left - 8.0, y(tick) + 4.0), Anchor::End, "tick", &plain(tick));
    }
    let mut shown: Vec<f64> = all.iter().map(|point| point.0).collect();
    shown.sort_by(f64::total_cmp);
    shown.dedup();
    for batch in shown {
        let anchor = if x(batch) > right - 10.0 { Anchor::End } else { Anchor::Middle };
        drawing.text((x(batch), bottom + 18.0), anchor, "tick", &format!("{batch}"));
    }
    for (at, (name, points)) in curves.iter().enumerate() {
        let marked = |&(batch, rate): &(f64, f64)| {
            ((x(batch), y(rate)), format!("{name}, {batch} at a time: {} inputs a second", digits(rate)))
        };
        drawing.curve(&points.iter().map(marked).collect::<Vec<_>>(), at);
    }
    let mut at = left;
    for (colour, (name, _)) in curves.iter().enumerate() {
        drawing.bar((at, HEIGHT - 19.0), (10.0, 10.0), colour, name);
        drawing.text((at + 15.0, HEIGHT - 10.0), Anchor::Start, "tick", name);
        at += 40.0 + 6.5 * name.chars().count() as f64;
    }
    Some(drawing.figure("Inputs a second over the inputs that are answered at a time (logarithmic)."))
}

/// Times of operations at their largest number of rows, on a logarithmic axis; none without operations.
pub fn operations(all: &[Value], scheme: &str) -> Option<String> {
    let rows: Vec<(&str, f64, String)> = all
        .iter()
        .filter(|operation| operation["scheme"] == scheme)
        .filter_map(|operation| {
            let throughput = operation.get("throughput")?;
            let id = operation["id"].as_str()?;
            let (figure, unit) = read(throughput)?;
            Some((id.split_once('/').map_or(id, |(_, rest)| rest), figure.value, unit.text(figure.value)))
        })
        .filter(|(_, rate, _)| *rate > 0.0)
        .collect();
    let least = rows.iter().map(|row| row.1).fold(f64::INFINITY, f64::min).log10().floor();
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max).log10().ceil();
    if rows.is_empty() {
        return None;
    }
    let labels = LABELS + 20.0;
    let width = WIDTH - labels - NUMBERS;
    let x = |rate: f64| (rate.log10() - least) / (most - least).max(1.0) * width;
    let step = 19.0;
    let height = 34.0 + step * rows.len() as f64;
    let mut drawing = Drawing::new(height, &format!("Operations of {scheme}"));
    for power in least as i32..=most as i32 {
        let at = labels + x(10.0_f64.powi(power));
        drawing.line((at, 4.0), (at, height - 24.0), "axis");
        drawing.text((at, height - 8.0), Anchor::Middle, "tick", &format!("10^{power}"));
    }
    for (row, (name, rate, text)) in rows.iter().enumerate() {
        let y = 6.0 + step * row as f64;
        let colour = if name.starts_with("bootstrap") || name.starts_with("multiply") { 1 } else { 0 };
        drawing.text((labels - 10.0, y + 12.0), Anchor::End, "tick", &shortened(name, 40));
        drawing.bar((labels, y + 2.0), (x(*rate), step - 6.0), colour, &format!("{name}: {text}"));
        drawing.text((labels + x(*rate) + 6.0, y + 12.0), Anchor::Start, "tick", text);
    }
    Some(drawing.figure("Rows or ciphertexts a second (logarithmic): operation, parameters, rows at a time."))
}
