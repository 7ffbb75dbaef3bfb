//! Which device takes the least predicted time, among those that could run a plan.

use std::fmt;

use heman_core::device::cpu::CpuBackend;
use heman_core::device::error::BackendError;
use heman_cuda::CudaError;

use crate::predict::Work;
use crate::profile::{DeviceProfile, Profiles};

/// Seconds that opening a GPU takes beside the work: its driver, its kernels out of their cache, keys in its own form.
/// Where the host is done sooner, nothing is gained by asking which there are.
pub(crate) const OPENING_SECONDS: f64 = 0.3;

/// Where a plan can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The host.
    Cpu,
    /// A CUDA device.
    Cuda(usize),
    /// A wgpu adapter.
    Wgpu(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "the CPU"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
        }
    }
}

/// A device that could run a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub place: Place,
    pub seconds: f64,
    pub is_measured: bool,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place, if self.is_measured { "measured" } else { "not measured" })
    }
}

/// What there is to choose from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Candidates {
    /// By predicted time, the least first; the host stands before others with the same time.
    pub ranked: Vec<Candidate>,
    /// Why other devices do not take part.
    pub passed_over: Vec<String>,
}

/// Devices other than the host whose speed is known or predicted, and why others are passed over.
pub(crate) fn others(profiles: &Profiles) -> (Vec<(Place, DeviceProfile)>, Vec<String>) {
    let (mut known, mut passed_over) = (Vec::new(), Vec::new());
    match heman_cuda::devices() {
        Ok(devices) => {
            known.extend(devices.iter().map(|device| (Place::Cuda(device.index), profiles.of_cuda(device))));
        }
        Err(CudaError::NoDriver) => {}
        Err(error) => passed_over.push(format!("CUDA is passed over: {error}")),
    }
    for device in heman_wgpu::devices().into_iter().filter(|device| device.hardware) {
        let place = Place::Wgpu(device.index);
        match (device.refused.as_ref(), profiles.of_wgpu(&device)) {
            (Some(reason), _) => passed_over.push(format!("{place} is passed over: {reason}")),
            (None, Some(profile)) => known.push((place, profile)),
            (None, None) => passed_over.push(format!(
                "{place} is passed over: nobody knows how fast {} is until it is measured (`heman devices` says how)",
                device.name
            )),
        }
    }
    (known, passed_over)
}

/// How fast a device is, as far as anybody knows; the host with so many threads (0 for all cores).
///
/// # Errors
/// The host's, if its threads cannot be started.
pub(crate) fn profile_of(
    place: Place,
    threads: usize,
    profiles: &Profiles,
) -> Result<Option<DeviceProfile>, BackendError> {
    Ok(match place {
        Place::Cpu => Some(profiles.of_cpu(&CpuBackend::new(threads)?)),
        Place::Cuda(index) => {
            let devices = heman_cuda::devices().unwrap_or_default();
            devices.iter().find(|device| device.index == index).map(|device| profiles.of_cuda(device))
        }
        Place::Wgpu(index) => {
            let devices = heman_wgpu::devices();
            devices.iter().find(|device| device.index == index).and_then(|device| profiles.of_wgpu(device))
        }
    })
}

impl Candidates {
    fn add(&mut self, place: Place, work: &Work, profile: &DeviceProfile) {
        match work.seconds(profile) {
            Ok(work) => {
                let seconds = work + if place == Place::Cpu { 0.0 } else { OPENING_SECONDS };
                let is_measured = profile.measured.is_some();
                self.ranked.push(Candidate { place, seconds, is_measured });
                self.ranked.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
            }
            Err(reason) => self.passed_over.push(format!("{place} is passed over: {reason}")),
        }
    }

    /// The host, CUDA devices and hardware adapters. No driver is loaded where the host is done before one would be.
    /// The host always takes part: it runs every plan.
    pub fn find(host: &CpuBackend, profiles: &Profiles, work: &Work) -> Self {
        let mut found = Self::default();
        found.add(Place::Cpu, work, &profiles.of_cpu(host));
        if found.ranked.first().is_some_and(|host| host.seconds < OPENING_SECONDS) {
            return found;
        }
        let (known, passed_over) = others(profiles);
        found.passed_over.extend(passed_over);
        known.iter().for_each(|(place, profile)| found.add(*place, work, profile));
        found
    }

    /// Why the first candidate from `at` on is used; none where there is only the host.
    pub fn reason(&self, at: usize) -> Option<String> {
        let used = self.ranked.get(at)?;
        let mut text = format!("{} is used", used.place);
        match (self.ranked.iter().enumerate().find(|&(other, _)| other != at), at) {
            (Some((_, other)), 0) => {
                text = format!(
                    "{text}: {} predicted{}, against {} on {other}",
                    duration(used.seconds),
                    if used.is_measured { "" } else { " (not measured)" },
                    duration(other.seconds),
                );
            }
            (Some(_), _) => {}
            (None, _) if self.passed_over.is_empty() => return None,
            (None, _) => {}
        }
        Some([&[text], &self.passed_over[..]].concat().join("; "))
    }
}

/// Seconds for people.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.2} ms", 1e3 * s),
        s if s < 0.1 => format!("{s:.3} s"),
        s if s < 100.0 => format!("{s:.2} s"),
        s => format!("{s:.0} s"),
    }
}

/// Opens the first candidate that can be opened, from `first` on, and gives why that one is used and its position.
///
/// # Errors
/// The last one's, where none opens.
pub(crate) fn open_first<T, E: fmt::Display>(
    candidates: &Candidates,
    first: usize,
    mut open: impl FnMut(Place) -> Result<T, E>,
) -> Result<(T, usize, Option<String>), E> {
    let mut failures = Vec::new();
    let mut at = first;
    loop {
        let place = candidates.ranked[at].place;
        match open(place) {
            Ok(opened) => {
                let reason = if failures.is_empty() && first == 0 {
                    candidates.reason(at)
                } else {
                    Some([failures, vec![format!("{place} is used")]].concat().join("; "))
                };
                return Ok((opened, at, reason));
            }
            Err(error) if at + 1 == candidates.ranked.len() => return Err(error),
            Err(error) => failures.push(format!("{place} is not used: {error}")),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(times: &[(Place, f64)]) -> Candidates {
        let ranked =
            times.iter().map(|&(place, seconds)| Candidate { place, seconds, is_measured: place != Place::Cpu });
        Candidates { ranked: ranked.collect(), passed_over: Vec::new() }
    }

    fn opens(place: Place) -> Result<Place, String> {
        Ok(place)
    }

    #[test]
    fn the_least_time_wins_and_is_compared_with_the_next() {
        let cpu = candidates(&[(Place::Cpu, 0.05), (Place::Wgpu(0), 0.31)]);
        let (place, at, reason) = open_first(&cpu, 0, opens).expect("opens");
        assert_eq!((place, at), (Place::Cpu, 0));
        let want = "the CPU is used: 0.050 s predicted (not measured), against 0.31 s on wgpu:0 (measured)";
        assert_eq!(reason.as_deref(), Some(want));
        let gpu = candidates(&[(Place::Wgpu(1), 0.0004), (Place::Cuda(0), 1.0), (Place::Cpu, 200.0)]);
        let (place, _, reason) = open_first(&gpu, 0, opens).expect("opens");
        assert_eq!(place, Place::Wgpu(1));
        let want = "wgpu:1 is used: 0.40 ms predicted, against 1.00 s on cuda:0 (measured)";
        assert_eq!(reason.as_deref(), Some(want));
    }

    #[test]
    fn a_host_alone_says_nothing() {
        let alone = candidates(&[(Place::Cpu, 3.0)]);
        assert_eq!(open_first(&alone, 0, opens).expect("opens"), (Place::Cpu, 0, None));
        let unknown = Candidates { passed_over: vec!["wgpu:0 is passed over: nobody knows".into()], ..alone };
        let reason = unknown.reason(0).expect("there is something to say");
        assert_eq!(reason, "the CPU is used; wgpu:0 is passed over: nobody knows");
    }

    #[test]
    fn what_does_not_open_leaves_its_place_to_the_next() {
        let all = candidates(&[(Place::Cuda(0), 0.1), (Place::Wgpu(0), 0.2), (Place::Cpu, 0.3)]);
        let only =
            |opening: Place| move |place| if place == opening { Ok(place) } else { Err(format!("{place} broke")) };
        let (place, at, reason) = open_first(&all, 0, only(Place::Cpu)).expect("the host opens");
        assert_eq!((place, at), (Place::Cpu, 2));
        let want = "cuda:0 is not used: cuda:0 broke; wgpu:0 is not used: wgpu:0 broke; the CPU is used";
        assert_eq!(reason.as_deref(), Some(want));
        assert_eq!(open_first(&all, 1, opens).expect("opens").2.as_deref(), Some("wgpu:0 is used"));
        let error = open_first(&all, 0, only(Place::Cuda(7))).expect_err("none opens");
        assert_eq!(error, "the CPU broke");
    }
}
