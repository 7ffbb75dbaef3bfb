//! Builds the stand-in for the CUDA driver: `cuda/emulation` and the kernels' own source, compiled for the host.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::required::is_required;

/// Path of a `libcuda.so` that runs the kernels on the host, built in `folder` unless it is there and newer than its
/// sources, or why there is none. Those who share a folder wait for each other.
///
/// # Errors
/// Where there is no g++.
///
/// # Panics
/// If the sources do not compile, or there is no g++ and `HEMAN_REQUIRE` holds `emulation`.
pub fn library(folder: &Path) -> Result<PathBuf, String> {
    if Command::new("g++").arg("--version").output().is_err() {
        assert!(!is_required("emulation"), "no g++");
        return Err("no g++".into());
    }
    Ok(compile(&folder.join("emulation")).unwrap_or_else(|error| panic!("the CUDA emulation does not build: {error}")))
}

/// Sources with the ring that each is compiled for.
const UNITS: [(&str, Option<u32>); 22] = [
    ("kernels/cuda/lwe_linear.cu", None),
    ("kernels/cuda/lwe_keyswitch.cu", None),
    ("kernels/cuda/bootstrap_key.cu", None),
    ("kernels/cuda/seeded_rows.cu", None),
    ("kernels/cuda/lwe_bootstrap.cu", Some(8)),
    ("kernels/cuda/lwe_bootstrap.cu", Some(9)),
    ("kernels/cuda/lwe_bootstrap.cu", Some(10)),
    ("kernels/cuda/lwe_bootstrap.cu", Some(11)),
    ("kernels/cuda/lwe_bootstrap.cu", Some(12)),
    ("kernels/cuda/rns_transform.cu", Some(12)),
    ("kernels/cuda/rns_transform.cu", Some(13)),
    ("kernels/cuda/rns_transform.cu", Some(14)),
    ("kernels/cuda/rns_columns.cu", None),
    ("kernels/cuda/rns_words.cu", None),
    ("kernels/cuda/rns_matrix.cu", None),
    ("kernels/cuda/rns_masks.cu", None),
    ("kernels/cuda/lwe_bootstrap_exact.cu", Some(8)),
    ("kernels/cuda/lwe_bootstrap_exact.cu", Some(9)),
    ("kernels/cuda/lwe_bootstrap_exact.cu", Some(10)),
    ("kernels/cuda/lwe_bootstrap_exact.cu", Some(11)),
    ("kernels/cuda/lwe_bootstrap_exact.cu", Some(12)),
    ("cuda/emulation/driver.cpp", None),
];

/// When the newest of the files was changed that the library is made of, this one among them.
fn changed(root: &Path) -> std::io::Result<SystemTime> {
    let mut newest = fs::metadata(root.join("testing/src/cuda_emulation.rs"))?.modified()?;
    for folder in ["cuda/emulation", "kernels/cuda"] {
        for file in fs::read_dir(root.join(folder))? {
            newest = newest.max(file?.metadata()?.modified()?);
        }
    }
    Ok(newest)
}

fn compile(folder: &Path) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let lock = File::create(folder.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
    // Held until the end.
    let _lock = lock.map_err(|e| e.to_string())?;
    let library = folder.join("libcuda.so");
    let changed = changed(root).map_err(|e| e.to_string())?;
    if fs::metadata(&library).and_then(|library| library.modified()).is_ok_and(|built| built > changed) {
        return Ok(library);
    }
    let mut children = Vec::new();
    let mut objects = Vec::new();
    for (source, log2) in UNITS {
        let stem = Path::new(source).file_stem().expect("a file").to_string_lossy().into_owned();
        let object = folder.join(format!("{stem}{}.o", log2.unwrap_or(0)));
        let mut command = Command::new("g++");
        command.args(["-std=c++20", "-O2", "-fPIC", "-ffp-contract=off", "-DHEMAN_EMULATION", "-x", "c++", "-c"]);
        if has_x86_fma() {
            command.arg("-mfma");
        }
        command.args(log2.map(|log2| format!("-DHEMAN_LOG2_N={log2}")));
        command.arg(format!("-I{}", root.join("cuda/emulation").display()));
        command.arg(format!("-I{}", root.join("kernels/cuda").display()));
        command.arg(root.join(source)).arg("-o").arg(&object);
        children.push(command.spawn().map_err(|error| format!("g++: {error}"))?);
        objects.push(object);
    }
    for mut child in children {
        if !child.wait().map_err(|e| e.to_string())?.success() {
            return Err("g++ failed".into());
        }
    }
    // Beside its place: somebody may have the old one loaded.
    let new = folder.join("libcuda.so.new");
    let mut link = Command::new("g++");
    link.args(["-shared", "-Wl,-soname,libcuda.so", "-pthread", "-o"]).arg(&new).args(&objects);
    let linked = link.status().map_err(|error| format!("g++: {error}"))?;
    if !linked.success() {
        return Err("g++ failed to link".into());
    }
    fs::rename(&new, &library).map_err(|e| e.to_string())?;
    Ok(library)
}

fn has_x86_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
