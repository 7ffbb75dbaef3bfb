//! The machine that figures belong to, as far as it tells.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// What never changes during a run.
pub fn facts() -> Value {
    json!({
        "cpu": cpu_model(),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        "memory_bytes": memory_bytes(),
        "system": system(),
        "nvidia": nvidia("name,driver_version,memory.total"),
    })
}

fn line_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_string())
}

fn cpu_model() -> Option<String> {
    line_of("/proc/cpuinfo", "model name")
}

fn memory_bytes() -> Option<u64> {
    let kib = line_of("/proc/meminfo", "MemTotal")?;
    kib.trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| 1024 * kib)
}

fn system() -> Option<String> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).ok();
    Some(format!("{} {}", read("ostype")?.trim(), read("osrelease")?.trim()))
}

/// Clocks of the processor's cores in MHz, one after the other; none where the system does not tell.
pub fn clocks_mhz() -> Vec<f64> {
    let cores = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let of_core = |path: &Path| -> Option<f64> {
        let text = fs::read_to_string(path.join("cpufreq/scaling_cur_freq")).ok()?;
        text.trim().parse::<f64>().ok().map(|khz| khz / 1e3)
    };
    let scaled: Vec<f64> = cores.filter_map(|core| of_core(&core.path())).collect();
    if !scaled.is_empty() {
        return scaled;
    }
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let clock = |line: &str| line.strip_prefix("cpu MHz")?.split_once(':')?.1.trim().parse().ok();
    text.lines().filter_map(clock).collect()
}

/// Counters of energy that the processor's packages have used, in microjoules, and where each begins again; none where
/// they may not be read.
pub fn package_energy_uj() -> Vec<(f64, f64)> {
    let zones = fs::read_dir("/sys/class/powercap").into_iter().flatten().flatten();
    let read = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<f64>().ok();
    let counter = |path: &Path| {
        // Zones of a package's parts have a second number, as in intel-rapl:0:1.
        let is_package = path.file_name()?.to_str()?.strip_prefix("intel-rapl:").is_some_and(|n| !n.contains(':'));
        let used = is_package.then(|| read(&path.join("energy_uj"))).flatten()?;
        Some((used, read(&path.join("max_energy_range_uj")).unwrap_or(f64::INFINITY)))
    };
    let mut zones: Vec<_> = zones.map(|zone| zone.path()).collect();
    zones.sort();
    zones.iter().filter_map(|zone| counter(zone)).collect()
}

/// What `nvidia-smi` tells of each device, query by query; none where it is not there.
pub fn nvidia(query: &str) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("nvidia-smi");
    command.args([&format!("--query-gpu={query}"), "--format=csv,noheader,nounits"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let rows = output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())?;
    Some(rows.lines().map(|row| row.split(',').map(|cell| cell.trim().to_string()).collect()).collect())
}
