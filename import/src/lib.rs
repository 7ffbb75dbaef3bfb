//! From an ONNX file to a [`Network`]: tract reads, types and simplifies the graph, `lower` turns it into affine rows
//! and functions.

mod bounded;
mod client_steps;
mod element;
mod error;
mod expand;
mod interface;
mod leave;
mod limits;
mod linear_map;
mod lower;
mod node_names;
mod norm;
mod onnx;
mod ops;
mod plain;
mod pointwise;
mod program;
mod rewrite;
mod tail;
mod whole;
mod window;

use std::path::Path;

pub use error::{ImportError, UnsupportedNode};
pub use interface::Hint;
pub use onnx::MAX_FILE_BYTES;
pub use plain::PlainModel;

use heman_core::model::network::Network;

use crate::onnx::{guarded, read, typed_model};

/// Reads and lowers a model; its weights may lie in other files of its folder.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_file(path: &Path) -> Result<Network, ImportError> {
    import_file_with(path, &[])
}

/// As [`import_file`], for samples of the given names and shapes: they settle the axes that the file leaves free, and
/// whether a fixed batch in the file is one input or several.
///
/// # Errors
/// As [`import_file`].
pub fn import_file_with(path: &Path, hints: &[Hint]) -> Result<Network, ImportError> {
    import(&read(path)?, path.parent(), hints)
}

/// Lowers a model given as the bytes of an ONNX file that holds all of its weights.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_bytes(bytes: &[u8]) -> Result<Network, ImportError> {
    import(bytes, None, &[])
}

fn import(bytes: &[u8], folder: Option<&Path>, hints: &[Hint]) -> Result<Network, ImportError> {
    guarded(|| {
        let typed = typed_model(bytes, folder, hints)?;
        lower::Lowering::new(&typed.model, &typed.operators).run(&typed.interface)
    })
}
