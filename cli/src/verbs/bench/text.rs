//! The report for people.

use heman_load::percentiles::REPORTED;
use serde_json::Value;

use super::figures::{self, read, seconds};
use super::scenarios::percentile_name;

fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word<'v>(object: &'v Value, name: &str) -> &'v str {
    object[name].as_str().unwrap_or("-")
}

/// A figure's value without its interval.
fn value(object: &Value) -> String {
    read(object).map_or("-".into(), |(figure, unit)| unit.text(figure.value))
}

/// The whole report.
pub fn text(report: &Value) -> String {
    let machine = &report["machine"];
    let mut text = format!(
        "heman {} on {}, {}, {} core(s), {}\n",
        word(report, "heman"),
        word(report, "date"),
        word(machine, "cpu"),
        machine["cores"],
        word(machine, "system"),
    );
    if report.get("operations").is_some() {
        return text + &operations(report);
    }
    if report["by_rules"] != true {
        text +=
            "shortened: this run is not by the rules of MLPerf, and tells percentiles only as far as it has queries\n";
    }
    for configuration in list(report, "configurations") {
        text += "\n";
        text += &of_configuration(configuration);
    }
    text
}

fn of_configuration(configuration: &Value) -> String {
    let parameters = &configuration["parameters"];
    let batch = configuration["batch"].as_u64().map(|batch| format!(", {batch} input(s) at a time"));
    let mut text = format!(
        "{} on {}{}\n",
        word(parameters, "scheme").to_uppercase(),
        word(configuration, "device"),
        batch.unwrap_or_default()
    );
    for scenario in list(configuration, "scenarios") {
        text += &of_scenario(scenario);
    }
    let (setup, sizes) = (&configuration["setup"], &configuration["sizes"]);
    text += &format!(
        "  keys           made in {}, loaded in {}; evaluation key {}\n",
        value(&setup["key_generation"]),
        value(&setup["loading"]),
        value(&sizes["evaluation_key"]),
    );
    text += &format!(
        "  an input       encrypted in {}, decrypted in {}; encrypted input {}\n",
        value(&setup["encryption_per_input"]),
        value(&setup["decryption_per_input"]),
        value(&sizes["encrypted_input"]),
    );
    text += &format!("  memory         {} at the most\n", value(&configuration["peak_rss"]));
    for breakdown in list(configuration, "breakdowns") {
        text += &of_breakdown(breakdown);
    }
    text
}

fn of_scenario(scenario: &Value) -> String {
    let name = word(scenario, "scenario");
    let early = &scenario["early_stopping"];
    let percentile = early["percentile"].as_f64().map(percentile_name).unwrap_or_default();
    let metric = match name {
        "offline" => format!("{} inputs", figures::text(&scenario["throughput"])),
        "server" => {
            let server = &scenario["server"];
            let verdict = match (server["holds"] == true, server["proved"] == true) {
                (true, true) => "holds, proved",
                (true, false) => "holds, not proved",
                (false, _) => "does not hold",
            };
            let bound = seconds(server["latency_bound"].as_f64().unwrap_or(f64::NAN));
            format!("{} within {bound} for 99 %: {verdict}", value(&server["rate"]))
        }
        _ => match read(&early["latency"]) {
            Some((figure, unit)) => format!("{percentile} {} with early stopping", unit.text(figure.value)),
            None => format!("{percentile} not told: it takes {} queries", early["queries_needed"]),
        },
    };
    let latencies: Vec<String> = REPORTED
        .iter()
        .filter_map(|&percentile| {
            let name = percentile_name(percentile);
            let (figure, unit) = read(&scenario["latency"][&name])?;
            Some(format!("{name} {}", unit.text(figure.value)))
        })
        .collect();
    let what = if name == "offline" { "a pass" } else { "a query" };
    let ends = if latencies.is_empty() { String::new() } else { format!(", {}", latencies.join(", ")) };
    format!(
        "  {name:14} {metric}\n{:17}{} {}, {} input(s) in {}; {what}: mean {}{ends}\n",
        "",
        if name == "offline" { &scenario["passes"] } else { &scenario["queries"] },
        if name == "offline" { "pass(es)" } else { "query(s)" },
        scenario["samples"],
        seconds(scenario["seconds"].as_f64().unwrap_or(0.0)),
        value(&scenario["latency"]["mean"]),
    )
}

fn of_breakdown(breakdown: &Value) -> String {
    let optional = |object: &Value| object.as_f64().map_or("-".into(), seconds);
    let mut text = format!(
        "  a pass of {} input(s): {}, predicted {}\n",
        breakdown["inputs"],
        figures::text(&breakdown["seconds"]),
        optional(&breakdown["predicted_seconds"]),
    );
    text += &format!("    {:32} {:>12} {:>12} {:>12}  steps\n", "stage", "measured", "predicted", "of the bound");
    for stage in list(breakdown, "stages") {
        let steps: Vec<String> = stage["steps"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, step)| format!("{name} {}", value(&step["seconds"])))
            .collect();
        text += &format!(
            "    {:32} {:>12} {:>12} {:>12}  {}\n",
            shortened(word(stage, "operator"), 32),
            value(&stage["seconds"]),
            optional(&stage["predicted_seconds"]),
            value(&stage["share_of_bound"]),
            steps.join(", "),
        );
    }
    let transfer = &breakdown["steps"]["transfer"];
    if !transfer.is_null() {
        text += &format!("    {:32} {:>12}\n", "upload and download", value(transfer));
    }
    text
}

/// The first characters of a text that is too long.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

fn operations(report: &Value) -> String {
    let mut text = format!("operations on {}\n\n", word(report, "device"));
    text += &format!("{:44} {:>6}  {:>34}  {:>14}\n", "operation", "runs", "time", "a second");
    for operation in list(report, "operations") {
        text += &format!(
            "{:44} {:>6}  {:>34}  {:>14}\n",
            word(operation, "id"),
            operation["runs"].to_string(),
            figures::text(&operation["seconds"]),
            value(&operation["throughput"]),
        );
    }
    text
}
