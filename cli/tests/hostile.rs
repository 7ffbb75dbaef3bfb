//! Mutated files through the binary: each ends in a result or in a sentence, soon, and in little memory.
//!
//! `HEMAN_FILES` says how many, by default a few hundred. What children took is asked of the system as Unix tells it.

#![cfg(unix)]

mod common;

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::npy;
use heman_core::files::scheme::Scheme;
use heman_core::progress::NoProgress;
use heman_hostile::drive::{MOST_SECONDS, file};
use heman_hostile::kind::{Kind, OWN};
use heman_hostile::seeds::{owner, seeds};

/// Resident memory that no run may exceed: the files are small.
const MOST_RESIDENT_BYTES: u64 = 1 << 30;

/// Sound files of a scheme to run mutated ones with: key, evaluation key, plan.
fn sound_files(folder: &Path, scheme: Scheme) {
    let owner = owner(scheme);
    let create = |name: &str| File::create(folder.join(format!("{name}-{}", scheme.describe()))).expect("writable");
    owner.key.seal_to(&mut create("key")).expect("writable");
    owner.key.evaluation_key(&NoProgress).seal_to(&owner.params, &mut create("key.pub")).expect("writable");
    owner.plan.seal_to(&mut create("plan")).expect("writable");
    private(&folder.join(format!("key-{}", scheme.describe())));
}

/// Takes a file's rights away from everybody but its owner: it holds a key, or may.
fn private(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("our own file");
}

/// What is done with a file, most often something quick.
fn verb(kind: Kind, run: u64) -> Vec<String> {
    let own = |name: &str, scheme: Scheme| format!("{name}-{}", scheme.describe());
    let is_long = (run / OWN.len() as u64).is_multiple_of(8);
    match kind {
        Kind::Params(_) if is_long => ["keygen", "--force", "-i", "file", "-o", "made"].map(String::from).to_vec(),
        Kind::Key(_) => ["encrypt", "-k", "file", "-i", "one.npy", "-o", "made"].map(String::from).to_vec(),
        Kind::Output(scheme) => {
            ["decrypt", "-k", &own("key", scheme), "-i", "file", "-o", "made"].map(String::from).to_vec()
        }
        Kind::Input(scheme) if is_long => {
            let (plan, key) = (own("plan", scheme), own("key.pub", scheme));
            ["inference", "--device", "cpu", "-m", &plan, "-k", &key, "-i", "file", "-o", "made"]
                .map(String::from)
                .to_vec()
        }
        Kind::Arrays => ["encrypt", "-k", "key-TFHE", "-i", "file", "-o", "made"].map(String::from).to_vec(),
        Kind::Devices => ["inspect", "plan-TFHE", "--target", "auto"].map(String::from).to_vec(),
        _ => ["inspect", "file"].map(String::from).to_vec(),
    }
}

/// The status and what was said, or none after too long a time.
fn run(folder: &Path, args: &[String]) -> (Option<ExitStatus>, String) {
    let said = folder.join("said");
    let mut child = Command::new(env!("CARGO_BIN_EXE_heman"))
        .args(args)
        .env("HEMAN_DEVICES", folder.join("file"))
        .env("RUST_BACKTRACE", "0")
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("writable"))
        .spawn()
        .expect("the binary starts");
    let start = Instant::now();
    let mut status = child.try_wait().expect("our own child");
    while status.is_none() && start.elapsed().as_secs_f64() < MOST_SECONDS {
        std::thread::sleep(Duration::from_millis(1));
        status = child.try_wait().expect("our own child");
    }
    if status.is_none() {
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    (status, String::from_utf8_lossy(&std::fs::read(&said).expect("a file")).into_owned())
}

/// Most memory of any child so far, in bytes.
fn most_resident_bytes() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole rusage, which zeros are a value of.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    // Linux tells kibibytes, macOS bytes.
    usage.ru_maxrss as u64 * if cfg!(target_os = "macos") { 1 } else { 1024 }
}

#[test]
fn mutated_files_end_in_a_result_or_a_sentence() {
    let count: u64 = std::env::var("HEMAN_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(260);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    for scheme in [Scheme::Tfhe, Scheme::Ckks] {
        sound_files(folder, scheme);
    }
    std::fs::write(folder.join("one.npy"), npy("(1, 4)", &[0.25; 4])).expect("writable");
    let kinds: Vec<(Kind, Vec<Vec<u8>>)> = OWN.into_iter().map(|kind| (kind, seeds(kind))).collect();
    let (mut taken, mut bad) = (0, Vec::new());
    for at in 0..count {
        let (kind, seeds) = &kinds[(at % OWN.len() as u64) as usize];
        std::fs::write(folder.join("file"), file(*kind, seeds, at)).expect("writable");
        private(&folder.join("file"));
        let args = verb(*kind, at);
        let (status, said) = run(folder, &args);
        let code = status.and_then(|status| status.code());
        taken += u64::from(code == Some(0));
        let is_clear = match code {
            Some(0) => true,
            Some(2..=5) => said.lines().any(|line| line.starts_with("error: ")),
            _ => false,
        };
        if !is_clear || said.contains("panicked") || most_resident_bytes() > MOST_RESIDENT_BYTES {
            bad.push(format!("{} {at}: {status:?}, {} bytes: {said}", kind.name(), most_resident_bytes()));
        }
        assert!(bad.len() < 10, "{}", bad.join("\n"));
    }
    println!("{count} files, {taken} taken, {} bad, most memory {} bytes", bad.len(), most_resident_bytes());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
