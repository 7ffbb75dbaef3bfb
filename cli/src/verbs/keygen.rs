//! `heman keygen`: parameters to keys.

use std::path::PathBuf;
use std::time::Instant;

use heman_client::SecretKey;
use serde_json::json;

use super::Output;
use crate::args::Keygen;
use crate::error::CliError;
use crate::io::output::{Access, prepare_with};
use crate::io::sealed::{prepare_counted, read_params};
use crate::progress::Bar;
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Keygen) -> Result<(), CliError> {
    let start = Instant::now();
    let params = read_params(&args.input)?;
    let mut name = args.output.clone().into_os_string();
    name.push(".pub");
    let public = PathBuf::from(name);
    if !args.force
        && let Some(existing) = [&args.output, &public].into_iter().find(|path| path.exists())
    {
        return Err(CliError::new(format!("{} exists already; --force replaces it", existing.display())));
    }
    let bar = Bar::new(out.verbose);
    let secret = SecretKey::generate(&params)?;
    let key = secret.evaluation_key(&bar);
    let (public_file, bytes) = prepare_counted(&public, Access::Everybody, |out| key.seal_to(&params, out))?;
    let secret_file = prepare_with(&args.output, Access::Owner, |out| secret.seal_to(out))?;
    secret_file.commit()?;
    public_file.commit()?;
    let seconds = start.elapsed().as_secs_f64();
    let object = json!({
        "secret_key": args.output,
        "evaluation_key": public,
        "evaluation_key_bytes": bytes,
        "seconds": seconds,
    });
    let text = format!(
        "wrote {} (secret, keep it) and {} ({}, for the model owner) in {seconds:.1} s",
        args.output.display(),
        public.display(),
        report::bytes(bytes)
    );
    report::print_either(out.json, &object, &text);
    Ok(())
}
