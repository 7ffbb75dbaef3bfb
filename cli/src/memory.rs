//! Whether a verb's memory is to be had, before it begins.

use heman_core::either::params::Params;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_engine::memory::available_bytes;

use crate::args::MemorySize;
use crate::error::CliError;
use crate::report;

/// Keys beyond this are made only if memory is named: parameters come from others, who could ask for anything.
const MOST_KEY_BYTES: u64 = 4 << 30;

/// Half of the memory that is to be had, or what was asked for.
pub fn budget(asked: Option<MemorySize>) -> u64 {
    asked.map_or_else(|| available_bytes().map_or(u64::MAX, |bytes| bytes / 2), |size| size.bytes)
}

/// Refuses keys that take more memory than was allowed, or than there is.
///
/// # Errors
/// A sentence with both sizes.
pub fn check_keys(params: &Params, asked: Option<MemorySize>) -> Result<(), CliError> {
    let file = match params {
        Params::Tfhe(params) => SeededEvaluationKey::file_bytes(&params.tfhe),
        Params::Ckks(params) => params.keys.file_bytes(&params.ckks),
    };
    // Residues of CKKS take a word each in memory, and the bits of their prime in a file.
    let needed = file.saturating_mul(9) / 8;
    let allowed = asked.map_or_else(|| available_bytes().unwrap_or(u64::MAX).min(MOST_KEY_BYTES), |size| size.bytes);
    if needed <= allowed {
        return Ok(());
    }
    Err(CliError::refusal(format!(
        "these parameters ask for keys that take {} of memory, and {} are allowed; if you trust whoever made them, \
         allow more with --memory",
        report::bytes(needed),
        report::bytes(allowed)
    )))
}

/// Refuses an inference that takes more memory than there is, unless memory was named.
///
/// # Errors
/// A sentence with both sizes.
pub fn check_inference(needed: Option<u64>, asked: Option<MemorySize>) -> Result<(), CliError> {
    check("this inference takes", "encrypt fewer inputs at a time", needed, asked, available_bytes())
}

/// The same for a job of many inputs, of which only so many are held at a time.
///
/// # Errors
/// As [`check_inference`].
pub fn check_job(needed: Option<u64>, asked: Option<MemorySize>) -> Result<(), CliError> {
    check("this job takes", "give it a machine with more", needed, asked, available_bytes())
}

/// The same for all steps in one process, where so much memory is to be had.
///
/// # Errors
/// As [`check_inference`].
pub fn check_evaluation(
    needed: Option<u64>,
    asked: Option<MemorySize>,
    available: Option<u64>,
) -> Result<(), CliError> {
    check("keys, ciphertexts and evaluation take", "evaluate fewer inputs with --number", needed, asked, available)
}

fn check(
    what: &str,
    help: &str,
    needed: Option<u64>,
    asked: Option<MemorySize>,
    available: Option<u64>,
) -> Result<(), CliError> {
    match (needed, available) {
        (Some(needed), Some(available)) if asked.is_none() => fits(what, help, needed, available),
        _ => Ok(()),
    }
}

fn fits(what: &str, help: &str, needed: u64, available: u64) -> Result<(), CliError> {
    if needed <= available {
        return Ok(());
    }
    Err(CliError::refusal(format!(
        "{what} about {} of memory, and {} are to be had; {help}, or name what may be taken with --memory",
        report::bytes(needed),
        report::bytes(available)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_sizes() {
        assert!(fits("it takes", "take less", 1 << 30, 1 << 30).is_ok());
        let sentence = fits("it takes", "take less", 3 << 30, 1 << 30).expect_err("too much").to_string();
        assert!(sentence.contains("3072.0 MiB") && sentence.contains("1024.0 MiB"), "{sentence}");
    }

    #[test]
    fn memory_that_was_named_is_taken_at_its_word() {
        assert_eq!(budget(Some(MemorySize { bytes: 5 })), 5);
        assert!(check_inference(Some(u64::MAX), Some(MemorySize { bytes: 5 })).is_ok());
        assert!(check_inference(Some(u64::MAX), None).is_err() || available_bytes().is_none());
        assert!(check_inference(None, None).is_ok());
    }
}
