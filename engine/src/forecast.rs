//! What the steps of a plan are predicted to take on the devices that run it, and what they take at the least.

use heman_core::device::error::BackendError;
use heman_core::either::plan::Plan;
use heman_core::tfhe::ops::TfheBackend;
use heman_core::tfhe::params::set::ParameterSet;

use crate::candidates::{Place, profile_of};
use crate::devices::{Devices, Opened};
use crate::error::EngineError;
use crate::measure::primitives::{TfheBench, sample};
use crate::predict::Work;
use crate::profile::{DeviceProfile, Profiles};

/// Rows with which the search for a device's peak begins.
const FIRST_ROWS: usize = 32;
/// Most rows.
const MOST_ROWS: usize = 1 << 14;
/// Seconds of a batch beyond which no larger one is tried.
const ENOUGH_SECONDS: f64 = 0.1;

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct StepForecast {
    /// The stage, counted as the plan has them; the output stands behind them. None for transfers.
    pub stage: Option<usize>,
    /// Its kind, as in [`Timings`](heman_core::batch::Timings), or `stage` where only whole stages are predicted.
    pub step: &'static str,
    /// Seconds that the cost model predicts; none where the device's speed is not known.
    pub predicted_seconds: Option<f64>,
    /// Seconds of as many rows at the device's measured peak; none where that is not known. Of linear maps it is not:
    /// how fast one is depends on its shape.
    pub bound_seconds: Option<f64>,
}

/// How fast devices are at the operations of one TFHE parameter set, when they have enough to do: rows a
/// second, by kind of step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peaks {
    rates: Vec<(&'static str, f64)>,
}

impl Peaks {
    /// The rate of a kind of step.
    #[must_use]
    pub fn rate(&self, step: &str) -> Option<f64> {
        self.rates.iter().find(|(name, _)| *name == step).map(|(_, rate)| *rate)
    }
}

fn peaks<B: TfheBackend>(backend: &B, params: ParameterSet) -> Result<Peaks, BackendError> {
    let bench = TfheBench::new(backend, params)?;
    let fastest = |run: &mut dyn FnMut() -> Result<(), BackendError>| {
        let seconds = sample(0.0, || Ok(()), |()| run())?;
        Ok::<_, BackendError>(seconds.into_iter().fold(f64::INFINITY, f64::min).max(1e-9))
    };
    let mut rates = vec![("keyswitch", 0.0_f64), ("bootstrap", 0.0)];
    for (at, (_, rate)) in rates.iter_mut().enumerate() {
        let (mut rows, mut seconds) = (FIRST_ROWS, 0.0);
        while seconds < ENOUGH_SECONDS && rows <= MOST_ROWS {
            seconds =
                if at == 0 { fastest(&mut bench.keyswitch(rows)?)? } else { fastest(&mut bench.bootstrap(rows)?)? };
            *rate = rate.max(rows as f64 / seconds);
            rows *= 4;
        }
    }
    Ok(Peaks { rates })
}

impl Devices {
    /// Measures the peaks of the first of the devices for a TFHE plan's parameters; of CKKS none are known.
    ///
    /// # Errors
    /// The device's.
    pub fn peaks(&self, plan: &Plan) -> Result<Peaks, EngineError> {
        let Plan::Tfhe(plan) = plan else { return Ok(Peaks::default()) };
        let params = plan.params.tfhe;
        Ok(match &self.current().opened {
            Opened::TfheCpu(backend) => peaks(backend, params)?,
            Opened::TfheCuda(backends) => peaks(&backends[0], params)?,
            Opened::TfheWgpu(backends) => peaks(&backends[0], params)?,
            Opened::CkksCpu(_) | Opened::CkksCuda(_) | Opened::CkksWgpu(..) => Peaks::default(),
        })
    }

    /// What is known of the first device's speed, the host's with so many threads (0 for all cores).
    ///
    /// # Errors
    /// The host's, if its threads cannot be started.
    pub fn profile(&self, threads: usize, profiles: &Profiles) -> Result<Option<DeviceProfile>, EngineError> {
        let first = self.places().first().copied().unwrap_or(Place::Cpu);
        Ok(profile_of(first, threads, profiles)?)
    }

    /// The steps of a plan for so many inputs at a time: several devices share them out.
    #[must_use]
    pub fn forecast(
        &self,
        plan: &Plan,
        inputs: usize,
        profile: Option<&DeviceProfile>,
        peaks: &Peaks,
    ) -> Vec<StepForecast> {
        let work = Work::of(plan, inputs.div_ceil(self.count()));
        let predicted = profile.and_then(|profile| work.steps_on(profile).ok());
        let forecast = |(at, (stage, step, operations)): (usize, (Option<usize>, &'static str, f64))| StepForecast {
            stage,
            step,
            predicted_seconds: predicted.as_ref().map(|steps| steps[at].alone()),
            bound_seconds: peaks.rate(step).map(|rate| operations / rate),
        };
        work.operations().enumerate().map(forecast).collect()
    }
}
