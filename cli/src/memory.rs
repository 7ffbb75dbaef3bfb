//! Whether a verb's memory is to be had, before it begins.

use heman_core::either::params::Params;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_engine::memory::available_bytes;

use crate::args::MemorySize;
use crate::error::CliError;
use crate::report;

/// Keys of more bytes are made only if that is allowed: parameters come from others, who could ask for anything. They
/// take minutes.
const MOST_KEY_BYTES: u64 = 1 << 30;

/// Half of the memory that is to be had, or what was asked for.
pub fn budget(asked: Option<MemorySize>) -> u64 {
    asked.map_or_else(|| available_bytes().map_or(u64::MAX, |bytes| bytes / 2), |size| size.bytes)
}

/// Refuses keys that are larger than was allowed, or take more memory than there is.
///
/// # Errors
/// A sentence with both sizes.
pub fn check_keys(params: &Params, is_large_allowed: bool) -> Result<(), CliError> {
    let (file, needed) = match params {
        Params::Tfhe(params) => {
            let file = SeededEvaluationKey::file_bytes(&params.tfhe);
            (file, file)
        }
        // Keys are made without their masks.
        Params::Ckks(params) => (params.keys.file_bytes(&params.ckks), params.keys.bodies_bytes(&params.ckks)),
    };
    key_fits(file, needed, is_large_allowed, available_bytes())
}

fn key_fits(file: u64, needed: u64, is_large_allowed: bool, available: Option<u64>) -> Result<(), CliError> {
    if file > MOST_KEY_BYTES && !is_large_allowed {
        return Err(CliError::refusal(format!(
            "these parameters ask for an evaluation key of {}, and at most {} are made unasked; if you trust whoever \
             made them, --allow-large makes it",
            report::bytes(file),
            report::bytes(MOST_KEY_BYTES)
        )));
    }
    if available.is_some_and(|available| needed > available) {
        return Err(CliError::refusal(format!(
            "these parameters ask for keys that take {} of memory, and {} are to be had",
            report::bytes(needed),
            report::bytes(available.unwrap_or(0))
        )));
    }
    Ok(())
}

/// Refuses the work of a passphrase that takes more memory than there is.
///
/// # Errors
/// A sentence with the size.
pub fn check_passphrase(needed: u64) -> Result<(), CliError> {
    passphrase_fits(needed, available_bytes())
}

fn passphrase_fits(needed: u64, available: Option<u64>) -> Result<(), CliError> {
    // Limits of the address space show only when it is asked for; black_box keeps that from being left out.
    let mut room = Vec::<u8>::new();
    let is_room = usize::try_from(needed).is_ok_and(|bytes| room.try_reserve_exact(bytes).is_ok());
    std::hint::black_box(&room);
    if is_room && available.is_none_or(|available| needed <= available) {
        return Ok(());
    }
    Err(CliError::refusal(format!(
        "the key's passphrase takes {} of memory, and so much is not to be had",
        report::bytes(needed)
    )))
}

/// The number of inputs at a time, halved until they take no more memory than is to be had, unless memory was named.
pub fn fewer_inputs(most: usize, asked: Option<MemorySize>, needed: impl Fn(usize) -> Option<u64>) -> usize {
    fewer(most, available_bytes().filter(|_| asked.is_none()), needed)
}

fn fewer(most: usize, available: Option<u64>, needed: impl Fn(usize) -> Option<u64>) -> usize {
    let Some(available) = available else { return most };
    let halves = std::iter::successors(Some(most.max(1)), |&inputs| (inputs > 1).then_some(inputs / 2));
    halves.into_iter().find(|&inputs| needed(inputs).is_none_or(|bytes| bytes <= available)).unwrap_or(1)
}

/// Refuses an inference that takes more memory than there is, unless memory was named.
///
/// # Errors
/// A sentence with both sizes.
pub fn check_inference(needed: Option<u64>, asked: Option<MemorySize>) -> Result<(), CliError> {
    check("this inference takes", "run it where there is more", needed, asked, available_bytes())
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
    fn a_passphrase_takes_memory_that_is_to_be_had() {
        assert!(passphrase_fits(1 << 20, Some(1 << 20)).is_ok() && passphrase_fits(1 << 20, None).is_ok());
        let short = passphrase_fits(1 << 30, Some((1 << 30) - 1)).expect_err("too much").to_string();
        assert!(short.contains("1024.0 MiB of memory"), "{short}");
        assert!(passphrase_fits(1 << 62, None).is_err(), "no address space is so large");
    }

    #[test]
    fn large_keys_are_made_for_those_who_ask_and_have_the_memory() {
        let sentence = |file, is_allowed, available| {
            key_fits(file, file + (256 << 20), is_allowed, available)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        assert_eq!(sentence(MOST_KEY_BYTES, false, Some(4 << 30)), "");
        let refused = sentence(MOST_KEY_BYTES + 1, false, None);
        assert!(refused.contains("1024.0 MiB are made unasked") && refused.contains("--allow-large"), "{refused}");
        assert_eq!(sentence(3 << 30, true, None), "");
        let short = sentence(2 << 30, true, Some(2 << 30));
        assert!(short.contains("2304.0 MiB") && short.contains("2048.0 MiB"), "{short}");
    }

    #[test]
    fn where_memory_is_short_inputs_come_fewer_at_a_time() {
        let needed = |inputs: usize| Some(100 + 10 * inputs as u64);
        assert_eq!(fewer(64, Some(1000), needed), 64);
        assert_eq!(fewer(64, Some(300), needed), 16);
        assert_eq!(fewer(64, Some(1), needed), 1);
        assert_eq!(fewer(64, None, needed), 64);
        assert_eq!(fewer(64, Some(1), |_| None), 64);
    }

    #[test]
    fn memory_that_was_named_is_taken_at_its_word() {
        assert_eq!(budget(Some(MemorySize { bytes: 5 })), 5);
        assert!(check_inference(Some(u64::MAX), Some(MemorySize { bytes: 5 })).is_ok());
        assert!(check_inference(Some(u64::MAX), None).is_err() || available_bytes().is_none());
        assert!(check_inference(None, None).is_ok());
    }
}
