//! `heman decrypt`: ciphertexts to a tensor.

use std::path::Path;

use heman_client::ckks::Sharing;
use heman_client::{ClientError, Output as Answer, SecretKey};
use heman_core::either::streams::output_file_bytes;
use serde_json::json;
use tracing::info_span;

use super::Output;
use crate::args::Decrypt;
use crate::error::CliError;
use crate::io::answers::answer_bytes;
use crate::io::ledger::Ledger;
use crate::io::output::{Access, Target};
use crate::io::place::input_name;
use crate::io::sealed::{bad_output, inputs_at_a_time, key_name, open_output, read_output, read_secret_key};
use crate::report;

/// Runs the verb.
pub fn run(out: &Output, args: &Decrypt) -> Result<(), CliError> {
    let key_name = key_name(&args.key, std::slice::from_ref(&args.input), &args.unlocking)?;
    let input_name = input_name(&args.input);
    let target = Target::claim(&args.output, Access::Owner, &[key_name, input_name])?;
    let key = read_secret_key(key_name, &args.unlocking)?;
    let (inputs, answers, share) = if args.share {
        let (inputs, answers, share) = shared(args, (key_name, input_name), &key, &target)?;
        (inputs, answers, Some(share))
    } else {
        let (inputs, answers) = in_parts(input_name, &key)?;
        (inputs, answers, None)
    };
    let bytes = answer_bytes(&answers)?;
    if let Some(share) = share {
        share.count()?;
    }
    let is_stdout = target.is_stdout();
    target.write_with(|out| out.write_all(&bytes).map(|()| bytes.len() as u64))?;
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

/// The results of all inputs at once, how many inputs there are, and what is to be counted: noise that hides results is
/// sized by all of them.
fn shared(
    args: &Decrypt,
    (key_name, input_name): (&Path, &Path),
    key: &SecretKey,
    target: &Target,
) -> Result<(usize, Vec<Answer>, Share), CliError> {
    let output = read_output(input_name, key)?;
    let share = Share::begin(args, (key_name, key), output.count())?;
    if share.ledger.is_place_of(target) {
        let name = args.output.display();
        let text =
            format!("{name} is where the values shared under this key are counted; give the output another name");
        return Err(CliError::refusal(text));
    }
    let decrypting = info_span!("decrypt", inputs = output.count()).entered();
    let answers = key.decrypt(&output, Some(share.terms)).map_err(|error| match error {
        ClientError::NotShared => CliError::refusal(format!("--share is for CKKS: {error}")),
        ClientError::Untrusted { .. } => CliError::refusal(format!("{error}, with --trust-evaluation")),
        other => CliError::file(&args.input, other),
    })?;
    drop(decrypting);
    Ok((output.count(), answers, share))
}

/// The results, decrypted some inputs at a time, so that only they grow with the batch; and how many inputs there are.
fn in_parts(input_name: &Path, key: &SecretKey) -> Result<(usize, Vec<Answer>), CliError> {
    let params = key.params();
    let mut reader = open_output(input_name, &params, key)?;
    let inputs = reader.batch().inputs as usize;
    let most = inputs_at_a_time(&params, output_file_bytes);
    let mut all: Vec<Answer> = Vec::new();
    while let Some(part) = reader.next(most).map_err(|error| bad_output(input_name, error))? {
        let _decrypting = info_span!("decrypt", inputs = part.count()).entered();
        let answers = key.decrypt(&part, None).map_err(|error| CliError::file(input_name, error))?;
        if all.is_empty() {
            all = answers;
        } else {
            all.iter_mut().zip(answers).for_each(|(all, more)| all.tensor.append(more.tensor));
        }
    }
    Ok((inputs, all))
}

/// A result that will leave the client's hands.
struct Share {
    ledger: Ledger,
    terms: Sharing,
    values: u64,
}

impl Share {
    fn begin(args: &Decrypt, (key_name, key): (&Path, &SecretKey), inputs: usize) -> Result<Self, CliError> {
        let values = key.values_of(inputs);
        let ledger = Ledger::open(key_name, key.fingerprint())?;
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
