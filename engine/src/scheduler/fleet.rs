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
use crate::need::run_bytes;
use crate::profile::{DeviceProfile, Profiles};
use crate::scheduler::passes::{CUDA_QUEUES, HOST_LANES, inputs_of_a_pass};
use crate::scheduler::station::Station;
use crate::scheduler::timeline::{Simulated, Timeline};

/// What a job may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads of the host, 0 for all cores.
    pub threads: usize,
    /// Bytes that evaluations may use on the host beside keys and inputs.
    pub memory_bytes: u64,
    /// Bytes that loaded keys may take on each device. One key is always loaded, and keys in use stay beside them.
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
    /// How fast it is, as far as anybody knows.
    profile: Option<DeviceProfile>,
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
            let profile = places.first().and_then(|&place| profile_of(place, limits.threads, profiles).ok().flatten());
            let most = inputs_of_a_pass(plan, profile.as_ref());
            let is_host = places == [Place::Cpu];
            // What a pass takes was estimated for the threads of the machine that planned.
            let fitting = limits.memory_bytes / (run_bytes(plan) / 4 * 5).max(1);
            let lanes = if is_host && fitting >= HOST_LANES as u64 { HOST_LANES } else { 1 };
            members.push(Member { devices, lanes, most, profile });
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

    /// Bytes of the host's memory that the keys of so many clients, as far as they are kept, and inputs, outputs and
    /// evaluations of all lanes hold at one time, as [`Devices::needed_bytes`] tells them; none where only other
    /// devices evaluate.
    #[must_use]
    pub fn needed_bytes(&self, clients: usize) -> Option<u64> {
        let of_host = self.members.iter().filter_map(|member| {
            let all = member.devices.needed_bytes(self.plan, member.lanes * member.most)?;
            let each = member.devices.key_bytes(self.plan);
            let kept = (self.limits.key_bytes / each.max(1)).min(clients as u64).max(1);
            let lanes = (member.lanes as u64 - 1).saturating_mul(run_bytes(self.plan));
            Some(all.saturating_add(lanes).saturating_add((kept - 1).saturating_mul(each)))
        });
        of_host.reduce(u64::saturating_add)
    }

    /// What is predicted for a job of so many inputs; none where nobody knows how fast a device is.
    #[must_use]
    pub fn timeline(&self, inputs: usize) -> Option<Timeline> {
        let simulated = |member: &Member| {
            let (name, lanes) = (member.devices.names(), member.lanes);
            member.profile.clone().map(|profile| Simulated { name, lanes, profile })
        };
        let devices: Option<Vec<Simulated>> = self.members.iter().map(simulated).collect();
        Timeline::predict(self.plan, &devices?, inputs)
    }

    pub(crate) fn stations<'s>(&'s self) -> Vec<Station<'s>> {
        let namesakes = |members: &[Member], own: &Member| -> (usize, usize) {
            let alike = members.iter().filter(|other| other.devices.names() == own.devices.names());
            alike.fold((0, 0), |(count, lanes), other| (count + 1, lanes + other.lanes))
        };
        let station = |(at, member): (usize, &'s Member)| {
            // Queues of one device share its memory.
            let key_budget = self.limits.key_bytes / namesakes(&self.members, member).0 as u64;
            Station {
                name: member.devices.names(),
                lanes: member.lanes,
                first_lane: namesakes(&self.members[..at], member).1,
                most: member.most,
                is_joining: self.params.scheme() == Scheme::Tfhe,
                most_keys: (key_budget / member.devices.key_bytes(self.plan).max(1)).max(1) as usize,
                memory_bytes: self.limits.memory_bytes / member.lanes as u64,
                is_timed: self.is_timed,
                devices: &member.devices,
                plan: self.plan,
                params: &self.params,
                held: Mutex::default(),
            }
        };
        self.members.iter().enumerate().map(station).collect()
    }
}
