//! A row a configuration and scenario, or an operation.

use serde_json::Value;

/// Columns of scenarios, each with where it stands: in the configuration or in the scenario.
const SCENARIO_COLUMNS: [(&str, bool, &str); 32] = [
    ("device", false, "/device"),
    ("device_choice", false, "/device_choice"),
    ("threads", false, "/threads"),
    ("batch", false, "/batch"),
    ("scheme", false, "/parameters/scheme"),
    ("scenario", true, "/scenario"),
    ("by_rules", true, "/by_rules"),
    ("queries", true, "/queries"),
    ("samples", true, "/samples"),
    ("seconds", true, "/seconds"),
    ("latency_mean_s", true, "/latency/mean/value"),
    ("latency_p50_s", true, "/latency/p50/value"),
    ("latency_p90_s", true, "/latency/p90/value"),
    ("latency_p95_s", true, "/latency/p95/value"),
    ("latency_p97_s", true, "/latency/p97/value"),
    ("latency_p99_s", true, "/latency/p99/value"),
    ("latency_p99_9_s", true, "/latency/p99.9/value"),
    ("early_stopping_percentile", true, "/early_stopping/percentile"),
    ("early_stopping_latency_s", true, "/early_stopping/latency/value"),
    ("throughput_per_s", true, "/throughput/value"),
    ("throughput_low_per_s", true, "/throughput/low"),
    ("throughput_high_per_s", true, "/throughput/high"),
    ("server_rate_per_s", true, "/server/rate/value"),
    ("server_bound_s", true, "/server/latency_bound"),
    ("server_holds", true, "/server/holds"),
    ("key_generation_s", false, "/setup/key_generation/value"),
    ("loading_s", false, "/setup/loading/value"),
    ("encryption_per_input_s", false, "/setup/encryption_per_input/value"),
    ("decryption_per_input_s", false, "/setup/decryption_per_input/value"),
    ("evaluation_key_bytes", false, "/sizes/evaluation_key/value"),
    ("peak_rss_bytes", false, "/peak_rss/value"),
    ("cpu_energy_j", true, "/cpu_energy/value"),
];

/// Columns of operations.
const OPERATION_COLUMNS: [(&str, &str); 11] = [
    ("scheme", "/scheme"),
    ("operation", "/operation"),
    ("parameters", "/parameters"),
    ("rows", "/rows"),
    ("runs", "/runs"),
    ("seconds_mean", "/seconds/value"),
    ("seconds_low", "/seconds/low"),
    ("seconds_high", "/seconds/high"),
    ("seconds_median", "/median/value"),
    ("seconds_least", "/least/value"),
    ("throughput_per_s", "/throughput/value"),
];

/// Columns that are the same in every row.
const COMMON_COLUMNS: [&str; 3] = ["heman", "date", "model"];

/// The table; cells of what was not measured are empty.
pub fn text(report: &Value) -> String {
    let common: Vec<String> = COMMON_COLUMNS.iter().map(|name| cell(&report[*name])).collect();
    let list = |object: &Value, name: &str| object[name].as_array().cloned().unwrap_or_default();
    let at = |object: &Value, pointer: &str| cell(object.pointer(pointer).unwrap_or(&Value::Null));
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut header: Vec<String> = COMMON_COLUMNS.map(String::from).to_vec();
    if report.get("operations").is_some() {
        header.push("device".into());
        header.extend(OPERATION_COLUMNS.map(|(name, _)| name.into()));
        for operation in list(report, "operations") {
            let own = OPERATION_COLUMNS.iter().map(|(_, pointer)| at(&operation, pointer));
            rows.push(common.iter().cloned().chain([cell(&report["device"])]).chain(own).collect());
        }
    } else {
        header.extend(SCENARIO_COLUMNS.map(|(name, ..)| name.into()));
        for configuration in list(report, "configurations") {
            for scenario in list(&configuration, "scenarios") {
                let own = SCENARIO_COLUMNS
                    .iter()
                    .map(|&(_, is_own, pointer)| at(if is_own { &scenario } else { &configuration }, pointer));
                rows.push(common.iter().cloned().chain(own).collect());
            }
        }
    }
    let lines: Vec<String> = [header].into_iter().chain(rows).map(|row| row.join(",")).collect();
    lines.join("\n") + "\n"
}

/// A value as RFC 4180 writes it.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_that_hold_separators_are_quoted() {
        assert_eq!(cell(&json!("CPU, 2 \"threads\"")), "\"CPU, 2 \"\"threads\"\"\"");
        assert_eq!([json!(null), json!(1.5), json!(true)].map(|value| cell(&value)), ["", "1.5", "true"]);
    }
}
