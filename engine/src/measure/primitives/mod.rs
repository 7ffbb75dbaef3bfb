//! Times of single operations of both schemes, for a frozen set of parameters: figures of different versions and
//! devices can be compared.
//!
//! Ids of operations are `scheme/operation/parameters/rows`. One row tells the latency, many tell the throughput.

mod ckks;
mod tfhe;

use std::time::Instant;

use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::progress::Progress;
use heman_cuda::CudaBackend;
use heman_wgpu::WgpuBackend;

use super::uniform::{ciphertext, matrix, uniform_key};
use super::{SLOW_SECONDS, Subject};
use crate::candidates::Place;
use crate::error::EngineError;

pub use ckks::{CkksBench, rings};
pub use tfhe::{TfheBench, sets};

/// Runs of an operation at the least, after one that warms caches and compiles.
const LEAST_RUNS: usize = 3;
/// Runs at the most.
const MOST_RUNS: usize = 10_000;

/// One operation on so many rows or ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// `tfhe` or `ckks`.
    pub scheme: &'static str,
    /// What is done, such as `bootstrap`.
    pub name: &'static str,
    /// The parameter set's name.
    pub parameters: String,
    /// LWE rows of TFHE, ciphertexts of CKKS, that are taken at a time.
    pub rows: usize,
}

impl Operation {
    /// `scheme/operation/parameters/rows`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}/{}/{}", self.scheme, self.name, self.parameters, self.rows)
    }
}

/// Which operations are timed, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted<'a> {
    /// Seconds of each at the least.
    pub seconds: f64,
    /// What their ids contain.
    pub filter: &'a str,
}

/// An operation and the seconds of each run.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// What was run.
    pub operation: Operation,
    /// Seconds, run by run.
    pub seconds: Vec<f64>,
}

/// The operations of a device.
pub struct Primitives {
    /// The device's name.
    pub device: String,
    /// What was timed.
    pub timed: Vec<Timed>,
    /// For each parameter set that the device does not run a sentence.
    pub missing: Vec<String>,
}

/// Runs an operation for so many seconds at the least: `prepare` gives what it consumes, `run` does it and waits, and
/// what it gives is dropped outside of the time.
pub(crate) fn sample<I, R, E>(
    seconds: f64,
    mut prepare: impl FnMut() -> Result<I, E>,
    mut run: impl FnMut(I) -> Result<R, E>,
) -> Result<Vec<f64>, E> {
    let mut once = || {
        let input = prepare()?;
        let start = Instant::now();
        let result = run(input)?;
        let spent = start.elapsed().as_secs_f64();
        drop(result);
        Ok::<_, E>(spent)
    };
    let first = once()?;
    if first > SLOW_SECONDS {
        return Ok(vec![first]);
    }
    let start = Instant::now();
    let mut spent = Vec::new();
    while spent.len() < LEAST_RUNS || (start.elapsed().as_secs_f64() < seconds && spent.len() < MOST_RUNS) {
        spent.push(once()?);
    }
    Ok(spent)
}

impl Subject {
    /// Times the frozen set on a device; `threads` are the host's, 0 for all cores.
    ///
    /// # Errors
    /// [`EngineError::Cuda`], [`EngineError::Wgpu`] for devices that are not there or cannot run.
    pub fn primitives(
        self,
        threads: usize,
        wanted: Wanted<'_>,
        progress: &dyn Progress,
    ) -> Result<Primitives, EngineError> {
        match self.0 {
            Place::Cpu => {
                let backend = CpuBackend::new(threads)?;
                Ok(all(&tfhe::Runner(&backend), &ckks::Runner(&backend), &backend, wanted, progress))
            }
            Place::Cuda(index) => {
                let backend = CudaBackend::open(index)?;
                Ok(all(&tfhe::Runner(&backend), &ckks::Runner(&backend), &backend, wanted, progress))
            }
            Place::Wgpu(index) => {
                let backend = WgpuBackend::open(index)?;
                Ok(all(&tfhe::Runner(&backend), &ckks::Runner(&backend), &backend, wanted, progress))
            }
        }
    }
}

/// Times the operations of one scheme, parameter set by parameter set.
trait Suite {
    /// The operations of each parameter set.
    fn operations(&self) -> Vec<Vec<Operation>>;

    /// Times some operations of a parameter set.
    fn time(&self, set: usize, wanted: Vec<Operation>, seconds: f64) -> Result<Vec<Timed>, EngineError>;
}

fn all(
    tfhe: &dyn Suite,
    ckks: &dyn Suite,
    device: &impl Device,
    wanted: Wanted<'_>,
    progress: &dyn Progress,
) -> Primitives {
    let suites = [tfhe, ckks].map(|suite| (suite, suite.operations()));
    progress.start("primitives", suites.iter().map(|(_, sets)| sets.len() as u64).sum());
    let (mut timed, mut missing) = (Vec::new(), Vec::new());
    for (suite, sets) in suites {
        for (at, mut own) in sets.into_iter().enumerate() {
            own.retain(|operation| operation.id().contains(wanted.filter));
            if let Some(name) = own.first().map(|operation| operation.parameters.clone()) {
                match suite.time(at, own, wanted.seconds) {
                    Ok(own) => timed.extend(own),
                    Err(error) => missing.push(format!("{name}: {error}")),
                }
            }
            progress.advance(1);
        }
    }
    progress.finish();
    Primitives { device: device.name(), timed, missing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::progress::NoProgress;

    #[test]
    fn ids_are_unique_and_every_set_has_all_operations() {
        let host = CpuBackend::new(1).expect("a thread");
        let all = [tfhe::Runner(&host).operations(), ckks::Runner(&host).operations()];
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [sets().len(), rings().len()]);
        let mut ids: Vec<String> = all.iter().flatten().flatten().map(Operation::id).collect();
        assert_eq!(ids.len(), 5 * sets().len() + 9 * rings().len());
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 5 * sets().len() + 9 * rings().len());
    }

    #[test]
    fn the_host_runs_what_is_asked_for() {
        for (filter, count) in [("tfhe/keyswitch/n640_k7_N256_l1", 2), ("n640_k7_N256_l1", 5), ("N2^13", 9)] {
            let wanted = Wanted { seconds: 0.0, filter };
            let Primitives { timed, missing, .. } = Subject::CPU.primitives(1, wanted, &NoProgress).expect("the host");
            assert!(missing.is_empty(), "{missing:?}");
            assert_eq!(timed.len(), count, "{filter}");
            for timed in timed {
                assert!(timed.seconds.len() >= LEAST_RUNS && timed.seconds.iter().all(|&s| s > 0.0), "{timed:?}");
            }
        }
    }
}
