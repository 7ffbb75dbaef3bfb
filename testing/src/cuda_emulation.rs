//! Builds the stand-in for the CUDA driver: `cuda/emulation` and the kernels' own source, compiled for the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::required::is_required;

/// Path of a `libcuda.so` that runs the kernels on the host, built in `folder`, or why there is none.
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
const UNITS: [(&str, Option<u32>); 23] = [
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
    ("kernels/cuda/rns_transform.cu", Some(15)),
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

fn compile(folder: &Path) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
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
    let library = folder.join("libcuda.so");
    let mut link = Command::new("g++");
    link.args(["-shared", "-Wl,-soname,libcuda.so", "-pthread", "-o"]).arg(&library).args(&objects);
    let linked = link.status().map_err(|error| format!("g++: {error}"))?;
    if linked.success() { Ok(library) } else { Err("g++ failed to link".into()) }
}

fn has_x86_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
