//! `heman keygen`: parameters to keys.

use std::path::{Path, PathBuf};
use std::time::Instant;

use heman_client::SecretKey;
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Keygen;
use crate::error::CliError;
use crate::io::output::{Access, Replace, Target, commit};
use crate::io::place::{Found, input_name};
use crate::io::sealed::read_params;
use crate::progress::Bar;
use crate::{memory, report};

/// Runs the verb.
pub fn run(out: &Output, args: &Keygen) -> Result<(), CliError> {
    let start = Instant::now();
    let input_name = input_name(&args.input);
    let mut name = args.output.clone().into_os_string();
    name.push(".pub");
    let public = PathBuf::from(name);
    let claim = |name: &Path, access, kind| {
        let target = Target::claim_for(name, access, Replace::Key { kind, is_forced: args.force }, &[input_name])?;
        if target.is_file() {
            return Ok(target);
        }
        Err(CliError::usage(format!("{} is no file: keygen makes two, a secret key and key.pub", name.display())))
    };
    let secret_target = claim(&args.output, Access::Owner, Found::SecretKey)?;
    let public_target = claim(&public, Access::Everybody, Found::EvaluationKey)?;
    if secret_target.is_same(&public_target) {
        return Err(CliError::usage(format!("{} and {} are one file", args.output.display(), public.display())));
    }
    let params = read_params(input_name)?;
    memory::check_keys(&params, args.allow_large)?;
    let bar = Bar::new(out.verbose);
    let secret = SecretKey::generate(&params)?;
    let key = info_span!("make keys").in_scope(|| secret.evaluation_key(&bar));
    let (public_file, bytes) = public_target.prepare(|out| key.seal_to(&params, out))?;
    let (secret_file, _) = secret_target.prepare(|out| secret.seal_to(out).map(|()| 0))?;
    commit(vec![secret_file, public_file])?;
    let seconds = start.elapsed().as_secs_f64();
    let object = json!({
        "secret_key": report::path(&args.output),
        "evaluation_key": report::path(&public),
        "evaluation_key_bytes": bytes,
        "seconds": seconds,
    });
    let text = format!(
        "wrote {} (secret, keep it) and {} ({}, for the model owner) in {seconds:.1} s",
        args.output.display(),
        public.display(),
        report::bytes(bytes)
    );
    report::print_either(out.json, &object, &text)
}
