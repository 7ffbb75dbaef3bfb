//! `heman keygen`: parameters to keys.

use std::path::{Path, PathBuf};
use std::time::Instant;

use heman_client::{KeyFile, SecretKey};
use heman_core::either::params::Params;
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Keygen;
use crate::error::CliError;
use crate::io::output::{Access, Replace, Target, commit};
use crate::io::pair::{Standing, look};
use crate::io::passphrase;
use crate::io::place::{Found, input_name};
use crate::io::sealed::{read_key_file, read_params, unlocked};
use crate::progress::Bar;
use crate::{memory, report};

/// Runs the verb.
pub fn run(out: &Output, args: &Keygen) -> Result<(), CliError> {
    let start = Instant::now();
    let mut name = args.output.clone().into_os_string();
    name.push(".pub");
    let public = PathBuf::from(name);
    if !args.force && look(&args.output, &public)? == Standing::Half {
        let bytes = complete(out, args, &public)?;
        return tell(out, args, &public, (bytes, start), "the secret key was there, and is as it was; ");
    }
    let secret_target = claim(args, &args.output, Access::Owner, (Found::SecretKey, args.force))?;
    let public_target = claim(args, &public, Access::Everybody, (Found::EvaluationKey, args.force))?;
    if secret_target.is_same(&public_target) {
        return Err(CliError::usage(format!("{} and {} are one file", args.output.display(), public.display())));
    }
    let params = checked_params(args)?;
    let passphrase = passphrase::for_new_key(&args.unlocking, args.passphrase)?;
    let check_memory = || passphrase.as_ref().map_or(Ok(()), |_| memory::check_passphrase(SecretKey::PROTECTING_BYTES));
    check_memory()?;
    let bar = Bar::new(out.verbose);
    let secret = SecretKey::generate(&params)?;
    let key = info_span!("make keys").in_scope(|| secret.evaluation_key(&bar));
    let (public_file, bytes) = public_target.prepare(|out| key.seal_to(&params, out))?;
    // The evaluation key takes memory now, too.
    check_memory()?;
    let (secret_file, _) = secret_target.prepare(|out| match &passphrase {
        Some(passphrase) => secret.seal_protected_to(passphrase, out).map(|()| 0),
        None => secret.seal_to(out).map(|()| 0),
    })?;
    // The secret key first: the other can be made from it, whatever happens between the two.
    commit(vec![secret_file, public_file])?;
    tell(out, args, &public, (bytes, start), "")
}

/// Makes the evaluation key of a secret key that has none of its own.
fn complete(out: &Output, args: &Keygen, public: &Path) -> Result<u64, CliError> {
    let target = claim(args, public, Access::Everybody, (Found::EvaluationKey, true))?;
    let params = checked_params(args)?;
    let file = read_key_file(&args.output)?;
    let binding = match &file {
        KeyFile::Plain(key) => key.params().binding(),
        KeyFile::Protected(key) => key.header().binding,
    };
    if binding != params.binding() {
        return Err(CliError::refusal(format!(
            "{} exists already, without a key.pub of its own and for other parameters; --force replaces it",
            args.output.display()
        )));
    }
    if matches!(file, KeyFile::Plain(_)) && (args.passphrase || args.unlocking.is_given()) {
        return Err(CliError::refusal(format!(
            "{} exists already, without a key.pub of its own, and the key that is there has no passphrase; --force \
             makes a new pair",
            args.output.display()
        )));
    }
    let secret = unlocked(&args.output, file, &args.unlocking)?;
    let bar = Bar::new(out.verbose);
    let key = info_span!("make keys").in_scope(|| secret.evaluation_key(&bar));
    target.write_with(|out| key.seal_to(&params, out))
}

fn claim(args: &Keygen, name: &Path, access: Access, (kind, is_forced): (Found, bool)) -> Result<Target, CliError> {
    let input = input_name(&args.input);
    let target = Target::claim_for(name, access, Replace::Key { kind, is_forced }, &[input])?;
    if target.is_file() {
        return Ok(target);
    }
    Err(CliError::usage(format!("{} is no file: keygen makes two, a secret key and key.pub", name.display())))
}

fn checked_params(args: &Keygen) -> Result<Params, CliError> {
    let params = read_params(input_name(&args.input))?;
    memory::check_keys(&params, args.allow_large)?;
    Ok(params)
}

fn tell(
    out: &Output,
    args: &Keygen,
    public: &Path,
    (bytes, start): (u64, Instant),
    lead: &str,
) -> Result<(), CliError> {
    let seconds = start.elapsed().as_secs_f64();
    let object = json!({
        "secret_key": report::path(&args.output),
        "evaluation_key": report::path(public),
        "evaluation_key_bytes": bytes,
        "completed": !lead.is_empty(),
        "seconds": seconds,
    });
    let text = format!(
        "{lead}wrote {} (secret, keep it) and {} ({}, for the model owner) in {seconds:.1} s",
        args.output.display(),
        public.display(),
        report::bytes(bytes)
    );
    let completed =
        format!("{lead}wrote {} ({}, for the model owner) in {seconds:.1} s", public.display(), report::bytes(bytes));
    report::print_either(out.json, &object, if lead.is_empty() { &text } else { &completed })
}
