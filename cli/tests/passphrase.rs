//! Secret keys under a passphrase, from streams, and with rights that others have.

#![cfg(unix)]

mod common;

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{SCHEMES, Work, npy, npy_values};
use heman_client::KeyFile;

const ENCRYPT: [&str; 7] = ["encrypt", "-k", "safe", "-i", "one.npy", "-o", "safe.enc"];

/// Parameters, an input, and the key `safe` under the passphrase in `pass`.
fn protected(scheme: &str) -> Work {
    let work = Work::with_keys(scheme);
    work.write("pass", b"correct horse\n");
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["keygen", "-i", "params.json", "-o", "safe", "--passphrase-file", "pass"]);
    work
}

fn unlocked<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--passphrase-file", "pass"]].concat()
}

fn shell(work: &Work, script: &str) -> (bool, String) {
    let heman = env!("CARGO_BIN_EXE_heman");
    let script = format!("heman() {{ {heman} \"$@\"; }}\n{script}");
    let run = Command::new("bash").args(["-c", &script]).current_dir(work.path("")).output().expect("bash runs");
    (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
}

#[test]
fn a_key_under_a_passphrase_does_what_a_plain_one_does() {
    for scheme in SCHEMES {
        let work = protected(scheme);
        work.ok(&unlocked(&ENCRYPT));
        work.ok(&["inference", "-m", "params.plan", "-k", "safe.pub", "-i", "safe.enc", "-o", "out.enc"]);
        work.ok(&unlocked(&["decrypt", "-k", "safe", "-i", "out.enc", "-o", "safe.npy"]));
        assert_eq!(npy_values(&work.read("safe.npy")).len(), 10);
        let inspected = work.ok(&["inspect", "safe"]);
        assert!(inspected.contains("under a passphrase"), "{inspected}");
    }
}

/// A file's size tells no secret, and nothing else of the plain key is in it.
#[test]
fn nothing_of_the_plain_key_is_in_the_protected_file() {
    for scheme in SCHEMES {
        let work = protected(scheme);
        let Ok(KeyFile::Protected(file)) = KeyFile::open(&work.path("safe")) else { panic!("under a passphrase") };
        let mut plain = Vec::new();
        file.unlock(b"correct horse").expect("the passphrase").seal_to(&mut plain).expect("memory takes everything");
        let plain: HashSet<&[u8]> = plain[97..].windows(16).collect();
        let protected = work.read("safe");
        assert!(protected[97..].windows(16).all(|window| !plain.contains(window)), "{scheme}");
    }
}

#[test]
fn a_wrong_passphrase_and_a_changed_file_open_nothing() {
    let work = protected("ckks");
    work.write("wrong", b"incorrect horse\n");
    let wrong = [&ENCRYPT[..], &["--passphrase-file", "wrong"]].concat();
    assert!(work.fails(&wrong).contains("this is not the passphrase of the key"));
    let sound = work.read("safe");
    let body = sound.len() - 97 - 32;
    // The salt, the nonce, the encrypted key and the tag, each with checksums that fit again.
    for at in [97, 97 + 20, 97 + 60, 97 + body - 1] {
        let mut bad = sound.clone();
        bad[at] ^= 1;
        reseal(&mut bad);
        work.write("safe", &bad);
        assert!(
            work.fails(&unlocked(&ENCRYPT)).contains("not the passphrase of the key, or its file was changed"),
            "{at}"
        );
    }
    // Another key's fingerprint in the header.
    let mut bad = sound.clone();
    bad[41] ^= 1;
    let checksum = blake3::hash(&bad[..65]);
    bad[65..97].copy_from_slice(checksum.as_bytes());
    reseal(&mut bad);
    work.write("safe", &bad);
    assert!(work.fails(&unlocked(&ENCRYPT)).contains("its file was changed"));
}

/// A file that asks for terabytes is refused before anything is allocated.
#[test]
fn the_work_of_a_passphrase_is_bounded() {
    let work = protected("ckks");
    let sound = work.read("safe");
    for log2 in [0, 21, 40, 63, 255] {
        let mut bad = sound.clone();
        bad[97 + 16] = log2;
        reseal(&mut bad);
        work.write("safe", &bad);
        assert!(work.fails(&unlocked(&ENCRYPT)).contains("at most 2^20 is done"), "{log2}");
    }
}

/// Puts the digest of the only chunk right.
fn reseal(file: &mut [u8]) {
    let end = file.len() - 32;
    let key: [u8; 32] = std::array::from_fn(|at| file[65 + at]);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&file[97..end]).update(&0_u64.to_le_bytes());
    let digest = hasher.finalize();
    file[end..].copy_from_slice(digest.as_bytes());
}

#[test]
fn passphrases_and_keys_come_from_open_files() {
    let work = protected("ckks");
    for script in [
        "heman encrypt -k safe -i one.npy -o x.enc --passphrase-fd 3 3< <(echo 'correct horse')",
        "heman encrypt -k - -i one.npy -o x.enc < key",
        "cat key | heman encrypt -k - -i one.npy -o x.enc",
        "heman encrypt -k /dev/fd/3 -i one.npy -o x.enc 3< <(cat key)",
        "cat safe | heman encrypt -k - -i one.npy -o x.enc --passphrase-fd 3 3< pass",
    ] {
        let (is_done, stderr) = shell(&work, script);
        assert!(is_done, "{script}: {stderr}");
        std::fs::remove_file(work.path("x.enc")).expect("it was written");
    }
    assert!(work.fails(&["encrypt", "-k", "-", "-i", "-", "-o", "x"]).contains("cannot both come from standard input"));
    let message = work.fails(&["encrypt", "-k", "-", "-i", "one.npy", "-o", "x", "--passphrase-fd", "0"]);
    assert!(message.contains("the key and its passphrase cannot both come from standard input"), "{message}");
    let (is_done, stderr) = shell(&work, "heman encrypt -k safe -i one.npy -o x.enc --passphrase-fd 3 3< <(echo)");
    assert!(!is_done && stderr.contains("the passphrase is empty"), "{stderr}");
}

/// An open file is read where it stands, also where its name cannot be opened.
#[test]
fn a_passphrase_is_read_from_the_open_file_itself() {
    let work = protected("ckks");
    work.write("lines", b"another line\ncorrect horse\n");
    let script = "exec 3< lines; read -r line <&3; heman encrypt -k safe -i one.npy -o x.enc --passphrase-fd 3";
    let (is_done, stderr) = shell(&work, script);
    assert!(is_done, "its position: {stderr}");
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    ours.write_all(b"correct horse\n").expect("room for a line");
    let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(ENCRYPT).args(["--passphrase-fd", "0"]).current_dir(work.path("")).stdin(OwnedFd::from(theirs));
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "a socket: {}", String::from_utf8_lossy(&output.stderr));
    let closed = [&ENCRYPT[..], &["--passphrase-fd", "99"]].concat();
    assert!(work.fails(&closed).contains("/dev/fd/99: the passphrase cannot be read"));
}

#[test]
fn a_passphrase_for_a_plain_key_is_noted() {
    let work = protected("ckks");
    let output = work.run(&unlocked(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "x.enc"]));
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "note: the key has no passphrase\n");
}

#[test]
fn a_passphrase_that_others_have_rights_to_is_refused() {
    let work = protected("ckks");
    std::fs::set_permissions(work.path("pass"), Permissions::from_mode(0o644)).expect("the test's own file");
    let message = work.fails(&unlocked(&ENCRYPT));
    assert!(message.contains("chmod 600 pass") && message.contains("0644"), "{message}");
    let (is_done, stderr) = shell(&work, "heman encrypt -k safe -i one.npy -o x.enc --passphrase-fd 3 3< pass");
    assert!(is_done, "whoever opened it had the right: {stderr}");
}

/// Under a limit of the address space the work of the passphrase would end the process.
#[test]
fn a_passphrase_without_the_memory_for_it_is_refused() {
    let work = protected("ckks");
    let mut large = work.read("safe");
    large[97 + 16] = 20;
    reseal(&mut large);
    work.write("safe", &large);
    let script = "ulimit -v 1000000; heman encrypt -k safe -i one.npy -o x.enc --passphrase-file pass";
    let (is_done, stderr) = shell(&work, script);
    assert!(!is_done && stderr.contains("the key's passphrase takes 1024.0 MiB of memory"), "{stderr}");
}

#[test]
fn a_new_passphrase_without_a_terminal_says_so() {
    let work = Work::with_keys("ckks");
    let script = "setsid -w \"$HEMAN\" keygen -i params.json -o new --passphrase < /dev/null";
    let script = format!("HEMAN={}; {script}", env!("CARGO_BIN_EXE_heman"));
    let (is_done, stderr) = shell(&work, &script);
    assert!(!is_done && stderr.contains("a new key is to get a passphrase, and there is no terminal"), "{stderr}");
}

#[test]
fn rights_of_open_files_are_the_concern_of_whoever_opened_them() {
    let work = protected("ckks");
    std::fs::set_permissions(work.path("key"), Permissions::from_mode(0o644)).expect("the test's own file");
    for key in ["- < key", "/dev/stdin < key", "/dev/fd/3 3< key", "/proc/self/fd/3 3< key"] {
        let (is_done, stderr) = shell(&work, &format!("heman encrypt -i one.npy -o x.enc -k {key}"));
        assert!(is_done, "{key}: {stderr}");
    }
    std::os::unix::fs::symlink("key", work.path("link")).expect("a link");
    assert!(work.fails(&["encrypt", "-k", "link", "-i", "one.npy", "-o", "x"]).contains("chmod 600 link"));
}

#[test]
fn keys_that_others_have_rights_to_are_refused() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
        let encrypt = ["encrypt", "-k", "key", "-i", "one.npy", "-o", "x"];
        for mode in [0o644, 0o640, 0o601, 0o620, 0o666] {
            std::fs::set_permissions(work.path("key"), Permissions::from_mode(mode)).expect("the test's own file");
            let message = work.fails(&encrypt);
            assert!(message.contains("chmod 600 key") && message.contains(&format!("{mode:04o}")), "{message}");
            assert!(work.fails(&["inspect", "key"]).contains("chmod 600 key"));
        }
        std::fs::set_permissions(work.path("key"), Permissions::from_mode(0o400)).expect("the test's own file");
        work.ok(&encrypt);
    }
}

/// A terminal of the test's own: what is written to it, and what it shows.
fn on_a_terminal(work: &Work, args: &[&str], answers: &str) -> (bool, String) {
    let (mut host, mut guest) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: both numbers are live values that openpty fills, and nothing else is asked for.
    let opened = unsafe { libc::openpty(&raw mut host, &raw mut guest, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0, "a terminal");
    // SAFETY: openpty gave both to this function alone.
    let (mut host, guest) = unsafe { (File::from_raw_fd(host), File::from_raw_fd(guest)) };
    let number = guest.as_raw_fd();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(args).current_dir(work.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: only system calls that are safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() < 0 || libc::ioctl(number, libc::TIOCSCTTY, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn().expect("it starts");
    let mut shown = Vec::new();
    let mut byte = [0];
    for answer in answers.lines() {
        // What is typed before the question would be shown.
        while !shown.ends_with(b": ") && host.read(&mut byte).is_ok_and(|read| read == 1) {
            shown.push(byte[0]);
        }
        host.write_all(format!("{answer}\n").as_bytes()).expect("a terminal");
        while !shown.ends_with(b"\n") && host.read(&mut byte).is_ok_and(|read| read == 1) {
            shown.push(byte[0]);
        }
    }
    let is_done = child.wait().expect("it ends").success();
    drop(guest);
    (is_done, String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn a_terminal_is_asked_and_shows_no_answer() {
    let work = protected("ckks");
    let keygen = ["keygen", "-i", "params.json", "-o", "asked", "--passphrase"];
    let (is_done, shown) = on_a_terminal(&work, &keygen, "battery staple\nbattery staple\n");
    assert!(is_done, "{shown}");
    assert!(shown.contains("Passphrase of the new key: ") && !shown.contains("battery"), "{shown}");
    let encrypt = ["encrypt", "-k", "asked", "-i", "one.npy", "-o", "x.enc"];
    assert!(!on_a_terminal(&work, &encrypt, "another\n").0);
    assert!(on_a_terminal(&work, &encrypt, "battery staple\n").0);
    let (is_done, shown) = on_a_terminal(&work, &[&keygen[..4], &["b", "--passphrase"]].concat(), "one\nother\n");
    assert!(!is_done && !work.path("b").exists(), "{shown}");
}

/// A process with a key leaves no core behind, and no other process of its user looks into it.
#[cfg(target_os = "linux")]
#[test]
fn a_process_with_a_key_is_not_dumped() {
    let work = Work::with_keys("ckks");
    // It waits for its input with the key in its hands.
    let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(["encrypt", "-k", "key", "-i", "-", "-o", "x"]).current_dir(work.path(""));
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let limits = format!("/proc/{}/limits", child.id());
    let memory = format!("/proc/{}/mem", child.id());
    // SAFETY: the call only tells a number.
    let is_root = unsafe { libc::geteuid() } == 0;
    // The superuser may look into everything.
    let is_shut = || {
        let is_roots = std::fs::metadata(&memory).is_ok_and(|metadata| metadata.uid() == 0);
        is_root || is_roots || File::open(&memory).is_err()
    };
    let start = std::time::Instant::now();
    let is_off = || {
        let text = std::fs::read_to_string(&limits).unwrap_or_default();
        text.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0                    0 "))
    };
    while !(is_off() && is_shut()) {
        assert!(
            start.elapsed().as_secs() < 60,
            "{}, {}",
            is_shut(),
            std::fs::read_to_string(&limits).unwrap_or_default()
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(child.stdin.take());
    child.wait().expect("it ends");
}
