//! One file a verb.

mod batch;
mod bench;
mod completions;
mod decrypt;
mod demo;
mod devices;
mod encrypt;
mod evaluate;
mod inference;
mod inspect;
mod keygen;
mod keyparams;
mod man;

use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::planner as ckks;
use heman_core::either::plan::Plan;
use heman_core::either::planner::Options;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::tfhe::planner::options as tfhe;

use serde_json::{Value, json};

use crate::args::{Args, Goal, Planning, RingChoice, SchemeChoice, TaskChoice, Verb};
use crate::core_dumps;
use crate::error::CliError;
use crate::trace::Trace;

/// Inputs at a time where throughput is asked for and no number: full runs of any ring.
const MANY: usize = 1 << 16;

/// What all verbs know.
pub struct Output<'a> {
    /// Print JSON.
    pub json: bool,
    /// Say more.
    pub verbose: bool,
    /// The trace, if one is written.
    pub trace: Option<&'a Trace>,
}

impl Output<'_> {
    /// Whether each step of a plan is waited for: always for a trace, and for times by step where those cost next to
    /// nothing.
    pub fn is_timed(&self, plan: &Plan) -> bool {
        self.trace.is_some() || (self.verbose || self.json) && matches!(plan, Plan::Tfhe(_))
    }

    /// The share of the processors' time that a trace says was idle, for machines and for people; nothing without a
    /// trace.
    pub fn idle_share(&self) -> (Value, String) {
        let Some(trace) = self.trace else { return (json!({}), String::new()) };
        let share = trace.idle_share();
        let text = share.filter(|_| self.verbose).map(|share| format!("\nprocessors idle for {:.1} %", 100.0 * share));
        (json!({ "idle_share": share }), text.unwrap_or_default())
    }
}

/// Runs the verb.
pub fn run(args: &Args, trace: Option<&Trace>) -> Result<(), CliError> {
    let out = Output { json: args.json, verbose: args.verbose > 0, trace };
    if holds_a_key(&args.verb) {
        core_dumps::switch_off();
    }
    match &args.verb {
        Verb::Keyparams(args) => keyparams::run(&out, args),
        Verb::Keygen(args) => keygen::run(&out, args),
        Verb::Encrypt(args) => encrypt::run(&out, args),
        Verb::Inference(args) => inference::run(&out, args),
        Verb::Batch(args) => batch::run(&out, args),
        Verb::Decrypt(args) => decrypt::run(&out, args),
        Verb::Inspect(args) => inspect::run(&out, args),
        Verb::Evaluate(args) => evaluate::run(&out, args),
        Verb::Bench(args) => bench::run(&out, args),
        Verb::Devices(args) => devices::run(&out, args),
        Verb::Demo(args) => demo::run(&out, args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(&out, args),
    }
}

/// Whether a verb makes or reads a secret key.
fn holds_a_key(verb: &Verb) -> bool {
    match verb {
        Verb::Keygen(_) | Verb::Encrypt(_) | Verb::Decrypt(_) | Verb::Inspect(_) => true,
        Verb::Evaluate(_) | Verb::Bench(_) | Verb::Demo(_) => true,
        Verb::Keyparams(_) | Verb::Inference(_) | Verb::Batch(_) | Verb::Devices(_) => false,
        Verb::Completions(_) | Verb::Man(_) => false,
    }
}

/// What the model's output is for, as far as the user says.
fn task(planning: &Planning) -> Task {
    match planning.task {
        TaskChoice::Auto => Task::Auto,
        TaskChoice::Classify => Task::Classify,
        TaskChoice::Regress => Task::Regress,
    }
}

/// The options of both planners.
fn options(planning: &Planning) -> Result<Options, CliError> {
    if !(planning.max_loss > 0.0 && planning.max_loss < 1.0) {
        return Err(CliError::usage(format!("--max-loss is {}; it must lie between 0 and 1", planning.max_loss)));
    }
    if planning.exact && planning.scheme == SchemeChoice::Ckks {
        return Err(CliError::usage("--exact is for TFHE: CKKS computes approximately"));
    }
    let task = task(planning);
    let batch = planning.batch.map_or(
        match planning.goal {
            Goal::Latency => 1,
            Goal::Throughput => MANY,
        },
        |batch| batch as usize,
    );
    let budget = LossBudget { max_loss: planning.max_loss, confident: planning.confident, task, unseen: 0 };
    let tfhe =
        tfhe::Options { budget, exact: planning.exact, p_fail_log2: planning.p_fail.log2, ..tfhe::Options::default() };
    let ckks = ckks::Options {
        budget,
        batch,
        rings: match planning.ring {
            RingChoice::Any => &RingKind::ALL,
            RingChoice::Complex => &[RingKind::Complex],
            RingChoice::Real => &[RingKind::Real],
        },
        ..ckks::Options::default()
    };
    Ok(Options { tfhe, ckks })
}
