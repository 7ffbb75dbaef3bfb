//! The model in plaintext: what encrypted results are compared with.

use std::path::Path;
use std::sync::Arc;

use tract_onnx::prelude::*;

use crate::error::ImportError;
use crate::onnx::{guarded, read, typed_model};

/// A runnable plaintext model.
pub struct PlainModel {
    model: Arc<TypedRunnableModel>,
    input_shape: Vec<usize>,
}

impl PlainModel {
    /// Reads a model.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn from_file(path: &Path) -> Result<Self, ImportError> {
        Self::new(&read(path)?, path.parent())
    }

    /// Takes a model given as the bytes of an ONNX file.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImportError> {
        Self::new(bytes, None)
    }

    fn new(bytes: &[u8], folder: Option<&Path>) -> Result<Self, ImportError> {
        guarded(|| {
            let (model, input, _) = typed_model(bytes, folder)?;
            let model = model.into_optimized().and_then(TypedModel::into_runnable);
            let model = model.map_err(|e| ImportError::Plain(format!("{e:#}")))?;
            Ok(Self { model, input_shape: input.shape })
        })
    }

    /// Shape of one input, its batch axis of 1 included.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The output for one input, integers as floats.
    ///
    /// # Errors
    /// [`ImportError::Plain`].
    pub fn run(&self, input: &[f32]) -> Result<Vec<f32>, ImportError> {
        guarded(|| {
            let run = || -> TractResult<Vec<f32>> {
                let input = Tensor::from_shape(&self.input_shape, input)?;
                let output = self.model.run(tvec!(input.into_tvalue()))?;
                let floats = output[0].cast_to::<f32>()?;
                Ok(floats.to_plain_array_view::<f32>()?.iter().copied().collect())
            };
            run().map_err(|e| ImportError::Plain(format!("{e:#}")))
        })
    }
}
