//! The device that a plan is made for: the host, another device here, a card that is nowhere near, or one out of a
//! device profile.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use heman_core::ckks::planner::chains::MOST_SPECIAL;
use heman_core::device::cpu::CpuBackend;
use heman_core::either::plan::Plan;
use heman_core::either::planner::{Derived, Estimate, Pace};
use heman_core::files::scheme::Scheme;
use heman_core::tfhe::cost::CostModel;
use heman_cuda::CudaBackend;

use crate::candidates::{OPENING_SECONDS, Place, others};
use crate::choice::DeviceChoice;
use crate::error::EngineError;
use crate::predict::Work;
use crate::profile::{CARDS, DeviceProfile, Profiles, card};
use crate::scheduler::{Simulated, Timeline};

/// Special primes of plans for GPUs at the most.
const GPU_MOST_SPECIAL: usize = 4;

/// Targets as users name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetChoice {
    /// The host, all of the devices here, or those of one kind.
    Here(DeviceChoice),
    /// A card that there is a prediction for.
    Card(String),
    /// The devices of a profile.
    File(PathBuf),
}

impl FromStr for TargetChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(device) = text.parse() {
            return Ok(Self::Here(device));
        }
        if let Some(card) = CARDS.iter().find(|card| card.name.eq_ignore_ascii_case(text)) {
            return Ok(Self::Card(card.name.into()));
        }
        if text.contains(['.', '/', '\\']) || Path::new(text).is_file() {
            return Ok(Self::File(text.into()));
        }
        let names: Vec<&str> = CARDS.iter().map(|card| card.name).collect();
        let names = names.join(", ");
        Err(format!("expected auto, cpu, cuda[:N], wgpu[:N], one of {names}, or a device profile (devices.json)"))
    }
}

/// A device that plans are made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    profile: DeviceProfile,
    /// Whether plans are counted in threads, and not by the profile: on the host, whatever was measured of it.
    is_by_threads: bool,
    is_host: bool,
}

/// Targets out of which the fastest is taken, and why others are passed over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// One at the least.
    pub targets: Vec<Target>,
    /// For people.
    pub passed_over: Vec<String>,
}

impl Target {
    fn of(profile: DeviceProfile) -> Self {
        let is_host = profile.name.starts_with("CPU, ");
        Self { profile, is_by_threads: false, is_host }
    }

    fn host(backend: &CpuBackend, profiles: &Profiles) -> Self {
        Self { profile: profiles.of_cpu(backend), is_by_threads: true, is_host: true }
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.profile.name
    }

    /// The day on which its rates were measured; none where they are predicted.
    #[must_use]
    pub fn measured(&self) -> Option<&str> {
        self.profile.measured.as_deref()
    }

    /// What TFHE's planner reckons with.
    #[must_use]
    pub fn cost(&self) -> CostModel {
        if self.is_by_threads {
            return CostModel::default();
        }
        self.profile.tfhe_cost().unwrap_or_default()
    }

    /// Special primes that its CKKS plans have at the most. GPUs convert up to four at a time from registers, and no
    /// more have been measured there.
    #[must_use]
    pub fn most_special(&self) -> usize {
        if self.is_host { MOST_SPECIAL } else { GPU_MOST_SPECIAL }
    }

    /// The one scheme that the device runs; none if it runs both.
    #[must_use]
    pub fn only_scheme(&self) -> Option<Scheme> {
        match (self.profile.tfhe, self.profile.ckks) {
            (Some(_), None) => Some(Scheme::Tfhe),
            (None, Some(_)) => Some(Scheme::Ckks),
            _ => None,
        }
    }

    /// What the schemes are compared by; none where that is thread-seconds.
    #[must_use]
    pub fn pace(&self) -> Option<&dyn Pace> {
        if self.is_by_threads { None } else { Some(self) }
    }

    /// A job of so many inputs, simulated on this device; none if it does not run the plan.
    #[must_use]
    pub fn timeline(&self, plan: &Plan, inputs: usize) -> Option<Timeline> {
        let device = Simulated::new(self.profile.clone(), self.is_host);
        Timeline::predict(plan, &[device], inputs)
    }

    /// Seconds until the first answers, with what opening the device and making, carrying and loading keys takes.
    fn waited_seconds(&self, plan: &Plan, inputs: usize) -> f64 {
        let opening = if self.is_host { 0.0 } else { OPENING_SECONDS };
        opening + Estimate::of(plan, inputs, Some(self)).waited_seconds()
    }
}

impl Pace for Target {
    fn seconds(&self, plan: &Plan, inputs: usize) -> Option<f64> {
        Work::of(plan, inputs).seconds(&self.profile).ok()
    }
}

impl TargetChoice {
    /// The devices that are meant; `threads` are the host's, 0 for all cores. CUDA devices on which no kernels load are
    /// passed over.
    ///
    /// # Errors
    /// [`EngineError::Profile`] for a file that is none; [`EngineError::NoTarget`] where no device is left;
    /// [`EngineError::Backend`] where the host fails.
    pub fn targets(&self, threads: usize, profiles: &Profiles) -> Result<Targets, EngineError> {
        let found = match self {
            Self::Here(choice) => here(choice, threads, profiles)?,
            Self::Card(name) => {
                Targets { targets: card(name).map(Target::of).into_iter().collect(), passed_over: vec![] }
            }
            Self::File(path) => {
                if !path.exists() {
                    return Err(EngineError::NoTarget(format!("there is no file {}", path.display())));
                }
                let profiles = Profiles::read(path)?;
                let targets = profiles.devices().iter().cloned().map(Target::of).collect();
                Targets { targets, passed_over: vec![] }
            }
        };
        if found.targets.is_empty() {
            let why = match self {
                Self::File(path) => format!("{} holds no devices", path.display()),
                _ if found.passed_over.is_empty() => "there is no such device".into(),
                _ => found.passed_over.join("; "),
            };
            return Err(EngineError::NoTarget(why));
        }
        Ok(found)
    }
}

fn here(choice: &DeviceChoice, threads: usize, profiles: &Profiles) -> Result<Targets, EngineError> {
    let mut found = Targets::default();
    if matches!(choice, DeviceChoice::Auto | DeviceChoice::Cpu) {
        found.targets.push(Target::host(&CpuBackend::new(threads)?, profiles));
    }
    if *choice == DeviceChoice::Cpu {
        return Ok(found);
    }
    let (known, passed_over) = others(profiles);
    found.passed_over = passed_over;
    for (place, profile) in known {
        let is_meant = match (choice, place) {
            (DeviceChoice::Auto, _) => true,
            (DeviceChoice::Cuda(indices), Place::Cuda(index)) => indices.contains(&index),
            (DeviceChoice::Wgpu(wanted), Place::Wgpu(index)) => *wanted == index,
            _ => false,
        };
        if !is_meant {
            continue;
        }
        let loads = match place {
            Place::Cuda(index) => CudaBackend::open(index).and_then(|backend| backend.image()).map(|_| ()),
            Place::Cpu | Place::Wgpu(_) => Ok(()),
        };
        match loads {
            Ok(()) => found.targets.push(Target::of(profile)),
            Err(error) => found.passed_over.push(format!("{place} is passed over: {error}")),
        }
    }
    Ok(found)
}

/// A plan, the target that it is for, and why.
pub struct ForTarget {
    /// The plan.
    pub derived: Derived,
    /// What it is for.
    pub target: Target,
    /// Inputs that the targets were compared for.
    pub inputs: usize,
    /// Predicted seconds for so many inputs; none where the target does not run the plan.
    pub seconds: Option<f64>,
    /// Why this target; none where there was no other.
    pub reason: Option<String>,
}

impl Targets {
    /// Plans for every target, and takes the plan that answers so many inputs first, keys included.
    ///
    /// # Errors
    /// The first target's error, where there is a plan for none.
    pub fn fastest<E>(
        self,
        inputs: usize,
        mut plan: impl FnMut(&Target) -> Result<Derived, E>,
    ) -> Result<ForTarget, E> {
        let (mut planned, mut first_error) = (Vec::new(), None);
        for target in self.targets {
            match plan(&target) {
                Ok(derived) => {
                    let inputs = match &derived.plan {
                        Plan::Tfhe(_) => inputs,
                        Plan::Ckks(plan) => inputs.min(plan.params.inputs_per_run()),
                    };
                    let waited = target.waited_seconds(&derived.plan, inputs) / inputs as f64;
                    planned.push((waited, inputs, derived, target));
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        planned.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut planned = planned.into_iter();
        let Some((own, inputs, derived, target)) = planned.next() else {
            return Err(first_error.expect("there is a target, and it has a plan or an error"));
        };
        let next = planned
            .next()
            .map(|(waited, _, _, other)| format!("against {waited:.3} s on {} for a plan of its own", other.name()));
        let said: Vec<String> = next.into_iter().chain(self.passed_over).collect();
        let reason = (!said.is_empty()).then(|| {
            format!("the plan is for {}: {own:.3} s an input with its keys; {}", target.name(), said.join("; "))
        });
        let seconds = target.seconds(&derived.plan, inputs);
        Ok(ForTarget { derived, target, inputs, seconds, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::tfhe::cost::rings::Ring;
    use heman_core::tfhe::noise;
    use heman_core::tfhe::params::set::{ParameterSet, bits};
    use heman_core::tfhe::planner::search::{Candidate, frontier, rings};

    use crate::profile::RingRate;

    #[test]
    fn targets_parse_and_an_unknown_one_is_told_what_there_is() {
        assert_eq!("cpu".parse(), Ok(TargetChoice::Here(DeviceChoice::Cpu)));
        assert_eq!("wgpu:1".parse(), Ok(TargetChoice::Here(DeviceChoice::Wgpu(1))));
        assert_eq!("H100".parse(), Ok(TargetChoice::Card("h100".into())));
        assert_eq!("a/devices.json".parse(), Ok(TargetChoice::File("a/devices.json".into())));
        let error = "h1000".parse::<TargetChoice>().expect_err("there is none");
        assert!(error.contains("cpu") && error.contains("h100, h200") && error.contains("rtx4090"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_or_empty_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("devices.json");
        let fails = || TargetChoice::File(path.clone()).targets(1, &Profiles::default()).expect_err("none").to_string();
        assert!(fails().contains("there is no file") && fails().contains("devices.json"));
        std::fs::write(&path, Profiles::default().to_json()).expect("writable");
        assert!(fails().ends_with("devices.json holds no devices"), "{}", fails());
        std::fs::write(&path, "{}").expect("writable");
        assert!(fails().contains("this is no device profile"), "{}", fails());
    }

    #[test]
    fn devices_of_a_file_are_targets() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("devices.json");
        let mut profiles = Profiles::default();
        profiles.insert(card("h100").expect("a card"));
        profiles.insert(card("m3").expect("a card"));
        std::fs::write(&path, profiles.to_json()).expect("writable");
        let found = TargetChoice::File(path).targets(1, &Profiles::default()).expect("a profile");
        let names: Vec<&str> = found.targets.iter().map(Target::name).collect();
        assert_eq!(names, ["NVIDIA H100 (sm_90)", "Apple M3 (Metal)"]);
        assert_eq!(found.targets[1].only_scheme(), None);
    }

    #[test]
    fn the_host_is_planned_for_by_threads() {
        let found = TargetChoice::Here(DeviceChoice::Cpu).targets(1, &Profiles::default()).expect("a host");
        let host = &found.targets[0];
        assert_eq!((host.cost(), found.targets.len()), (CostModel::default(), 1));
        assert!(host.pace().is_none() && host.measured().is_none());
    }

    /// Candidates that a planner has for a card, by two scores: tables alone, and rows of sums as well.
    fn candidates(name: &str) -> Vec<ParameterSet> {
        let cost = Target::of(card(name).expect("a card")).cost();
        let table = |p: &ParameterSet| noise::keyswitch_variance(p) + noise::modulus_switch_variance(p);
        let sums = |p: &ParameterSet| table(p) + 0.1 * noise::bootstrap_variance(p).sqrt();
        let both = [frontier(&cost, 0.0, table), frontier(&cost, 1e-9, sums)];
        both.into_iter().flatten().map(|candidate| candidate.params).collect()
    }

    #[test]
    fn whatever_is_planned_for_a_card_is_secure_and_has_a_kernel() {
        for name in CARDS.iter().map(|card| card.name) {
            let (sets, profile) = (candidates(name), card(name).expect("a card"));
            assert!(sets.len() > 10, "{name}");
            for set in sets {
                set.check().expect("in range");
                assert!(bits(&set) >= heman_core::files::params::REQUIRED_BITS, "{name}: {set:?}");
                assert!(profile.bit_seconds(Ring::of(&set)).is_some(), "{name}: {set:?}");
                // The largest base that the kernel with doubles takes.
                assert!(set.pbs_base_log + set.grouping_factor <= 25, "{name}: {set:?}");
            }
        }
    }

    #[test]
    fn where_second_levels_are_dear_a_ring_with_one_is_taken() {
        let table = |p: &ParameterSet| noise::keyswitch_variance(p) + noise::modulus_switch_variance(p);
        let sums = |p: &ParameterSet| table(p) + 0.1 * noise::bootstrap_variance(p).sqrt();
        let by_threads = frontier(&CostModel::default(), 0.0, sums);
        let two = by_threads.iter().filter(|candidate| candidate.params.pbs_level == 2);
        let dear = |ring: Ring| ring.bit_operations() * if ring.pbs_level == 1 { 1e-12 } else { 1e-10 };
        let profile = DeviceProfile {
            rings: rings().map(|r| RingRate::new(r, dear(r))).collect(),
            ..card("h100").expect("a card")
        };
        let by_device = frontier(&Target::of(profile).cost(), 0.0, sums);
        let mut compared = 0;
        for candidate in two {
            // The cheapest set of no more noise; some noise is too little for one level in the rings that have kernels.
            let one = |other: &&Candidate| other.params.pbs_level == 1;
            let enough = by_device.iter().filter(|other| other.noise <= candidate.noise);
            if enough.clone().any(|other| one(&other)) {
                let taken = enough.clone().next().expect("there is one at the least").params;
                assert_eq!(taken.pbs_level, 1, "{taken:?} in the place of {:?}", candidate.params);
                compared += 1;
            }
        }
        assert!(compared > 0, "the CPU's frontier has second levels");
    }
}
