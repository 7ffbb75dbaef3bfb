//! `heman decrypt`: ciphertexts to a tensor.

use heman_client::ckks::Sharing;
use heman_client::{ClientError, Output as Answer, SecretKey};
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::answers::answer_bytes;
use crate::io::ledger::Ledger;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::sealed::{key_name, read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let key_name = key_name(&args.key, std::slice::from_ref(&args.input))?;
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Owner, &[key_name, input_name])?;
    let key = read_secret_key(key_name, &args.unlocking)?;
    let output = read_output(input_name, &key)?;
    let share = args.share.then(|| Share::begin(args, &key, output.count())).transpose()?;
    let decrypting = info_span!("decrypt", inputs = output.count()).entered();
    let answers = key.decrypt(&output, share.as_ref().map(|share| share.terms)).map_err(|error| match error {
        ClientError::NotShared => CliError::refusal(format!("--share is for CKKS: {error}")),
        ClientError::Untrusted { .. } => CliError::refusal(format!("{error}, with --trust-evaluation")),
        other => CliError::file(&args.input, other),
    })?;
    drop(decrypting);
    let bytes = answer_bytes(&answers)?;
    if let Some(share) = share {
        share.count()?;
    }
    let is_stdout = target.is_stdout();
    target.write_with(|out| out.write_all(&bytes).map(|()| bytes.len() as u64))?;
    let inputs = output.count();
    let outputs: Vec<_> = answers
        .iter()
        .map(|answer| json!({ "name": answer.name, "shape": answer.tensor.shape, "columns": answer.columns }))
        .collect();
    let shape = answers.first().map(|answer| &answer.tensor.shape);
    let object = json!({
        "output": report::path(&args.output),
        "inputs": inputs,
        "shared": args.share,
        "shape": shape,
        "outputs": outputs,
    });
    let text = match answers.as_slice() {
        [only] => format!("wrote {} ({inputs} result(s), shape {:?})", args.output.display(), only.tensor.shape),
        several => {
            let lines: String = several.iter().map(line).collect();
            format!("wrote {} ({inputs} result(s), an .npz of {} arrays){lines}", args.output.display(), several.len())
        }
    };
    report::print_beside(is_stdout, out.json, &object, &text)
}

/// A result that will leave the client's hands.
struct Share {
    ledger: Ledger,
    terms: Sharing,
    values: u64,
}

impl Share {
    fn begin(args: &Decrypt, key: &SecretKey, inputs: usize) -> Result<Self, CliError> {
        let values = key.values_of(inputs);
        let ledger = Ledger::open(&args.key, key.fingerprint())?;
        let most_values = ledger.most(args.shares, values)?;
        Ok(Self { ledger, terms: Sharing { most_values, is_evaluation_trusted: args.trust_evaluation }, values })
    }

    fn count(self) -> Result<(), CliError> {
        self.ledger.count(self.terms.most_values, self.values)
    }
}

fn line(answer: &Answer) -> String {
    let columns = if answer.columns.is_empty() { String::new() } else { format!(": {}", answer.columns.join(", ")) };
    format!("\n  {} {:?}{columns}", answer.name, answer.tensor.shape)
}
