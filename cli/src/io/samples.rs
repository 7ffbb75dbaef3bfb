//! Plaintext tensors: `.npy`, `.npz`, `.zip` of `.npy`, folders of `.npy`, all in bounded memory.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use npyz::{NpyFile, Order, WriterBuilder};

use crate::error::CliError;

/// Most bytes of tensor data that one argument may decompress to.
const MAX_BYTES: u64 = 2 << 30;
/// Most files of an archive or a folder.
const MAX_FILES: usize = 1 << 20;

/// A batch of inputs of one model, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// All values.
    pub values: Vec<f32>,
    /// Number of inputs.
    pub count: usize,
    /// Whether the data had a batch axis (or came from several files).
    pub batched: bool,
}

impl Samples {
    /// The inputs one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.values.len() / self.count.max(1))
    }

    /// These inputs.
    pub fn of(&self, inputs: &[usize]) -> Self {
        let each = self.values.len() / self.count.max(1);
        let values = inputs.iter().flat_map(|&at| &self.values[at * each..(at + 1) * each]).copied().collect();
        Self { values, count: inputs.len(), batched: self.batched }
    }

    /// The first `count` inputs.
    pub fn truncate(&mut self, count: usize) {
        let each = self.values.len() / self.count.max(1);
        self.count = self.count.min(count);
        self.values.truncate(self.count * each);
    }
}

/// A tensor from a file.
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// Reads a file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let fail = |error: std::io::Error| CliError::new(format!("cannot read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(CliError::new(format!("cannot read {}: it is a folder", path.display())));
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
    let arrays = read_arrays(path, |name| name != "labels")?;
    collect(arrays, shape, path.is_dir())
}

/// Reads inputs that are compiled in.
pub fn samples_from_npz(bytes: &[u8], shape: &[usize]) -> Result<Samples, CliError> {
    collect(read_archive(Path::new("embedded data"), bytes, |name| name != "labels")?, shape, false)
}

/// Reads labels that are compiled in.
pub fn labels_from_npz(bytes: &[u8]) -> Result<Option<Vec<i64>>, CliError> {
    labels(read_archive(Path::new("embedded data"), bytes, |name| name == "labels")?)
}

fn labels(arrays: Vec<(String, Array)>) -> Result<Option<Vec<i64>>, CliError> {
    let Some((name, array)) = arrays.into_iter().next() else { return Ok(None) };
    if array.values.iter().any(|v| v.fract() != 0.0) {
        return Err(CliError::new(format!("{name}: labels must be whole numbers")));
    }
    Ok(Some(array.values.into_iter().map(|v| v as i64).collect()))
}

fn collect(mut arrays: Vec<(String, Array)>, shape: &[usize], batched: bool) -> Result<Samples, CliError> {
    // Where one array is called images, the others are something else.
    if arrays.iter().any(|(name, _)| stem(name) == "images") {
        arrays.retain(|(name, _)| stem(name) == "images");
    }
    let several = arrays.len() > 1;
    let mut samples = Samples { values: Vec::new(), count: 0, batched: batched || several };
    for (name, array) in arrays {
        let (count, has_batch) = batch_of(&array.shape, shape).ok_or_else(|| {
            CliError::new(format!("{name}: shape {:?} does not fit the model's input {shape:?}", array.shape))
        })?;
        samples.count += count;
        samples.batched |= has_batch;
        samples.values.extend(array.values.iter().map(|&v| v as f32));
    }
    if samples.count == 0 {
        return Err(CliError::new("there are no inputs"));
    }
    Ok(samples)
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

pub(super) fn read_arrays(path: &Path, select: impl Fn(&str) -> bool) -> Result<Vec<(String, Array)>, CliError> {
    if path.is_dir() {
        return read_folder(path, select);
    }
    let bytes = read_bounded(path, MAX_BYTES)?;
    if bytes.starts_with(b"PK") {
        return read_archive(path, &bytes, select);
    }
    let name = path.display().to_string();
    Ok(vec![(name.clone(), parse(&bytes, MAX_BYTES).map_err(|error| CliError::file(path, error))?)])
}

fn stem(name: &str) -> &str {
    let file = name.rsplit(['/', ' ']).next().unwrap_or(name);
    file.strip_suffix(".npy").unwrap_or(file)
}

fn read_folder(path: &Path, select: impl Fn(&str) -> bool) -> Result<Vec<(String, Array)>, CliError> {
    let fail = |error: std::io::Error| CliError::new(format!("cannot read {}: {error}", path.display()));
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.extension().is_some_and(|extension| extension == "npy") && files.len() < MAX_FILES {
            files.push(file);
        }
    }
    files.sort();
    let mut left = MAX_BYTES;
    let mut arrays = Vec::new();
    for file in files {
        let name = file.display().to_string();
        if select(stem(&name)) {
            let bytes = read_bounded(&file, left)?;
            left -= bytes.len() as u64;
            arrays.push((name, parse(&bytes, MAX_BYTES).map_err(|error| CliError::file(&file, error))?));
        }
    }
    Ok(arrays)
}

fn read_archive(path: &Path, bytes: &[u8], select: impl Fn(&str) -> bool) -> Result<Vec<(String, Array)>, CliError> {
    let fail = |error: String| CliError::file(path, format!("not a sound archive: {error}"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| fail(e.to_string()))?;
    if archive.len() > MAX_FILES {
        return Err(fail(format!("more than {MAX_FILES} files")));
    }
    let mut names: Vec<String> =
        archive.file_names().filter(|name| name.ends_with(".npy") && select(stem(name))).map(str::to_string).collect();
    names.sort();
    let mut left = MAX_BYTES;
    let mut arrays = Vec::with_capacity(names.len());
    for name in names {
        let entry = archive.by_name(&name).map_err(|e| fail(e.to_string()))?;
        let mut content = Vec::new();
        entry.take(left + 1).read_to_end(&mut content).map_err(|e| fail(e.to_string()))?;
        if content.len() as u64 > left {
            return Err(CliError::file(path, format!("its content exceeds {MAX_BYTES} bytes")));
        }
        left -= content.len() as u64;
        let array = parse(&content, MAX_BYTES).map_err(|error| CliError::file(path, format!("{name}: {error}")))?;
        arrays.push((format!("{}: {name}", path.display()), array));
    }
    Ok(arrays)
}

/// Parses one `.npy` file of real numbers.
fn parse(bytes: &[u8], limit: u64) -> Result<Array, String> {
    let file = NpyFile::new(bytes).map_err(|e| format!("not a .npy file: {e}"))?;
    let shape: Option<Vec<usize>> = file.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or("its shape is too large")?;
    let count = shape.iter().try_fold(1_usize, |product, &d| product.checked_mul(d));
    // One byte an element at the least: a header cannot promise more than the file holds.
    if !count.is_some_and(|count| count as u64 <= limit && count <= bytes.len()) {
        return Err(format!("its header promises {shape:?}, more than the file holds"));
    }
    let fortran = file.order() == Order::Fortran;
    let values = numbers(file)?;
    let values = if fortran { to_c_order(&values, &shape) } else { values };
    Ok(Array { shape, values })
}

fn numbers(file: NpyFile<&[u8]>) -> Result<Vec<f64>, String> {
    let kind = file.dtype().descr();
    macro_rules! read_as {
        ($file:ident, $($kind:ty),*) => {
            $(let $file = match $file.try_data::<$kind>() {
                Ok(data) => {
                    let values: Result<Vec<f64>, _> = data.map(|item| item.map(|v| v as f64)).collect();
                    return values.map_err(|e| format!("truncated: {e}"));
                }
                Err(file) => file,
            };)*
        };
    }
    read_as!(file, f32, f64, i64, i32, u8, i8, u16, i16, u32, u64);
    drop(file);
    Err(format!("its elements are of type {kind}; real numbers are needed"))
}

fn to_c_order(values: &[f64], shape: &[usize]) -> Vec<f64> {
    (0..values.len())
        .map(|index| {
            let (mut rest, mut at, mut stride) = (index, 0, values.len());
            for &length in shape.iter().rev() {
                stride /= length;
                at += (rest % length) * stride;
                rest /= length;
            }
            values[at]
        })
        .collect()
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
    fn arrays_survive_a_round_trip_and_lies_do_not() {
        let bytes = npy_bytes(&[2, 3], &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("encodes");
        let array = parse(&bytes, MAX_BYTES).expect("parses");
        assert_eq!((array.shape.as_slice(), array.values[5]), ([2, 3].as_slice(), 6.0));
        for cut in [0, 5, 40, bytes.len() - 1] {
            assert!(parse(&bytes[..cut], MAX_BYTES).is_err(), "cut at {cut}");
        }
        let mut lie = bytes.clone();
        let at = lie.iter().position(|&byte| byte == b'(').expect("a shape") + 1;
        lie[at] = b'9';
        assert!(parse(&lie, MAX_BYTES).is_err(), "more rows than there are");
    }

    #[test]
    fn fortran_order_is_transposed() {
        assert_eq!(to_c_order(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], &[2, 3]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

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
