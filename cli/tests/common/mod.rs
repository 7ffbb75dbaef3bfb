//! Running the binary in a folder of its own.

#![allow(dead_code, reason = "each test file uses its share")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Both schemes, as the command line names them.
pub const SCHEMES: [&str; 2] = ["tfhe", "ckks"];

/// A folder with the demo model's files, removed at the end.
pub struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
        for file in ["digits.onnx", "calibration.npz", "samples.npz"] {
            std::fs::copy(demo.join(file), folder.path().join(file)).expect("the demo's files");
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file that was written")
    }

    /// Writes a file; a new one is for its owner only, as secret keys must be.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let mut options = std::fs::OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.create(true).write(true).truncate(true).open(self.path(name)).expect("writable folder");
        std::io::Write::write_all(&mut file, bytes).expect("writable folder");
    }

    /// Writes a profile of measured devices, in the version of files that this program reads.
    pub fn write_profile(&self, name: &str, devices: &serde_json::Value) {
        self.write(name, serde_json::json!({ "version": 3, "devices": devices }).to_string().as_bytes());
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }

    /// Runs with environment variables set.
    pub fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
        // Devices that whoever runs the tests has measured are not the tests'.
        command.env_remove("HEMAN_DEVICES").env("XDG_CONFIG_HOME", self.path("config"));
        command.args(args).envs(variables.iter().copied()).current_dir(self.folder.path());
        command.output().expect("the binary starts")
    }

    /// Runs and expects success; returns stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "heman {args:?}: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs and expects a clear error: a status that says of what kind, one `error:` on stderr, no panic, no file left
    /// behind; returns stderr.
    pub fn fails(&self, args: &[&str]) -> String {
        let before = self.files();
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status.code();
        assert!(status.is_some_and(|status| (2..=5).contains(&status)), "heman {args:?}: {status:?}, {stderr}");
        assert!(stderr.starts_with("error: ") && !stderr.contains("panicked"), "heman {args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "heman {args:?} printed a result");
        assert_eq!(self.files(), before, "heman {args:?} left files behind");
        stderr
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The workflow up to keys, for model `digits.onnx`.
    pub fn with_keys(scheme: &str) -> Self {
        let work = Self::new();
        let files = ["-m", "digits.onnx", "-c", "calibration.npz", "-o", "params.json"];
        work.ok(&[&["keyparams", "--scheme", scheme], &files[..]].concat());
        work.ok(&["keygen", "-i", "params.json", "-o", "key"]);
        work
    }
}

/// A `.npy` of f32.
pub fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    npy_of("<f4", "False", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

/// A `.npy` of any element type, its data as they are.
pub fn npy_of(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// The numbers of a `.npy` of f32.
pub fn npy_values(bytes: &[u8]) -> Vec<f32> {
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Pixels of the demo's samples, 64 an image.
pub fn demo_images(work: &Work) -> Vec<f32> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(work.read("samples.npz"))).expect("an archive");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("images.npy").expect("images"), &mut bytes).expect("readable");
    npy_values(&bytes)
}
