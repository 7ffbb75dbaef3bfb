//! Inputs that are encrypted before time is taken, and a session that answers them.

use std::collections::BTreeMap;
use std::time::Instant;

use heman_client::SecretKey;
use heman_core::either::files::{EncryptedInput, EncryptedOutput};
use heman_core::progress::NoProgress;
use heman_engine::Session;
use heman_load::run::System;

use crate::error::CliError;

/// Different batches of the smallest size; of larger ones there is one each.
const VARIANTS: usize = 4;
/// Bytes of batches that are followed by no other one of their size.
const MUCH: u64 = 256 << 20;

/// Encrypted inputs by number, used again and again: no step's time depends on what they hold.
pub struct Pool<'a> {
    key: &'a SecretKey,
    inputs: &'a [Vec<f32>],
    /// Inputs that cost as much as one.
    unit: usize,
    ready: BTreeMap<usize, Vec<EncryptedInput>>,
    next: usize,
    /// Seconds of each encryption, an input.
    pub seconds: Vec<f64>,
}

impl<'a> Pool<'a> {
    /// A pool without inputs.
    pub fn new(key: &'a SecretKey, inputs: &'a [Vec<f32>], unit: usize) -> Self {
        Self { key, inputs, unit: unit.max(1), ready: BTreeMap::new(), next: 0, seconds: Vec::new() }
    }

    /// How many inputs are encrypted for so many: a run that holds several costs as much as a full one.
    fn filled(&self, count: usize) -> usize {
        if self.unit == 1 { count } else { count.next_multiple_of(self.unit) }
    }

    /// Encrypts batches of so many inputs.
    pub fn prepare(&mut self, count: usize) -> Result<(), CliError> {
        let filled = self.filled(count);
        if self.ready.contains_key(&filled) {
            return Ok(());
        }
        let variants = if filled <= self.unit { VARIANTS } else { 1 };
        let mut batches: Vec<EncryptedInput> = Vec::with_capacity(variants);
        let params = self.key.params();
        while batches.len() < variants && batches.iter().map(|own| own.sealed_bytes(&params)).sum::<u64>() < MUCH {
            let values: Vec<f32> =
                (0..filled).flat_map(|at| &self.inputs[(self.next + at) % self.inputs.len()]).copied().collect();
            self.next += filled;
            let start = Instant::now();
            batches.push(self.key.encrypt(&values, true)?);
            self.seconds.push(start.elapsed().as_secs_f64() / filled as f64);
        }
        self.ready.insert(filled, batches);
        Ok(())
    }

    /// Encrypted inputs that hold so many; [`Pool::prepare`] has made them.
    pub fn take(&mut self, count: usize) -> Result<&EncryptedInput, CliError> {
        self.next += 1;
        let ready = self.ready.get(&self.filled(count)).filter(|ready| !ready.is_empty());
        let ready = ready.ok_or_else(|| CliError::new(format!("no batch of {count} inputs is encrypted")))?;
        Ok(&ready[self.next % ready.len()])
    }

    /// Bytes of a file with so many inputs.
    pub fn bytes(&mut self, count: usize) -> Result<u64, CliError> {
        let params = self.key.params();
        Ok(self.take(count)?.sealed_bytes(&params))
    }
}

/// A session that answers queries out of a pool.
pub struct Answering<'s, 'd, 'p, 'a> {
    /// Plan and keys on their devices.
    pub session: &'s dyn Session<'d>,
    /// Encrypted inputs.
    pub pool: &'p mut Pool<'a>,
    /// What the last query gave.
    pub last: Option<EncryptedOutput>,
}

impl System for Answering<'_, '_, '_, '_> {
    type Error = CliError;

    fn answer(&mut self, samples: usize) -> Result<(), CliError> {
        let (output, _) = self.session.pass(self.pool.take(samples)?, &NoProgress)?;
        self.last = Some(output);
        Ok(())
    }
}
