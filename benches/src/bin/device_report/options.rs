//! What was asked for.

use heman_core::files::scheme::Scheme;
use heman_cuda::Transform;

use crate::timing;

/// Parts of the report of a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The suite against the reference.
    Correctness,
    /// Noise against prediction and CPU; TFHE's only.
    Noise,
    /// Times beside bounds.
    Times,
}

/// The command line.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// The device, as in `cuda:1`.
    pub device: String,
    /// The one scheme that is asked for; none for both.
    pub scheme: Option<Scheme>,
    /// The one part that is asked for; none for all.
    pub only: Option<Part>,
    /// Of CUDA's bootstraps, instead of the one that the device is given.
    pub transform: Option<Transform>,
    /// Of CUDA's blocks at the most, as on a smaller card, in KiB.
    pub shared_kib: Option<usize>,
    /// Toy parameters and small batches.
    pub quick: bool,
    /// Of each noise measurement.
    pub samples: usize,
    /// Sets and rings whose noise and times are measured: those with this in their names.
    pub set: String,
    /// Seconds that each time is measured for.
    pub seconds: f64,
    /// Where the report is written to.
    pub json: Option<String>,
}

const USAGE: &str = "device_report [cpu|cuda[:N]|wgpu[:N]] [--scheme tfhe|ckks|both] [--only correctness|noise|times] \
                     [--transform doubles|exact] [--shared-kib N] [--set TEXT] [--seconds S] [--samples N] [--quick] [--json FILE]";

/// Samples of each noise measurement: the variance's own deviation is 1.1 %.
pub const SAMPLES: usize = 16_384;
/// Fewer samples tell nothing, and more do not fit small devices.
const SAMPLES_ALLOWED: std::ops::RangeInclusive<usize> = 64..=1 << 20;
/// Of each time.
const SECONDS_ALLOWED: std::ops::RangeInclusive<f64> = 0.001..=3600.0;

impl Options {
    /// Reads arguments.
    ///
    /// # Errors
    /// A sentence about the first that is not known.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            device: "cuda".into(),
            scheme: None,
            only: None,
            transform: None,
            shared_kib: None,
            quick: false,
            samples: SAMPLES,
            set: String::new(),
            seconds: timing::SECONDS,
            json: None,
        };
        while let Some(arg) = args.next() {
            let mut value = |what: &str| args.next().ok_or(format!("{arg} takes {what}"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--samples" => {
                    let number = value("a number")?;
                    let samples = number.parse().ok().filter(|samples| SAMPLES_ALLOWED.contains(samples));
                    let [least, most] = [SAMPLES_ALLOWED.start(), SAMPLES_ALLOWED.end()];
                    options.samples = samples.ok_or(format!("--samples takes {least} to {most}, not {number}"))?;
                }
                "--json" => options.json = Some(value("a file")?),
                "--shared-kib" => {
                    let text = value("a number")?;
                    options.shared_kib =
                        Some(text.parse().map_err(|_| format!("--shared-kib takes a number, not {text}"))?);
                }
                "--set" => options.set = value("a part of a name")?,
                "--seconds" => {
                    let text = value("seconds")?;
                    let seconds = text.parse().ok().filter(|seconds| SECONDS_ALLOWED.contains(seconds));
                    let [least, most] = [SECONDS_ALLOWED.start(), SECONDS_ALLOWED.end()];
                    options.seconds = seconds.ok_or(format!("--seconds takes {least} to {most}, not {text}"))?;
                }
                "--scheme" => {
                    options.scheme = match value("tfhe, ckks or both")?.as_str() {
                        "tfhe" => Some(Scheme::Tfhe),
                        "ckks" => Some(Scheme::Ckks),
                        "both" => None,
                        other => return Err(format!("{other} is no scheme; {USAGE}")),
                    }
                }
                "--only" => {
                    options.only = match value("correctness, noise or times")?.as_str() {
                        "correctness" => Some(Part::Correctness),
                        "noise" => Some(Part::Noise),
                        "times" => Some(Part::Times),
                        other => return Err(format!("{other} is no part; {USAGE}")),
                    }
                }
                "--transform" => {
                    options.transform = match value("doubles or exact")?.as_str() {
                        "doubles" => Some(Transform::Doubles),
                        "exact" => Some(Transform::Exact),
                        other => return Err(format!("{other} is no transform; {USAGE}")),
                    }
                }
                device if !device.starts_with('-') => options.device = device.into(),
                other => return Err(format!("{other} is not known; {USAGE}")),
            }
        }
        Ok(options)
    }

    /// Whether a scheme is reported on.
    pub fn has(&self, scheme: Scheme) -> bool {
        self.scheme.is_none_or(|asked| asked == scheme)
    }

    /// Whether a part is.
    pub fn does(&self, part: Part) -> bool {
        self.only.is_none_or(|asked| asked == part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(String::from))
    }

    #[test]
    fn without_arguments_all_of_the_first_cuda_device_is_reported() {
        let options = parse("").expect("sound");
        assert_eq!((options.device.as_str(), options.quick, options.samples), ("cuda", false, SAMPLES));
        assert!(options.has(Scheme::Tfhe) && options.has(Scheme::Ckks));
        assert!(options.does(Part::Correctness) && options.does(Part::Noise) && options.does(Part::Times));
    }

    #[test]
    fn one_scheme_and_one_part_leave_the_others_out() {
        let options =
            parse("wgpu:1 --scheme ckks --only times --transform exact --set n800 --seconds 0.1 --json a.json")
                .expect("sound");
        assert_eq!((options.device.as_str(), options.json.as_deref()), ("wgpu:1", Some("a.json")));
        assert!(!options.has(Scheme::Tfhe) && options.has(Scheme::Ckks));
        assert_eq!(options.transform, Some(Transform::Exact));
        assert_eq!((options.set.as_str(), options.seconds), ("n800", 0.1));
        assert!(!options.does(Part::Correctness) && options.does(Part::Times));
    }

    #[test]
    fn what_is_not_known_is_told() {
        for (text, why) in [
            ("--scheme bfv", "bfv is no scheme"),
            ("--only speed", "speed is no part"),
            ("--transform halves", "halves is no transform"),
            ("--json", "--json takes a file"),
            ("--samples 10", "--samples takes 64 to 1048576, not 10"),
            ("--shared-kib much", "--shared-kib takes a number, not much"),
            ("--seconds 0", "--seconds takes 0.001 to 3600, not 0"),
            ("--fast", "--fast is not known"),
        ] {
            assert!(parse(text).is_err_and(|error| error.contains(why)), "{text}");
        }
    }
}
