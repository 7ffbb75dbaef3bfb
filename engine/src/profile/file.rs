//! The profile as a file. It is read from the user's folder, and nothing in it is believed beyond sane bounds.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CkksRates, DeviceProfile, KindRates, Profiles, Speed};

/// Version of the format.
const VERSION: u32 = 3;
/// Bytes of a file at the most.
const MOST_BYTES: u64 = 1 << 20;
/// Devices of a file at the most.
const MOST_DEVICES: usize = 256;
/// Bytes of a name at the most.
const MOST_NAME_BYTES: usize = 256;
/// Threads that a device may equal at the most.
const MOST_THREADS: f64 = 1e7;
/// Rows side by side at the most.
const MOST_ROWS: u32 = 1 << 20;
/// Rings of a device at the most, and shapes of rings.
const MOST_RINGS: usize = 1024;
/// Bootstraps a second, least and most.
const BOOTSTRAPS: [f64; 2] = [1e-6, 1e12];
/// Seconds of a step, least and most.
const STEP_SECONDS: [f64; 2] = [1e-9, 10.0];

/// Why a profile is not used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct ProfileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    devices: Vec<DeviceProfile>,
}

impl Profiles {
    /// Reads a file; one that is not there holds no devices.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let failed = |reason: String| ProfileError { file: path.to_path_buf(), reason };
        let found = std::fs::metadata(path);
        if found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(Self::default());
        }
        if !found.map_err(|error| failed(error.to_string()))?.is_file() {
            return Err(failed("this is not a file".into()));
        }
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
        read.map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// A sentence about the first thing that no device profile says.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if text.len() as u64 > MOST_BYTES {
            return Err(format!("a device profile has at most {MOST_BYTES} bytes"));
        }
        let broken = |error: serde_json::Error| format!("this is no device profile ({error})");
        let head: Head = serde_json::from_slice(text).map_err(broken)?;
        if head.version != VERSION {
            return Err(format!(
                "the device profile has version {}, and this program reads {VERSION}: remove it, and measure again",
                head.version
            ));
        }
        let content: Content = serde_json::from_slice(text).map_err(broken)?;
        if content.devices.len() > MOST_DEVICES {
            return Err(format!("a device profile has at most {MOST_DEVICES} devices"));
        }
        let mut names = BTreeSet::new();
        for device in &content.devices {
            check(device)?;
            if !names.insert(&device.name) {
                return Err(format!("the device {:?} is there twice", device.name));
            }
        }
        Ok(Self { devices: content.devices })
    }

    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let content = Content { version: VERSION, devices: self.devices.clone() };
        serde_json::to_string_pretty(&content).expect("plain data always serialises") + "\n"
    }
}

/// Whether the numbers of a device could be a device's.
fn check(device: &DeviceProfile) -> Result<(), String> {
    let name = &device.name;
    if name.is_empty() || name.len() > MOST_NAME_BYTES || name.chars().any(char::is_control) {
        return Err("the name of a device is empty, too long or no plain text".into());
    }
    if device.measured.as_ref().is_some_and(|day| !is_day(day)) {
        return Err(format!("the day on which {name:?} was measured is not of the form YYYY-MM-DD"));
    }
    let [least, most] = STEP_SECONDS;
    if !(least..=most).contains(&device.step_seconds) {
        return Err(format!("step_seconds of {name:?} is not between {least} and {most}"));
    }
    for (scheme, speed) in [("tfhe", device.tfhe), ("ckks", device.ckks)] {
        let Some(Speed { threads, rows }) = speed else { continue };
        if !(threads > 0.0 && threads <= MOST_THREADS) {
            return Err(format!("threads of {scheme} of {name:?} is not above 0 and at most {MOST_THREADS}"));
        }
        if !(1..=MOST_ROWS).contains(&rows) {
            return Err(format!("rows of {scheme} of {name:?} is not between 1 and {MOST_ROWS}"));
        }
    }
    if let Some(CkksRates { many, few }) = &device.ckks_rates {
        if few.len() > MOST_RINGS {
            return Err(format!("{name:?} has more than {MOST_RINGS} shapes of rings"));
        }
        if !few.iter().all(|few| few.shape.is_sane()) {
            return Err(format!("a shape of {name:?} is not one of a CKKS ring"));
        }
        for rates in few.iter().map(|few| few.rates).chain([*many]) {
            let KindRates { switching, hoisted, products, step_seconds, threads } = rates;
            if ![switching, hoisted, products].iter().all(|&threads| threads > 0.0 && threads <= MOST_THREADS) {
                return Err(format!("threads of ckks_rates of {name:?} are not above 0 and at most {MOST_THREADS}"));
            }
            if f64::from(threads) > MOST_THREADS {
                return Err(format!("threads of ckks_rates of {name:?} are more than {MOST_THREADS}"));
            }
            if !(0.0..=most).contains(&step_seconds) {
                return Err(format!("step_seconds of ckks_rates of {name:?} is not between 0 and {most}"));
            }
        }
    }
    if device.rings.len() > MOST_RINGS {
        return Err(format!("{name:?} has more than {MOST_RINGS} rings"));
    }
    for rate in &device.rings {
        rate.check().map_err(|error| format!("a ring of {name:?}: {error}"))?;
        let [least, most] = BOOTSTRAPS;
        if !(least..=most).contains(&rate.bootstraps_per_second) {
            return Err(format!("bootstraps_per_second of {name:?} is not between {least} and {most}"));
        }
    }
    Ok(())
}

fn is_day(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut number = |digits: usize, most: u32| {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()));
        part.and_then(|part| part.parse().ok()).is_some_and(|number: u32| (1..=most).contains(&number))
    };
    number(4, 9999) && number(2, 12) && number(2, 31) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::super::{RingRate, Shape, ShapeRates};
    use super::*;

    fn profiles() -> Profiles {
        let mut profiles = Profiles::default();
        for (name, measured) in [("GPU (Vulkan)", Some("2026-11-26".to_string())), ("CPU, 2 threads, AVX2", None)] {
            profiles.insert(DeviceProfile {
                name: name.into(),
                measured,
                tfhe: Some(Speed { threads: 1.0 / 3.0, rows: 7 }),
                ckks: None,
                ckks_rates: Some(CkksRates {
                    many: KindRates { switching: 2.0, hoisted: 3.0, products: 0.7, step_seconds: 0.5, threads: 2 },
                    few: vec![ShapeRates {
                        shape: Shape { log2_degree: 13, limbs: 6, special_primes: 1, is_cached: false },
                        rates: KindRates { switching: 1.5, hoisted: 2.5, products: 0.9, step_seconds: 0.0, threads: 0 },
                    }],
                }),
                step_seconds: 0.25,
                rings: vec![RingRate {
                    glwe_dimension: 4,
                    polynomial_size: 512,
                    pbs_level: 1,
                    grouping_factor: 2,
                    bootstraps_per_second: 12.5,
                }],
            });
        }
        profiles
    }

    /// The two devices with one text in the place of another.
    fn changed(from: &str, to: &str) -> String {
        let text = profiles().to_json();
        assert!(text.contains(from), "{text} lacks {from}");
        text.replacen(from, to, 1)
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("devices.json");
        assert_eq!(Profiles::read(&path).expect("no file is no device"), Profiles::default());
        std::fs::write(&path, profiles().to_json()).expect("writable");
        assert_eq!(Profiles::read(&path).expect("its own text"), profiles());
    }

    #[test]
    fn a_device_takes_the_place_of_one_of_its_name() {
        let mut profiles = profiles();
        let faster = DeviceProfile { step_seconds: 1e-6, ..profiles.devices()[0].clone() };
        profiles.insert(faster.clone());
        assert_eq!((profiles.devices().len(), profiles.find("GPU (Vulkan)")), (2, Some(faster)));
    }

    #[test]
    fn hostile_files_are_refused_by_a_sentence_that_names_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("devices.json");
        let many = Profiles {
            devices: (0..=MOST_DEVICES)
                .map(|at| DeviceProfile { name: format!("{at}"), ..profiles().devices()[0].clone() })
                .collect(),
        };
        for (text, why) in [
            (String::new(), "this is no device profile"),
            ("[3]".into(), "this is no device profile"),
            ("[".repeat(100_000), "this is no device profile"),
            (" ".repeat(MOST_BYTES as usize + 1), "at most 1048576 bytes"),
            (changed("\"version\": 3", "\"version\": 2"), "has version 2"),
            (changed("\"version\": 3", "\"version\": 3, \"more\": 0"), "unknown field `more`"),
            (changed("\"rows\": 7", "\"rows\": 7, \"more\": 0"), "unknown field `more`"),
            (changed("\"step_seconds\": 0.25", "\"step_seconds\": 0.25, \"more\": 0"), "unknown field `more`"),
            (changed("\"rows\": 7", "\"rows\": 0"), "rows of tfhe of \"GPU (Vulkan)\""),
            (changed("\"rows\": 7", "\"rows\": 4294967295"), "rows of tfhe"),
            (changed("\"rows\": 7", "\"rows\": -1"), "this is no device profile"),
            (changed("\"threads\": 0.3333333333333333", "\"threads\": 0"), "threads of tfhe"),
            (changed("\"threads\": 0.3333333333333333", "\"threads\": -1"), "threads of tfhe"),
            (changed("\"threads\": 0.3333333333333333", "\"threads\": 1e300"), "threads of tfhe"),
            (changed("\"threads\": 0.3333333333333333", "\"threads\": 1e999"), "this is no device profile"),
            (changed("\"threads\": 0.3333333333333333", "\"threads\": NaN"), "this is no device profile"),
            (changed("\"step_seconds\": 0.25", "\"step_seconds\": 0"), "step_seconds of \"GPU (Vulkan)\""),
            (changed("\"step_seconds\": 0.25", "\"step_seconds\": 1e9"), "step_seconds"),
            (changed("\"polynomial_size\": 512", "\"polynomial_size\": 500"), "not a power of two"),
            (changed("\"polynomial_size\": 512", "\"polynomial_size\": 512, \"more\": 0"), "unknown field `more`"),
            (changed("\"grouping_factor\": 2", "\"grouping_factor\": 9"), "grouping_factor is 9"),
            (changed("\"bootstraps_per_second\": 12.5", "\"bootstraps_per_second\": 0"), "bootstraps_per_second of"),
            (changed("\"bootstraps_per_second\": 12.5", "\"bootstraps_per_second\": 1e99"), "bootstraps_per_second"),
            (changed("\"products\": 0.7", "\"products\": 0"), "threads of ckks_rates"),
            (changed("\"switching\": 2.0", "\"switching\": -1"), "threads of ckks_rates"),
            (changed("\"step_seconds\": 0.5", "\"step_seconds\": 99"), "step_seconds of ckks_rates"),
            (changed("\"hoisted\": 2.5", "\"hoisted\": 0"), "threads of ckks_rates"),
            (changed("\"log2_degree\": 13", "\"log2_degree\": 4294967295"), "a shape of \"GPU (Vulkan)\""),
            (changed("\"limbs\": 6", "\"limbs\": 0"), "a shape of"),
            (changed("\"limbs\": 6", "\"limbs\": 6, \"more\": 0"), "unknown field `more`"),
            (changed("2026-11-26", "26.11.2026"), "YYYY-MM-DD"),
            (changed("2026-11-26", "2026-13-26"), "YYYY-MM-DD"),
            (changed("GPU (Vulkan)", ""), "the name of a device"),
            (changed("GPU (Vulkan)", "\\u001b[2J"), "the name of a device"),
            (changed("GPU (Vulkan)", "CPU, 2 threads, AVX2"), "is there twice"),
            (many.to_json(), "at most 256 devices"),
        ] {
            std::fs::write(&path, &text).expect("writable");
            let sentence = Profiles::read(&path).expect_err(why).to_string();
            assert!(
                sentence.starts_with(&path.display().to_string()) && sentence.contains(why),
                "{sentence} without {why}"
            );
        }
        let sentence = Profiles::read(folder.path()).expect_err("a folder").to_string();
        assert!(sentence.contains("this is not a file"), "{sentence}");
    }
}
