//! Makes the plans of all sizes, before the harness starts a stage.

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Instant;

use heman_core::either::planner::{self, Options};
use heman_core::model::network::Network;
use heman_core::planning::error::PlanError;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::{ckks, tfhe};
use heman_import::import_file;
use npyz::NpyFile;
use zip::ZipArchive;

use crate::entry::{Entry, Planned};
use crate::error::StageError;
use crate::places::{Places, make_folder_of};
use crate::size::Size;

/// Share of changed decisions that a plan is never made with.
const MOST_LOSS: f64 = 0.02;

/// Makes the plans of the chosen entry that are not there yet. A plan is made again when the program, the model, the
/// calibration images or the entry have changed.
///
/// # Errors
/// [`StageError`].
pub fn plan_sizes(places: &Places) -> Result<(), StageError> {
    let entry = Entry::chosen(places)?;
    let model = entry.model(places);
    let calibration = places.submission().join("calibration.npz");
    let mut made_of = blake3::Hasher::new();
    let program = std::env::current_exe().map_err(|error| StageError::file(Path::new("/proc/self/exe"), error))?;
    for path in [&program, &model, &calibration] {
        let bytes = fs::read(path).map_err(|error| StageError::file(path, error))?;
        made_of.update(blake3::hash(&bytes).as_bytes());
    }
    made_of.update(format!("{:?} {:?}", entry.preparation, entry.calibration_images).as_bytes());
    let mut loaded = None;
    for (size, planned) in entry.sizes() {
        let stamp = made_of.clone().update(format!("{planned:?}").as_bytes()).finalize().to_hex();
        let (path, params) = (places.plan(&entry.name, size), places.params(&entry.name, size));
        let stamp_path = path.with_extension("stamp");
        let is_there = path.is_file() && params.is_file();
        if is_there && fs::read_to_string(&stamp_path).is_ok_and(|found| found == stamp.as_str()) {
            println!("[heman] {} {}: planned before", entry.name, size.name());
            continue;
        }
        let (network, inputs) = match &loaded {
            Some(loaded) => loaded,
            None => loaded.insert(load(&model, &calibration, &entry)?),
        };
        make_folder_of(&path)?;
        // A plan without its stamp is made again.
        let _ = fs::remove_file(&stamp_path);
        make(network, inputs, (size, planned), (&path, &params))?;
        fs::write(&stamp_path, stamp.as_str()).map_err(|error| StageError::file(&stamp_path, error))?;
    }
    Ok(())
}

/// The network, and the calibration images as its inputs.
fn load(model: &Path, calibration: &Path, entry: &Entry) -> Result<(Network, Vec<Vec<f32>>), StageError> {
    let network = import_file(model).map_err(|error| StageError::file(model, error))?;
    let images = images(calibration)?;
    let (each, preparation) = (entry.preparation.pixels(), &entry.preparation);
    if !images.len().is_multiple_of(each) {
        return Err(StageError::file(calibration, format!("images do not have {each} pixels")));
    }
    let images = images.chunks_exact(each).take(entry.calibration_images.unwrap_or(usize::MAX));
    Ok((network, images.map(|image| preparation.apply(image).collect()).collect()))
}

/// Pixels in 0..1 of the array `images` of bytes in a `.npz`.
fn images(path: &Path) -> Result<Vec<f32>, StageError> {
    let read = || -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut bytes = Vec::new();
        ZipArchive::new(File::open(path)?)?.by_name("images.npy")?.read_to_end(&mut bytes)?;
        Ok(NpyFile::new(Cursor::new(bytes))?.into_vec()?)
    };
    let bytes = read().map_err(|error| StageError::file(path, error))?;
    Ok(bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect())
}

fn make(
    network: &Network,
    inputs: &[Vec<f32>],
    (size, planned): (Size, &Planned),
    (path, params): (&Path, &Path),
) -> Result<(), StageError> {
    let start = Instant::now();
    let derive = |max_loss| {
        let (task, batch) = (Task::Classify, planned.batch);
        let budget = LossBudget { max_loss, task, ..LossBudget::default() };
        let ckks = ckks::planner::Options { budget, batch, ..Default::default() };
        let tfhe = tfhe::planner::options::Options { budget, ..Default::default() };
        planner::plan(planned.scheme, network, inputs, &Options { tfhe, ckks }, &NoProgress)
    };
    let derived = match derive(planned.max_loss) {
        // A network that the harness trained anew may be a little harder to approximate than the one before.
        Err(PlanError::Polynomials { best, max_loss }) if best < MOST_LOSS => {
            println!("[heman] {}: polynomials lose {best:.4}, not the {max_loss} that are asked for", size.name());
            derive(best * (1.0 + 1e-9))
        }
        derived => derived,
    };
    let plan = derived.map_err(|reason| StageError::Plan { size, reason })?.plan;
    let mut file = File::create(path).map_err(|error| StageError::file(path, error))?;
    plan.seal_to(&mut file).map_err(|error| StageError::file(path, error))?;
    fs::write(params, plan.params_json()).map_err(|error| StageError::file(params, error))?;
    let public = plan.params();
    println!(
        "[heman] {}: {}, {} input(s) a run, planned in {:.1} s",
        size.name(),
        public.scheme().describe(),
        public.inputs_per_run(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
