//! `heman completions`: scripts with which shells complete commands.

use clap::CommandFactory;
use clap_complete::generate;

use crate::args::{Args, Completions};
use crate::error::CliError;
use crate::io::output::{Access, Target};

/// Runs the verb.
pub fn run(args: &Completions) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut Args::command(), "heman", &mut script);
    let target = Target::claim("-".as_ref(), Access::Everybody, &[])?;
    target.write_with(|out| out.write_all(&script).map(|()| script.len() as u64))?;
    Ok(())
}
