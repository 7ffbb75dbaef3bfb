//! Why a scheme was taken, for people and for machines.

use heman_core::either::planner::{Choice, Estimate};
use serde_json::{Value, json};

use super::{bytes, loss, merge};

/// The comparison, for people; empty where a scheme was asked for.
pub fn text(choice: Option<&Choice>) -> String {
    match choice {
        None => String::new(),
        Some(Choice::OnlyTfhe(error)) => format!("scheme TFHE: {error}\n"),
        Some(Choice::OnlyCkks(error)) => format!("scheme CKKS: TFHE has {error}\n"),
        Some(Choice::Compared { tfhe, ckks, batch }) => {
            let (own_tfhe, own_ckks) = (tfhe.waited_seconds(), ckks.waited_seconds());
            let (fast, slow, name) =
                if own_ckks < own_tfhe { (own_ckks, own_tfhe, "CKKS") } else { (own_tfhe, own_ckks, "TFHE") };
            format!(
                "{:6} {:>20} {:>26} {:>16} {:>16} {:>16}\n{}{}{name} is predicted to answer {:.1} times sooner at \
                 this accuracy, its keys included; --scheme takes the other\n",
                "scheme",
                "expected loss",
                format!("{} for {batch} input(s)", if tfhe.seconds.is_some() { "seconds" } else { "thread-s" }),
                "evaluation key",
                "encrypted input",
                "output",
                row("TFHE", tfhe),
                row("CKKS", ckks),
                slow / fast,
            )
        }
    }
}

/// The same for machines; null where a scheme was asked for.
pub fn json(choice: Option<&Choice>) -> Value {
    match choice {
        None => Value::Null,
        Some(Choice::OnlyTfhe(error)) => json!({ "ckks": error.to_string() }),
        Some(Choice::OnlyCkks(error)) => json!({ "tfhe": error.to_string() }),
        Some(Choice::Compared { tfhe, ckks, batch }) => {
            json!({ "tfhe": estimate(tfhe), "ckks": estimate(ckks), "batch": batch })
        }
    }
}

fn row(name: &str, estimate: &Estimate) -> String {
    let own = loss::percent(estimate.loss.expected);
    let loss = if estimate.loss.disagreement.is_some() { own } else { format!("(error {own})") };
    let [key, input, output] = [estimate.evaluation_key_bytes, estimate.input_bytes, estimate.output_bytes].map(bytes);
    format!(
        "{name:6} {loss:>20} {:>26.2} {key:>16} {input:>16} {output:>16}\n",
        estimate.seconds.unwrap_or(estimate.thread_seconds)
    )
}

fn estimate(estimate: &Estimate) -> Value {
    let mut object = json!({
        "predicted_thread_seconds": estimate.thread_seconds,
        "predicted_seconds": estimate.seconds,
        "waited_seconds": estimate.waited_seconds(),
        "evaluation_key_bytes": estimate.evaluation_key_bytes,
        "encrypted_input_bytes": estimate.input_bytes,
        "encrypted_output_bytes": estimate.output_bytes,
    });
    merge(&mut object, loss::json(&estimate.loss));
    object
}
