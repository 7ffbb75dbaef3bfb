//! The rules of the house, read off the sources: which room may name which, and how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates, and whether their texts may name command-line flags.
const CRATES: [(&str, bool); 14] = [
    ("kernels", false),
    ("core", false),
    ("import", false),
    ("client", false),
    ("arrays", false),
    ("cuda", false),
    ("wgpu", false),
    ("engine", false),
    ("load", false),
    ("testing", true),
    ("hostile", true),
    ("benches", true),
    ("benches/fhe_benchmark", true),
    ("cli", true),
];

/// Flags that are a compiler's, not the command line's.
const COMPILER_FLAGS: [&str; 1] = ["cuda/src/modules.rs"];

/// Ranks of the folders of core/src: a file names lower ranks, and its own folder.
const CORE_RANKS: [&[&str]; 6] = [
    &["word_bytes", "deadline"],
    &["progress", "device"],
    &["batch", "model", "residues"],
    &["files", "planning"],
    &["tfhe", "ckks"],
    &["either"],
];

/// Ranks within a scheme's folder. Files of the first rank may name each other.
const SCHEME_RANKS: [&[&str]; 6] = [
    &["error", "torus", "params", "ring", "exact"],
    &["noise", "cost", "table_set", "files"],
    &["bootstrap"],
    &["plan"],
    &["schedule", "ops"],
    &["planner", "cpu", "gpu", "session"],
];

/// What both schemes have.
const STEMS: [&str; 10] = ["params", "noise", "cost", "files", "plan", "planner", "ops", "schedule", "session", "cpu"];

/// Lines of a source file at the most.
const MOST_LINES: usize = 600;
/// Columns of a line of documentation at the most.
const MOST_COLUMNS: usize = 120;

/// A source file without its tests.
struct Source {
    /// From the workspace's root.
    path: String,
    /// Its module within its crate.
    module: Vec<String>,
    /// Code without comments, tests left out.
    code: String,
    /// All of it.
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(name: &str) -> Vec<Source> {
    let (root, mut found) = (root(), Vec::new());
    files(&root.join(name).join("src"), &mut found);
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("text");
        let path = path.strip_prefix(&root).expect("within the workspace").display().to_string();
        let within = path.split_once("/src/").expect("a source").1.trim_end_matches(".rs");
        let mut module: Vec<String> = within.split('/').map(String::from).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            module.pop();
        }
        let tested = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
        let uncommented = |line: &str| line.find("//").map_or(line, |at| &line[..at]).to_string();
        let code: Vec<String> = text[..tested].lines().map(uncommented).collect();
        Source { path, module, code: code.join("\n"), text }
    };
    found.into_iter().map(source).collect()
}

/// The paths of a `use` tree, each whole.
fn flatten(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else { return vec![tree.split(" as ").next().unwrap_or("").trim().to_string()] };
    let (prefix, inner) = (tree[..open].trim(), &tree[open + 1..tree.rfind('}').expect("a closed tree")]);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(flatten).map(|part| format!("{prefix}{part}")).collect()
}

/// Whole paths that the code names from its crate's root: by `use`, but for re-exports, and inline.
fn named(source: &Source) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for statement in source.code.split_inclusive(';') {
        let used = statement.rfind("use ").filter(|&at| {
            let before = statement[..at].trim_end();
            before.is_empty() || before.ends_with(['}', ']', ';']) || before.ends_with("pub") || before.ends_with(')')
        });
        match used {
            Some(at) => {
                rest += &statement[..at];
                let is_exported = statement[..at].trim_end().ends_with("pub");
                if !is_exported {
                    paths.extend(flatten(statement[at + 4..].trim_end_matches(';').trim()));
                }
            }
            None => rest += statement,
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    for start in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(start) {
            let path: String = rest[at..].chars().take_while(|&c| is_path(c)).collect();
            paths.push(path.trim_end_matches(':').to_string());
        }
    }
    let whole = |path: String| {
        let mut segments: Vec<String> = path.split("::").map(String::from).collect();
        let mut module = source.module.clone();
        match segments.first().map(String::as_str) {
            Some("crate") => {
                segments.remove(0);
                Some(segments)
            }
            Some("super") => {
                while segments.first().is_some_and(|first| first == "super") {
                    segments.remove(0);
                    module.pop();
                }
                Some([module, segments].concat())
            }
            _ => None,
        }
    };
    paths.into_iter().filter_map(whole).collect()
}

/// For each file the files of its crate that it names.
fn imports(sources: &[Source]) -> BTreeMap<usize, BTreeSet<usize>> {
    let modules: BTreeMap<&[String], usize> =
        sources.iter().enumerate().map(|(at, source)| (source.module.as_slice(), at)).collect();
    let target = |path: &Vec<String>| (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]).copied());
    let own = |(at, source): (usize, &Source)| {
        let targets: BTreeSet<usize> = named(source).iter().filter_map(target).filter(|&other| other != at).collect();
        (at, targets)
    };
    sources.iter().enumerate().map(own).collect()
}

fn rank(ranks: &[&[&str]], folder: &str) -> Option<usize> {
    ranks.iter().position(|names| names.contains(&folder))
}

#[test]
fn folders_of_core_name_lower_ones_only() {
    let sources = sources("core");
    let mut wrong = Vec::new();
    for (at, targets) in imports(&sources) {
        let Some(own) = sources[at].module.first() else { continue };
        for target in targets {
            let Some(other) = sources[target].module.first() else { continue };
            let rank = |folder: &str| rank(&CORE_RANKS, folder).unwrap_or_else(|| panic!("{folder} has no rank"));
            if own != other && rank(other) >= rank(own) {
                wrong.push(format!("{} names {}", sources[at].path, sources[target].path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rooms_of_a_scheme_name_lower_ones_only() {
    let sources = sources("core");
    let mut wrong = Vec::new();
    for (at, targets) in imports(&sources) {
        let [scheme, own, ..] = sources[at].module.as_slice() else { continue };
        if !["tfhe", "ckks"].contains(&scheme.as_str()) {
            continue;
        }
        for target in targets {
            let [other_scheme, other, ..] = sources[target].module.as_slice() else { continue };
            let rank = |room: &str| rank(&SCHEME_RANKS, room).unwrap_or_else(|| panic!("{room} has no rank"));
            if scheme != other_scheme || own == other {
                continue;
            }
            if rank(other) >= rank(own) && rank(own) > 0 {
                wrong.push(format!("{} names {}", sources[at].path, sources[target].path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn schemes_have_the_same_rooms() {
    for stem in STEMS {
        for scheme in ["tfhe", "ckks"] {
            let base = root().join("core/src").join(scheme).join(stem);
            assert!(base.is_dir() || base.with_extension("rs").is_file(), "{scheme} has no {stem}");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_ring() {
    for (name, _) in CRATES {
        let sources = sources(name);
        let mut left = imports(&sources);
        // Files that name nothing that is left can be taken away; what stays is on a ring, or leads to one.
        loop {
            let free: Vec<usize> = left
                .iter()
                .filter(|(_, targets)| targets.is_disjoint(&left.keys().copied().collect()))
                .map(|(&at, _)| at)
                .collect();
            if free.is_empty() {
                break;
            }
            free.iter().for_each(|at| _ = left.remove(at));
        }
        let ring: Vec<String> = left
            .iter()
            .map(|(&at, targets)| {
                let others: Vec<&str> = targets
                    .iter()
                    .filter(|target| left.contains_key(target))
                    .map(|&t| sources[t].path.as_str())
                    .collect();
                format!("{} names {others:?}", sources[at].path)
            })
            .collect();
        assert!(ring.is_empty(), "{name}: {ring:#?}");
    }
}

/// The workspace's crates that a crate depends on, directly or not, and all direct dependencies by name.
fn dependencies(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let text = std::fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
    let section = text.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
    let direct: BTreeSet<String> = names.map(String::from).collect();
    let ours: BTreeSet<String> =
        direct.iter().filter_map(|name| name.strip_prefix("heman-")).map(String::from).collect();
    let further = ours.iter().flat_map(|name| dependencies(name).0).collect::<BTreeSet<String>>();
    (ours.union(&further).cloned().collect(), direct)
}

#[test]
fn crates_of_the_server_depend_neither_on_the_client_nor_on_the_command_line() {
    for name in ["kernels", "core", "import", "arrays", "cuda", "wgpu", "engine", "load"] {
        let (ours, direct) = dependencies(name);
        assert!(!ours.contains("client"), "{name} depends on client");
        let shell = ["clap", "indicatif", "ctrlc"].iter().find(|&&shell| direct.contains(shell));
        assert_eq!(shell, None, "{name} belongs to no command line");
    }
    assert!(!dependencies("client").1.iter().any(|name| ["clap", "indicatif"].contains(&name.as_str())));
    assert!(!dependencies("cuda").0.contains("wgpu") && !dependencies("wgpu").0.contains("cuda"));
    assert!(dependencies("cli").0.contains("client"), "the graph is read");
}

#[test]
fn texts_of_libraries_name_no_flags() {
    for (name, _) in CRATES.into_iter().filter(|(_, may)| !may) {
        for source in sources(name).iter().filter(|source| !COMPILER_FLAGS.contains(&source.path.as_str())) {
            let letters = |at: usize| source.code[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
            let flag = source.code.match_indices("--").find(|&(at, _)| letters(at));
            let shown = flag.map(|(at, _)| source.code[at..].chars().take(20).collect::<String>());
            assert_eq!(shown, None, "{}", source.path);
        }
    }
}

#[test]
fn files_and_lines_are_short() {
    let mut wrong = Vec::new();
    for source in CRATES.into_iter().flat_map(|(name, _)| sources(name)) {
        let lines = source.text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{} has {lines} lines", source.path));
        }
        for (at, line) in source.text.lines().enumerate() {
            let start = line.trim_start();
            let is_documentation = start.starts_with("///") || start.starts_with("//!");
            if is_documentation && line.chars().count() > MOST_COLUMNS {
                wrong.push(format!("{}:{} is a long line", source.path, at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn paths_are_read_right() {
    let source = Source {
        path: String::new(),
        module: vec!["a".into(), "b".into()],
        code:
            "use crate::x::{self, y::{Z, W as V}};\nuse super::c::D;\npub use crate::n::M;\nfn f() { crate::p::q(1); }"
                .into(),
        text: String::new(),
    };
    let paths: Vec<String> = named(&source).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["x::self", "x::y::Z", "x::y::W", "a::c::D", "p::q"]);
}
