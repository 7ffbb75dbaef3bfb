//! What was asked for.

use heman_core::files::scheme::Scheme;
use heman_cuda::Transform;

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
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The device, as in `cuda:1`.
    pub device: String,
    /// The one scheme that is asked for; none for both.
    pub scheme: Option<Scheme>,
    /// The one part that is asked for; none for all.
    pub only: Option<Part>,
    /// Of CUDA's bootstraps, instead of the one that the device is given.
    pub transform: Option<Transform>,
    /// Toy parameters and small batches.
    pub quick: bool,
    /// Of each noise measurement.
    pub samples: usize,
    /// Where the report is written to.
    pub json: Option<String>,
}

const USAGE: &str = "device_report [cpu|cuda[:N]|wgpu[:N]] [--scheme tfhe|ckks|both] [--only correctness|noise|times] \
                     [--transform doubles|exact] [--samples N] [--quick] [--json FILE]";

/// Samples of each noise measurement: the variance's own deviation is 1.1 %.
pub const SAMPLES: usize = 16_384;
/// Fewer samples tell nothing, and more do not fit small devices.
const SAMPLES_ALLOWED: std::ops::RangeInclusive<usize> = 64..=1 << 20;

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
            quick: false,
            samples: SAMPLES,
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
        let options = parse("wgpu:1 --scheme ckks --only times --transform exact --json a.json").expect("sound");
        assert_eq!((options.device.as_str(), options.json.as_deref()), ("wgpu:1", Some("a.json")));
        assert!(!options.has(Scheme::Tfhe) && options.has(Scheme::Ckks));
        assert_eq!(options.transform, Some(Transform::Exact));
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
            ("--fast", "--fast is not known"),
        ] {
            assert!(parse(text).is_err_and(|error| error.contains(why)), "{text}");
        }
    }
}
