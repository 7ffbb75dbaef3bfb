//! Pairs of keys whose files do not belong to each other: recognised, and mended by the next `keygen`.

mod common;

use common::{SCHEMES, Work, npy};

const KEYGEN: [&str; 5] = ["keygen", "-i", "params.json", "-o", "key"];

/// Asserts that what is encrypted under `key` can be evaluated under `key.pub`.
fn assert_works(work: &Work) {
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
    work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"]);
    work.ok(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "out.npy"]);
}

#[test]
fn a_mixed_pair_is_recognised_and_completed() {
    for scheme in SCHEMES {
        let work = Work::with_keys(scheme);
        work.ok(&["keygen", "-i", "params.json", "-o", "other"]);
        let secret = work.read("key");
        work.write("key.pub", &work.read("other.pub"));
        work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
        work.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
        let mixed = work.fails(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "x"]);
        assert!(mixed.contains("another key"), "{mixed}");
        let report: serde_json::Value =
            serde_json::from_str(&work.ok(&[&KEYGEN[..], &["--json"]].concat())).expect("JSON");
        assert_eq!(report["completed"], true);
        assert!(work.read("key") == secret, "the secret key is as it was");
        assert_works(&work);
        assert!(work.fails(&KEYGEN).contains("--force replaces it"), "a whole pair stays");
    }
}

#[test]
fn a_secret_key_alone_gets_its_evaluation_key_again() {
    let work = Work::with_keys("ckks");
    work.write("pass", b"correct horse");
    let safe = ["keygen", "-i", "params.json", "-o", "safe", "--passphrase-file", "pass"];
    work.ok(&safe);
    let secrets = (work.read("key"), work.read("safe"));
    for name in ["key.pub", "safe.pub"] {
        std::fs::remove_file(work.path(name)).expect("it was made");
    }
    work.ok(&KEYGEN);
    work.ok(&safe);
    assert!((work.read("key"), work.read("safe")) == secrets);
    assert_works(&work);
}

/// Whoever asks for a passphrase would else believe that the key has one.
#[test]
fn a_plain_key_alone_is_not_completed_under_a_passphrase() {
    let work = Work::with_keys("ckks");
    std::fs::remove_file(work.path("key.pub")).expect("it was made");
    work.write("pass", b"correct horse");
    for from in [&["--passphrase-file", "pass"][..], &["--passphrase"]] {
        let message = work.fails(&[&KEYGEN[..], from].concat());
        assert!(message.contains("the key that is there has no passphrase; --force makes a new pair"), "{message}");
    }
    work.ok(&[&KEYGEN[..], &["--passphrase-file", "pass", "--force"]].concat());
    assert!(work.ok(&["inspect", "key"]).contains("under a passphrase"));
}

#[test]
fn a_half_of_other_parameters_is_not_completed() {
    let work = Work::with_keys("ckks");
    std::fs::remove_file(work.path("key.pub")).expect("it was made");
    let files = ["-m", "digits.onnx", "-c", "calibration.npz", "-o", "others.json"];
    work.ok(&[&["keyparams", "--scheme", "tfhe"], &files[..]].concat());
    let message = work.fails(&["keygen", "-i", "others.json", "-o", "key"]);
    assert!(message.contains("for other parameters"), "{message}");
    // Nobody is asked for a passphrase that would open nothing of use.
    work.write("pass", b"correct horse");
    work.ok(&["keygen", "-i", "params.json", "-o", "safe", "--passphrase-file", "pass"]);
    std::fs::remove_file(work.path("safe.pub")).expect("it was made");
    let message = work.fails(&["keygen", "-i", "others.json", "-o", "safe"]);
    assert!(message.contains("for other parameters"), "{message}");
    work.ok(&["keygen", "-i", "others.json", "-o", "key", "--force"]);
}

/// What a process that was killed between the two renames leaves: the next verb that writes there moves it.
#[test]
fn an_evaluation_key_that_waits_beside_its_place_is_moved_there() {
    let work = Work::with_keys("ckks");
    let public = work.read("key.pub");
    work.ok(&["keygen", "-i", "params.json", "-o", "old"]);
    work.write(".heman-abcdefghijkl.key.pub.part", &public);
    work.write(".heman-abcdefghijkm.old.pub.part", &public);
    work.write("key.pub", &work.read("old.pub"));
    work.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
    work.ok(&["encrypt", "-k", "old", "-i", "one.npy", "-o", "one.enc"]);
    assert!(work.read("key.pub") == public, "the key's own");
    assert!(work.read("old.pub") != public, "another key's is not moved");
    assert!(!work.files().iter().any(|name| name.starts_with('.')), "{:?}", work.files());
}
