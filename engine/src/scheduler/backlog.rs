//! Requests that wait, by the key that they belong to.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heman_core::files::container::Fingerprint;

use crate::scheduler::requests::Request;

/// How long an idle lane waits for a fuller batch while requests are still read.
const PATIENCE: Duration = Duration::from_millis(50);
/// Batches of keys that are loaded already that may go before an older request of another key.
const MOST_PASSED_OVER: u32 = 4;

/// A request that waits.
pub struct Waiting {
    pub request: Request,
    /// Passes that it took part in and that failed.
    pub attempts: u32,
    /// Stations whose device failed with it: as long as there are others, those try it.
    pub failed_on: Vec<usize>,
    /// Whether it must not share a pass: one of those that it was with fails, and nobody knows which.
    pub is_alone: bool,
}

impl Waiting {
    fn inputs(&self) -> usize {
        self.request.input.count()
    }
}

/// What a lane asks for.
pub struct Asked<'a> {
    /// Number of its station.
    pub station: usize,
    /// Inputs that it takes in one pass.
    pub most: usize,
    /// Whether requests can share a pass.
    pub is_joining: bool,
    /// Keys that it has at hand.
    pub loaded: &'a [Fingerprint],
}

/// Requests in the order in which they came, bounded by the number of their inputs. Lanes take from it until it has
/// ended.
pub struct Backlog {
    state: Mutex<State>,
    changed: Condvar,
    most_inputs: usize,
}

#[derive(Default)]
struct State {
    keys: Vec<OfKey>,
    /// What waiting requests count for.
    inputs: usize,
    least: usize,
    arrivals: u64,
    /// Requests that lanes work on; they may come back.
    in_work: usize,
    /// Lanes at work, by station.
    lanes: Vec<usize>,
    /// No more requests come.
    is_complete: bool,
    /// Nothing is given out any more.
    is_stopped: bool,
}

struct OfKey {
    key: Fingerprint,
    waiting: VecDeque<(u64, Waiting)>,
    passed_over: u32,
}

impl Backlog {
    /// An empty one for so many lanes of each station, which holds about so many inputs. A request counts for as many
    /// as it has, but for at least `least`: where requests are not joined, each takes a pass and the memory of one.
    pub fn new(lanes: Vec<usize>, most_inputs: usize, least: usize) -> Self {
        Self { state: Mutex::new(State { lanes, least, ..State::default() }), changed: Condvar::new(), most_inputs }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request once there is room; false if it is not wanted any more.
    pub fn put(&self, request: Request) -> bool {
        let mut state = self.lock();
        while state.inputs >= self.most_inputs && !state.is_stopped {
            state = self.wait(state);
        }
        if state.is_stopped {
            return false;
        }
        state.add(Waiting { request, attempts: 0, failed_on: Vec::new(), is_alone: false });
        self.changed.notify_all();
        true
    }

    /// No more requests will be put.
    pub fn complete(&self) {
        self.lock().is_complete = true;
        self.changed.notify_all();
    }

    /// Gives nothing out any more.
    pub fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// What a lane works on next, all of one key; none when everything is done, or was stopped. Each batch must be
    /// handed back to [`Backlog::done`].
    pub fn take(&self, asked: &Asked<'_>) -> Option<Vec<Waiting>> {
        let since = Instant::now();
        let mut state = self.lock();
        loop {
            if state.is_stopped || (state.is_complete && state.inputs == 0 && state.in_work == 0) {
                return None;
            }
            if let Some(at) = state.choose(asked) {
                let left = PATIENCE.saturating_sub(since.elapsed());
                let is_full = state.keys[at].inputs() >= asked.most || state.inputs >= self.most_inputs;
                if state.is_complete || is_full || !asked.is_joining || left.is_zero() {
                    let batch = state.gather(at, asked);
                    self.changed.notify_all();
                    return Some(batch);
                }
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state = self.wait(state);
            }
        }
    }

    /// A batch is answered but for these, which have to be tried again.
    pub fn done(&self, taken: usize, again: Vec<Waiting>) {
        let mut state = self.lock();
        state.in_work -= taken;
        again.into_iter().for_each(|waiting| state.add(waiting));
        self.changed.notify_all();
    }

    /// A station's lane gives up; whether others are left.
    pub fn leave(&self, station: usize) -> bool {
        let mut state = self.lock();
        state.lanes[station] -= 1;
        self.changed.notify_all();
        state.lanes.iter().any(|&lanes| lanes > 0)
    }
}

impl State {
    fn add(&mut self, waiting: Waiting) {
        let (key, arrival) = (waiting.request.input.fingerprint(), self.arrivals);
        self.arrivals += 1;
        self.inputs += waiting.inputs().max(self.least);
        match self.keys.iter_mut().find(|of| of.key == key) {
            Some(of) => of.waiting.push_back((arrival, waiting)),
            None => self.keys.push(OfKey { key, waiting: [(arrival, waiting)].into(), passed_over: 0 }),
        }
    }

    /// Whether a station may take a request: not one that its device failed with, while others have not tried it.
    fn is_open(&self, waiting: &Waiting, station: usize) -> bool {
        let has_failed = |station: usize| waiting.failed_on.contains(&station);
        !has_failed(station) || (0..self.lanes.len()).all(|other| self.lanes[other] == 0 || has_failed(other))
    }

    /// When a key's oldest request came that a station may take.
    fn oldest(&self, of: &OfKey, station: usize) -> Option<u64> {
        of.waiting.iter().find(|(_, waiting)| self.is_open(waiting, station)).map(|(arrival, _)| *arrival)
    }

    /// The key of the oldest request; a loaded one first, as long as that keeps nobody waiting for long.
    fn choose(&self, asked: &Asked<'_>) -> Option<usize> {
        let ages = self.keys.iter().enumerate().filter_map(|(at, of)| Some((self.oldest(of, asked.station)?, at)));
        let mut ages: Vec<(u64, usize)> = ages.collect();
        ages.sort_unstable();
        let &(_, first) = ages.first()?;
        if self.keys[first].passed_over >= MOST_PASSED_OVER {
            return Some(first);
        }
        let loaded = ages.iter().find(|&&(_, at)| asked.loaded.contains(&self.keys[at].key));
        Some(loaded.map_or(first, |&(_, at)| at))
    }

    /// Takes requests of a key: as many as fit a pass, and when no more come, no more than an even share.
    fn gather(&mut self, at: usize, asked: &Asked<'_>) -> Vec<Waiting> {
        let ages = self.keys.iter().enumerate().filter_map(|(at, of)| Some((self.oldest(of, asked.station)?, at)));
        if let Some((_, first)) = ages.min().filter(|&(_, first)| first != at) {
            self.keys[first].passed_over += 1;
        }
        let lanes: usize = self.lanes.iter().sum();
        let share = if self.is_complete { self.inputs.div_ceil(lanes.max(1)) } else { usize::MAX };
        let most = if asked.is_joining { asked.most.min(share).max(1) } else { 1 };
        self.keys[at].passed_over = 0;
        let mut batch: Vec<Waiting> = Vec::new();
        let (mut inputs, mut counted, mut place) = (0, 0, 0);
        while let Some((_, next)) = self.keys[at].waiting.get(place) {
            if !self.is_open(next, asked.station) {
                place += 1;
                continue;
            }
            let is_parted = next.is_alone || batch.last().is_some_and(|last| last.is_alone);
            if !batch.is_empty() && (is_parted || inputs + next.inputs() > most) {
                break;
            }
            inputs += next.inputs();
            counted += next.inputs().max(self.least);
            batch.extend(self.keys[at].waiting.remove(place).map(|(_, waiting)| waiting));
        }
        if self.keys[at].waiting.is_empty() {
            self.keys.remove(at);
        }
        self.inputs -= counted;
        self.in_work += batch.len();
        batch
    }
}

impl OfKey {
    fn inputs(&self) -> usize {
        self.waiting.iter().map(|(_, waiting)| waiting.inputs()).sum()
    }
}

#[cfg(test)]
mod tests {
    use heman_core::either::files::EncryptedInput;
    use heman_core::tfhe::files::ciphertexts::EncryptedInput as TfheInput;

    use super::*;

    const NONE_LOADED: Asked<'_> = Asked { station: 0, most: 4, is_joining: true, loaded: &[] };

    fn key(number: u8) -> Fingerprint {
        Fingerprint([number; 16])
    }

    fn request(ticket: u64, of: u8, inputs: u32) -> Request {
        let (seeds, bodies) = (Vec::new(), Vec::new());
        let input = TfheInput { fingerprint: key(of), inputs, batched: true, seeds, bodies };
        Request { ticket, input: EncryptedInput::Tfhe(input) }
    }

    /// Requests of one input by the number of their key; all are there.
    fn complete(lanes: usize, keys: &[u8]) -> Backlog {
        let backlog = Backlog::new(vec![lanes], 1000, 1);
        keys.iter().enumerate().for_each(|(ticket, &of)| assert!(backlog.put(request(ticket as u64, of, 1))));
        backlog.complete();
        backlog
    }

    fn taken(backlog: &Backlog, asked: &Asked<'_>) -> Option<Vec<u64>> {
        let batch = backlog.take(asked)?;
        backlog.done(batch.len(), Vec::new());
        Some(batch.iter().map(|waiting| waiting.request.ticket).collect())
    }

    fn all(backlog: &Backlog, asked: &Asked<'_>) -> Vec<Vec<u64>> {
        std::iter::from_fn(|| taken(backlog, asked)).collect()
    }

    #[test]
    fn a_batch_is_of_one_key_and_begins_with_the_oldest_request() {
        let backlog = complete(1, &[1, 2, 1, 2, 2, 1, 1, 1]);
        assert_eq!(all(&backlog, &NONE_LOADED), [vec![0, 2, 5, 6], vec![1, 3, 4], vec![7]]);
    }

    #[test]
    fn requests_of_several_inputs_share_a_pass_as_far_as_they_fit() {
        let backlog = Backlog::new(vec![1], 1000, 1);
        for (ticket, inputs) in [3, 2, 1, 9, 1].into_iter().enumerate() {
            backlog.put(request(ticket as u64, 1, inputs));
        }
        backlog.complete();
        assert_eq!(all(&backlog, &NONE_LOADED), [vec![0], vec![1, 2], vec![3], vec![4]]);
    }

    #[test]
    fn the_last_requests_are_shared_out_evenly() {
        let asked = Asked { most: 100, ..NONE_LOADED };
        assert_eq!(all(&complete(2, &[1; 8]), &asked), [vec![0, 1, 2, 3], vec![4, 5], vec![6], vec![7]]);
    }

    #[test]
    fn requests_that_cannot_be_joined_go_one_by_one() {
        let asked = Asked { is_joining: false, ..NONE_LOADED };
        assert_eq!(all(&complete(1, &[1, 1, 2]), &asked), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn loaded_keys_come_first_but_not_for_ever() {
        let keys: Vec<u8> = [9].into_iter().chain([1; 24]).collect();
        let loaded = [key(1)];
        let batches = all(&complete(1, &keys), &Asked { loaded: &loaded, ..NONE_LOADED });
        assert_eq!(batches.iter().position(|batch| batch == &[0]), Some(MOST_PASSED_OVER as usize));
        assert_eq!(batches.concat().len(), keys.len());
    }

    #[test]
    fn what_comes_back_is_given_out_again_and_alone() {
        let backlog = complete(1, &[1, 1, 1]);
        let batch = backlog.take(&NONE_LOADED).expect("three requests");
        let again = batch.into_iter().map(|waiting| Waiting { is_alone: true, attempts: 1, ..waiting }).collect();
        backlog.done(3, again);
        assert_eq!(all(&backlog, &NONE_LOADED), [vec![0], vec![1], vec![2]]);
    }

    #[test]
    fn a_lane_waits_for_what_others_may_give_back() {
        let backlog = complete(2, &[1]);
        let batch = backlog.take(&NONE_LOADED).expect("a request");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| taken(&backlog, &NONE_LOADED));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!other.is_finished());
            backlog.done(1, batch);
            assert_eq!(other.join().expect("no panic"), Some(vec![0]));
        });
        assert!(backlog.take(&NONE_LOADED).is_none());
    }

    #[test]
    fn requests_that_take_a_pass_each_fill_it_as_passes() {
        let backlog = Backlog::new(vec![1], 200, 100);
        assert!(backlog.put(request(0, 1, 1)) && backlog.put(request(1, 1, 1)));
        assert_eq!(backlog.lock().inputs, 200);
        let asked = Asked { is_joining: false, ..NONE_LOADED };
        assert_eq!(taken(&backlog, &asked), Some(vec![0]));
        assert_eq!(backlog.lock().inputs, 100);
    }

    #[test]
    fn a_full_backlog_keeps_its_reader_waiting_until_it_is_stopped() {
        let backlog = Backlog::new(vec![1], 2, 1);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| (0..10).take_while(|&ticket| backlog.put(request(ticket, 1, 1))).count());
            assert_eq!(taken(&backlog, &Asked { most: 1, ..NONE_LOADED }), Some(vec![0]));
            while backlog.lock().inputs < 2 {
                std::thread::yield_now();
            }
            backlog.stop();
            assert!((2..=3).contains(&reader.join().expect("no panic")));
        });
        assert!(backlog.take(&NONE_LOADED).is_none());
    }

    #[test]
    fn what_failed_on_one_device_is_tried_by_another_as_long_as_there_is_one() {
        let backlog = Backlog::new(vec![1, 1], 1000, 1);
        (0..3).for_each(|ticket| assert!(backlog.put(request(ticket, 1, 1))));
        backlog.complete();
        let one = Asked { is_joining: false, ..NONE_LOADED };
        let batch = backlog.take(&one).expect("a request");
        let again = batch.into_iter().map(|waiting| Waiting { failed_on: vec![0], attempts: 1, ..waiting }).collect();
        backlog.done(1, again);
        assert_eq!(taken(&backlog, &one), Some(vec![1]));
        assert_eq!(taken(&backlog, &Asked { station: 1, ..one }), Some(vec![2]), "the oldest arrival");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| taken(&backlog, &one));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished(), "it is the other station's");
            assert!(backlog.leave(1));
            assert_eq!(waiting.join().expect("no panic"), Some(vec![0]), "nobody else is left");
        });
        assert!(!backlog.leave(0));
    }
}
