//! How long processors have worked for this process.

use std::time::Duration;

/// Processor time of all threads of this process so far; none where the system does not tell.
#[cfg(unix)]
pub fn busy() -> Option<Duration> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut time = unsafe { std::mem::zeroed::<libc::timespec>() };
    // SAFETY: the pointer is to a live value of the type that the call fills in.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (status == 0).then(|| Duration::new(seconds, nanoseconds))
}

/// Not known on this system.
#[cfg(not(unix))]
pub fn busy() -> Option<Duration> {
    None
}

/// The share of the time of so many threads in which processors worked; none for no time at all.
pub fn share(busy: Duration, wall: Duration, threads: usize) -> Option<f64> {
    let all = wall.as_secs_f64() * threads as f64;
    (all > 0.0).then(|| busy.as_secs_f64() / all)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let before = busy().expect("a clock");
        let start = Instant::now();
        let mut sum = 0u64;
        while start.elapsed() < Duration::from_millis(200) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let worked = busy().expect("a clock") - before;
        assert!(worked > Duration::from_millis(20), "{worked:?} of 200 ms");
    }

    #[test]
    fn a_share_is_of_all_threads() {
        let second = Duration::from_secs(1);
        assert_eq!(share(3 * second, 2 * second, 2), Some(0.75));
        assert_eq!(share(second, Duration::ZERO, 2), None);
    }
}
