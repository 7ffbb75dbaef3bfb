//! Parameters of CKKS: the sets, packings, keys asked for, and the public file.

pub mod key_request;
pub mod layout;
pub mod packing;
pub mod public;
pub mod set;
pub mod sparse;
