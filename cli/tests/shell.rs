//! Completions and manual pages: made of the command line's definition, every verb in them.

mod common;

use common::Work;

/// The verbs that `heman --help` lists.
fn verbs(work: &Work) -> Vec<String> {
    let help = work.ok(&["--help"]);
    let list = help.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).expect("a list of verbs");
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|&name| name != "help");
    names.map(String::from).collect()
}

#[test]
fn completions_of_every_shell_know_every_verb() {
    let work = Work::new();
    let verbs = verbs(&work);
    assert!(verbs.len() >= 9 && verbs.contains(&"inference".to_string()), "{verbs:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = work.ok(&["completions", shell]);
        for word in verbs.iter().map(String::as_str).chain(["device", "trace"]) {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn a_shell_takes_its_completions() {
    let work = Work::new();
    work.write("heman.bash", work.ok(&["completions", "bash"]).as_bytes());
    let script =
        "source heman.bash && COMP_WORDS=(heman inf) COMP_CWORD=1 && _heman heman inf heman; echo ${COMPREPLY[@]}";
    let Ok(run) = std::process::Command::new("bash").args(["-c", script]).current_dir(work.path("")).output() else {
        return println!("skipped: no bash");
    };
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "inference", "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn the_manual_has_a_page_for_every_verb_with_its_exit_statuses() {
    let work = Work::new();
    let main = work.ok(&["man"]);
    work.ok(&["man", "share/man1"]);
    assert_eq!(work.read("share/man1/heman.1"), main.as_bytes(), "standard output holds the main page");
    for verb in verbs(&work) {
        assert!(main.contains(&format!("heman\\-{verb}(1)")), "the main page lacks {verb}");
        let page = String::from_utf8(work.read(&format!("share/man1/heman-{verb}.1"))).expect("text");
        for part in ["SH NAME", "SH SYNOPSIS", "SH OPTIONS", "SH \"EXIT STATUS\"", "128 + N", "\\-\\-trace"] {
            assert!(page.contains(part), "{verb} lacks {part}");
        }
    }
}
