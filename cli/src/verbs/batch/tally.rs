//! What a run has done, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use heman_engine::scheduler::Course;
use serde_json::{Value, json};

/// What became of items.
#[derive(Default)]
pub struct Tally {
    /// Items that this run has done.
    pub done: u64,
    /// Inputs that this run has computed.
    pub inputs: u64,
    /// Items that were done before.
    pub skipped: u64,
    /// Items that this run has failed with.
    pub failed: u64,
    /// Items that failed before and were not tried again.
    pub failed_before: u64,
    queues: BTreeMap<String, Share>,
}

/// What a queue has done.
struct Share {
    inputs: u64,
    passes: u64,
    busy: Duration,
    /// When its last pass began: answers of one pass follow each other.
    last: Duration,
}

impl Tally {
    /// Counts inputs that came out of a pass.
    pub fn count(&mut self, course: &Course, inputs: u32) {
        self.inputs += u64::from(inputs);
        let new = Share { inputs: 0, passes: 0, busy: Duration::ZERO, last: Duration::MAX };
        let share = self.queues.entry(course.queue.clone()).or_insert(new);
        share.inputs += u64::from(inputs);
        if share.last != course.started {
            share.last = course.started;
            share.passes += 1;
            share.busy += course.took;
        }
    }

    /// Items that there were.
    pub fn items(&self) -> u64 {
        self.done + self.skipped + self.failed + self.failed_before
    }

    /// Items that are not done.
    pub fn undone(&self) -> u64 {
        self.failed + self.failed_before
    }

    /// What each queue has done, for machines.
    pub fn queues_json(&self) -> Value {
        let queue = |(name, share): (&String, &Share)| {
            json!({
                "queue": name,
                "inputs": share.inputs,
                "passes": share.passes,
                "seconds_computing": share.busy.as_secs_f64(),
            })
        };
        self.queues.iter().map(queue).collect()
    }

    /// The same, for people.
    pub fn queues_text(&self) -> String {
        let queue = |(name, share): (&String, &Share)| {
            format!(
                "\n{name}: {} input(s) in {} pass(es), {:.1} s",
                share.inputs,
                share.passes,
                share.busy.as_secs_f64()
            )
        };
        self.queues.iter().map(queue).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_one_pass_take_its_time_once() {
        let course = |lane: &str, started| {
            let (started, took) = (Duration::from_secs(started), Duration::from_secs(2));
            Course { queue: lane.into(), attempts: 1, together: 2, started, took }
        };
        let mut tally = Tally::default();
        for (lane, started) in [("a", 0), ("b", 0), ("a", 0), ("a", 2)] {
            tally.count(&course(lane, started), 3);
        }
        let queues = tally.queues_json();
        assert_eq!((tally.inputs, &queues[0]["inputs"], &queues[0]["passes"]), (12, &json!(9), &json!(2)));
        assert_eq!((&queues[0]["seconds_computing"], &queues[1]["seconds_computing"]), (&json!(4.0), &json!(2.0)));
    }
}
