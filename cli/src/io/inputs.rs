//! Inputs of models that take several, by name, and the shapes of arrays without their values.

use std::path::{Path, PathBuf};

use heman_arrays::{Arrays, Entry};
use heman_core::model::network::TensorInfo;
use heman_import::Hint;

use super::place::input_name;
use super::samples::{Array, Samples, batch_of, read_arrays, read_samples};
use super::spans::reading;
use crate::error::CliError;

/// Most arrays whose shapes are looked at.
const MAX_HINTS: usize = 64;

/// Names and shapes of the arrays of a file or folder, as far as they can be read: their values are read elsewhere,
/// where what cannot be read is an error.
pub fn array_shapes(path: &Path) -> Vec<Hint> {
    // A stream is read once, where its values are.
    if !path.is_dir() && !path.is_file() {
        return Vec::new();
    }
    let Ok(arrays) = Arrays::open(path) else { return Vec::new() };
    let hint = |entry: &Entry| (entry.stem().to_string(), entry.header.shape.clone());
    let mut shapes: Vec<Hint> = arrays.entries().iter().map(hint).filter(|(name, _)| name != "labels").collect();
    if !arrays.is_folder() && !arrays.is_archive() {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        shapes.iter_mut().for_each(|hint| hint.0.clone_from(&name));
    }
    // Where one array is called images, the others are something else.
    shapes.sort_by_key(|(name, _)| name != "images");
    shapes.truncate(MAX_HINTS);
    shapes
}

/// Reads samples for a model of the given inputs: for one input as [`read_samples`], for several from an archive or a
/// folder with an array a name, their values one input after another.
pub fn read_inputs(path: &Path, inputs: &[TensorInfo]) -> Result<Samples, CliError> {
    let _reading = reading(path, "inputs").entered();
    if let [only] = inputs {
        return read_samples(path, &only.shape);
    }
    let arrays = read_arrays(path, |name| name != "labels")?;
    let by_place = arrays.len() == inputs.len()
        && (0..arrays.len()).all(|at| arrays.iter().any(|(name, _)| has_name(name, &format!("arr_{at}"))));
    let mut found = Vec::with_capacity(inputs.len());
    for (at, input) in inputs.iter().enumerate() {
        let wanted = if by_place { format!("arr_{at}") } else { input.name.clone() };
        let Some((name, array)) = arrays.iter().find(|(name, _)| has_name(name, &wanted)) else {
            return Err(CliError::file(
                path,
                format!(
                    "there is no array for the input {}; the model takes {}: give an .npz (or a folder of .npy) with an \
                     array of each name",
                    input.name,
                    listed(inputs)
                ),
            ));
        };
        found.push((name.as_str(), array));
    }
    interleave(&found, inputs)
}

/// Reads samples from one file an input, each given as `name=file`; a single path is read as [`read_inputs`] does.
pub fn read_named_inputs(given: &[PathBuf], inputs: &[TensorInfo]) -> Result<Samples, CliError> {
    if let [only] = given
        && !inputs.iter().any(|input| inputs.len() > 1 && file_for(only, &input.name).is_some())
    {
        return read_inputs(input_name(only), inputs);
    }
    let mut arrays: Vec<(String, Array)> = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut files = given.iter().filter_map(|given| file_for(given, &input.name));
        let (Some(file), None) = (files.next(), files.next()) else {
            return Err(CliError::usage(format!(
                "the model takes {}: give one .npz with an array of each name, or one file each as --input {}=FILE",
                listed(inputs),
                input.name
            )));
        };
        let [one]: [(String, Array); 1] = read_arrays(&file, |_| true)?
            .try_into()
            .map_err(|_| CliError::file(&file, "one array is needed for the input"))?;
        arrays.push(one);
    }
    if given.len() > inputs.len() {
        return Err(CliError::usage(format!("more files are given than inputs; the model takes {}", listed(inputs))));
    }
    let arrays: Vec<(&str, &Array)> = arrays.iter().map(|(name, array)| (name.as_str(), array)).collect();
    interleave(&arrays, inputs)
}

/// The files that inputs are read from, whatever they are called: `-`, a path, or what follows `name=`.
pub fn files_of(given: &[PathBuf]) -> Vec<PathBuf> {
    let behind_name = |path: &PathBuf| path.to_str()?.split_once('=').map(|(_, file)| PathBuf::from(file));
    given.iter().flat_map(|path| [Some(input_name(path).to_path_buf()), behind_name(path)]).flatten().collect()
}

/// The file of `name=file`, where the name is the given one.
fn file_for(given: &Path, name: &str) -> Option<PathBuf> {
    given.to_str()?.strip_prefix(name)?.strip_prefix('=').map(PathBuf::from)
}

fn listed(inputs: &[TensorInfo]) -> String {
    let names: Vec<String> = inputs.iter().map(|input| format!("{} {:?}", input.name, input.shape)).collect();
    format!("the inputs {}", names.join(", "))
}

/// Whether an entry of an archive or a folder is the array of that name.
fn has_name(entry: &str, name: &str) -> bool {
    let before = entry.strip_suffix(".npy").and_then(|entry| entry.strip_suffix(name));
    before.is_some_and(|before| before.is_empty() || before.ends_with(['/', ' ']))
}

/// The values of all inputs of one sample after another.
fn interleave(arrays: &[(&str, &Array)], inputs: &[TensorInfo]) -> Result<Samples, CliError> {
    let mut counts = Vec::with_capacity(inputs.len());
    for ((name, array), input) in arrays.iter().zip(inputs) {
        counts.push(batch_of(&array.shape, &input.shape).ok_or_else(|| {
            CliError::bad_file(format!(
                "{name}: shape {:?} does not fit the input {} {:?}",
                array.shape, input.name, input.shape
            ))
        })?);
    }
    let count = counts.first().map_or(0, |&(count, _)| count);
    if let Some(at) = counts.iter().position(|&(own, _)| own != count) {
        return Err(CliError::bad_file(format!(
            "{} holds {count} input(s), {} holds {}",
            arrays[0].0, arrays[at].0, counts[at].0
        )));
    }
    if count == 0 {
        return Err(CliError::bad_file("there are no inputs"));
    }
    let mut values = Vec::with_capacity(count * inputs.iter().map(TensorInfo::len).sum::<usize>());
    for sample in 0..count {
        for ((_, array), input) in arrays.iter().zip(inputs) {
            values.extend_from_slice(&array.values.part(sample * input.len()..(sample + 1) * input.len()));
        }
    }
    Ok(Samples { values: values.into(), count, batched: counts.iter().any(|&(_, batched)| batched) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, shape: &[usize]) -> TensorInfo {
        TensorInfo { name: name.into(), shape: shape.to_vec() }
    }

    fn array(shape: &[usize], values: &[f32]) -> Array {
        Array { shape: shape.to_vec(), values: values.to_vec().into() }
    }

    #[test]
    fn the_inputs_of_a_sample_stand_together() {
        let inputs = [input("a", &[1, 2]), input("b", &[1, 1])];
        let (a, b) = (array(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), array(&[2, 1], &[5.0, 6.0]));
        let samples = interleave(&[("a", &a), ("b", &b)], &inputs).expect("they fit");
        assert_eq!(
            (samples.values, samples.count, samples.batched),
            (vec![1.0, 2.0, 5.0, 3.0, 4.0, 6.0].into(), 2, true)
        );
        let short = array(&[1, 1], &[5.0]);
        assert!(interleave(&[("a", &a), ("b", &short)], &inputs).is_err(), "one of two samples");
        assert!(interleave(&[("a", &b), ("b", &b)], &inputs).is_err(), "another shape");
    }

    #[test]
    fn entries_are_known_by_their_whole_name() {
        assert!(has_name("x.npz: a.npy", "a") && has_name("folder/a.npy", "a") && has_name("in:0.npy", "in:0"));
        assert!(!has_name("x.npz: data.npy", "a") && !has_name("a", "a"));
        assert_eq!(file_for(Path::new("in:0=x=1.npy"), "in:0"), Some(PathBuf::from("x=1.npy")));
        assert_eq!(file_for(Path::new("in=x.npy"), "i"), None);
    }

    #[test]
    fn shapes_are_read_from_headers() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = super::super::samples::npy_bytes(&[3, 2], &[0.0_f32; 6]).expect("encodes");
        let file = folder.path().join("a.npy");
        std::fs::write(&file, &bytes).expect("writes");
        std::fs::write(folder.path().join("labels.npy"), &bytes).expect("writes");
        assert_eq!(array_shapes(&file), [("a".to_string(), vec![3, 2])]);
        assert_eq!(array_shapes(folder.path()), [("a".to_string(), vec![3, 2])]);
        assert!(array_shapes(&folder.path().join("none")).is_empty());
    }
}
