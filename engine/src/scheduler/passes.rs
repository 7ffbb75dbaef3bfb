//! How many inputs a pass takes, and how many passes run side by side.

use heman_core::either::plan::Plan;

use crate::predict::Work;
use crate::profile::DeviceProfile;

/// Passes that run side by side on the host.
pub const HOST_LANES: usize = 2;
/// Queues of a CUDA device.
pub const CUDA_QUEUES: usize = 2;
/// Longest pass in seconds, but for one of the fewest inputs: so much work is lost that is interrupted, and so long
/// others wait for the last one.
const PASS_SECONDS: f64 = 4.0;
/// Shortest pass in seconds, where there are inputs enough: files and journals are to be small beside it.
const LEAST_SECONDS: f64 = 0.05;
/// Time an input of a pass, over that of passes without end, at the most.
const MOST_OVERHEAD: f64 = 1.01;
/// Inputs, or runs of inputs that share ciphertexts, of a pass at the most.
const MOST_UNITS: usize = 1 << 12;

/// Inputs of a pass on a device: the fewest that take hardly longer each than a great many, between [`LEAST_SECONDS`]
/// and [`PASS_SECONDS`].
pub fn inputs_of_a_pass(plan: &Plan, profile: Option<&DeviceProfile>) -> usize {
    let unit = plan.params().inputs_per_run();
    let seconds = |units: usize| profile.and_then(|profile| Work::of(plan, unit * units).seconds(profile).ok());
    let Some(least) = seconds(MOST_UNITS).map(|all| all / MOST_UNITS as f64) else { return unit };
    let mut units = 1;
    while units < MOST_UNITS {
        let is_full = |now: f64| now >= LEAST_SECONDS && now / units as f64 <= MOST_OVERHEAD * least;
        let is_full = seconds(units).is_none_or(is_full);
        if is_full || seconds(2 * units).is_none_or(|twice| twice > PASS_SECONDS) {
            break;
        }
        units *= 2;
    }
    unit * units
}
