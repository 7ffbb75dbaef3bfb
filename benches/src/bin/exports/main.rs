//! What `heman` promises for a list of exported models, and what comes of it on inputs that no plan has seen.
//!
//! `exports MANIFEST HEMAN [--only TEXT] [--limit SECONDS] [--memory GIB] [--encrypted N] [--keyparams "FLAGS"]`
//!
//! MANIFEST is a JSON list of objects with the fields `name`, `model`, `calibration`, `test` (an archive of `images`
//! and, if there are any, `labels`) and `expected` (an archive of `outputs`, what the exporting framework gives for the
//! test inputs); files are named from its folder. HEMAN is the binary. For each model, `keyparams` plans with the
//! default budget, `evaluate --simulate` measures the loss on all test inputs that may be encrypted, and the first N
//! are encrypted, evaluated, decrypted and compared with the expected outputs. Each command may take SECONDS, and
//! address GIB of memory. The table goes to stdout.

mod arrays;
mod heman;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use heman_benches::exit_code;
use serde_json::Value;

use crate::arrays::{Outputs, first_inputs};
use crate::heman::Heman;
use crate::report::{Line, Planned, summary, table};

/// What is asked for.
struct Args {
    manifest: PathBuf,
    heman: Heman,
    only: String,
    encrypted: usize,
    flags: Vec<String>,
}

fn arguments() -> Result<Args, String> {
    let usage = "exports MANIFEST HEMAN [--only TEXT] [--limit SECONDS] [--memory GIB] [--encrypted N] \
                 [--keyparams \"FLAGS\"]";
    let mut args = std::env::args().skip(1);
    let (manifest, heman) = args.next().zip(args.next()).ok_or(usage)?;
    let heman = std::fs::canonicalize(&heman).map_err(|error| format!("{heman}: {error}"))?;
    let heman = Heman { binary: heman, seconds: 120, memory_gib: 12 };
    let mut parsed = Args { manifest: manifest.into(), heman, only: String::new(), encrypted: 2, flags: Vec::new() };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(usage)?;
        let number = || value.parse::<u64>().map_err(|_| format!("{flag} {value}: expected a whole number"));
        match flag.as_str() {
            "--only" => parsed.only = value,
            "--limit" => parsed.heman.seconds = number()?,
            "--memory" => parsed.heman.memory_gib = number()?,
            "--encrypted" => parsed.encrypted = number()? as usize,
            "--keyparams" => parsed.flags = value.split_whitespace().map(str::to_string).collect(),
            _ => return Err(usage.into()),
        }
    }
    Ok(parsed)
}

fn run() -> Result<(), String> {
    let args = arguments()?;
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", args.manifest.display());
    let manifest = std::fs::canonicalize(&args.manifest).map_err(|error| fail(&error))?;
    let text = std::fs::read(&manifest).map_err(|error| fail(&error))?;
    let entries: Vec<Value> = serde_json::from_slice(&text).map_err(|error| fail(&error))?;
    let folder = manifest.parent().ok_or_else(|| fail(&"it is no file"))?;
    let mut lines = Vec::new();
    for entry in &entries {
        let name = entry["name"].as_str().ok_or("an entry of the manifest has no name")?;
        if name.contains(&args.only) {
            let line = measure(&args, folder, name, entry)?;
            eprintln!("{}", line.row());
            lines.push(line);
        }
    }
    println!("{}\n{}", table(&lines), summary(&lines));
    Ok(())
}

/// All that is known of one model.
fn measure(args: &Args, folder: &Path, name: &str, entry: &Value) -> Result<Line, String> {
    let file = |field: &str| entry[field].as_str().map(|path| folder.join(path));
    let missing = |field: &str| format!("{name}: the manifest has no field {field}");
    let model = file("model").ok_or_else(|| missing("model"))?;
    let calibration = file("calibration").ok_or_else(|| missing("calibration"))?;
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (model, calibration) = (model.display().to_string(), calibration.display().to_string());
    let planning: Vec<&str> =
        ["-m", &model, "-c", &calibration].into_iter().chain(args.flags.iter().map(String::as_str)).collect();
    let planned = args.heman.json(work.path(), &[&["keyparams", "-o", "params.json"], planning.as_slice()].concat());
    let plan = match planned {
        Ok(plan) => plan,
        Err(reason) => return Ok(Line { name: name.into(), planned: Err(reason) }),
    };
    let Some(test) = file("test") else {
        return Ok(Line { name: name.into(), planned: Ok(Planned::new(&plan, Err("no test inputs".into()), None)) });
    };
    let inputs = test.display().to_string();
    let evaluate = |more: &[&str]| {
        let base = ["evaluate", "--simulate", "-d", &inputs];
        args.heman.json(work.path(), &[&base, planning.as_slice(), more].concat())
    };
    let evaluated = evaluate(&[]).or_else(|reason| match reason.contains("the parameters allow") {
        true => evaluate(&["--skip-outside"]).map_err(|_| reason),
        false => Err(reason),
    });
    let difference = file("expected").filter(|_| args.encrypted > 0).map(|expected| {
        let expected = Outputs::read(&expected)?;
        let got = five_steps(args, work.path(), &test)?;
        expected.difference(&got)
    });
    Ok(Line { name: name.into(), planned: Ok(Planned::new(&plan, evaluated, difference)) })
}

/// The first test inputs encrypted, evaluated and decrypted.
fn five_steps(args: &Args, work: &Path, test: &Path) -> Result<Outputs, String> {
    let inputs = first_inputs(test, args.encrypted)?;
    std::fs::write(work.join("input.npy"), inputs).map_err(|error| error.to_string())?;
    for step in [
        &["keygen", "-i", "params.json", "-o", "key"][..],
        &["encrypt", "-k", "key", "-i", "input.npy", "-o", "input.enc"],
        &["inference", "-m", "params.plan", "-k", "key.pub", "-i", "input.enc", "-o", "output.enc"],
        &["decrypt", "-k", "key", "-i", "output.enc", "-o", "output.npy"],
    ] {
        args.heman.json(work, step).map_err(|reason| format!("{}: {reason}", step[0]))?;
    }
    Outputs::read(&work.join("output.npy"))
}

fn main() -> ExitCode {
    exit_code(run())
}
