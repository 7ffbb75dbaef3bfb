//! The model in plaintext: what encrypted results are compared with.

use std::path::Path;
use std::sync::Arc;

use tract_onnx::prelude::*;

use crate::error::ImportError;
use crate::interface::Hint;
use crate::onnx::{guarded, read, typed_model};
use heman_core::deadline::Deadline;
use heman_core::model::network::TensorInfo;

/// A runnable plaintext model.
pub struct PlainModel {
    model: Arc<TypedRunnableModel>,
    inputs: Vec<(TensorInfo, DatumType)>,
}

impl PlainModel {
    /// Reads a model.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn from_file(path: &Path) -> Result<Self, ImportError> {
        Self::new(&read(path)?, path.parent(), &[])
    }

    /// Takes a model given as the bytes of an ONNX file.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImportError> {
        Self::new(bytes, None, &[])
    }

    /// Takes a model for samples of the given names and shapes, as [`crate::import_file_with`].
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn from_bytes_with(bytes: &[u8], hints: &[Hint]) -> Result<Self, ImportError> {
        Self::new(bytes, None, hints)
    }

    fn new(bytes: &[u8], folder: Option<&Path>, hints: &[Hint]) -> Result<Self, ImportError> {
        guarded(|| {
            let failed = |e: TractError| ImportError::Plain(format!("{e:#}"));
            let typed = typed_model(bytes, folder, hints, Deadline::NEVER)?;
            let kinds: TractResult<Vec<DatumType>> =
                (0..typed.interface.inputs.len()).map(|at| Ok(typed.model.input_fact(at)?.datum_type)).collect();
            let inputs = typed.interface.inputs.into_iter().zip(kinds.map_err(failed)?).collect();
            let model = typed.model.into_optimized().and_then(TypedModel::into_runnable).map_err(failed)?;
            Ok(Self { model, inputs })
        })
    }

    /// Shape of the first input, its batch axis of 1 included.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        self.inputs.first().map_or(&[], |(input, _)| &input.shape)
    }

    /// The first output for one input (all inputs one after another), integers as floats.
    ///
    /// # Errors
    /// [`ImportError::Plain`].
    pub fn run(&self, input: &[f32]) -> Result<Vec<f32>, ImportError> {
        let output = self.run_all(input)?.into_iter().next();
        output.ok_or_else(|| ImportError::Plain("it has no output of numbers".into()))
    }

    /// All outputs that are numbers, in the order of the graph; integers as floats.
    ///
    /// # Errors
    /// [`ImportError::Plain`].
    pub fn run_all(&self, input: &[f32]) -> Result<Vec<Vec<f32>>, ImportError> {
        guarded(|| {
            let run = || -> TractResult<Vec<Vec<f32>>> {
                let mut rest = input;
                let mut inputs: TVec<TValue> = tvec!();
                for (tensor, kind) in &self.inputs {
                    let (own, left) = rest
                        .split_at_checked(tensor.len())
                        .ok_or_else(|| TractError::msg("there are too few values"))?;
                    rest = left;
                    inputs.push(Tensor::from_shape(&tensor.shape, own)?.cast_to_dt(*kind)?.into_owned().into_tvalue());
                }
                let outputs = self.model.run(inputs)?;
                let numbers = outputs.iter().filter(|output| output.datum_type() != DatumType::String);
                numbers
                    .map(|output| {
                        let floats = output.cast_to::<f32>()?;
                        Ok(floats.to_plain_array_view::<f32>()?.iter().copied().collect())
                    })
                    .collect()
            };
            run().map_err(|e| ImportError::Plain(format!("{e:#}")))
        })
    }
}
