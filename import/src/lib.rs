//! From an ONNX file to a [`Network`]: tract reads, types and simplifies the graph, `lower` turns it into affine rows
//! and functions.

mod element;
mod error;
mod lower;
mod onnx;
mod ops;
mod plain;
mod pointwise;
mod window;

use std::path::Path;

pub use error::{ImportError, UnsupportedNode};
pub use onnx::MAX_FILE_BYTES;
pub use plain::PlainModel;

use heman_core::model::network::Network;

use crate::onnx::{guarded, read, typed_model};

/// Reads and lowers a model.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_file(path: &Path) -> Result<Network, ImportError> {
    import_bytes(&read(path)?)
}

/// Lowers a model given as the bytes of an ONNX file.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_bytes(bytes: &[u8]) -> Result<Network, ImportError> {
    guarded(|| {
        let (model, input, operators) = typed_model(bytes)?;
        lower::Lowering::new(&model, &operators).run(input)
    })
}
