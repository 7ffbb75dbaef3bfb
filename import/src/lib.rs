//! From an ONNX file to a [`Network`]: tract reads, types and simplifies the graph, `lower` turns it into affine rows
//! and functions.

mod element;
mod error;
mod expand;
mod linear_map;
mod lower;
mod norm;
mod onnx;
mod ops;
mod plain;
mod pointwise;
mod rewrite;
mod whole;
mod window;

use std::path::Path;

pub use error::{ImportError, UnsupportedNode};
pub use onnx::MAX_FILE_BYTES;
pub use plain::PlainModel;

use heman_core::model::network::Network;

use crate::onnx::{guarded, read, typed_model};

/// Reads and lowers a model; its weights may lie in other files of its folder.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_file(path: &Path) -> Result<Network, ImportError> {
    import(&read(path)?, path.parent())
}

/// Lowers a model given as the bytes of an ONNX file that holds all of its weights.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_bytes(bytes: &[u8]) -> Result<Network, ImportError> {
    import(bytes, None)
}

fn import(bytes: &[u8], folder: Option<&Path>) -> Result<Network, ImportError> {
    guarded(|| {
        let (model, input, operators) = typed_model(bytes, folder)?;
        lower::Lowering::new(&model, &operators).run(input)
    })
}
