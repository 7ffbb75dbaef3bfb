//! A device with the sessions of the keys that are at hand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::files::container::Fingerprint;
use heman_core::progress::Progress;

use crate::devices::Devices;
use crate::error::EngineError;
use crate::scheduler::requests::Keys;
use crate::session::Session;

/// A session that is loaded, or about to be.
type Slot<'a> = Arc<Mutex<Option<Shared<'a>>>>;
type Shared<'a> = Arc<dyn Session<'a> + 'a>;

/// One device, and what its lanes share.
pub struct Station<'a> {
    pub name: String,
    /// Passes that run side by side.
    pub lanes: usize,
    /// Number of the first of its lanes among those of stations of its name.
    pub first_lane: usize,
    /// Inputs of a pass.
    pub most: usize,
    /// Whether requests of one key can share a pass.
    pub is_joining: bool,
    /// Keys that are held at one time.
    pub most_keys: usize,
    /// Bytes that CKKS may use in one lane.
    pub memory_bytes: u64,
    /// Whether each step is waited for.
    pub is_timed: bool,
    pub devices: &'a Devices,
    pub plan: &'a Plan,
    pub params: &'a Params,
    pub held: Mutex<Held<'a>>,
}

/// Sessions by key, the most recently used ones last.
#[derive(Default)]
pub struct Held<'a> {
    slots: Vec<(Fingerprint, Slot<'a>)>,
    /// The last that was loaded: what it holds of the plan is shared with the next.
    newest: Option<Shared<'a>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Station<'a> {
    /// Keys that are loaded.
    pub fn loaded(&self) -> Vec<Fingerprint> {
        lock(&self.held).slots.iter().map(|(key, _)| *key).collect()
    }

    /// The session of a key, which is loaded if it is not there.
    pub fn session(
        &self,
        key: Fingerprint,
        keys: &dyn Keys,
        progress: &dyn Progress,
    ) -> Result<Shared<'a>, EngineError> {
        let slot = self.slot(key);
        let mut place = lock(&slot);
        if let Some(session) = &*place {
            return Ok(Arc::clone(session));
        }
        let loaded = keys.key(key).and_then(|key| {
            // Where nothing of the plan is loaded, one lane loads it and the others wait.
            let mut held = lock(&self.held);
            match held.newest.clone() {
                Some(newest) => {
                    drop(held);
                    newest.with_key(&key)
                }
                None => {
                    let session = self.devices.session(self.plan, &key, self.memory_bytes, self.is_timed, progress)?;
                    let session: Shared<'a> = Arc::from(session);
                    held.newest = Some(Arc::clone(&session));
                    return Ok(session);
                }
            }
            .map(Arc::from)
        });
        match loaded {
            Ok(session) => {
                lock(&self.held).newest = Some(Arc::clone(&session));
                *place = Some(Arc::clone(&session));
                Ok(session)
            }
            Err(error) => {
                lock(&self.held).slots.retain(|(other, _)| *other != key);
                Err(error)
            }
        }
    }

    /// Lets go of all sessions, so that they are loaded again.
    pub fn forget(&self) {
        *lock(&self.held) = Held::default();
    }

    /// The place of a key's session, for which the least recently used ones make room.
    fn slot(&self, key: Fingerprint) -> Slot<'a> {
        let mut held = lock(&self.held);
        let found = held.slots.iter().position(|(other, _)| *other == key);
        let entry = match found {
            Some(at) => held.slots.remove(at),
            None => {
                let extra = (held.slots.len() + 1).saturating_sub(self.most_keys.max(1));
                held.slots.drain(..extra);
                (key, Slot::default())
            }
        };
        let slot = Arc::clone(&entry.1);
        held.slots.push(entry);
        slot
    }
}
