//! Makes the calls that the benchmark's harness makes, in its order and with its folders, and compares labels with the
//! plaintext network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use heman_import::PlainModel;
use npyz::NpyFile;
use zip::ZipArchive;

const NAMES: [&str; 4] = ["single", "small", "medium", "large"];

/// A folder that looks like a clone of the harness, with an entry installed.
struct Harness {
    root: PathBuf,
    entry: &'static str,
    side: usize,
}

fn submitted(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn check(command: &mut Command) {
    let program = env!("CARGO_BIN_EXE_fhe_benchmark");
    command.env("HEMAN_FHE_BENCHMARK", program).env("HEMAN_DEVICES", "/nonexistent/devices.json");
    let output = command.output().expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Harness {
    /// Installs an entry as `install` does; only the given sizes stay in it.
    fn with(entry: &'static str, sizes: &[usize], test: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).expect("a folder");
        fs::create_dir(root.join("harness")).expect("a folder");
        fs::write(root.join("harness/run_submission.py"), "").expect("a file");
        check(Command::new(submitted("install")).arg(&root).arg(entry));
        let path = root.join(format!("submissions/mnist/entries/{entry}.json"));
        let text = fs::read_to_string(&path).expect("an entry");
        let mut entry_file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let side = entry_file["preparation"]["side"].as_u64().expect("a number") as usize;
        let kept = entry_file["sizes"].as_object_mut().expect("an object");
        kept.retain(|name, _| sizes.iter().any(|&size| NAMES[size] == name));
        // Planning with few images is quick.
        entry_file["calibration_images"] = 300.into();
        fs::write(&path, entry_file.to_string()).expect("a file");
        Self { root, entry, side }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A stage as the harness starts it; a missing one would be skipped without a word, and is an error here.
    fn stage(&self, name: &str, argument: Option<usize>) {
        let program = self.path("submissions/mnist/build").join(name);
        assert!(program.exists(), "{name} is missing");
        let argument = argument.map(|size| size.to_string());
        check(Command::new(program).args(argument).current_dir(&self.root));
    }

    /// All stages of a size; returns the labels.
    fn run(&self, size: usize, images: &[Vec<f32>]) -> Vec<usize> {
        let name = NAMES[size];
        check(Command::new(self.path("scripts/get_openfhe.sh")).current_dir(&self.root));
        let mut build = Command::new(self.path("scripts/build_task.sh"));
        check(build.arg("./submissions/mnist").current_dir(&self.root));
        let io = self.path(&format!("io/{name}"));
        let _ = fs::remove_dir_all(&io);
        fs::create_dir_all(&io).expect("a folder");
        self.stage("client_key_generation", Some(size));
        self.stage("server_preprocess_model", None);
        let folder = self.path(&format!("datasets/{name}/intermediate"));
        fs::create_dir_all(&folder).expect("a folder");
        let line =
            |image: &Vec<f32>| image.iter().map(|pixel| format!("{pixel:.6}")).collect::<Vec<_>>().join(" ") + "\n";
        fs::write(folder.join("test_pixels.txt"), images.iter().map(line).collect::<String>()).expect("a file");
        for stage in ["client_preprocess_input", "client_encode_encrypt_input", "server_encrypted_compute"] {
            self.stage(stage, Some(size));
        }
        for measured in ["public_keys", "ciphertexts_upload", "ciphertexts_download"] {
            assert!(fs::read_dir(io.join(measured)).expect("a folder").count() > 0, "{measured} is empty");
        }
        // What the server may read holds no secret key.
        assert!(io.join("secret_key").is_dir() && !io.join("public_keys/key").exists());
        self.stage("client_decrypt_decode", Some(size));
        self.stage("client_postprocess", Some(size));
        let steps = fs::read_to_string(io.join("server_reported_steps.json")).expect("a file");
        let steps: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&steps).expect("JSON");
        assert!(steps.values().all(|seconds| seconds.as_f64().is_some_and(|seconds| seconds >= 0.0)));
        let text = fs::read_to_string(io.join("encrypted_model_predictions.txt")).expect("labels");
        text.lines().map(|line| line.parse().expect("a label")).collect()
    }

    /// What the plaintext network says.
    fn expected(&self, images: &[Vec<f32>]) -> Vec<usize> {
        let model = if self.entry == "squared" { "squared" } else { "relu" };
        let path = submitted(&format!("submissions/mnist/models/{model}.onnx"));
        let model = PlainModel::from_file(&path).expect("a model");
        let label = |image: &Vec<f32>| {
            let prepared = if self.entry == "squared" { averaged(image, self.side) } else { image.clone() };
            let logits = model.run(&prepared).expect("the model takes it");
            (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("logits")
        };
        images.iter().map(label).collect()
    }
}

/// The middle 22 x 22 pixels, averaged in squares of 2 x 2.
fn averaged(image: &[f32], side: usize) -> Vec<f32> {
    let square = |row: usize, column: usize| {
        let at = (3 + 2 * row) * side + 3 + 2 * column;
        (image[at] + image[at + 1] + image[at + side] + image[at + side + 1]) / 4.0
    };
    (0..11).flat_map(|row| (0..11).map(move |column| square(row, column))).collect()
}

/// Digits that no plan was made from: the first calibration images, moved by a pixel.
fn moved(count: usize) -> Vec<Vec<f32>> {
    let file = fs::File::open(submitted("submissions/mnist/calibration.npz")).expect("images");
    let mut archive = ZipArchive::new(file).expect("an archive");
    let array = NpyFile::new(archive.by_name("images.npy").expect("images")).expect("an array");
    let bytes: Vec<u8> = array.into_vec().expect("bytes");
    let image = |bytes: &[u8]| {
        let pixel = |at: usize| if at.is_multiple_of(28) { 0.0 } else { f32::from(bytes[at - 1]) / 255.0 };
        (0..28 * 28).map(pixel).collect()
    };
    bytes.chunks_exact(28 * 28).take(count).map(image).collect()
}

/// Labels must agree but for a few images whose best two classes lie close together.
fn compare(harness: &Harness, size: usize, images: &[Vec<f32>], most_different: usize) {
    let (found, expected) = (harness.run(size, images), harness.expected(images));
    assert_eq!(found.len(), expected.len(), "a label an image");
    let different = found.iter().zip(&expected).filter(|(one, other)| one != other).count();
    assert!(different <= most_different, "{} {size}: {different} of {} differ", harness.entry, images.len());
    let classes = expected.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(images.len() < 50 || classes > 3, "the images are told apart: {classes} classes");
}

#[test]
fn the_squared_network_answers_as_in_plaintext() {
    let harness = Harness::with("squared", &[0, 1], "squared");
    let images = moved(100);
    compare(&harness, 0, &images[..1], 0);
    compare(&harness, 1, &images, 1);
}

#[test]
fn the_relu_network_answers_as_in_plaintext() {
    let harness = Harness::with("relu", &[0, 2], "relu");
    let images = moved(100);
    compare(&harness, 0, &images[..1], 0);
    // Fewer images than the size has take the plan of the size all the same.
    compare(&harness, 2, &images, 2);
}

#[test]
fn a_single_image_of_tfhe_is_a_small_upload() {
    let harness = Harness::with("tfhe", &[0], "tfhe");
    let images = moved(1);
    compare(&harness, 0, &images, 0);
    let upload = fs::metadata(harness.path("io/single/ciphertexts_upload/input")).expect("a file").len();
    assert!(upload <= 4096, "{upload} bytes");
}

#[test]
fn plans_are_made_once_and_again_when_the_entry_changes() {
    let harness = Harness::with("squared", &[0], "plans");
    let build = || {
        let mut command = Command::new(harness.path("scripts/build_task.sh"));
        check(command.arg("./submissions/mnist").current_dir(&harness.root));
        let path = harness.path("submissions/mnist/build/plans/squared/single.plan");
        fs::metadata(path).and_then(|data| data.modified()).expect("a plan")
    };
    let first = build();
    assert_eq!(build(), first, "nothing has changed");
    let entry = harness.path("submissions/mnist/entries/squared.json");
    let text = fs::read_to_string(&entry).expect("an entry").replace("0.005", "0.006");
    fs::write(&entry, text).expect("a file");
    assert!(build() > first, "the entry has changed");
}

#[test]
fn stages_of_the_server_name_no_secret_key() {
    let text = fs::read_to_string(submitted("src/server.rs")).expect("a source");
    assert!(!text.contains("heman_client") && !text.contains("secret_key("), "{text}");
}
