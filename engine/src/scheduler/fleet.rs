//! All devices that share a job, opened for a plan.

use std::sync::Mutex;

use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::files::scheme::Scheme;
use heman_core::progress::Progress;

use crate::candidates::{Place, profile_of};
use crate::choice::DeviceChoice;
use crate::devices::{Devices, Wanted};
use crate::error::EngineError;
use crate::need::{key_bytes, run_bytes};
use crate::predict::Work;
use crate::profile::Profiles;
use crate::scheduler::station::Station;

/// Passes that run side by side on the host.
const HOST_LANES: usize = 2;
/// Queues of a CUDA device.
const CUDA_QUEUES: usize = 2;
/// Longest pass in seconds, but for one of a single input: so long work is lost that is interrupted, and so long the
/// others wait for the last one.
const PASS_SECONDS: f64 = 4.0;
/// Time an input of a pass, over that of passes without end, at the most.
const MOST_OVERHEAD: f64 = 1.01;

/// What a job may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads of the host, 0 for all cores.
    pub threads: usize,
    /// Bytes that evaluations may use on the host beside keys and inputs.
    pub memory_bytes: u64,
    /// Bytes that loaded keys may take on each device.
    pub key_bytes: u64,
}

/// Devices that share a job.
pub struct Fleet<'p> {
    plan: &'p Plan,
    params: Params,
    members: Vec<Member>,
    limits: Limits,
    is_timed: bool,
}

struct Member {
    devices: Devices,
    lanes: usize,
    most: usize,
}

impl<'p> Fleet<'p> {
    /// Opens all devices that are asked for. One that is the same as another is a queue of its own.
    ///
    /// # Errors
    /// As [`Devices::open`].
    pub fn open(
        choices: &[DeviceChoice],
        limits: Limits,
        inputs: usize,
        profiles: &Profiles,
        plan: &'p Plan,
        progress: &dyn Progress,
    ) -> Result<Self, EngineError> {
        let mut members = Vec::new();
        let open = |choice: &DeviceChoice| {
            Devices::open(&Wanted { choice, threads: limits.threads, inputs, profiles }, plan, progress)
        };
        let mut add = |devices: Devices| {
            let places = devices.places();
            let profile = places.first().and_then(|&place| profile_of(place, limits.threads, profiles));
            let most = profile.map_or(1, |profile| inputs_of_a_pass(plan, |work| work.seconds(&profile).ok()));
            let is_host = places == [Place::Cpu];
            let fitting = limits.memory_bytes / run_bytes(plan).max(1);
            let lanes = if is_host && fitting >= HOST_LANES as u64 { HOST_LANES } else { 1 };
            members.push(Member { devices, lanes, most });
        };
        for choice in choices {
            let single = match choice {
                DeviceChoice::Cuda(indices) => indices.iter().map(|&index| DeviceChoice::Cuda(vec![index])).collect(),
                other => vec![other.clone()],
            };
            for choice in &single {
                let devices = open(choice)?;
                let place = devices.places()[0];
                add(devices);
                // Indices that are given twice say themselves how many queues there are.
                if let (Place::Cuda(index), 1) = (place, single.len()) {
                    (1..CUDA_QUEUES).try_for_each(|_| open(&DeviceChoice::Cuda(vec![index])).map(&mut add))?;
                }
            }
        }
        Ok(Self { plan, params: plan.params(), members, limits, is_timed: false })
    }

    /// Waits for each step, so that the spans of `tracing` say how long it took on the device.
    #[must_use]
    pub fn timed(mut self, is_timed: bool) -> Self {
        self.is_timed = is_timed;
        self
    }

    /// What the devices are called, all together.
    #[must_use]
    pub fn names(&self) -> String {
        let mut names: Vec<String> = self.members.iter().map(|member| member.devices.names()).collect();
        names.dedup();
        names.join(" and ")
    }

    /// Queues of all devices.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.members.iter().map(|member| member.lanes).sum()
    }

    /// Inputs that all lanes work on at one time.
    #[must_use]
    pub fn inputs_in_work(&self) -> usize {
        self.members.iter().map(|member| member.lanes * member.most).sum()
    }

    pub(crate) fn stations<'s>(&'s self) -> Vec<Station<'s>> {
        let most_keys = (self.limits.key_bytes / key_bytes(self.plan).max(1)).max(1) as usize;
        let station = |member: &'s Member| Station {
            name: member.devices.names(),
            lanes: member.lanes,
            most: member.most,
            is_joining: self.params.scheme() == Scheme::Tfhe,
            most_keys,
            memory_bytes: self.limits.memory_bytes / member.lanes as u64,
            is_timed: self.is_timed,
            devices: &member.devices,
            plan: self.plan,
            params: &self.params,
            held: Mutex::default(),
        };
        self.members.iter().map(station).collect()
    }
}

/// Inputs of a pass: the fewest that take hardly longer each than a great many, within [`PASS_SECONDS`].
fn inputs_of_a_pass(plan: &Plan, seconds: impl Fn(&Work) -> Option<f64>) -> usize {
    let of = |inputs: usize| seconds(&Work::of(plan, inputs));
    let unit = plan.params().inputs_per_run();
    let many = 1 << 12;
    let Some(least) = of(unit * many).map(|all| all / many as f64) else { return unit };
    let mut units = 1;
    while units < many {
        let now = of(unit * units).unwrap_or(f64::INFINITY);
        let is_long = of(2 * unit * units).is_none_or(|twice| twice > PASS_SECONDS);
        if now / units as f64 <= MOST_OVERHEAD * least || is_long {
            break;
        }
        units *= 2;
    }
    unit * units
}
