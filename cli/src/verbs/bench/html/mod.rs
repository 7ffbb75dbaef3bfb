//! The report as one file of HTML that needs no others.

mod plots;
mod svg;

use heman_load::percentiles::REPORTED;
use serde_json::Value;

use self::svg::escaped;
use super::figures::{self, read, seconds};
use super::scenarios::percentile_name;

const STYLE: &str = include_str!("style.css");

fn list<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A word, a number or a figure, for people; a dash for what there is not.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => escaped(text),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        object if read(object).is_some() => escaped(&figures::text(object)),
        other => escaped(&other.to_string()),
    }
}

/// A figure's value without its interval, for tables.
fn short(object: &Value) -> String {
    read(object).map_or("–".into(), |(figure, unit)| escaped(&unit.text(figure.value)))
}

/// A time that is no figure.
fn time(value: &Value) -> String {
    value.as_f64().map_or("–".into(), |value| escaped(&seconds(value)))
}

/// The whole file.
pub fn text(report: &Value) -> String {
    let name = match report["model"].as_str() {
        Some(path) => path.rsplit(['/', '\\']).next().unwrap_or(path).to_string(),
        None => "operations".into(),
    };
    let title = escaped(&format!("heman bench: {name}"));
    let mut body = format!("<h1>{title}</h1>\n");
    body += &format!(
        "<p class=\"quiet\">heman {}, {}, on {}</p>\n",
        shown(&report["heman"]),
        shown(&report["date"]),
        shown(&report["machine"]["cpu"])
    );
    if report.get("operations").is_some() {
        body += &operations(report);
    } else {
        if report["by_rules"] != true {
            body += "<p class=\"mark\">This run was shortened: it is not by the rules of MLPerf, and tells percentiles \
                     only as far as it has queries.</p>\n";
        }
        let configurations = list(report, "configurations");
        if configurations.len() > 1 {
            body += &overview(configurations);
        }
        body += &configurations.iter().map(configuration).collect::<String>();
    }
    body += &machine(report);
    // The report itself, for programs; nothing in it can end the element.
    let data = report.to_string().replace('<', "\\u003c").replace('>', "\\u003e");
    body += &format!("<script type=\"application/json\">{data}</script>\n");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// A table; cells are markup.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| -> String {
        cells.map(|cell| format!("<{tag}>{cell}</{tag}>")).collect()
    };
    let head = cells("th", &mut header.iter().map(|name| escaped(name)));
    let rows: String =
        rows.into_iter().map(|row| format!("<tr>{}</tr>\n", cells("td", &mut row.into_iter()))).collect();
    format!("<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n")
}

/// Pairs of a name and markup.
fn pairs(pairs: &[(&str, String)]) -> String {
    let rows: String =
        pairs.iter().map(|(name, value)| format!("<dt>{}</dt><dd>{value}</dd>\n", escaped(name))).collect();
    format!("<dl>\n{rows}</dl>\n")
}

/// All configurations beside each other.
fn overview(configurations: &[Value]) -> String {
    let mut body = String::from("<h2>Configurations</h2>\n");
    body += &plots::batches(configurations).unwrap_or_default();
    let rows = configurations.iter().flat_map(|configuration| {
        list(configuration, "scenarios").iter().map(|scenario| {
            vec![
                shown(&configuration["device"]),
                shown(&configuration["threads"]),
                shown(&configuration["batch"]),
                shown(&scenario["scenario"]),
                short(&scenario["throughput"]),
                short(&scenario["latency"]["mean"]),
                short(&scenario["early_stopping"]["latency"]),
            ]
        })
    });
    body += &table(&["device", "threads", "batch", "scenario", "throughput", "mean latency", "early stopping"], rows);
    body
}

fn configuration(configuration: &Value) -> String {
    let parameters = &configuration["parameters"];
    let scheme = parameters["scheme"].as_str().unwrap_or_default().to_uppercase();
    let batch = configuration["batch"].as_u64().map(|batch| format!(", {batch} at a time")).unwrap_or_default();
    let mut body = format!("<h2>{} on {}{batch}</h2>\n", escaped(&scheme), shown(&configuration["device"]));
    body += &format!("<div class=\"key\">\n{}</div>\n", cards(configuration));
    body += "<h3>Scenarios</h3>\n";
    let mut header = vec!["scenario", "queries", "inputs", "time", "mean"];
    let names = REPORTED.map(percentile_name);
    header.extend(names.iter().map(String::as_str));
    let row = |scenario: &Value| {
        let mut cells = vec![
            shown(&scenario["scenario"]),
            shown(&scenario["queries"]),
            shown(&scenario["samples"]),
            time(&scenario["seconds"]),
            short(&scenario["latency"]["mean"]),
        ];
        cells.extend(names.iter().map(|name| short(&scenario["latency"][name])));
        cells
    };
    body += &table(&header, list(configuration, "scenarios").iter().map(row));
    body += "<p class=\"quiet\">Percentiles are told as far as the number of queries supports them. Of Offline, the \
             times are those of its passes.</p>\n";
    body += &list(configuration, "scenarios").iter().filter_map(plots::histogram).collect::<String>();
    for breakdown in list(configuration, "breakdowns") {
        body += &format!("<h3>Where the time goes: a pass of {} input(s)</h3>\n", shown(&breakdown["inputs"]));
        body += &plots::waterfall(breakdown).unwrap_or_default();
        body += &plots::prediction(breakdown).unwrap_or_default();
        body += &stages(breakdown);
    }
    body += "<h3>Keys, ciphertexts, clocks</h3>\n";
    let (setup, sizes) = (&configuration["setup"], &configuration["sizes"]);
    let mut facts = vec![
        ("planning", shown(&setup["planning"])),
        ("key generation", shown(&setup["key_generation"])),
        ("loading", shown(&setup["loading"])),
        ("encryption of an input", shown(&setup["encryption_per_input"])),
        ("decryption of an input", shown(&setup["decryption_per_input"])),
        ("evaluation key", shown(&sizes["evaluation_key"])),
        ("encrypted input", shown(&sizes["encrypted_input"])),
        ("encrypted output", shown(&sizes["encrypted_output"])),
        ("peak memory", shown(&configuration["peak_rss"])),
    ];
    for scenario in list(configuration, "scenarios") {
        for (name, clock, energy) in [("CPU", "cpu_clock_mhz", "cpu_energy"), ("GPU", "gpu_clock_mhz", "gpu_energy")] {
            let clock = &scenario[clock];
            if let (Some(mean), Some(least), Some(most)) =
                (clock["mean"].as_f64(), clock["least"].as_f64(), clock["most"].as_f64())
            {
                let energy = if scenario[energy].is_null() { "not told".into() } else { shown(&scenario[energy]) };
                let what = scenario["scenario"].as_str().unwrap_or_default();
                let value = format!("{what}: {mean:.0} MHz ({least:.0} to {most:.0}), energy {energy}");
                facts.push((name, escaped(&value)));
            }
        }
    }
    body + &pairs(&facts)
}

/// The figures that matter most.
fn cards(configuration: &Value) -> String {
    let card = |value: String, name: &str, more: &str| {
        format!("<div><b>{value}</b>{}<span>{}</span></div>\n", escaped(name), escaped(more))
    };
    let of_scenario = |scenario: &Value| {
        let early = &scenario["early_stopping"];
        let percentile = early["percentile"].as_f64().map(percentile_name).unwrap_or_default();
        match scenario["scenario"].as_str() {
            Some("offline") => {
                let spread = match read(&scenario["throughput"]) {
                    Some((figure, unit)) => figure.interval.map_or(String::new(), |(low, high)| {
                        format!("95 %: {} to {}", unit.text(low), unit.text(high))
                    }),
                    None => String::new(),
                };
                card(short(&scenario["throughput"]), "inputs, offline", &spread)
            }
            Some("server") => {
                let server = &scenario["server"];
                let bound = server["latency_bound"].as_f64().map(seconds).unwrap_or_default();
                let verdict = if server["holds"] == true { "holds" } else { "does not hold" };
                let proof = if server["proved"] == true { "proved" } else { "not proved" };
                let more = format!("99 % within {bound}: {verdict}, {proof}");
                card(short(&server["rate"]), "queries, server", &more)
            }
            Some(name) => match read(&early["latency"]) {
                Some(_) => card(short(&early["latency"]), &format!("{percentile}, {name}"), "early-stopping estimate"),
                None => card(
                    short(&scenario["latency"]["mean"]),
                    &format!("mean, {name}"),
                    &format!("{percentile} takes {} queries", early["queries_needed"]),
                ),
            },
            None => String::new(),
        }
    };
    list(configuration, "scenarios").iter().map(of_scenario).collect()
}

fn stages(breakdown: &Value) -> String {
    let row = |stage: &Value| {
        let steps: Vec<String> = stage["steps"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, step)| format!("{} {}", escaped(name), short(&step["seconds"])))
            .collect();
        let number = stage["stage"].as_u64().map_or(0, |stage| stage + 1);
        vec![
            format!("{number} {}", shown(&stage["operator"])),
            short(&stage["seconds"]),
            time(&stage["predicted_seconds"]),
            short(&stage["share_of_bound"]),
            steps.join(", "),
        ]
    };
    let rows = list(breakdown, "stages").iter().map(row);
    let transfer = &breakdown["steps"]["transfer"];
    let dash = || "–".to_string();
    let transfers = (!transfer.is_null())
        .then(|| vec!["upload and download".into(), short(transfer), dash(), dash(), String::new()]);
    let whole = vec![
        "whole pass".into(),
        short(&breakdown["seconds"]),
        time(&breakdown["predicted_seconds"]),
        dash(),
        String::new(),
    ];
    let mut table =
        table(&["stage", "measured", "predicted", "of the bound", "steps"], rows.chain(transfers).chain([whole]));
    if list(breakdown, "stages").iter().any(|stage| !stage["share_of_bound"].is_null()) {
        table += "<p class=\"quiet\">The bound is the time that as many keyswitches and bootstraps take at the \
                  device's measured peak for these parameters; linear maps are left out of it.</p>\n";
    }
    table
}

fn operations(report: &Value) -> String {
    let all = list(report, "operations");
    let mut body = format!("<h2>Operations on {}</h2>\n", shown(&report["device"]));
    for scheme in ["tfhe", "ckks"] {
        body += &format!("<h3>{}</h3>\n", scheme.to_uppercase());
        body += &plots::operations(all, scheme).unwrap_or_default();
    }
    let row = |operation: &Value| {
        let cell = |name: &str| short(&operation[name]);
        let id = shown(&operation["id"]);
        vec![id, shown(&operation["runs"]), cell("seconds"), cell("median"), cell("least"), cell("throughput")]
    };
    body + &table(&["operation", "runs", "mean", "median", "least", "a second"], all.iter().map(row))
}

fn machine(report: &Value) -> String {
    let machine = &report["machine"];
    let mut facts = vec![
        ("processor", shown(&machine["cpu"])),
        ("cores", shown(&machine["cores"])),
        ("memory", machine["memory_bytes"].as_u64().map_or("–".into(), |bytes| escaped(&crate::report::bytes(bytes)))),
        ("system", shown(&machine["system"])),
    ];
    for gpu in list(machine, "nvidia") {
        let cells: Vec<&str> = gpu.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        facts.push(("NVIDIA (name, driver, memory in MiB)", escaped(&cells.join(", "))));
    }
    facts.push(("rules", shown(&report["rules"])));
    facts.push(("model", shown(&report["model"])));
    let first = &list(report, "configurations").first().map_or(Value::Null, |first| first["parameters"].clone());
    let mut body = String::from("<h2>Machine and parameters</h2>\n");
    body += &pairs(&facts);
    let simple = |(name, value): (&String, &Value)| -> Option<(String, String)> {
        let is_simple = value.is_number() || value.is_string() || value.is_boolean();
        is_simple.then(|| (name.replace('_', " "), shown(value)))
    };
    let own: Vec<(String, String)> = first.as_object().into_iter().flatten().filter_map(simple).collect();
    let borrowed: Vec<(&str, String)> = own.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    if !borrowed.is_empty() {
        body += "<h3>Parameters of the first configuration</h3>\n";
        body += &pairs(&borrowed);
    }
    body
}
