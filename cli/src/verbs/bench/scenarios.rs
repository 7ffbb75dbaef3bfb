//! Runs of the scenarios, and what is told of each.

use std::time::Instant;

use heman_core::progress::Progress;
use heman_load::clock::WallClock;
use heman_load::early_stopping::{estimate, least_queries};
use heman_load::figure::Figure;
use heman_load::histogram::Histogram;
use heman_load::percentiles::REPORTED;
use heman_load::rate::{Trial, highest};
use heman_load::run::{Run, System, offline, stream};
use heman_load::scenario::{LEAST_SECONDS, Limits, Scenario};
use heman_load::server::{Asked, Served, serve};
use serde_json::{Value, json};

use super::figures::{Unit, figure, plain, single};
use crate::error::CliError;
use crate::report;

/// Seconds of a scenario that is shortened.
const QUICK_SECONDS: f64 = 10.0;
/// Share of a run's seconds that a trial of a search lasts.
const TRIAL_SHARE: f64 = 0.2;
/// How much more than the device's throughput the search for a rate begins with.
const SEARCHED: f64 = 1.2;
/// Queries that a run, or a trial of a search, has on average at the least.
const LEAST_QUERIES: f64 = 2.0;
/// Seed of the arrivals.
const SEED: u64 = 2026;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whether runs are as long as the rules ask for.
    pub is_by_rules: bool,
    /// Seconds at the least.
    pub seconds: f64,
    /// Seconds in which a server must answer.
    pub bound_seconds: Option<f64>,
    /// Queries a second, where no highest rate is searched.
    pub rate: Option<f64>,
}

impl Wanted {
    /// By what the command line says.
    pub fn new(is_quick: bool, duration: Option<f64>, bound_seconds: Option<f64>, rate: Option<f64>) -> Self {
        let seconds = duration.unwrap_or(if is_quick { QUICK_SECONDS } else { LEAST_SECONDS });
        Self { is_by_rules: !is_quick && seconds >= LEAST_SECONDS, seconds, bound_seconds, rate }
    }

    /// Refuses a rate at which next to no query comes in a run.
    ///
    /// # Errors
    /// A sentence with the lowest rate.
    pub fn check_rate(&self) -> Result<(), CliError> {
        let least = LEAST_QUERIES / self.seconds;
        // The sentence rounds the lowest rate, which must then be taken.
        match self.rate.filter(|&rate| rate < 0.999 * least) {
            Some(rate) => Err(CliError::usage(format!(
                "at --rate {rate} fewer than {LEAST_QUERIES} queries come in {} s; give at least {} or a longer --duration",
                self.seconds,
                plain(least),
            ))),
            None => Ok(()),
        }
    }

    /// How long a scenario lasts.
    pub fn limits(&self, scenario: Scenario) -> Limits {
        match self.is_by_rules {
            true => Limits { least_seconds: self.seconds, ..Limits::by_rules(scenario) },
            false => Limits::shortened(self.seconds),
        }
    }
}

/// How many inputs are answered at a time where the scenario leaves that open.
#[derive(Clone, Copy, Debug)]
pub struct Together {
    /// In Offline.
    pub offline: usize,
    /// In Server, at the most.
    pub server: usize,
}

/// Runs one scenario; the object has its metric and all that it was read off.
pub fn run(
    scenario: Scenario,
    wanted: &Wanted,
    together: Together,
    system: &mut impl System<Error = CliError>,
    progress: &dyn Progress,
) -> Result<Value, CliError> {
    let (clock, limits) = (WallClock::start(), wanted.limits(scenario));
    let mut watch = Watch { progress, told: 0 };
    let mut object = json!({
        "scenario": scenario.name(),
        "by_rules": wanted.is_by_rules,
        "samples_per_query": scenario.samples_per_query(),
        "least_seconds": limits.least_seconds,
        "least_queries": limits.least_queries,
    });
    progress.start(scenario.name(), limits.least_seconds.ceil() as u64);
    let run = match scenario {
        Scenario::SingleStream | Scenario::MultiStream => {
            let samples = scenario.samples_per_query().unwrap_or(1);
            stream(system, &clock, samples, &limits, &mut |now| watch.tell(now))
        }
        Scenario::Offline => offline(system, &clock, together.offline, &limits, &mut |now| watch.tell(now)),
        Scenario::Server => {
            let found = server(wanted, &limits, together.server, system, &mut watch)?;
            let (rate, served) = match found {
                Some((rate, served)) => (Some(rate), Some(served)),
                None => (None, None),
            };
            report::merge(
                &mut object,
                json!({ "server": {
                    "latency_bound": wanted.bound_seconds,
                    "rate": rate.map(|rate| single(rate, Unit::PerSecond)),
                    "searched": wanted.rate.is_none(),
                    "late": served.as_ref().map(|served| served.late),
                    "holds": served.as_ref().is_some_and(|served| served.holds),
                    "proved": served.as_ref().is_some_and(|served| served.is_proved),
                } }),
            );
            Ok(served.map(|served| served.run).unwrap_or_default())
        }
    };
    progress.finish();
    report::merge(&mut object, results(scenario, &run?));
    Ok(object)
}

/// The rate that was asked for, or the highest that holds, with what came of it.
fn server(
    wanted: &Wanted,
    limits: &Limits,
    together: usize,
    system: &mut impl System<Error = CliError>,
    watch: &mut Watch<'_>,
) -> Result<Option<(f64, Served)>, CliError> {
    let bound_seconds = wanted
        .bound_seconds
        .ok_or_else(|| CliError::usage("the server scenario needs a bound for its latency: --latency-bound"))?;
    let mut at = |rate: f64, limits: &Limits, system: &mut _| {
        let (clock, asked) = (WallClock::start(), Asked { rate, bound_seconds, together, seed: SEED });
        watch.told = 0;
        watch.progress.start(&format!("server, {rate:.3} queries a second"), limits.least_seconds.ceil() as u64);
        let served = serve(system, &clock, &asked, limits, &mut |now| watch.tell(now));
        watch.progress.finish();
        served
    };
    if let Some(rate) = wanted.rate {
        return Ok(Some((rate, at(rate, limits, system)?)));
    }
    let short = Limits::shortened(limits.least_seconds * TRIAL_SHARE);
    let full = offline(system, &WallClock::start(), together, &Limits::shortened(short.least_seconds), &mut |_| ())?;
    let most = SEARCHED * full.samples as f64 / full.seconds;
    // Trials of a lower rate would wait for queries most of the time.
    let least = LEAST_QUERIES / short.least_seconds;
    if most < least {
        watch.progress.note("the runs are too short for a rate that can be answered: no rate is tried; see --duration");
        return Ok(None);
    }
    let start = Instant::now();
    system.answer(1)?;
    if start.elapsed().as_secs_f64() > bound_seconds {
        watch.progress.note("a query alone takes longer than the bound: no rate is tried");
        return Ok(None);
    }
    highest((least, most), |rate, trial| {
        let served = at(rate, if trial == Trial::Short { &short } else { limits }, system)?;
        Ok((served.holds, served))
    })
}

/// Tells seconds that passed.
struct Watch<'a> {
    progress: &'a dyn Progress,
    told: u64,
}

impl Watch<'_> {
    fn tell(&mut self, now: f64) {
        let now = now as u64;
        self.progress.advance(now.saturating_sub(self.told));
        self.told = self.told.max(now);
    }
}

/// What latencies say.
fn results(scenario: Scenario, run: &Run) -> Value {
    let sorted = run.sorted();
    let mut latency = serde_json::Map::new();
    let mut put = |name: &str, value: Option<Figure>| {
        latency.insert(name.into(), value.map_or(Value::Null, |value| figure(value, Unit::Seconds)));
    };
    put("mean", Figure::mean(&run.latencies));
    put("least", sorted.first().copied().map(Figure::single));
    put("most", sorted.last().copied().map(Figure::single));
    for percentile in REPORTED {
        let is_supported = sorted.len() as u64 >= least_queries(1, percentile);
        put(&percentile_name(percentile), Figure::percentile(&sorted, percentile).filter(|_| is_supported));
    }
    let each = run.samples as f64 / run.latencies.len().max(1) as f64;
    let throughput = match scenario {
        // Queries come when they come: between them the server is idle.
        Scenario::Server => (run.seconds > 0.0).then(|| Figure::single(run.samples as f64 / run.seconds)),
        _ => Figure::mean(&run.latencies).map(|mean| mean.rate(each)),
    };
    let early = scenario.percentile().map(|percentile| {
        let seconds = estimate(&sorted, percentile);
        json!({
            "percentile": percentile,
            "latency": seconds.map(|seconds| single(seconds, Unit::Seconds)),
            "queries_needed": least_queries(1, percentile),
        })
    });
    let histogram = Histogram::of(&sorted)
        .map(|histogram| json!({ "first": histogram.first, "width": histogram.width, "counts": histogram.counts }));
    json!({
        "queries": if scenario == Scenario::Offline { 1 } else { run.latencies.len() },
        "passes": run.latencies.len(),
        "samples": run.samples,
        "seconds": run.seconds,
        "latency": latency,
        "early_stopping": early,
        "throughput": throughput.map(|throughput| figure(throughput, Unit::PerSecond)),
        "histogram": histogram,
    })
}

/// A percentile's name, as in p99.
pub fn percentile_name(percentile: f64) -> String {
    format!("p{}", (1000.0 * percentile).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;
    use heman_core::progress::NoProgress;
    use std::time::Duration;

    /// Sleeps so long for each query.
    struct Sleeper(Duration);

    impl System for Sleeper {
        type Error = CliError;

        fn answer(&mut self, _samples: usize) -> Result<(), CliError> {
            std::thread::sleep(self.0);
            Ok(())
        }
    }

    fn wanted(rate: Option<f64>) -> Wanted {
        Wanted::new(true, Some(0.3), Some(0.1), rate)
    }

    fn ran(scenario: Scenario, wanted: &Wanted) -> Value {
        let together = Together { offline: 5, server: 1 };
        run(scenario, wanted, together, &mut Sleeper(Duration::from_millis(2)), &NoProgress).expect("never fails")
    }

    #[test]
    fn percentiles_have_names() {
        assert_eq!(REPORTED.map(percentile_name), ["p50", "p90", "p95", "p97", "p99", "p99.9"]);
    }

    #[test]
    fn throughput_of_offline_is_samples_over_time() {
        let object = ran(Scenario::Offline, &wanted(None));
        let number = |value: &Value| value.as_f64().expect("a number");
        let want = number(&object["samples"]) / number(&object["seconds"]);
        assert!((number(&object["throughput"]["value"]) / want - 1.0).abs() < 0.05, "{object}");
        assert_eq!(object["early_stopping"], Value::Null);
    }

    #[test]
    fn a_stream_tells_a_percentile_only_with_enough_queries() {
        let object = ran(Scenario::SingleStream, &wanted(None));
        assert!(object["queries"].as_u64() >= Some(64), "{object}");
        assert!(object["early_stopping"]["latency"]["value"].as_f64() >= Some(0.002), "{object}");
        let few = ran(Scenario::MultiStream, &wanted(None));
        assert_eq!((&few["early_stopping"]["latency"], &few["latency"]["p99.9"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn percentiles_are_told_from_as_many_queries_as_early_stopping_takes() {
        let told = |queries: usize| {
            let run = Run { latencies: vec![0.1; queries], samples: queries as u64, seconds: 1.0 };
            let latency = &results(Scenario::SingleStream, &run)["latency"];
            ["p50", "p90", "p95"].map(|name| !latency[name].is_null())
        };
        assert_eq!([16, 63, 64].map(told), [[true, false, false], [true, false, false], [true, true, false]]);
    }

    #[test]
    fn a_rate_at_which_next_to_no_query_comes_is_refused() {
        let failure = |rate| wanted(Some(rate)).check_rate().map_err(|error| error.failure());
        assert_eq!(failure(0.0001), Err(Failure::Usage));
        assert_eq!(failure(10.0), Ok(()));
    }

    #[test]
    fn no_rate_is_searched_in_runs_that_are_too_short_for_any() {
        let together = Together { offline: 1, server: 1 };
        let mut system = Sleeper(Duration::from_millis(100));
        let wanted = Wanted::new(true, Some(0.3), Some(10.0), None);
        let object = run(Scenario::Server, &wanted, together, &mut system, &NoProgress).expect("never fails");
        assert_eq!(object["server"]["rate"], Value::Null);
    }

    #[test]
    fn a_server_keeps_a_rate_or_does_not() {
        assert_eq!(ran(Scenario::Server, &wanted(Some(50.0)))["server"]["holds"], true);
        assert_eq!(ran(Scenario::Server, &wanted(Some(5000.0)))["server"]["holds"], false);
        let found = ran(Scenario::Server, &wanted(None));
        let rate = found["server"]["rate"]["value"].as_f64().expect("some rate holds");
        assert!((50.0..700.0).contains(&rate), "{found}");
    }

    #[test]
    fn what_is_shortened_is_not_by_the_rules() {
        assert!(Wanted::new(false, None, None, None).is_by_rules);
        assert!(Wanted::new(false, Some(700.0), None, None).is_by_rules);
        assert!(!Wanted::new(true, None, None, None).is_by_rules);
        assert!(!Wanted::new(false, Some(60.0), None, None).is_by_rules);
    }
}
