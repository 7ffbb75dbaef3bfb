//! What is left of a secret key in memory once it is dropped: nothing.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;

use heman_client::{KeyFile, SecretKey};
use heman_core::ckks::planner as ckks;
use heman_core::either::params::Params;
use heman_core::files::chunks::Reader;
use heman_core::files::container::HEADER_BYTES;
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_testing::networks::{network, row};
use heman_testing::tfhe::params::identity;

/// Bytes of a key that are looked for: a chance hit among digits is out of the question.
const PATTERN: usize = 192;
/// The test's own copy of the pattern does not look like it.
const MASK: u8 = 0x5a;

/// Widths of the words that digits are kept in.
const WIDTHS: [usize; 3] = [1, 4, 8];

/// Copies of a masked pattern, a digit a byte or a word, in all of the process's memory that can be written to.
fn copies(masked: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux tells");
    let memory = File::open("/proc/self/mem").expect("its own memory");
    let mut found = 0;
    let mut buffer = vec![0_u8; 1 << 20];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().unwrap_or_default();
        let Some((from, to)) = range.split_once('-') else { continue };
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
        let (mut at, to) = (number(from), number(to));
        while at < to {
            let (own, end) = (buffer.as_ptr() as u64, buffer.as_ptr() as u64 + buffer.len() as u64);
            // Not the window itself, which holds what was looked at before.
            if (own..end).contains(&at) {
                at = end;
                continue;
            }
            let to = if at < own { to.min(own) } else { to };
            let length = buffer.len().min((to - at) as usize);
            if memory.read_exact_at(&mut buffer[..length], at).is_ok() {
                for width in WIDTHS {
                    let is_same = |window: &[u8]| window.iter().step_by(width).zip(masked).all(|(a, b)| a ^ MASK == *b);
                    found += buffer[..length].windows(masked.len() * width).filter(|window| is_same(window)).count();
                }
            }
            // Windows overlap, so that nothing lies between two; the last one of a range ends it.
            at += if at + length as u64 == to { length as u64 } else { (length - 8 * PATTERN) as u64 };
        }
    }
    buffer.fill(0);
    found
}

/// A part of the secret behind the parameters, as files and memory of either scheme hold it.
fn masked_part(path: &std::path::Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).expect("just written");
    let mut body = Reader::of_bytes(&bytes).expect("sound");
    let text = u32::from_le_bytes(body.array().expect("a length")) as usize;
    drop(body);
    let start = HEADER_BYTES + 4 + text + 1000;
    let masked = bytes[start..start + PATTERN].iter().map(|byte| byte ^ MASK).collect();
    bytes.fill(0);
    std::hint::black_box(&bytes);
    masked
}

fn ckks() -> Params {
    let rows = (0..4).map(|o| row(0.5, [(o, 1.0)])).collect();
    let network = network(&[1, 4], Vec::new(), rows);
    let options = ckks::Options {
        budget: LossBudget { max_loss: 0.05, task: Task::Regress, ..LossBudget::default() },
        ..ckks::Options::default()
    };
    let samples: Vec<Vec<f32>> = (0..64).map(|at| (0..4).map(|i| ((at * 4 + i) as f32).sin()).collect()).collect();
    Params::Ckks(ckks::plan(&network, &samples, &options, &NoProgress).expect("a linear map").params)
}

fn tfhe() -> Params {
    Params::Tfhe(identity(4))
}

#[test]
fn no_copy_of_a_key_stays_behind() {
    let folder = std::env::temp_dir().join(format!("heman-wiped-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, params) in [("ckks", ckks()), ("tfhe", tfhe())] {
        let path = folder.join(name);
        let key = SecretKey::generate(&params).expect("sound parameters");
        drop(key.evaluation_key(&NoProgress));
        let mut file = File::create(&path).expect("a file");
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).expect("its own file");
        key.seal_to(&mut file).expect("room");
        let masked = masked_part(&path);
        assert!(copies(&masked) >= 1, "{name}: the living key is found");
        drop(key);
        assert_eq!(copies(&masked), 0, "{name}: made, sealed and dropped");
        let KeyFile::Plain(key) = KeyFile::open(&path).expect("sound") else { panic!("no passphrase") };
        let mut protected = Vec::with_capacity(1 << 20);
        key.seal_protected_to(b"passphrase", &mut protected).expect("memory");
        assert!(copies(&masked) >= 1, "{name}: the living key is found again");
        drop(key);
        assert_eq!(copies(&masked), 0, "{name}: read, sealed under a passphrase and dropped");
        std::fs::write(&path, &protected).expect("room");
        let KeyFile::Protected(file) = KeyFile::open(&path).expect("sound") else { panic!("a passphrase") };
        let key = file.unlock(b"passphrase").expect("the passphrase");
        assert!(copies(&masked) >= 1, "{name}: the unlocked key is found");
        drop(key);
        assert_eq!(copies(&masked), 0, "{name}: unlocked and dropped");
    }
    let _ = std::fs::remove_dir_all(&folder);
}
