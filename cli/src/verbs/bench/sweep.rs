//! The configurations that are measured.

use std::num::NonZeroUsize;

use heman_engine::DeviceChoice;

use crate::args::{Axis, Running};

/// A device, its threads, and how many inputs come at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Threads of the CPU backend.
    pub threads: Option<NonZeroUsize>,
    /// Inputs at a time; by default as many as suit the device.
    pub batch: Option<usize>,
}

/// The cross product of all axes, the last of them varying fastest; what no axis names is as it was asked for.
pub fn configurations(running: &Running, axes: &[Axis]) -> Vec<Configuration> {
    let first = Configuration { device: running.device.clone(), threads: running.threads, batch: None };
    let along = |all: Vec<Configuration>, axis: &Axis| {
        let vary = |one: Configuration| -> Vec<Configuration> {
            match axis {
                Axis::Batch(values) => {
                    values.iter().map(|&batch| Configuration { batch: Some(batch), ..one.clone() }).collect()
                }
                Axis::Device(values) => {
                    values.iter().map(|device| Configuration { device: device.clone(), ..one.clone() }).collect()
                }
                Axis::Threads(values) => {
                    values.iter().map(|&threads| Configuration { threads: Some(threads), ..one.clone() }).collect()
                }
            }
        };
        all.into_iter().flat_map(vary).collect()
    };
    axes.iter().fold(vec![first], along)
}

/// A device as the command line names it.
pub fn device_name(choice: &DeviceChoice) -> String {
    match choice {
        DeviceChoice::Auto => "auto".into(),
        DeviceChoice::Cpu => "cpu".into(),
        DeviceChoice::Cuda(indices) => {
            format!("cuda:{}", indices.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        DeviceChoice::Wgpu(index) => format!("wgpu:{index}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_combinations_are_run() {
        let running = Running { device: DeviceChoice::Cpu, threads: NonZeroUsize::new(2), memory: None };
        assert_eq!(configurations(&running, &[]).len(), 1);
        let axes = ["batch=1,8", "device=cpu,wgpu"].map(|axis| axis.parse().expect("an axis"));
        let all = configurations(&running, &axes);
        let found: Vec<_> = all.iter().map(|one| (one.batch, device_name(&one.device))).collect();
        let want = [(1, "cpu"), (1, "wgpu:0"), (8, "cpu"), (8, "wgpu:0")];
        assert_eq!(found, want.map(|(batch, device)| (Some(batch), device.to_string())));
        assert!(all.iter().all(|one| one.threads == running.threads));
    }

    #[test]
    fn names_of_devices_parse_again() {
        for choice in ["auto", "cpu", "cuda:0,1", "wgpu:2"] {
            let parsed: DeviceChoice = choice.parse().expect("a device");
            assert_eq!(device_name(&parsed), choice);
        }
    }
}
