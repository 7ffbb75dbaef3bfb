//! The example for Ray Data, with a worker killed in the middle.

#![cfg(unix)]

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clients::{Clients, key_of};
use heman_testing::required::is_required;
use serde_json::Value;

const ITEMS: usize = 24;

/// Python with Ray: that of `HEMAN_RAY_PYTHON`, or what `examples/ray/install` has installed.
fn python() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ray/bin/python");
    let python = std::env::var_os("HEMAN_RAY_PYTHON").map_or(installed, PathBuf::from);
    let probe = Command::new(&python).args(["-c", "import ray.data"]).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success()).then_some(python)
}

/// Processes of `heman` that write into a folder, with their actors: pairs of process numbers.
fn workers(folder: &Path) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let own = folder.as_os_str().as_encoded_bytes();
        if !command.starts_with(env!("CARGO_BIN_EXE_heman").as_bytes())
            || !command.windows(own.len()).any(|part| part == own)
        {
            continue;
        }
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        found.extend(parent.and_then(|parent| parent.trim().parse().ok()).map(|parent| (process, parent)));
    }
    found
}

fn start(clients: &Clients, python: &Path) -> Child {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ray/heman_batch.py");
    let mut command = Command::new(python);
    command.arg(example).current_dir(clients.work.path(""));
    command.args(["--model", "params.plan", "--keys", "keys", "--inputs", "inputs", "--outputs", "outputs"]);
    command.args(["--heman", env!("CARGO_BIN_EXE_heman"), "--workers", "2", "--block", "4", "--", "--device", "cpu"]);
    command
        .env("RAY_USAGE_STATS_ENABLED", "0")
        .env_remove("HEMAN_DEVICES")
        .env("XDG_CONFIG_HOME", clients.work.path("config"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("Python starts")
}

/// Runs the example to its end; kills the actor behind the first answer if it is asked to.
fn run(clients: &Clients, python: &Path, is_killing: bool) -> (bool, BTreeMap<String, String>) {
    let mut child = start(clients, python);
    let outputs = clients.work.path("outputs");
    let mut killed = false;
    if is_killing {
        // Journals lie in the actors' folders; one line is the head, one more an answer.
        let answered = |folder: &Path| {
            let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
            text.lines().count() > 2
        };
        while child.try_wait().expect("a child").is_none() && !killed {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let folders = std::fs::read_dir(&outputs).into_iter().flatten().flatten().map(|entry| entry.path());
            for folder in folders.filter(|folder| answered(folder)) {
                if let Some(&(_, actor)) = workers(&folder).first() {
                    let signal = Command::new("kill").args(["-9", &actor.to_string()]).status();
                    killed = signal.expect("kill runs").success();
                    break;
                }
            }
        }
        assert!(killed, "no actor was there to kill");
    }
    let mut rows = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        let Ok(row) = serde_json::from_str::<Value>(&line.expect("UTF-8")) else { continue };
        assert_eq!(row["error"], "", "{row}");
        let text = |name: &str| row[name].as_str().expect("text").to_owned();
        assert!(rows.insert(text("path"), text("output")).is_none(), "{row} comes twice");
    }
    (child.wait().expect("it ends").success(), rows)
}

#[test]
fn a_killed_worker_of_ray_loses_nothing() {
    let Some(python) = python() else {
        assert!(!is_required("ray"), "no Python with Ray");
        println!("skipped: no Python with Ray; examples/ray/install installs it");
        return;
    };
    let clients = Clients::new("tfhe");
    clients.encrypt_each(ITEMS);
    let (succeeded, rows) = run(&clients, &python, true);
    assert!(succeeded);
    let inputs = std::fs::canonicalize(clients.work.path("inputs")).expect("a folder");
    let wanted: Vec<String> = (0..ITEMS).map(|at| inputs.join(format!("{at:03}.enc")).display().to_string()).collect();
    assert_eq!(rows.keys().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    for (at, output) in rows.values().enumerate() {
        clients.assert_right(key_of(at), output, at, 1);
    }
    let (succeeded, again) = run(&clients, &python, false);
    assert!(succeeded);
    assert_eq!(again, rows, "a second run computes nothing");
}
