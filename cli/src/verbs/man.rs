//! `heman man`: manual pages.

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};
use serde_json::json;

use super::Output;
use crate::args::{Args, Man};
use crate::error::CliError;
use crate::exit::STATUSES;
use crate::io::output::{Access, Target};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Man) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::new(format!("cannot make the manual page: {error}"));
    let mut main = Args::command().disable_help_subcommand(true);
    main.build();
    let Some(folder) = &args.folder else {
        let page = page(main).map_err(failed)?;
        let target = Target::claim("-".as_ref(), Access::Everybody, &[])?;
        target.write_with(|out| out.write_all(&page).map(|()| page.len() as u64))?;
        return Ok(());
    };
    let verbs: Vec<Command> = main.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let not_made = |error: io::Error| CliError::bad_file(format!("cannot make {}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(not_made)?;
    let mut names = Vec::new();
    for command in std::iter::once(main).chain(verbs) {
        let name = Page::new(command.clone()).get_filename();
        let page = page(command).map_err(failed)?;
        let target = Target::claim(&folder.join(&name), Access::Everybody, &[])?;
        target.write_with(|out| out.write_all(&page).map(|()| page.len() as u64))?;
        names.push(name);
    }
    let text = format!("wrote {} pages to {}", names.len(), folder.display());
    report::print_either(out.json, &json!({ "folder": report::path(folder), "pages": names }), &text)
}

/// A page, with what exit statuses say.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let is_main = command.has_subcommands();
    let example = command.get_after_help().map(ToString::to_string);
    let man = Page::new(command).manual("heman");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if is_main {
        man.render_subcommands_section(&mut page)?;
    }
    let mut more = Roff::new();
    if let Some(example) = example {
        more.control("SH", ["EXAMPLE"]);
        more.text([roman(example.trim_start_matches("Example: "))]);
    }
    more.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in STATUSES {
        more.control("TP", []);
        more.text([roman(status)]);
        more.text([roman(meaning)]);
    }
    more.to_writer(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}
