//! What happens while a verb runs: traces for Perfetto, and lines on stderr.

mod common;

use std::collections::BTreeMap;

use common::Work;
use serde_json::Value;

const INFERENCE: [&str; 9] = ["inference", "-m", "params.plan", "-k", "key.pub", "-i", "in.enc", "-o", "out.enc"];

/// A span: its name, and from when to when in nanoseconds.
struct Span {
    name: String,
    start: f64,
    end: f64,
    args: Value,
}

/// A trace as its readers see it: spans by the names of rows, and values of the counter.
struct Trace {
    rows: BTreeMap<String, Vec<Span>>,
    busy: Vec<f64>,
    facts: Value,
}

impl Trace {
    fn read(work: &Work, file: &str) -> Self {
        let trace: Value = serde_json::from_slice(&work.read(file)).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events");
        let of_kind = |kind: &'static str| events.iter().filter(move |event| event["ph"] == kind);
        let is_name = |event: &&Value| event["name"] == "thread_name";
        let names: BTreeMap<u64, &str> = of_kind("M")
            .filter(is_name)
            .map(|event| (event["tid"].as_u64().expect("a row"), event["args"]["name"].as_str().expect("a name")))
            .collect();
        let mut rows: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for event in of_kind("X") {
            let name = names[&event["tid"].as_u64().expect("a row")];
            let start = event["ts"].as_f64().expect("a time") * 1e3;
            let end = start + event["dur"].as_f64().expect("a time") * 1e3;
            let span = Span {
                name: event["name"].as_str().expect("a name").into(),
                start: start.round(),
                end: end.round(),
                args: event["args"].clone(),
            };
            rows.entry(name.into()).or_default().push(span);
        }
        let busy = of_kind("C").map(|event| event["args"]["percent"].as_f64().expect("a number")).collect();
        Self { rows, busy, facts: trace["otherData"].clone() }
    }

    /// The spans of the only queue.
    fn queue(&self) -> &[Span] {
        let queues: Vec<_> = self.rows.iter().filter(|(name, _)| name.starts_with("queue")).collect();
        let [(name, spans)] = queues[..] else { panic!("one queue, not {}", queues.len()) };
        assert!(name.starts_with("queue 0: CPU, "), "{name}");
        spans
    }

    fn count(&self, name: &str) -> usize {
        self.queue().iter().filter(|span| span.name == name).count()
    }

    /// Whether spans of each row follow each other or nest, and what is within one lasts no longer than it.
    fn check_nesting(&self) {
        for (row, spans) in &self.rows {
            let mut spans: Vec<&Span> = spans.iter().collect();
            spans.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.end.total_cmp(&a.end)));
            let mut around: Vec<(&Span, f64)> = Vec::new();
            for span in spans {
                while around.last().is_some_and(|(outer, _)| outer.end <= span.start) {
                    around.pop();
                }
                if let Some((outer, inner)) = around.last_mut() {
                    assert!(
                        span.end <= outer.end,
                        "{row}: {} ends behind {}, in which it begins",
                        span.name,
                        outer.name
                    );
                    *inner += span.end - span.start;
                    assert!(*inner <= outer.end - outer.start, "{row}: what is in {} lasts longer", outer.name);
                }
                around.push((span, 0.0));
            }
        }
    }
}

/// A folder with keys and two encrypted digits.
fn with_input(scheme: &str) -> Work {
    let work = Work::with_keys(scheme);
    let images = &common::demo_images(&work)[..128];
    work.write("in.npy", &common::npy("(2, 1, 8, 8)", images));
    work.ok(&["encrypt", "-k", "key", "-i", "in.npy", "-o", "in.enc"]);
    work
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_trace_of_tfhe_has_every_step_in_the_row_of_its_queue() {
    let work = with_input("tfhe");
    let plan = json(&work.ok(&["inspect", "params.plan", "--json"]));
    let stages = plan["layers"].as_array().expect("layers").iter().filter(|layer| layer["activations"] != 0).count();
    let report = json(&work.ok(&[&INFERENCE[..], &["--device", "cpu", "--json", "--trace", "trace.json"]].concat()));
    let trace = Trace::read(&work, "trace.json");
    trace.check_nesting();
    let passes = trace.count("pass");
    assert!(stages > 1 && passes > 0);
    assert_eq!(trace.count("bootstrap"), stages * passes);
    assert_eq!(trace.count("keyswitch"), stages * passes);
    assert_eq!(trace.count("linear"), (stages + 1) * passes);
    assert_eq!((trace.count("upload"), trace.count("download")), (passes, passes));
    assert_eq!((trace.count("load"), trace.count("load keys")), (1, 1));
    let inputs: u64 = trace.queue().iter().filter(|s| s.name == "pass").filter_map(|s| s.args["inputs"].as_u64()).sum();
    assert_eq!(inputs, 2);
    let bootstrap = trace.queue().iter().find(|span| span.name == "bootstrap").expect("a bootstrap");
    assert!(bootstrap.args["rows"].as_u64().is_some_and(|rows| rows > 0) && bootstrap.args["stage"] == 0);

    let steps = trace.queue().iter().filter(|s| ["bootstrap", "keyswitch", "linear"].contains(&s.name.as_str()));
    let seconds = steps.map(|span| (span.end - span.start) / 1e9).sum::<f64>();
    let total = report["seconds"].as_f64().expect("a time");
    assert!(seconds <= total && seconds > 0.5 * total, "steps take {seconds} of {total} s");
    let idle = report["idle_share"].as_f64().expect("the host evaluates");
    assert!((0.0..1.0).contains(&idle), "{idle}");
    assert_eq!(trace.facts["idle_share"], report["idle_share"]);
    assert!(trace.busy.len() > 2 && trace.busy.iter().any(|&percent| percent > 1.0), "{:?}", trace.busy);
}

#[test]
fn files_have_rows_of_their_own() {
    let work = with_input("ckks");
    work.ok(&[&INFERENCE[..], &["--device", "cpu", "--trace", "trace.json"]].concat());
    let trace = Trace::read(&work, "trace.json");
    let files = |row: &str| {
        let mut files: Vec<String> = trace.rows[row].iter().map(|span| span.args["file"].to_string()).collect();
        // The input is read in parts.
        files.dedup();
        files.join(" ")
    };
    assert_eq!(files("reading files"), "\"params.plan\" \"key.pub\" \"in.enc\"");
    assert_eq!(files("writing files"), "\"out.enc\"");
}

#[test]
fn a_trace_of_ckks_has_every_map_with_its_parts() {
    let work = with_input("ckks");
    work.ok(&[&INFERENCE[..], &["--device", "cpu", "--trace", "trace.json"]].concat());
    let trace = Trace::read(&work, "trace.json");
    trace.check_nesting();
    let plan = json(&work.ok(&["inspect", "params.plan", "--json"]));
    let maps = plan["layers"].as_array().expect("layers").len();
    let passes = trace.count("pass");
    assert_eq!(trace.count("map"), maps * passes);
    // The last map has no polynomial behind it.
    assert_eq!(trace.count("polynomial"), (maps - 1) * passes);
    assert_eq!(trace.count("rescale"), (maps - 1) * passes);
    assert!(trace.count("rotations") > 0 && trace.count("products") >= maps * passes);
}

#[test]
fn waves_of_throughput_packing_are_told_apart() {
    let work = Work::new();
    let evaluate = ["evaluate", "-m", "digits.onnx", "-c", "calibration.npz", "-d", "samples.npz", "-n", "2"];
    let more = ["--scheme", "ckks", "--goal", "throughput", "--device", "cpu", "--json", "--trace", "trace.json"];
    let report = json(&work.ok(&[&evaluate[..], &more].concat()));
    assert!(report["idle_share"].is_f64(), "{report}");
    let trace = Trace::read(&work, "trace.json");
    trace.check_nesting();
    let of = |name: &str, field: &str| -> u64 {
        trace.queue().iter().filter(|span| span.name == name).filter_map(|span| span.args[field].as_u64()).sum()
    };
    assert_eq!(of("upload", "ciphertexts"), 64, "one ciphertext an input element");
    assert_eq!(of("download", "ciphertexts"), 10, "one an output element");
    assert!(trace.count("wave") > 1 && trace.count("polynomial") > 0 && trace.count("linear") == trace.count("map"));
    for name in ["import", "plan", "make keys", "encrypt", "decrypt"] {
        assert!(trace.rows["host"].iter().any(|span| span.name == name), "{name}");
    }
}

#[test]
fn a_run_that_fails_leaves_a_trace_that_can_be_read() {
    let work = with_input("ckks");
    work.ok(&["keygen", "-i", "params.json", "-o", "other"]);
    let run = work.run(&[&INFERENCE[..3], &["-k", "other.pub"], &INFERENCE[5..], &["--trace", "t.json"]].concat());
    assert_eq!(run.status.code(), Some(4));
    let trace = Trace::read(&work, "t.json");
    assert_eq!(trace.rows["reading files"].len(), 3);
    assert!(trace.facts["idle_share"].is_null(), "nothing was evaluated");
}

#[test]
fn a_trace_replaces_nothing_but_a_trace() {
    let work = Work::new();
    let inspect = ["inspect", "digits.onnx", "--trace"];
    work.ok(&[&inspect[..], &["t.json"]].concat());
    let before = work.read("t.json");
    work.ok(&[&inspect[..], &["t.json"]].concat());
    assert_ne!(work.read("t.json"), before, "another trace");
    assert!(work.fails(&[&inspect[..], &["samples.npz"]].concat()).contains("is no trace"));
    assert!(work.fails(&[&inspect[..], &["-"]].concat()).contains("it is not a file"));
}

#[test]
fn a_trace_is_no_other_output() {
    let work = Work::new();
    let keyparams = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o"];
    for (output, trace) in [("p.json", "p.json"), ("p.json", "./p.plan")] {
        let run = work.run(&[&keyparams[..], &[output, "--trace", trace]].concat());
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(3) && stderr.contains("both the trace"), "{stderr}");
    }
    let bench = ["bench", "-m", "digits.onnx", "-c", "calibration.npz", "--html", "x", "--trace", "x"];
    assert_eq!(work.run(&bench).status.code(), Some(3));
}

#[test]
fn more_is_said_the_more_is_asked_for() {
    let work = with_input("ckks");
    let said = |more: &[&str], variables: &[(&str, &str)]| {
        let run = work.run_with(&[&INFERENCE[..], &["--device", "cpu"], more].concat(), variables);
        assert!(run.status.success());
        String::from_utf8(run.stderr).expect("text")
    };
    assert_eq!(said(&[], &[]), "");
    let info = said(&["-v"], &[]);
    assert!(info.contains("pass{queue=0") && !info.contains("map{"), "{info}");
    let debug = said(&["-vv"], &[]);
    assert!(debug.contains("map{map=0") && !debug.contains("rotations{"), "{debug}");
    let filtered = said(&[], &[("HEMAN_LOG", "heman_core::ckks=trace")]);
    assert!(filtered.contains("rotations{") && !filtered.contains("read{"), "{filtered}");
}
