//! From an ONNX file to a [`Network`]: tract reads, types and simplifies the graph, `lower` turns it into affine rows
//! and functions.

mod bounded;
mod client_steps;
mod cut;
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
mod pool;
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

use heman_core::deadline::Deadline;
use heman_core::model::network::Network;

use crate::onnx::{guarded_until, read, typed_model};

/// Reads and lowers a model; its weights may lie in other files of its folder.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_file(path: &Path) -> Result<Network, ImportError> {
    import_file_with(path, &[], Deadline::NEVER)
}

/// As [`import_file`], for samples of the given names and shapes: they settle the axes that the file leaves free, and
/// whether a fixed batch in the file is one input or several.
///
/// The work is bounded by what is in the file, and by the deadline where there is one.
///
/// # Errors
/// As [`import_file`]; [`ImportError::Late`] behind the deadline.
pub fn import_file_with(path: &Path, hints: &[Hint], deadline: Deadline) -> Result<Network, ImportError> {
    import(read(path)?, path.parent(), hints, deadline)
}

/// Lowers a model given as the bytes of an ONNX file that holds all of its weights.
///
/// # Errors
/// [`ImportError`]; all unsupported nodes are reported at once.
pub fn import_bytes(bytes: &[u8]) -> Result<Network, ImportError> {
    import(bytes.to_vec(), None, &[], Deadline::NEVER)
}

fn import(bytes: Vec<u8>, folder: Option<&Path>, hints: &[Hint], deadline: Deadline) -> Result<Network, ImportError> {
    let (folder, hints) = (folder.map(Path::to_path_buf), hints.to_vec());
    guarded_until(deadline, move || {
        let typed = typed_model(&bytes, folder.as_deref(), &hints, deadline)?;
        let lower = |cuts| lower::Lowering::new(&typed.model, &typed.operators, deadline, cuts).run(&typed.interface);
        match lower(false) {
            Err(ImportError::TooComplex(_)) => lower(true),
            lowered => lowered,
        }
    })
}
