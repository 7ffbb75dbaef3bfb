//! Test inputs and expected outputs.

use std::io::Read;
use std::path::Path;

use npyz::{NpyFile, Order, WriterBuilder};

/// Outputs of a batch: numbers in row-major order, the batch first.
pub struct Outputs {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// How far outputs are from the expected ones.
pub struct Difference {
    /// Inputs compared.
    pub inputs: usize,
    /// Largest absolute difference of an element.
    pub largest: f64,
    /// The same over the deviation of the expected outputs around their mean; nothing where that is zero.
    pub relative: Option<f64>,
}

impl Outputs {
    /// Reads a `.npy`, or `outputs` of an archive.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let bytes = if bytes.starts_with(b"PK") { entry(path, "outputs.npy")? } else { bytes };
        let (shape, values) = numbers(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { shape, values })
    }

    /// Compares the outputs of the first inputs with these.
    pub fn difference(&self, got: &Self) -> Result<Difference, String> {
        let (all, inputs) = (self.shape.first().copied().unwrap_or(1), got.shape.first().copied().unwrap_or(1));
        let each = self.values.len() / all.max(1);
        if inputs > all || each * inputs != got.values.len() {
            return Err(format!("decrypted {:?}, expected {:?}", got.shape, self.shape));
        }
        let pairs = got.values.iter().zip(&self.values);
        let largest = pairs.fold(0.0_f64, |most, (got, want)| most.max((got - want).abs()));
        let count = self.values.len() as f64;
        let mean = self.values.iter().sum::<f64>() / count;
        let deviation = (self.values.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / count).sqrt();
        Ok(Difference { inputs, largest, relative: (deviation > 0.0).then(|| largest / deviation) })
    }
}

/// The first `count` of the test inputs as a `.npy` file.
pub fn first_inputs(path: &Path, count: usize) -> Result<Vec<u8>, String> {
    let (mut shape, mut values) = numbers(&entry(path, "images.npy")?)?;
    let all = shape.first().copied().filter(|&all| all > 0).ok_or("there are no test inputs")?;
    values.truncate(values.len() / all * count.min(all));
    shape[0] = count.min(all);
    let shape: Vec<u64> = shape.iter().map(|&length| length as u64).collect();
    let mut bytes = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().map(|&value| value as f32))?;
        writer.finish()
    };
    write().map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn entry(path: &Path, name: &str) -> Result<Vec<u8>, String> {
    let fail = |error: String| format!("{}: {name}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    let mut found = archive.by_name(name).map_err(|error| fail(error.to_string()))?;
    found.read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
    Ok(bytes)
}

fn numbers(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>), String> {
    let file = NpyFile::new(bytes).map_err(|error| error.to_string())?;
    if file.order() == Order::Fortran && file.shape().len() > 1 {
        return Err("its order is Fortran's".into());
    }
    let shape = file.shape().iter().map(|&length| length as usize).collect();
    let kind = file.dtype().descr();
    macro_rules! read_as {
        ($file:ident, $($kind:ty),*) => {
            $(let $file = match $file.try_data::<$kind>() {
                Ok(data) => {
                    let values: std::io::Result<Vec<f64>> = data.map(|item| item.map(|v| v as f64)).collect();
                    return values.map(|values| (shape, values)).map_err(|error| error.to_string());
                }
                Err(file) => file,
            };)*
        };
    }
    read_as!(file, f32, f64, i64, i32, u8);
    let file = match file.try_data::<bool>() {
        Ok(data) => {
            let values: std::io::Result<Vec<f64>> = data.map(|item| item.map(|v| f64::from(u8::from(v)))).collect();
            return values.map(|values| (shape, values)).map_err(|error| error.to_string());
        }
        Err(file) => file,
    };
    drop(file);
    Err(format!("its elements are of type {kind}"))
}
