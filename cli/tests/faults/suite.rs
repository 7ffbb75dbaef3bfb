//! The verbs, what is spoilt in them, and what has to hold afterwards.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use heman_core::files::chunks::Reader;
use heman_core::files::container::{Fingerprint, Kind};
use heman_testing::required::is_required;

use crate::common::{Work, npy};

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Term,
    NoSpace,
    Io,
}

impl Fault {
    /// An errno, or a signal as a negative number.
    fn code(self) -> i32 {
        match self {
            Self::Kill => -9,
            Self::Term => -15,
            Self::NoSpace => 28,
            Self::Io => 5,
        }
    }
}

/// A run of a verb.
pub struct Verb {
    pub name: &'static str,
    args: Vec<&'static str>,
    /// Files that it makes or replaces; the second one belongs to the first.
    outputs: &'static [&'static str],
}

/// Files of one scheme, made once, and a copy of them for every run.
pub struct Suite<'a> {
    base: Work,
    shim: &'a Path,
}

/// The compiled shim, or none where there is no compiler.
pub fn shim() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heman-fault-shim.so");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl").status();
    match compiled {
        Ok(status) => assert!(status.success(), "{} does not compile", source.display()),
        Err(error) => {
            assert!(!is_required("emulation"), "no C compiler: {error}");
            println!("skipped: no C compiler");
            return None;
        }
    }
    Some(library)
}

const KEYPARAMS: [&str; 7] = ["keyparams", "-m", "digits.onnx", "-c", "calibration.npz", "-o", "params.json"];
const BATCH: [&str; 11] =
    ["batch", "--device", "cpu", "-m", "params.plan", "-k", "key.pub", "-i", "inputs", "-o", "outputs"];

impl<'a> Suite<'a> {
    pub fn new(scheme: &'static str, shim: &'a Path) -> Self {
        let base = Work::with_keys(scheme);
        base.write("one.npy", &npy("(1, 8, 8)", &[0.5; 64]));
        base.ok(&["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"]);
        base.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "one.enc", "-o", "out.enc"]);
        base.ok(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "out.npy"]);
        std::fs::create_dir(base.path("inputs")).expect("a folder");
        std::fs::copy(base.path("one.enc"), base.path("inputs/one.enc")).expect("a copy");
        Self { base, shim }
    }

    /// All verbs of the workflow; keys new and replaced.
    pub fn verbs(&self) -> Vec<Verb> {
        let verb = |name, args: &[&'static str], outputs| Verb { name, args: args.to_vec(), outputs };
        vec![
            verb("keyparams", &[&KEYPARAMS[..], &["--scheme", "ckks"]].concat(), &["params.plan", "params.json"]),
            verb("keygen", &["keygen", "-i", "params.json", "-o", "new"], &["new", "new.pub"]),
            verb("keygen --force", &["keygen", "--force", "-i", "params.json", "-o", "key"], &["key", "key.pub"]),
            verb("encrypt", &["encrypt", "-k", "key", "-i", "one.npy", "-o", "one.enc"], &["one.enc"]),
            verb(
                "inference",
                &[
                    "inference",
                    "--device",
                    "cpu",
                    "-m",
                    "params.plan",
                    "-k",
                    "key.pub",
                    "-i",
                    "one.enc",
                    "-o",
                    "out.enc",
                ],
                &["out.enc"],
            ),
            verb("decrypt", &["decrypt", "-k", "key", "-i", "out.enc", "-o", "out.npy"], &["out.npy"]),
            verb("batch", &BATCH, &["outputs/one.out"]),
        ]
    }

    /// Calls of a run in which nothing is spoilt.
    pub fn count(&self, verb: &Verb) -> usize {
        let work = self.copy();
        let count = work.path("count");
        let run = self.command(&work, verb).env("HEMAN_FAULT_COUNT", &count).output().expect("it starts");
        assert!(run.status.success(), "{}: {}", verb.name, String::from_utf8_lossy(&run.stderr));
        let text = std::fs::read_to_string(count).expect("the shim counted");
        text.trim().parse().expect("a number")
    }

    /// Spoils one call, and checks what is left.
    pub fn spoil(&self, verb: &Verb, fault: Fault, at: usize) {
        let work = self.copy();
        let before = snapshot(work.path("").as_path());
        let mut command = self.command(&work, verb);
        command.env("HEMAN_FAULT_AT", at.to_string()).env("HEMAN_FAULT", fault.code().to_string());
        let run = command.output().expect("it starts");
        let what = format!("{}, {fault:?} at call {at}", verb.name);
        check_end(&what, fault, &run);
        let after = snapshot(work.path("").as_path());
        check_nothing_lost(&what, verb, &before, &after);
        if fault != Fault::Kill {
            // What could not be removed because removing was spoilt is left to the next run.
            let left: Vec<&String> = after.keys().filter(|name| is_unfinished(name)).collect();
            assert!(left.len() <= usize::from(fault != Fault::Term), "{what}: left {left:?}");
        }
        if verb.name.starts_with("keygen") {
            check_pair(&what, &work, verb.outputs, fault == Fault::Kill);
        }
        self.repeat(&what, &work, verb);
    }

    /// The same again: it does what it is for, and nothing is left of the run before.
    fn repeat(&self, what: &str, work: &Work, verb: &Verb) {
        let retry: &[&str] = if verb.name == "batch" { &["--retry-failed"] } else { &[] };
        let run = work.run(&[&verb.args[..], retry].concat());
        let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
        let is_there = verb.name == "keygen" && stderr.contains("exists already");
        assert!(run.status.success() || is_there, "{what}, once more: {stderr}");
        let left = snapshot(work.path("").as_path());
        let unfinished: Vec<&String> = left.keys().filter(|name| is_unfinished(name)).collect();
        assert!(unfinished.is_empty(), "{what}, once more: left {unfinished:?}");
        for output in verb.outputs {
            assert!(is_sound(&work.path(output)), "{what}, once more: {output} is not sound");
        }
        if let [secret, public] = verb.outputs
            && verb.name.starts_with("keygen")
        {
            let fingerprints = (fingerprint(&work.path(secret)), fingerprint(&work.path(public)));
            assert!(fingerprints.0.is_some() && fingerprints.0 == fingerprints.1, "{what}, once more: a mixed pair");
        }
    }

    fn copy(&self) -> Work {
        let work = Work::new();
        copy_folder(&self.base.path(""), &work.path(""));
        work
    }

    fn command(&self, work: &Work, verb: &Verb) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
        command.env_remove("HEMAN_DEVICES").env("XDG_CONFIG_HOME", work.path("config")).env("LD_PRELOAD", self.shim);
        command.args(&verb.args).current_dir(work.path("")).stdin(Stdio::null());
        command
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&place).expect("a folder");
            copy_folder(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).expect("a copy");
        }
    }
}

/// All files of a folder and its folders, by their names from there.
fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            files.extend(snapshot(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            files.insert(name, std::fs::read(entry.path()).expect("readable"));
        }
    }
    files
}

fn is_unfinished(name: &str) -> bool {
    name.split('/').next_back().is_some_and(|name| name.starts_with(".heman-"))
}

fn check_end(what: &str, fault: Fault, run: &Output) {
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    let status = (run.status.code(), run.status.signal());
    let is_expected = match fault {
        Fault::Kill => status == (None, Some(9)) || run.status.success(),
        Fault::Term => status == (Some(143), None) || status == (None, Some(15)) || run.status.success(),
        // A call that need not succeed; or one sentence, which may have been what could not be written.
        Fault::NoSpace | Fault::Io => run.status.success() || matches!(status.0, Some(1..=5)) || status.0 == Some(127),
    };
    assert!(is_expected, "{what}: {status:?}, {stderr}");
}

/// Files that are no outputs are as they were, and outputs are as they were or as they should become.
fn check_nothing_lost(what: &str, verb: &Verb, before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in before {
        let now = after.get(name).unwrap_or_else(|| panic!("{what}: {name} is gone"));
        let is_output = verb.outputs.contains(&name.as_str());
        assert!(is_output || now == bytes, "{what}: {name} has changed");
    }
    for name in after.keys().filter(|name| !before.contains_key(*name) && !is_unfinished(name)) {
        let is_known = verb.outputs.contains(&name.as_str()) || name.starts_with("outputs/journal");
        assert!(is_known, "{what}: {name} is new");
    }
    for name in verb.outputs.iter().filter(|name| after.contains_key(**name)) {
        let bytes = &after[*name];
        let is_whole = before.get(*name) == Some(bytes) || is_sound_image(name, bytes);
        assert!(is_whole, "{what}: {name} is half-written");
    }
}

/// One key's files, but for the moment between two renames; then the next run mends it.
fn check_pair(what: &str, work: &Work, outputs: &[&str], was_killed: bool) {
    let of = |at: usize| fingerprint(&work.path(outputs[at]));
    let (secret, public) = (of(0), of(1));
    assert!(secret == public || was_killed, "{what}: a mixed pair");
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    Reader::open(path).ok().map(|file| file.header().fingerprint)
}

fn is_sound(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| is_sound_image(&path.to_string_lossy(), &bytes))
}

/// Whether a file is whole: by its checksums, or as what its name says.
fn is_sound_image(name: &str, bytes: &[u8]) -> bool {
    if name.ends_with(".json") {
        return serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    }
    if name.ends_with(".npy") {
        return bytes.starts_with(b"\x93NUMPY") && bytes.len() == 128 + 4 * 10;
    }
    Reader::of_bytes(bytes).is_ok_and(|mut file| file.rest().is_ok() && file.finish().is_ok())
}

fn keygen(work: &Work, forced: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heman"));
    command.args(["keygen", "-i", "params.json", "-o", "key"]).args(forced.then_some("--force"));
    command.current_dir(work.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

/// Two processes on one pair, one of which is killed at some moment; returns how many were killed before they ended.
pub fn race(rounds: usize, forced: bool) -> usize {
    let work = Work::with_keys("ckks");
    let mut killed = 0;
    for round in 0..rounds {
        if !forced {
            for name in ["key", "key.pub"] {
                std::fs::remove_file(work.path(name)).expect("it was made");
            }
        }
        let mut children = [keygen(&work, forced), keygen(&work, forced)];
        // Moments spread over the time that a run takes, and beyond.
        std::thread::sleep(Duration::from_micros(700 * (round as u64 * 37 % 100)));
        children[0].kill().expect("it was started");
        let ended = children.map(|mut child| child.wait().expect("it ends"));
        killed += usize::from(ended[0].signal() == Some(9));
        assert!(ended[1].success() || !forced, "round {round}: the other one ended with {:?}", ended[1]);
        let again = work.run(&["keygen", "-i", "params.json", "-o", "key"]);
        let stderr = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.success() || stderr.contains("exists already"), "round {round}: {stderr}");
        let kinds = [("key", Kind::SecretKey), ("key.pub", Kind::EvaluationKey)].map(|(name, kind)| {
            assert!(is_sound(&work.path(name)), "round {round}: {name} is not whole");
            let header = *Reader::open(&work.path(name)).expect("sound").header();
            assert_eq!(header.kind, kind);
            header.fingerprint
        });
        assert_eq!(kinds[0], kinds[1], "round {round}: a mixed pair");
        let left: Vec<String> = work.files().into_iter().filter(|name| is_unfinished(name)).collect();
        assert!(left.is_empty(), "round {round}: left {left:?}");
    }
    killed
}
