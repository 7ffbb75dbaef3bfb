//! The examples for Slurm and Kubernetes: what their tasks and pods run, task by task, answers all inputs.

#![cfg(unix)]

#[path = "common/clients.rs"]
mod clients;
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use clients::Clients;
use heman_testing::required::is_required;

const ITEMS: usize = 10;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// A command that finds the binary by its name alone.
fn command(clients: &Clients, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let own = Path::new(env!("CARGO_BIN_EXE_heman")).parent().expect("a folder").to_path_buf();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&others))).expect("folders");
    let mut command = Command::new(program);
    command.env("PATH", path).env_remove("HEMAN_DEVICES").env("XDG_CONFIG_HOME", clients.work.path("config"));
    command.current_dir("/");
    command
}

fn run(command: &mut Command) {
    let run = command.output().expect("it starts");
    assert!(run.status.success(), "{command:?}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A folder with what the examples want, and inputs.
fn job() -> Clients {
    let clients = Clients::new("ckks");
    clients.encrypt_each(ITEMS);
    std::fs::rename(clients.work.path("params.plan"), clients.work.path("model.plan")).expect("the plan");
    clients
}

#[test]
fn the_tasks_of_the_slurm_script_answer_everything() {
    let clients = job();
    for task in ["0", "1"] {
        let mut task_of_two = command(&clients, "bash");
        task_of_two.arg(example("slurm/array.sbatch")).arg(clients.work.path(""));
        task_of_two.env("SLURM_ARRAY_TASK_ID", task).env("SLURM_ARRAY_TASK_COUNT", "2").env("SLURM_CPUS_PER_TASK", "1");
        run(&mut task_of_two);
    }
    clients.assert_complete("outputs", ITEMS);
    let without = command(&clients, "bash").arg(example("slurm/array.sbatch")).output().expect("bash");
    assert!(String::from_utf8_lossy(&without.stderr).contains("usage: sbatch array.sbatch FOLDER"));
}

#[test]
fn the_pods_of_the_kubernetes_job_answer_everything() {
    let clients = job();
    let text = std::fs::read_to_string(example("kubernetes/indexed-job.yaml")).expect("the example");
    let of = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    let pods: usize = of("completions:").and_then(|count| count.parse().ok()).expect("a number of pods");
    assert_eq!(of("parallelism:"), Some(pods.to_string().as_str()));
    let list = text.split("command:").nth(1).and_then(|rest| rest.split("env:").next()).expect("a command");
    let words: Vec<&str> = list.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
    assert_eq!(&words[..2], ["heman", "batch"]);
    assert!(words.contains(&format!("--shard=$(JOB_COMPLETION_INDEX)/{pods}").as_str()), "{words:?}");
    let folder = clients.work.path("").display().to_string();
    for index in 0..pods {
        let word = |word: &&str| {
            word.replace("/job", folder.trim_end_matches('/')).replace("$(JOB_COMPLETION_INDEX)", &index.to_string())
        };
        run(command(&clients, words[0]).args(words[1..].iter().map(word)));
    }
    clients.assert_complete("outputs", ITEMS);
}

/// By `examples/kubernetes/install`, or the validator that `HEMAN_KUBERNETES_VALIDATE` names.
#[test]
fn the_kubernetes_job_is_one_by_the_schemas() {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kubernetes/bin/kubernetes-validate");
    let validator = std::env::var_os("HEMAN_KUBERNETES_VALIDATE").map_or(installed, PathBuf::from);
    if !validator.is_file() {
        assert!(!is_required("kubernetes"), "there is no validator");
        return println!("skipped: no validator of Kubernetes' schemas");
    }
    for version in ["1.33.0", "1.37.0"] {
        let mut validate = Command::new(&validator);
        validate.args(["--strict", "--kubernetes-version", version]).arg(example("kubernetes/indexed-job.yaml"));
        run(&mut validate);
    }
}
