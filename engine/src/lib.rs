//! Devices, and sessions of either scheme on them.
//!
//! A server, whatever its shell, opens devices for a plan, loads a client's evaluation key, and runs encrypted inputs
//! pass by pass. Nothing here can name a secret key.

mod candidates;
mod choice;
mod devices;
mod error;
mod forecast;
pub mod large_pages;
pub mod measure;
pub mod memory;
mod need;
mod predict;
mod profile;
pub mod scheduler;
mod session;
mod target;

pub use choice::DeviceChoice;
pub use devices::{Devices, Wanted};
pub use error::EngineError;
pub use forecast::{Peaks, StepForecast};
pub use predict::StepKind;
pub use profile::{CkksRates, DeviceProfile, KindRates, ProfileError, Profiles, RingRate, Shape, ShapeRates, Speed};
pub use session::{Inputs, Outputs, Session};
pub use target::{ForTarget, Target, TargetChoice, Targets};
