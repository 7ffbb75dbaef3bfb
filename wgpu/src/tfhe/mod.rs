//! The steps of TFHE on the device.

mod bootstrap;
mod keyswitch;
mod linear;

use heman_core::tfhe::ops::InputOps;

use crate::device::WgpuBackend;

pub use bootstrap::{WgpuBootstrapKey, WgpuTables};
pub use keyswitch::WgpuKeyswitchKey;
pub use linear::WgpuAffine;

impl InputOps for WgpuBackend {}
