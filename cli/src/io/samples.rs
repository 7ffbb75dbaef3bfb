//! Plaintext tensors: inputs of a model and labels, from arrays in files.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use heman_arrays::labels::labels_of_bytes;
use heman_arrays::order::is_series;
use heman_arrays::{Arrays, Entry, Labels, Numbers};
use heman_client::{ClientError, check_inputs};
use heman_core::either::params::Params;
use npyz::WriterBuilder;

use crate::error::{CliError, one_line};
use crate::say::say;

/// What data that are compiled in are called.
const EMBEDDED: &str = "embedded data";
/// Inputs that are checked at a time.
const CHECKED: usize = 256;
/// Most names that a sentence lists.
const MOST_NAMES: usize = 6;

/// A batch of inputs of one model, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// All values.
    pub values: Numbers,
    /// Number of inputs.
    pub count: usize,
    /// Whether the data had a batch axis (or came from several files).
    pub batched: bool,
}

impl Samples {
    /// Values of one input.
    fn each(&self) -> usize {
        self.values.len() / self.count.max(1)
    }

    /// Some inputs, one after the other.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn inputs(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        self.values.part(range.start * self.each()..range.end * self.each())
    }

    /// One input.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn input(&self, at: usize) -> Cow<'_, [f32]> {
        self.inputs(at..at + 1)
    }

    /// Checks all inputs as encryption does.
    ///
    /// # Errors
    /// As [`check_inputs`].
    pub fn check(&self, params: &Params) -> Result<(), ClientError> {
        let shifted = |error, first: usize| match error {
            ClientError::InputRange { input, index, low, high } => {
                ClientError::InputRange { input: first + input, index, low, high }
            }
            other => other,
        };
        let mut parts = self.parts(CHECKED);
        parts.try_for_each(|(first, values)| check_inputs(params, &values).map_err(|error| shifted(error, first)))
    }

    /// The inputs one by one.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, [f32]>> {
        (0..self.count).map(|at| self.input(at))
    }

    /// The inputs in parts of at most so many, one after the other, each with the number of its first one.
    pub fn parts(&self, most: usize) -> impl Iterator<Item = (usize, Cow<'_, [f32]>)> {
        let most = most.max(1);
        let part = move |first: usize| (first, self.inputs(first..first.saturating_add(most).min(self.count)));
        (0..self.count).step_by(most).map(part)
    }

    /// These inputs.
    pub fn of(&self, inputs: &[usize]) -> Self {
        let each = self.each();
        let values = self.values.parts(inputs.iter().map(|&at| at * each..(at + 1) * each));
        Self { values, count: inputs.len(), batched: self.batched }
    }

    /// The first `count` inputs.
    pub fn truncate(&mut self, count: usize) {
        let each = self.each();
        self.count = self.count.min(count);
        self.values.truncate(self.count * each);
    }
}

/// A tensor from a file.
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub values: Numbers,
}

/// Reads a file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let fail = |error: std::io::Error| CliError::bad_file(format!("cannot read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(CliError::bad_file(format!("cannot read {}: it is a folder", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(CliError::file(path, format!("the file is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads inputs for a model of the given input shape.
pub fn read_samples(path: &Path, shape: &[usize]) -> Result<Samples, CliError> {
    let is_zip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    collect(Arrays::open(path)?, shape, is_zip)
}

/// Reads inputs that are compiled in.
pub fn samples_from_npz(bytes: &'static [u8], shape: &[usize]) -> Result<Samples, CliError> {
    collect(Arrays::of_bytes(EMBEDDED, bytes.to_vec())?, shape, false)
}

/// Reads labels that are compiled in.
pub fn labels_from_npz(bytes: &'static [u8]) -> Result<Option<Vec<i64>>, CliError> {
    match labels_of_bytes(EMBEDDED, bytes)? {
        Some(Labels::Numbers(values)) if values.iter().all(|value| value.fract() == 0.0) => {
            Ok(Some(values.into_iter().map(|value| value as i64).collect()))
        }
        Some(_) => Err(CliError::bad_file(format!("{EMBEDDED}: labels must be whole numbers"))),
        None => Ok(None),
    }
}

/// Reads arrays of numbers whose names, without folder and extension, are selected; each with its full name, in order.
pub(super) fn read_arrays(path: &Path, select: impl Fn(&str) -> bool) -> Result<Vec<(String, Array)>, CliError> {
    let mut arrays = Arrays::open(path)?;
    let entries: Vec<Entry> = arrays.entries().iter().filter(|entry| select(entry.stem())).cloned().collect();
    arrays.check_size(&entries)?;
    let mut read = |entry: &Entry| {
        let values = arrays.read(entry)?;
        Ok((one_line(&arrays.full_name(entry)), Array { shape: entry.header.shape.clone(), values }))
    };
    entries.iter().map(&mut read).collect()
}

fn collect(mut arrays: Arrays, shape: &[usize], is_zip: bool) -> Result<Samples, CliError> {
    let entries = choose(&arrays, shape, is_zip)?;
    let mut samples =
        Samples { values: Numbers::default(), count: 0, batched: arrays.is_folder() || entries.len() > 1 };
    for entry in &entries {
        let (count, has_batch) = batch_of(&entry.header.shape, shape).ok_or_else(|| {
            let (name, found) = (one_line(&arrays.full_name(entry)), &entry.header.shape);
            CliError::bad_file(format!("{name}: shape {found:?} does not fit the model's input {shape:?}"))
        })?;
        samples.count = samples.count.saturating_add(count);
        samples.batched |= has_batch;
    }
    if samples.count == 0 {
        return Err(CliError::bad_file(format!("{}: there are no inputs", arrays.name())));
    }
    arrays.check_size(&entries)?;
    for entry in &entries {
        samples.values.append(arrays.read(entry)?);
    }
    Ok(samples)
}

/// The arrays that are the inputs, in order; where it is not plain which they are, says so or refuses.
fn choose(arrays: &Arrays, shape: &[usize], is_zip: bool) -> Result<Vec<Entry>, CliError> {
    let mut entries: Vec<Entry> = arrays.entries().iter().filter(|entry| entry.stem() != "labels").cloned().collect();
    // Where one array is called images, the others are something else.
    if entries.iter().any(|entry| entry.stem() == "images") {
        entries.retain(|entry| entry.stem() == "images");
    }
    if entries.len() < 2 {
        return Ok(entries);
    }
    let name = arrays.name();
    let is_series = is_series(entries.iter().map(|entry| entry.name.as_str()));
    // The arrays of a .npz have names of their own; a folder's or a .zip's are files, one an input.
    let is_npz = arrays.is_archive() && !is_zip;
    if is_npz && !is_series {
        let all = names(&entries);
        entries.retain(|entry| batch_of(&entry.header.shape, shape).is_some());
        if entries.len() != 1 {
            let fitting = if entries.is_empty() { "none fits" } else { "more than one fits" };
            return Err(CliError::bad_file(format!(
                "{name} holds arrays of different names ({all}), of which {fitting} the model's input {shape:?}; \
                 call the inputs images, number them (arr_0, arr_1, ...), or give them alone"
            )));
        }
        say(&format!("note: {name}: of the arrays {all}, {} is taken, which alone fits the input", names(&entries)));
    } else if is_npz || !is_series {
        let (count, all) = (entries.len(), names(&entries));
        say(&format!("note: {name}: {count} arrays are taken as one batch, in this order: {all}"));
    }
    Ok(entries)
}

/// The names of arrays for a sentence, those in the middle left out where there are many.
fn names(entries: &[Entry]) -> String {
    let list = |entries: &[Entry]| {
        let names: Vec<String> = entries.iter().map(|entry| entry.stem().escape_default().to_string()).collect();
        names.join(", ")
    };
    match entries {
        [first @ .., last] if entries.len() > MOST_NAMES => {
            format!("{}, ... {}", list(&first[..MOST_NAMES - 1]), list(std::slice::from_ref(last)))
        }
        _ => list(entries),
    }
}

/// How many inputs of shape `wanted` an array of shape `found` holds, and whether it has a batch axis.
pub(super) fn batch_of(found: &[usize], wanted: &[usize]) -> Option<(usize, bool)> {
    let single = wanted.strip_prefix(&[1]);
    if found == wanted || single == Some(found) {
        return Some((1, false));
    }
    let (&count, rest) = found.split_first()?;
    (single == Some(rest) || rest == wanted).then_some((count, true))
}

/// A `.npy` file.
pub fn npy_bytes<T: npyz::AutoSerialize + Copy>(shape: &[usize], values: &[T]) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let shape: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
    let write = || -> std::io::Result<()> {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    };
    let mut write = write;
    write().map_err(|error| CliError::new(format!("cannot encode the result: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_recognised_by_shape() {
        assert_eq!(batch_of(&[1, 4, 4], &[1, 4, 4]), Some((1, false)));
        assert_eq!(batch_of(&[4, 4], &[1, 4, 4]), Some((1, false)));
        assert_eq!(batch_of(&[7, 4, 4], &[1, 4, 4]), Some((7, true)));
        assert_eq!(batch_of(&[7, 1, 4, 4], &[1, 4, 4]), Some((7, true)));
        assert_eq!(batch_of(&[7, 5], &[5]), Some((7, true)));
        assert_eq!(batch_of(&[4, 5], &[1, 4, 4]), None);
    }
}
