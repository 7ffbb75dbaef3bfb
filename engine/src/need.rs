//! How much memory an inference takes on the host, before it begins.

use heman_core::ckks::files::ciphertexts as ckks;
use heman_core::ckks::plan::keys::{gpu_bytes, loaded_bytes};
use heman_core::device::DEFAULT_BUFFER_BYTES;
use heman_core::either::plan::Plan;
use heman_core::files::sealed::OfBatch;
use heman_core::tfhe::cpu::bytes_of_a_thread;
use heman_core::tfhe::files::ciphertexts as tfhe;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::set::ParameterSet;
use heman_core::tfhe::schedule::Schedule;

use crate::devices::{Devices, Opened};

/// Bytes of ciphertexts and of a pass's buffers that the host is given at a time. A few hundred mebibytes keep all its
/// threads busy.
const PART_BYTES: u64 = 384 << 20;

impl Devices {
    /// Inputs of a long batch that are read, evaluated and written at a time, so that its length does not count: as
    /// many as fill the devices, within some hundred mebibytes of the host's memory.
    #[must_use]
    pub fn inputs_at_a_time(&self, plan: &Plan) -> usize {
        let each = match plan {
            Plan::Ckks(plan) => plan.params.inputs_per_run(),
            Plan::Tfhe(own) => {
                let input = tfhe::EncryptedInput::ciphertext_bytes(&own.params, 1);
                let output = tfhe::EncryptedOutput::ciphertext_bytes(&own.params, 1);
                let is_host = matches!(self.current().opened, Opened::TfheCpu(_));
                let work = if is_host { run_bytes(plan) } else { 0 };
                // Outputs are held as a device gives them, and once more where several devices share a batch.
                let bytes = output.saturating_mul(2).saturating_add(input).saturating_add(work);
                (PART_BYTES / bytes.max(1)).max(1) as usize
            }
        };
        each.saturating_mul(self.count())
    }

    /// Bytes that a client's evaluation key takes on these devices once it is loaded.
    pub(crate) fn key_bytes(&self, plan: &Plan) -> u64 {
        key_bytes(plan, self.is_host())
    }

    /// Bytes of the host's memory that keys, encrypted inputs and outputs and the evaluation of `inputs` inputs hold at
    /// one time: an estimate from the sizes of what is loaded, without code, plan and allocator; none where another
    /// device evaluates.
    #[must_use]
    pub fn needed_bytes(&self, plan: &Plan, inputs: usize) -> Option<u64> {
        match &self.current().opened {
            Opened::TfheCpu(backend) => Some(host_bytes(plan, inputs, backend.threads())),
            Opened::CkksCpu(_) => Some(host_bytes(plan, inputs, 0)),
            Opened::TfheCuda(_) | Opened::TfheWgpu(_) | Opened::CkksCuda(_) | Opened::CkksWgpu(..) => None,
        }
    }
}

/// Bytes that a client's evaluation key takes once it is loaded, on the host or on a GPU.
fn key_bytes(plan: &Plan, is_host: bool) -> u64 {
    match plan {
        Plan::Tfhe(plan) => {
            let [(_, bootstrap), (_, keyswitch)] = tfhe_key_bytes(&plan.params.tfhe);
            bootstrap.saturating_add(keyswitch)
        }
        Plan::Ckks(plan) if is_host => loaded_bytes(&plan.params.keys, &plan.params.ckks),
        Plan::Ckks(plan) => gpu_bytes(&plan.params.keys, &plan.params.ckks),
    }
}

/// Bytes of the bodies of a bootstrapping key and of a keyswitching key, and of each with its masks.
fn tfhe_key_bytes(p: &ParameterSet) -> [(u64, u64); 2] {
    let bootstrap = 8 * SeededEvaluationKey::bootstrap_body_words(p) as u64;
    let keyswitch = 4 * SeededEvaluationKey::keyswitch_body_words(p) as u64;
    let with_masks = |bodies: u64, dimension: usize| (bodies, bodies.saturating_mul(dimension as u64 + 1));
    [with_masks(bootstrap, p.glwe_dimension), with_masks(keyswitch, p.lwe_dimension)]
}

/// Bytes that a pass of the fewest inputs takes on the host beside keys and inputs.
pub(crate) fn run_bytes(plan: &Plan) -> u64 {
    match plan {
        Plan::Tfhe(plan) => {
            let (p, schedule) = (&plan.params.tfhe, Schedule::new(plan));
            let rows = (schedule.slots + schedule.widest) * p.big_row_words() + schedule.widest * p.small_row_words();
            4 * rows as u64
        }
        Plan::Ckks(plan) => plan.params.prediction.memory_bytes,
    }
}

/// `threads` are those that evaluate TFHE, each with memory of its own.
fn host_bytes(whole: &Plan, inputs: usize, threads: usize) -> u64 {
    let parts: Vec<u64> = match whole {
        Plan::Tfhe(plan) => {
            let params = &plan.params;
            // The bodies as they were read, and both keys as the steps read them, made piece by piece of bodies and
            // masks.
            let [(bootstrap, rotating), (keyswitch, switching)] = tfhe_key_bytes(&params.tfhe);
            let each = run_bytes(whole);
            let passes = each.max(each.saturating_mul(inputs as u64).min(DEFAULT_BUFFER_BYTES as u64));
            let files = [tfhe::EncryptedInput::file_bytes, tfhe::EncryptedOutput::file_bytes];
            let ciphertexts = files.into_iter().map(|bytes| bytes(params, u32::try_from(inputs).unwrap_or(u32::MAX)));
            let keys = [bootstrap, keyswitch, rotating, switching];
            let work = bytes_of_a_thread(&params.tfhe).saturating_mul(threads as u64);
            keys.into_iter().chain([work, passes]).chain(ciphertexts).collect()
        }
        Plan::Ckks(plan) => {
            let params = &plan.params;
            let count = u32::try_from(inputs).unwrap_or(u32::MAX);
            let ciphertexts =
                [ckks::EncryptedInput::file_bytes(params, count), ckks::EncryptedOutput::file_bytes(params, count)];
            [key_bytes(whole, true), run_bytes(whole)].into_iter().chain(ciphertexts).collect()
        }
    };
    parts.into_iter().fold(0, u64::saturating_add)
}
