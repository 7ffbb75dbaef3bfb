//! A job simulated without running it: which lane does what when, by the profiles of the devices.
//!
//! A device is a fluid. A step of many rows takes all of it; one with fewer rows than the device has side by side takes
//! that share of it, and leaves the rest to its other lanes. Where lanes ask for more than there is, all get less.

use std::collections::BTreeMap;
use std::fmt;

use heman_core::either::plan::Plan;
use heman_core::files::scheme::Scheme;
use serde::Serialize;

use crate::predict::{PredictedStep, StepKind, Work};
use crate::profile::DeviceProfile;
use crate::scheduler::passes::{CUDA_QUEUES, HOST_LANES, inputs_of_a_pass};

/// Passes that are printed one by one.
const MOST_PRINTED: usize = 32;

/// A device that takes part.
pub struct Simulated {
    /// Its name.
    pub name: String,
    /// Passes side by side.
    pub lanes: usize,
    /// Its speed.
    pub profile: DeviceProfile,
}

impl Simulated {
    /// A device with as many lanes as the scheduler gives it, memory permitting.
    #[must_use]
    pub fn new(profile: DeviceProfile, is_host: bool) -> Self {
        let lanes = match () {
            () if is_host => HOST_LANES,
            () if profile.name.contains("(sm_") => CUDA_QUEUES,
            () => 1,
        };
        Self { name: profile.name.clone(), lanes, profile }
    }
}

/// One step of one pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Which of the devices.
    pub device: usize,
    /// Which of its lanes.
    pub lane: usize,
    /// Number of the pass, in the order in which they begin.
    pub pass: usize,
    /// Inputs of the pass.
    pub inputs: usize,
    /// Which map of the network, the output's last; none for transfers.
    pub stage: Option<usize>,
    /// What it does.
    pub kind: &'static str,
    /// Bootstraps or ciphertexts.
    pub rows: f64,
    /// Seconds from the start of the job.
    pub start: f64,
    /// Seconds from the start of the job.
    pub end: f64,
}

/// A simulated job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// Names of the devices.
    pub devices: Vec<String>,
    /// Inputs of the job.
    pub inputs: usize,
    /// Seconds of the job.
    pub seconds: f64,
    /// For each device the share of these seconds in which it has nothing to do.
    pub idle_shares: Vec<f64>,
    /// What is done when, by the time at which it begins.
    pub spans: Vec<Span>,
}

/// What a lane is doing.
#[derive(Default)]
struct Lane {
    pass: usize,
    inputs: usize,
    steps: std::vec::IntoIter<PredictedStep>,
    now: Option<Doing>,
}

struct Doing {
    step: PredictedStep,
    start: f64,
    /// Device-seconds that are left of its full and its last, partly filled wave, with the share of the device that
    /// each can use.
    left: Vec<(f64, f64)>,
}

impl Doing {
    fn new(step: PredictedStep, start: f64) -> Self {
        let full = (step.rows / step.fill).floor() * step.fill;
        let work = |rows: f64| step.count * step.seconds * rows / step.rows;
        let mut left = vec![(work(step.rows - full), (step.rows - full) / step.fill), (work(full), 1.0)];
        left.retain(|(work, _)| *work > 0.0);
        let alone: f64 = left.iter().map(|(work, share)| work / share).sum();
        let at_least = step.count * step.at_least;
        if alone < at_least {
            left.iter_mut().for_each(|(_, share)| *share *= alone / at_least);
        }
        Self { step, start, left }
    }
}

impl Timeline {
    /// Simulates a job of so many inputs. Passes are as large as the scheduler makes them; loading, files and transfers
    /// are left out. None for a device that does not run the plan.
    #[must_use]
    pub fn predict(plan: &Plan, devices: &[Simulated], inputs: usize) -> Option<Self> {
        let params = plan.params();
        let unit = params.inputs_per_run();
        let limit = |device: &Simulated| match params.scheme() {
            Scheme::Tfhe => inputs_of_a_pass(plan, Some(&device.profile)),
            // Clients' ciphertexts share no pass.
            Scheme::Ckks => unit,
        };
        let limits: Vec<usize> = devices.iter().map(limit).collect();
        let steps = |device: usize, inputs: usize| Work::of(plan, inputs).steps_on(&devices[device].profile).ok();
        (0..devices.len()).try_for_each(|device| steps(device, 1).map(|_| ()))?;
        let lanes: Vec<usize> = devices.iter().map(|device| device.lanes.max(1)).collect();
        let steps = |device, inputs| steps(device, inputs).unwrap_or_default();
        let mut timeline = simulate(&lanes, &limits, unit, inputs, steps);
        timeline.devices = devices.iter().map(|device| device.name.clone()).collect();
        Some(timeline)
    }
}

fn simulate(
    lanes: &[usize],
    limits: &[usize],
    unit: usize,
    inputs: usize,
    steps: impl Fn(usize, usize) -> Vec<PredictedStep>,
) -> Timeline {
    let total: usize = lanes.iter().sum();
    let mut all: Vec<(usize, usize, Lane)> = lanes
        .iter()
        .enumerate()
        .flat_map(|(device, &lanes)| (0..lanes).map(move |lane| (device, lane, Lane::default())))
        .collect();
    let (mut left, mut passes, mut now) = (inputs, 0, 0.0);
    let mut busy = vec![0.0; lanes.len()];
    let mut spans = Vec::new();
    loop {
        for (device, _, lane) in &mut all {
            while lane.now.is_none() {
                if let Some(step) = lane.steps.next() {
                    lane.now = Some(Doing::new(step, now)).filter(|doing| !doing.left.is_empty());
                } else if left > 0 {
                    let share = left.div_ceil(total).next_multiple_of(unit);
                    lane.inputs = limits[*device].min(share).min(left);
                    lane.steps = steps(*device, lane.inputs).into_iter();
                    lane.pass = passes;
                    (left, passes) = (left - lane.inputs, passes + 1);
                } else {
                    break;
                }
            }
        }
        let wanted = |lane: &Lane| lane.now.as_ref().and_then(|doing| doing.left.last()).copied();
        let mut asked = vec![0.0_f64; lanes.len()];
        for (device, _, lane) in &all {
            asked[*device] += wanted(lane).map_or(0.0, |(_, share)| share);
        }
        let rate = |device: usize, share: f64| share / asked[device].max(1.0);
        let of_lane =
            |(device, _, lane): &(usize, usize, Lane)| wanted(lane).map(|(work, share)| work / rate(*device, share));
        let Some(passed) = all.iter().filter_map(of_lane).min_by(f64::total_cmp) else { break };
        now += passed;
        for (device, number, lane) in &mut all {
            let Some(doing) = &mut lane.now else { continue };
            let Some((work, share)) = doing.left.last_mut() else { continue };
            let done = (passed * rate(*device, *share)).min(*work);
            busy[*device] += done;
            *work -= done;
            if *work <= 1e-12 * doing.step.seconds {
                doing.left.pop();
            }
            if doing.left.is_empty() {
                let PredictedStep { stage, kind, rows, .. } = doing.step;
                let (kind, start) = (kind.name(), doing.start);
                let (device, lane_number, pass, inputs) = (*device, *number, lane.pass, lane.inputs);
                spans.push(Span { device, lane: lane_number, pass, inputs, stage, kind, rows, start, end: now });
                lane.now = None;
            }
        }
    }
    spans.sort_by(|a, b| a.start.total_cmp(&b.start));
    let idle_shares = busy.iter().map(|busy| if now > 0.0 { 1.0 - busy / now } else { 0.0 }).collect();
    Timeline { devices: Vec::new(), inputs, seconds: now, idle_shares, spans }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.seconds / self.inputs.max(1) as f64;
        writeln!(f, "{} inputs in {:.3} s, {each:.4} s an input", self.inputs, self.seconds)?;
        for (name, idle) in self.devices.iter().zip(&self.idle_shares) {
            writeln!(f, "{name}: {:.1} % idle", 100.0 * idle)?;
        }
        let mut passes: BTreeMap<usize, (&Span, f64)> = BTreeMap::new();
        for span in &self.spans {
            let (_, end) = passes.entry(span.pass).or_insert((span, span.end));
            *end = end.max(span.end);
        }
        for (pass, (Span { device, lane, inputs, start, .. }, end)) in passes.iter().take(MOST_PRINTED) {
            let name = &self.devices[*device];
            writeln!(f, "pass {pass:4}: {name}, lane {lane}: {inputs} inputs, {start:.3} to {end:.3} s")?;
        }
        if passes.len() > MOST_PRINTED {
            let more = passes.len() - MOST_PRINTED;
            writeln!(f, "and {more} {} more", if more == 1 { "pass" } else { "passes" })?;
        }
        writeln!(f, "steps of the first pass:")?;
        for span in self.spans.iter().filter(|span| span.pass == 0) {
            let Span { stage, kind, rows, start, end, .. } = span;
            let name = match stage {
                None => kind.to_string(),
                Some(stage) if *kind == StepKind::Stage.name() => format!("stage {stage}"),
                Some(stage) => format!("stage {stage}: {kind}"),
            };
            writeln!(f, "  {name}, {rows:.0} rows, {start:.4} to {end:.4} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that takes `seconds` for `rows` rows on a device of 10 rows.
    fn step(rows: f64, seconds: f64) -> PredictedStep {
        PredictedStep {
            stage: Some(0),
            kind: StepKind::Bootstrap,
            count: 1.0,
            rows,
            seconds,
            at_least: 0.0,
            fill: 10.0,
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_lane_alone_takes_the_time_of_the_prediction() {
        let steps = |_: usize, _: usize| vec![step(25.0, 2.5), step(4.0, 0.4), step(10.0, 1.0)];
        let timeline = simulate(&[1], &[1], 1, 1, steps);
        let alone: f64 = steps(0, 1).iter().map(PredictedStep::alone).sum();
        assert!(close(alone, 3.0 + 1.0 + 1.0) && close(timeline.seconds, alone), "{}", timeline.seconds);
        assert!(close(timeline.idle_shares[0], 1.0 - 3.9 / 5.0));
        assert_eq!(timeline.spans.len(), 3);
    }

    #[test]
    fn a_second_lane_fills_what_small_steps_leave() {
        let steps = |_: usize, _: usize| vec![step(5.0, 0.5); 4];
        let one = simulate(&[1], &[1], 1, 8, steps);
        let two = simulate(&[2], &[1], 1, 8, steps);
        assert!(close(one.seconds, 8.0 * 4.0) && close(two.seconds, 4.0 * 4.0), "{} {}", one.seconds, two.seconds);
        assert!(close(two.idle_shares[0], 0.0));
    }

    #[test]
    fn lanes_that_ask_for_too_much_share_the_device() {
        let two = simulate(&[2], &[1], 1, 2, |_, _| vec![step(10.0, 1.0)]);
        assert!(close(two.seconds, 2.0));
        assert!(two.spans.iter().all(|span| close(span.start, 0.0) && close(span.end, 2.0)));
    }

    #[test]
    fn a_faster_device_takes_more_of_the_passes() {
        let timeline = simulate(&[1, 1], &[1, 1], 1, 100, |device, _| vec![step(10.0, [1.0, 3.0][device])]);
        let of = |device| timeline.spans.iter().filter(|span| span.device == device).count();
        assert_eq!((of(0), of(1)), (75, 25));
        assert!(close(timeline.seconds, 75.0));
    }

    #[test]
    fn a_step_takes_its_launch_at_the_least() {
        let short = PredictedStep { at_least: 0.5, ..step(10.0, 0.1) };
        let timeline = simulate(&[1], &[4], 1, 4, |_, inputs| {
            assert_eq!(inputs, 4);
            vec![short]
        });
        assert!(close(timeline.seconds, 0.5) && close(timeline.idle_shares[0], 0.8));
    }
}
