//! The stages of a submission to the public FHE benchmark.
//!
//! The benchmark's harness starts one program a stage, by its name. All of those names are links to this program, which
//! looks at the name that it was started by. Stages of the client may name keys; those of the server do not.

mod client;
mod entry;
mod error;
mod images;
mod places;
mod planning;
mod server;
mod size;
mod stage;
mod steps;
mod vectors;

use std::io::Write;
use std::process::ExitCode;

use heman_engine::large_pages::LargePages;

use crate::error::StageError;
use crate::places::Places;
use crate::size::Size;
use crate::stage::Stage;
use crate::steps::Steps;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

fn main() -> ExitCode {
    let steps = Steps::begin();
    if let Err(error) = run(steps) {
        eprintln!("fhe_benchmark: {error}");
        return ExitCode::FAILURE;
    }
    // What was written is in the files; freeing memory piece by piece before the end would only take time.
    let _ = std::io::stdout().flush();
    std::process::exit(0);
}

fn run(steps: Steps) -> Result<(), StageError> {
    let mut arguments = std::env::args_os();
    let started_as = arguments.next().unwrap_or_default();
    let stage = Stage::of_link(&started_as)?;
    let places = Places::find(&started_as)?;
    let mut size = || Size::parse(arguments.next());
    match stage {
        Stage::PlanSizes => planning::plan_sizes(&places),
        Stage::ClientKeyGeneration => client::make_keys(&places, size()?),
        Stage::ServerPreprocessModel => server::preprocess(&places),
        Stage::ClientPreprocessInput => client::preprocess(&places, size()?),
        Stage::ClientEncodeEncryptInput => client::encrypt(&places, size()?),
        Stage::ServerEncryptedCompute => server::compute(&places, size()?, steps),
        Stage::ClientDecryptDecode => client::decrypt(&places, size()?),
        Stage::ClientPostprocess => client::postprocess(&places, size()?),
    }
}
