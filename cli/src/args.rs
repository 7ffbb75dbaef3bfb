//! The command line.

mod bench;

use heman_core::deadline::Deadline;
use heman_core::files::scheme::Scheme;
use heman_engine::{DeviceChoice, TargetChoice};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use bench::{Axis, Bench};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::shard::Shard;

/// Runs ONNX models on homomorphically encrypted data: the server never sees the data, the client never sees the model.
#[derive(Parser)]
#[command(name = "heman", version, propagate_version = true)]
#[command(after_help = "heman man and heman completions SHELL print the manual page and a shell's completions.")]
pub struct Args {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on stderr; -vv and -vvv tell steps, and HEMAN_LOG takes filters as RUST_LOG does
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write what happens, and when, to a file that ui.perfetto.dev shows; each step is then waited for
    #[arg(long, global = true, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs; the first five are the workflow.
#[derive(Subcommand)]
pub enum Verb {
    /// Model owner: derive parameters and plan from a model and calibration data
    #[command(after_help = "Example: heman keyparams -m model.onnx -c calibration.zip -o params.json --target h100")]
    Keyparams(Keyparams),
    /// Client: make a secret key and an evaluation key
    #[command(after_help = "Example: heman keygen -i params.json -o key    (writes key and key.pub)")]
    Keygen(Keygen),
    /// Client: encrypt one input or a batch
    #[command(after_help = "Example: heman encrypt -k key -i input.npy -o input.enc")]
    Encrypt(Encrypt),
    /// Model owner: evaluate the model on encrypted inputs
    #[command(after_help = "Example: heman inference -m model.plan -k key.pub -i input.enc -o output.enc")]
    Inference(Inference),
    /// Model owner: evaluate the model on many encrypted inputs of many clients, resumable at any time
    #[command(after_help = BATCH_HELP)]
    Batch(Batch),
    /// Client: decrypt the result
    #[command(after_help = "Example: heman decrypt -k key -i output.enc -o output.npy\n\n\
        Never hand a decrypted result back to whoever evaluated it; see SECURITY.md.")]
    Decrypt(Decrypt),
    /// Describe a model, plan, parameter file, key or ciphertext
    #[command(after_help = "Example: heman inspect model.plan --json")]
    Inspect(Inspect),
    /// All five steps in one process, against the plaintext model
    #[command(after_help = "Example: heman evaluate -m model.onnx -c calibration.zip -d test.npz -n 20")]
    Evaluate(Evaluate),
    /// Measure latency and throughput of a model under encryption, or of the operations themselves
    #[command(
        after_help = "Example: heman bench -m model.onnx -c calibration.zip --quick --html report.html",
        mut_arg("model", |arg| arg.required(false)),
        mut_arg("calibration", |arg| arg.required(false))
    )]
    Bench(Box<Bench>),
    /// List the devices that could run an inference, and measure how fast they are
    #[command(after_help = "Example: heman devices --measure    (then --device auto knows which is fastest)")]
    Devices(Devices),
    /// Classify handwritten digits under encryption
    Demo(Demo),
    /// Print a script with which a shell completes commands
    #[command(
        hide = true,
        after_help = "Example: heman completions bash > ~/.local/share/bash-completion/completions/heman"
    )]
    Completions(Completions),
    /// Print the manual page, or write one a verb to a folder
    #[command(hide = true, after_help = "Example: heman man ~/.local/share/man/man1")]
    Man(Man),
}

/// How parameters are derived.
#[derive(ClapArgs)]
pub struct Planning {
    /// ONNX model
    #[arg(short, long)]
    pub model: PathBuf,
    /// Calibration inputs: .npy, .npz, .zip of .npy, or a folder of .npy
    #[arg(short, long)]
    pub calibration: PathBuf,
    /// Inputs that the model has not seen, as --calibration takes them: by them alone the loss is judged, where the
    /// calibration inputs are such as the model was trained on, of which it is surer than of new ones
    #[arg(long, value_name = "DATA")]
    pub judge: Option<PathBuf>,
    /// Encryption scheme
    #[arg(long, value_enum, default_value = "auto")]
    pub scheme: SchemeChoice,
    /// Share of changed decisions (classifiers) or relative output error on new inputs that is accepted
    #[arg(long, default_value_t = 0.005)]
    pub max_loss: f64,
    /// Keep the loss's upper bound (95 % confidence) within --max-loss, not the expected loss
    #[arg(long)]
    pub confident: bool,
    /// How loss is measured
    #[arg(long, value_enum, default_value = "auto")]
    pub task: TaskChoice,
    /// What CKKS packs its slots for, and what the schemes are compared by
    #[arg(long, value_enum, default_value = "latency")]
    pub goal: Goal,
    /// Inputs that come at a time; by default 1 for latency, as many as one run takes for throughput
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub batch: Option<u32>,
    /// Ring of CKKS: complex slots are what most libraries take and have been studied more, real ones hold twice as
    /// many numbers; without effect where TFHE is taken
    #[arg(long, value_enum, default_value = "any")]
    pub ring: RingChoice,
    /// Device that will run the plan: cpu, auto (the fastest one here), cuda or wgpu (with a number as in cuda:1), a
    /// card such as h100 or rtx4090, or a file that heman devices --measure wrote on another machine
    #[arg(long, default_value = "cpu")]
    pub target: TargetChoice,
    /// Integer messages with a failure probability per bootstrap, for models that are quantised already
    #[arg(long)]
    pub exact: bool,
    /// Failure probability of one bootstrap in exact mode: a number, or 2^-40
    #[arg(long, default_value = "2^-40", requires = "exact")]
    pub p_fail: Probability,
    /// Seconds that reading a model and planning may take
    #[arg(long, value_name = "N", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_seconds: u32,
}

impl Planning {
    /// When it must have ended, from now on.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(Duration::from_secs(self.max_seconds.into()))
    }

    /// What it reads.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.model, &self.calibration].into_iter().chain(&self.judge)
    }
}

/// Where an inference runs.
#[derive(ClapArgs)]
pub struct Running {
    /// Device: auto, cpu, cuda or wgpu, the last two with a number as in cuda:1; several CUDA devices share out a
    /// batch, as in cuda:0,1; auto takes the one with the least predicted time
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Threads of the CPU backend, at most one a core; by default all cores
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// Memory that CKKS may use beside inputs and keys, like 6G; by default half of what there is, and what does not
    /// fit is refused
    #[arg(long)]
    pub memory: Option<MemorySize>,
}

/// `heman keyparams`
#[derive(ClapArgs)]
pub struct Keyparams {
    /// How parameters are derived
    #[command(flatten)]
    pub planning: Planning,
    /// Public parameters, for the client
    #[arg(short, long)]
    pub output: PathBuf,
    /// The model owner's plan; by default the output's name with .plan in the place of .json, or behind it
    #[arg(long)]
    pub plan: Option<PathBuf>,
}

/// `heman keygen`
#[derive(ClapArgs)]
pub struct Keygen {
    /// Public parameters, or - for standard input
    #[arg(short, long)]
    pub input: PathBuf,
    /// Secret key; the evaluation key gets the same name with .pub appended
    #[arg(short, long)]
    pub output: PathBuf,
    /// Replace an existing key pair; no other file is replaced
    #[arg(long)]
    pub force: bool,
    /// Make keys of more than 1 GiB too, as far as there is memory: parameters that ask for them come from somebody
    /// whom you trust
    #[arg(long)]
    pub allow_large: bool,
    /// Protect the secret key by a passphrase, which is asked for on the terminal
    #[arg(long)]
    pub passphrase: bool,
    /// The passphrase from elsewhere, which protects the secret key, too
    #[command(flatten)]
    pub unlocking: Unlocking,
}

/// Where the passphrase of a secret key comes from, if not from the terminal.
#[derive(ClapArgs)]
pub struct Unlocking {
    /// Read the passphrase from this open file, up to the first line end, as in 3< <(pass show heman)
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    pub passphrase_fd: Option<u32>,
    /// Read the passphrase from a file, up to the first line end
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

impl Unlocking {
    /// Whether a passphrase comes from somewhere.
    pub fn is_given(&self) -> bool {
        self.passphrase_fd.is_some() || self.passphrase_file.is_some()
    }
}

/// `heman encrypt`
#[derive(ClapArgs)]
pub struct Encrypt {
    /// Secret key, or - for standard input; /dev/fd/N for an open file
    #[arg(short, long)]
    pub key: PathBuf,
    /// One input or a batch (.npy, .npz, .zip of .npy, or a folder), or - for standard input. For a model with several
    /// inputs an .npz or a folder with an array of each name, or this option once an input, as NAME=FILE
    #[arg(short, long, required = true)]
    pub input: Vec<PathBuf>,
    /// Encrypted input, or - for standard output
    #[arg(short, long)]
    pub output: PathBuf,
    /// The key's passphrase
    #[command(flatten)]
    pub unlocking: Unlocking,
}

/// `heman inference`
#[derive(ClapArgs)]
pub struct Inference {
    /// Plan
    #[arg(short, long)]
    pub model: PathBuf,
    /// Evaluation key (key.pub)
    #[arg(short, long)]
    pub key: PathBuf,
    /// Encrypted input, or - for standard input
    #[arg(short, long)]
    pub input: PathBuf,
    /// Encrypted output, or - for standard output
    #[arg(short, long)]
    pub output: PathBuf,
    /// Where it runs
    #[command(flatten)]
    pub running: Running,
}

/// More about `heman batch`.
const BATCH_HELP: &str = "\
Example: heman batch -m model.plan -k keys/ -i inputs/ -o outputs/

The output of x.enc is x.out, that of any other name has .out appended. Paths of a list begin at the list's folder, or at the \
current one where the list comes from standard input. Folders in them are kept under the output folder, and a path that leads \
elsewhere is kept there as a whole: /data/x.enc becomes data/x.out.

journal.jsonl in the output folder (with --shard 0/4 journal-0-of-4.jsonl) says what became of each input file, a JSON object \
a line. The same command again goes on where the last one ended, whatever ended it. An input file that cannot be evaluated is \
reported and passed over; the exit status is then not zero.

--shard \"$JOB_COMPLETION_INDEX/4\" and --shard \"$SLURM_ARRAY_TASK_ID/4\" take the index that Kubernetes and Slurm give.";

/// `heman batch`
#[derive(ClapArgs)]
pub struct Batch {
    /// Plan
    #[arg(short, long)]
    pub model: PathBuf,
    /// Evaluation key, or a folder of them (*.pub)
    #[arg(short, long)]
    pub key: PathBuf,
    /// A folder of encrypted inputs (its subfolders and hidden files are left out), a file with a list of paths, one a
    /// line, - or a pipe for such a list, or one encrypted file of any number of inputs
    #[arg(short, long)]
    pub input: PathBuf,
    /// Folder for encrypted outputs and the journal; it is made if it is not there
    #[arg(short, long)]
    pub output: PathBuf,
    /// Device, named as for inference; given several times, all of them share the work
    #[arg(long, default_value = "auto")]
    pub device: Vec<DeviceChoice>,
    /// Threads of the CPU backend, at most one a core; by default all cores
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// Memory that evaluations may use beside inputs and keys, like 6G; by default half of what there is
    #[arg(long)]
    pub memory: Option<MemorySize>,
    /// Memory that loaded keys may take on each device, like 6G; the least recently used ones make room, and one is
    /// always held. By default a quarter of what there is, at most 8G
    #[arg(long)]
    pub key_memory: Option<MemorySize>,
    /// Take only share i of n, counted from 0 to n - 1: each input file belongs to one share, by its name
    #[arg(long, value_name = "i/n")]
    pub shard: Option<Shard>,
    /// Try again what failed in an earlier run
    #[arg(long)]
    pub retry_failed: bool,
}

/// `heman decrypt`
#[derive(ClapArgs)]
pub struct Decrypt {
    /// Secret key, or - for standard input; /dev/fd/N for an open file
    #[arg(short, long)]
    pub key: PathBuf,
    /// Encrypted output, or - for standard input
    #[arg(short, long)]
    pub input: PathBuf,
    /// Result, or - for standard output: .npy, or for a model with several outputs .npz with their names
    #[arg(short, long)]
    pub output: PathBuf,
    /// The result will leave your hands: hide the noise that comes with it (CKKS), or refuse where nothing can
    #[arg(long)]
    pub share: bool,
    /// You vouch that whoever evaluated this followed the protocol; of other outputs nothing is shared
    #[arg(long, requires = "share")]
    pub trust_evaluation: bool,
    /// Values that are shared under one key at the most, of all files together: inputs times values of the output. The
    /// first time fixes it; by default what the first file has. What was shared is counted in a file beside the key
    #[arg(long, requires = "share", value_parser = clap::value_parser!(u64).range(1..))]
    pub shares: Option<u64>,
    /// The key's passphrase
    #[command(flatten)]
    pub unlocking: Unlocking,
}

/// `heman inspect`
#[derive(ClapArgs)]
pub struct Inspect {
    /// An ONNX model, plan, parameter file, key or ciphertext
    pub file: PathBuf,
    /// What to show of a plan
    #[arg(long, value_enum, default_value = "layers")]
    pub stage: InspectStage,
    /// Device that a plan's time is predicted for, named as for keyparams
    #[arg(long, default_value = "cpu")]
    pub target: TargetChoice,
    /// Inputs of the job that a timeline is for
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub inputs: u32,
    /// Seconds that reading a model may take
    #[arg(long, value_name = "N", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_seconds: u32,
}

impl Inspect {
    /// When it must have ended, from now on.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(Duration::from_secs(self.max_seconds.into()))
    }
}

/// `heman evaluate`
#[derive(ClapArgs)]
pub struct Evaluate {
    /// How parameters are derived
    #[command(flatten)]
    pub planning: Planning,
    /// Labelled data: .npz with images and labels, or a folder of .npy
    #[arg(short, long)]
    pub data: PathBuf,
    /// Evaluate the first N inputs only
    #[arg(short, long)]
    pub number: Option<usize>,
    /// Use the noise model in place of encryption
    #[arg(long)]
    pub simulate: bool,
    /// Leave out inputs that encryption would refuse because they are outside of the parameters' range
    #[arg(long)]
    pub skip_outside: bool,
    /// Where it runs
    #[command(flatten)]
    pub running: Running,
}

/// `heman devices`
#[derive(ClapArgs)]
pub struct Devices {
    /// Measure all devices that can be used, or those of --device, and write what --device auto chooses by
    #[arg(long)]
    pub measure: bool,
    /// What to measure: cpu, cuda or wgpu, the last two with a number as in wgpu:1; software adapters are measured only
    /// if they are named
    #[arg(long, requires = "measure")]
    pub device: Option<DeviceChoice>,
    /// Threads of the CPU backend, at most one a core; by default all cores
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
}

/// `heman demo`
#[derive(ClapArgs)]
pub struct Demo {
    /// Digits to classify, 1 to 48
    #[arg(short, long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=48))]
    pub number: u16,
    /// Encryption scheme
    #[arg(long, value_enum, default_value = "tfhe")]
    pub scheme: SchemeChoice,
    /// Where it runs
    #[command(flatten)]
    pub running: Running,
}

/// `heman completions`
#[derive(ClapArgs)]
pub struct Completions {
    /// Shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `heman man`
#[derive(ClapArgs)]
pub struct Man {
    /// Folder for a page a verb
    pub folder: Option<PathBuf>,
}

/// Encryption schemes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemeChoice {
    /// The faster one
    Auto,
    /// Chillotti, Gama, Georgieva, Izabachene
    Tfhe,
    /// Cheon, Kim, Kim, Song
    Ckks,
}

impl From<SchemeChoice> for Option<Scheme> {
    fn from(choice: SchemeChoice) -> Self {
        match choice {
            SchemeChoice::Auto => None,
            SchemeChoice::Tfhe => Some(Scheme::Tfhe),
            SchemeChoice::Ckks => Some(Scheme::Ckks),
        }
    }
}

/// What matters.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Goal {
    /// The time of one input
    Latency,
    /// The time of many
    Throughput,
}

/// The ring of CKKS.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RingChoice {
    /// The one that answers first
    Any,
    /// X^N + 1
    Complex,
    /// The conjugate-invariant ring
    Real,
}

/// How loss is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskChoice {
    /// By the model's output
    Auto,
    /// Changed decisions
    Classify,
    /// Relative error
    Regress,
}

/// What to show of a plan.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectStage {
    /// Layer table
    Layers,
    /// Batched steps over slots
    Schedule,
    /// A job of many inputs as the scheduler runs it: which steps, when, and where a device is idle
    Timeline,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize {
    /// Bytes.
    pub bytes: u64,
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
            Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let count: Option<u64> = digits.parse().ok();
        let bytes = count.and_then(|count| count.checked_mul(1 << shift)).filter(|&bytes| bytes > 0);
        bytes.map(|bytes| Self { bytes }).ok_or_else(|| "expected a number of bytes, or one with K, M or G".into())
    }
}

/// A probability, kept as its logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability {
    /// log2.
    pub log2: f64,
}

impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let log2 = match text.strip_prefix("2^") {
            Some(exponent) => exponent.parse().ok(),
            None => text.parse().ok().map(f64::log2),
        };
        match log2 {
            Some(log2) if (-128.0..0.0).contains(&log2) => Ok(Self { log2 }),
            _ => Err("expected a probability of at least 2^-128 and below 1, like 1e-12 or 2^-40".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_and_probabilities_parse() {
        assert_eq!("6G".parse(), Ok(MemorySize { bytes: 6 << 30 }));
        assert!("".parse::<MemorySize>().is_err() && "99999999999G".parse::<MemorySize>().is_err());
        assert_eq!("2^-40".parse(), Ok(Probability { log2: -40.0 }));
        assert_eq!("0.25".parse(), Ok(Probability { log2: -2.0 }));
        assert!("2".parse::<Probability>().is_err() && "2^-200".parse::<Probability>().is_err());
    }
}
