//! Launches, recorded until they are enough for a submission.
//!
//! Graphics drivers stop a submission that keeps the device for too long, often some seconds, and a desktop stutters
//! behind any that takes long. So launches say how much they compute, and what is recorded is handed over before it
//! takes [`SUBMISSION_SECONDS`].

use std::sync::Arc;

use bytemuck::Pod;
use heman_core::device::error::BackendError;

use crate::context::{Context, Table};
use crate::pipelines::Kernel;
use crate::recorder::{ARGUMENT_WORDS, Arguments};

/// Seconds that one submission should keep the device for, so that none takes 0.1 where the rate is told wrong.
const SUBMISSION_SECONDS: f64 = 0.03;
/// Workgroups of a launch in each direction.
pub(crate) const MOST_GROUPS: usize = 65_535;

/// One launch.
pub(crate) struct Launch<'a, P: Pod> {
    pub step: &'static str,
    pub kernel: &'a Arc<Kernel>,
    pub table: &'a Table,
    /// Its first word is replaced by the place of `first_item` in the arguments.
    pub params: P,
    pub arguments: &'a Arguments,
    pub first_item: usize,
    pub groups: [usize; 3],
    /// Products of words, in all threads.
    pub multiplications: f64,
}

impl Context {
    /// Products of words that one launch may take, so that a submission stays short.
    pub fn most_multiplications(&self) -> f64 {
        self.rate().max(1.0) * SUBMISSION_SECONDS
    }

    /// Records a launch, and hands over what was recorded before where that becomes too much.
    pub fn launch<P: Pod>(&self, launch: &Launch<'_, P>) -> Result<(), BackendError> {
        let Launch { step, groups, multiplications, arguments, .. } = *launch;
        if groups.contains(&0) {
            return Ok(());
        }
        if groups.iter().any(|&count| count > MOST_GROUPS) || arguments.len() > ARGUMENT_WORDS {
            let message = format!("a launch of {groups:?} workgroups with {} arguments", arguments.len());
            return Err(self.device_error(step, message));
        }
        let mut state = self.state();
        let recorder = &state.recorder;
        let is_full = recorder.arguments.len() + arguments.len() > ARGUMENT_WORDS
            || recorder.multiplications + multiplications > self.most_multiplications();
        if is_full {
            self.flush(&mut state);
            self.failure.check(step, &self.name)?;
        }
        let group = self.group(&state, launch.table);
        let recorder = &mut state.recorder;
        let base = recorder.arguments.len();
        recorder.arguments.extend_from_slice(&arguments.words);
        for &pointer in &arguments.pointers {
            recorder.arguments[base + pointer] += base as u32;
        }
        let encoder = recorder
            .encoder
            .get_or_insert_with(|| self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
        let begin = || encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
        let pass = recorder.pass.get_or_insert_with(begin);
        let mut params = bytemuck::bytes_of(&launch.params).to_vec();
        params[..4].copy_from_slice(&((base + launch.first_item) as u32).to_le_bytes());
        pass.set_pipeline(&launch.kernel.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.set_immediates(0, &params);
        let [x, y, z] = groups.map(|count| count as u32);
        pass.dispatch_workgroups(x, y, z);
        recorder.multiplications += multiplications;
        Ok(())
    }
}
