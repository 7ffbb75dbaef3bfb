//! `heman bench` through the binary.

mod common;

use common::Work;
use serde_json::Value;

const MODEL: [&str; 9] =
    ["bench", "-m", "digits.onnx", "-c", "calibration.npz", "--device", "cpu", "--duration", "0.4"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// All figures below a value.
fn figures<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("unit") => found.push(value),
        Value::Object(fields) => fields.values().for_each(|field| figures(field, found)),
        Value::Array(elements) => elements.iter().for_each(|element| figures(element, found)),
        _ => {}
    }
}

fn assert_figures(report: &Value) {
    let mut found = Vec::new();
    figures(report, &mut found);
    assert!(found.len() > 10, "{report}");
    for figure in found {
        let value = number(&figure["value"]);
        assert!(value.is_finite() && value >= 0.0, "{figure}");
        if let (Some(low), Some(high)) = (figure["low"].as_f64(), figure["high"].as_f64()) {
            assert!(low <= value && value <= high, "{figure}");
        }
    }
}

/// Stages are part of their pass, and steps of their stage.
fn assert_sums(breakdown: &Value) {
    let seconds = |object: &Value| number(&object["seconds"]["value"]);
    let stages: f64 = list(&breakdown["stages"]).iter().map(seconds).sum();
    assert!(stages > 0.0 && stages <= seconds(breakdown), "{breakdown}");
    for stage in list(&breakdown["stages"]) {
        let steps: f64 = stage["steps"].as_object().expect("steps").values().map(seconds).sum();
        assert!((steps - seconds(stage)).abs() <= 1e-6 * seconds(stage).max(1e-6), "{stage}");
    }
}

/// Every element that is opened is closed, in order.
fn assert_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag)) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or("");
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "a closing tag");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_model_is_measured_in_both_schemes() {
    for scheme in common::SCHEMES {
        let work = Work::new();
        let more = ["--scheme", scheme, "--json", "--csv", "table.csv", "--html", "report.html"];
        let report = json(&work.ok(&[&MODEL[..], &more].concat()));
        assert_figures(&report);
        assert_eq!((&report["kind"], &report["by_rules"]), (&"bench".into(), &false.into()));
        let [configuration] = list(&report["configurations"]) else { panic!("one configuration") };
        assert_eq!(configuration["parameters"]["scheme"], scheme);
        let names: Vec<&Value> = list(&configuration["scenarios"]).iter().map(|one| &one["scenario"]).collect();
        assert_eq!(names, ["single-stream", "offline"]);
        for scenario in list(&configuration["scenarios"]) {
            let (samples, seconds) = (number(&scenario["samples"]), number(&scenario["seconds"]));
            let rate = number(&scenario["throughput"]["value"]);
            assert!((rate * seconds / samples - 1.0).abs() < 0.05, "{scheme}: {scenario}");
            let counts: u64 = list(&scenario["histogram"]["counts"]).iter().filter_map(Value::as_u64).sum();
            assert_eq!(counts, scenario["passes"].as_u64().expect("a count"));
            assert!(seconds >= 0.4);
        }
        list(&configuration["breakdowns"]).iter().for_each(assert_sums);

        let csv = String::from_utf8(work.read("table.csv")).expect("text");
        assert_eq!(csv.lines().count(), 3, "a header and two scenarios");
        let rate = &list(&configuration["scenarios"])[1]["throughput"]["value"];
        assert!(csv.lines().last().is_some_and(|line| line.contains(&rate.to_string())), "{csv}");

        let html = String::from_utf8(work.read("report.html")).expect("text");
        assert_well_formed(&html);
        assert!(["src=", "href=", "url(", "@import"].iter().all(|link| !html.contains(link)), "it needs no other file");
        let data =
            html.split("<script type=\"application/json\">").nth(1).and_then(|rest| rest.split("</script>").next());
        assert_eq!(json(data.expect("the report's data")), report);
        for plot in ["Latency histogram of single-stream", "Time of a pass by stage", "Measured and predicted time"] {
            assert!(html.contains(plot), "{scheme}: {plot}");
        }
    }
}

#[test]
fn a_sweep_runs_all_combinations_and_plots_throughput() {
    let work = Work::new();
    let more = ["--scheme", "tfhe", "--sweep", "batch=1,2", "threads=1", "--json", "--html", "report.html"];
    let report = json(&work.ok(&[&MODEL[..], &more].concat()));
    let found: Vec<(u64, u64)> = list(&report["configurations"])
        .iter()
        .map(|one| (one["batch"].as_u64().expect("a number"), one["threads"].as_u64().expect("a number")))
        .collect();
    assert_eq!(found, [(1, 1), (2, 1)]);
    for configuration in list(&report["configurations"]) {
        let [offline] = list(&configuration["scenarios"]) else { panic!("one scenario") };
        let (passes, batch) = (number(&offline["passes"]), number(&configuration["batch"]));
        assert_eq!(number(&offline["samples"]), passes * batch);
    }
    let html = String::from_utf8(work.read("report.html")).expect("text");
    assert!(html.contains("Throughput over inputs at a time"));
}

#[test]
fn reports_are_compared_figure_by_figure() {
    let work = Work::new();
    let report = work.ok(&[&MODEL[..], &["--scheme", "ckks", "--scenario", "offline", "--json"]].concat());
    // Few passes may tell no spread.
    let with = |factor: f64| {
        let mut report = json(&report);
        let figure = &mut report["configurations"][0]["scenarios"][0]["throughput"];
        let value = factor * number(&figure["value"]);
        for (part, share) in [("value", 1.0), ("low", 0.9), ("high", 1.1)] {
            figure[part] = (share * value).into();
        }
        report.to_string()
    };
    work.write("a.json", with(1.0).as_bytes());
    work.write("b.json", with(4.0).as_bytes());
    let compared = json(&work.ok(&["bench", "--compare", "a.json", "b.json", "--json"]));
    let rows = list(&compared["figures"]);
    let throughput = rows.iter().find(|row| row["figure"].as_str().is_some_and(|name| name.ends_with("throughput")));
    let throughput = throughput.expect("the throughput is compared");
    assert!((number(&throughput["ratio"]) - 4.0).abs() < 1e-9 && throughput["verdict"] == "better", "{throughput}");
    assert_eq!(rows.iter().filter(|row| row["verdict"] != "same").count(), 1, "nothing else differs");
    let text = work.ok(&["bench", "--compare", "a.json", "b.json"]);
    assert!(text.contains("better") && text.contains("within the spread"), "{text}");
}

#[test]
fn a_plan_is_measured_with_inputs_of_its_own() {
    let work = Work::with_keys("ckks");
    let args = ["bench", "--plan", "params.plan", "--data", "samples.npz", "--device", "cpu", "--duration", "5"];
    let server = ["--scenario", "server", "--latency-bound", "20s", "--rate", "0.5", "--json"];
    let report = json(&work.ok(&[&args[..], &server].concat()));
    let scenario = &report["configurations"][0]["scenarios"][0];
    assert_eq!((&scenario["scenario"], &scenario["server"]["holds"]), (&"server".into(), &true.into()));
    assert_eq!(number(&scenario["server"]["rate"]["value"]), 0.5);
}

#[test]
fn operations_are_measured() {
    let work = Work::new();
    let args = ["bench", "--primitives=N2^13", "--device", "cpu", "--duration", "1ms", "--json", "--csv", "table.csv"];
    let report = json(&work.ok(&args));
    assert_figures(&report);
    let all = list(&report["operations"]);
    assert_eq!(all.len(), 9);
    for id in ["ckks/rotate/N2^13_L4_P1/1", "ckks/matrix/N2^13_L4_P1/32"] {
        assert!(all.iter().any(|operation| operation["id"] == id), "{id}");
    }
    assert_eq!(String::from_utf8(work.read("table.csv")).expect("text").lines().count(), 1 + all.len());
}

#[test]
fn what_cannot_be_measured_is_refused_before_the_work() {
    let work = Work::new();
    assert!(work.fails(&["bench"]).contains("nothing to measure"));
    assert!(work.fails(&[&MODEL[..], &["--scenario", "server"]].concat()).contains("--latency-bound"));
    assert!(work.fails(&[&MODEL[..], &["--rate", "2"]].concat()).contains("--scenario server"));
    assert!(work.fails(&[&MODEL[..], &["--latency-bound", "2s"]].concat()).contains("--scenario server"));
    let slow = ["--scenario", "server", "--latency-bound", "2s", "--duration", "1", "--rate", "0.0001"];
    assert!(work.fails(&[&MODEL[..], &slow].concat()).contains("--duration"));
    assert!(work.fails(&[&MODEL[..], &["--csv", "x", "--html", "x"]].concat()).contains("same file"));
    assert!(work.fails(&[&MODEL[..], &["--csv", "digits.onnx"]].concat()).contains("digits.onnx"));
    assert!(work.fails(&["bench", "--primitives=nothing", "--device", "cpu"]).contains("nothing"));
    work.write("other.json", b"{}");
    assert!(work.fails(&["bench", "--compare", "other.json", "other.json"]).contains("no report"));
}
