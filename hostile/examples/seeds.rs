//! Writes sound files of every kind, for fuzzers to begin with: `seeds FOLDER` makes a folder for each kind.

use std::path::PathBuf;

use heman_hostile::kind::{Kind, OWN};
use heman_hostile::seeds::seeds;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for kind in OWN.into_iter().chain([Kind::Onnx]) {
        let own = folder.join(kind.name());
        std::fs::create_dir_all(&own)?;
        for (at, seed) in seeds(kind).iter().enumerate() {
            std::fs::write(own.join(format!("seed-{at}")), seed)?;
        }
    }
    Ok(())
}
