//! `heman keygen`: parameters to keys.

use std::path::PathBuf;
use std::time::Instant;

use heman_client::{CkksKey, SecretKey};
use heman_core::either::params::AnyParams;
use serde_json::json;

use super::Context;
use crate::args::Keygen;
use crate::error::CliError;
use crate::io::output::{Access, prepare};
use crate::io::sealed::read_params;
use crate::progress::Bar;
use crate::report;

/// Runs the verb.
pub fn run(context: &Context, args: &Keygen) -> Result<(), CliError> {
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
    let bar = Bar::new(context.verbose);
    let (secret, bytes) = match params {
        AnyParams::Tfhe(params) => {
            let key = SecretKey::generate(&params)?;
            (key.to_bytes(), key.evaluation_key(&bar).to_bytes(&params.binding()))
        }
        AnyParams::Ckks(params) => {
            let key = CkksKey::generate(&params)?;
            (key.to_bytes(), key.evaluation_key(&bar).to_bytes(&params.binding()))
        }
    };
    let secret_file = prepare(&args.output, &secret, Access::Owner)?;
    let public_file = prepare(&public, &bytes, Access::Everybody)?;
    secret_file.commit()?;
    public_file.commit()?;
    let seconds = start.elapsed().as_secs_f64();
    let object = json!({
        "secret_key": args.output,
        "evaluation_key": public,
        "evaluation_key_bytes": bytes.len(),
        "seconds": seconds,
    });
    let text = format!(
        "wrote {} (secret, keep it) and {} ({}, for the model owner) in {seconds:.1} s",
        args.output.display(),
        public.display(),
        report::bytes(bytes.len() as u64)
    );
    report::print_either(context.json, &object, &text);
    Ok(())
}
