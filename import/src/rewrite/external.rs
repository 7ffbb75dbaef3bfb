//! Weights in files beside the model.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, TensorProto};

use super::graph::for_each_tensor;
use crate::error::ImportError;
use crate::onnx::MAX_FILE_BYTES;

/// Reads all weights that lie in other files into the graph. These files have to lie in `folder` or below, links
/// followed, and may hold [`MAX_FILE_BYTES`] in all.
///
/// # Errors
/// [`ImportError::Weights`].
pub(super) fn read_weights(graph: &mut GraphProto, folder: Option<&Path>) -> Result<(), ImportError> {
    let mut left = MAX_FILE_BYTES;
    for_each_tensor(graph, &mut |tensor| {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(());
        }
        let bytes = read(tensor, folder, left)?;
        left -= bytes.len() as u64;
        tensor.raw_data = bytes;
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    })
}

fn read(tensor: &TensorProto, folder: Option<&Path>, left: u64) -> Result<Vec<u8>, ImportError> {
    let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|e| e.value.as_str());
    let location = entry("location").unwrap_or_default();
    let fail =
        |reason: String| ImportError::Weights(format!("those of {:?} lie in {location:?}, {reason}", tensor.name));
    let number = |key: &str| -> Result<Option<u64>, ImportError> {
        let number = entry(key).map(|text| text.trim().parse()).transpose();
        number.map_err(|_| fail(format!("and their {key} is not a number")))
    };
    let folder = folder.ok_or_else(|| fail("and the model's folder is not known; give the path of a file".into()))?;
    let path = within(folder, location).map_err(fail)?;
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?;
    let io = |error: std::io::Error| fail(format!("which cannot be read: {error}"));
    let mut file = std::fs::File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let length = length.unwrap_or_else(|| size.saturating_sub(offset));
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(fail(format!("which has {size} bytes instead of {length} from byte {offset} on")));
    }
    if length > left {
        return Err(ImportError::TooLarge { limit: MAX_FILE_BYTES });
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The regular file of that name in the folder.
fn within(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let parts = Path::new(location).components();
    let mut is_plain = !location.is_empty();
    parts.for_each(|part| is_plain &= matches!(part, Component::Normal(_) | Component::CurDir));
    if !is_plain {
        return Err("which is not a path within the model's folder; put the file beside the model".into());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let unreadable = |error: std::io::Error| format!("which cannot be read: {error}; put the file beside the model");
    let folder = folder.canonicalize().map_err(unreadable)?;
    let path = folder.join(location).canonicalize().map_err(unreadable)?;
    if !path.starts_with(&folder) {
        return Err("which leads out of the model's folder; put the file itself beside the model".into());
    }
    if !path.is_file() {
        return Err("which is not a regular file".into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::StringStringEntryProto;

    fn graph(entries: &[(&str, &str)]) -> GraphProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
        let tensor = TensorProto {
            name: "w".into(),
            data_location: Some(DataLocation::External as i32),
            external_data: entries.iter().map(entry).collect(),
            ..TensorProto::default()
        };
        GraphProto { initializer: vec![tensor], ..GraphProto::default() }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("heman-external-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("model")).expect("a folder");
        std::fs::write(folder.join("outside.bin"), b"secret").expect("a file");
        std::fs::write(folder.join("model/weights.bin"), b"0123456789").expect("a file");
        folder
    }

    #[test]
    fn a_range_of_a_file_beside_the_model_is_read() {
        let root = folder("range");
        let mut graph = graph(&[("location", "weights.bin"), ("offset", "2"), ("length", "3")]);
        read_weights(&mut graph, Some(&root.join("model"))).expect("reads");
        assert_eq!(graph.initializer[0].raw_data, b"234");
        std::fs::remove_dir_all(root).expect("removes");
    }

    #[test]
    fn nothing_is_read_outside_of_the_folder() {
        let root = folder("outside");
        let outside = root.join("outside.bin");
        #[cfg(unix)]
        std::os::unix::fs::symlink(&outside, root.join("model/link.bin")).expect("a link");
        let absolute = outside.to_string_lossy().into_owned();
        for location in ["../outside.bin", "link.bin", &absolute, "", "missing.bin"] {
            let mut graph = graph(&[("location", location)]);
            let error = read_weights(&mut graph, Some(&root.join("model"))).expect_err("outside");
            assert!(matches!(error, ImportError::Weights(_)), "{location}: {error}");
        }
        let mut beyond = graph(&[("location", "weights.bin"), ("offset", "8"), ("length", "3")]);
        assert!(read_weights(&mut beyond, Some(&root.join("model"))).is_err());
        std::fs::remove_dir_all(root).expect("removes");
    }
}
