//! How long a call takes, in bounded time.

use std::time::Instant;

/// Seconds that each time is measured for.
pub const SECONDS: f64 = 0.5;
/// Calls of which the middle one counts, at least and at most.
const CALLS: [usize; 2] = [3, 1000];

/// The middle of what calls measure.
///
/// The first call loads code and fills pools, and does not count. Those behind it end after `limit` seconds, but there
/// are three of them; where the first took longer than that, one has to do.
///
/// `middle` tells the seconds by which calls are put in order.
pub fn measured<T: Copy>(limit: f64, mut call: impl FnMut() -> T, middle: impl Fn(&T) -> f64) -> T {
    let start = Instant::now();
    call();
    let is_slow = start.elapsed().as_secs_f64() > limit;
    let (least, start) = (if is_slow { 1 } else { CALLS[0] }, Instant::now());
    let mut results = vec![call()];
    while results.len() < least || (start.elapsed().as_secs_f64() < limit && results.len() < CALLS[1]) {
        results.push(call());
    }
    results.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
    results[results.len() / 2]
}

/// Middle seconds of a call and of the wait for it.
pub fn seconds(limit: f64, wait: impl Fn(), mut run: impl FnMut()) -> f64 {
    let call = || {
        let start = Instant::now();
        run();
        wait();
        start.elapsed().as_secs_f64()
    };
    measured(limit, call, |&seconds| seconds)
}

/// Middle seconds until a call returns, which has only queued its work, and until that is done; of the same call.
pub fn queued_and_done(limit: f64, wait: impl Fn(), mut run: impl FnMut()) -> [f64; 2] {
    let call = || {
        let start = Instant::now();
        run();
        let queued = start.elapsed().as_secs_f64();
        wait();
        [queued, start.elapsed().as_secs_f64()]
    };
    measured(limit, call, |&[_, done]| done)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_that_takes_longer_than_the_limit_is_made_twice() {
        let calls = Cell::new(0);
        let seconds = seconds(0.0, || {}, || calls.set(calls.get() + 1));
        assert!(calls.get() == 2 && seconds < 1.0, "{} calls, {seconds} s", calls.get());
    }

    #[test]
    fn fast_calls_are_made_as_often_as_the_time_allows_and_no_more_than_bounded() {
        let calls = Cell::new(0);
        seconds(60.0, || {}, || calls.set(calls.get() + 1));
        assert_eq!(calls.get(), 1 + CALLS[1]);
    }

    #[test]
    fn the_wait_is_part_of_the_whole_and_not_of_the_queueing() {
        let wait = || std::thread::sleep(Duration::from_millis(20));
        let [queued, done] = queued_and_done(0.0, wait, || {});
        assert!(queued < 0.01 && done >= 0.02, "{queued} {done}");
    }
}
