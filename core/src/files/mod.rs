//! Files as they travel between the parties, whatever the scheme.

pub mod container;
pub mod params;
pub mod scheme;
pub(crate) mod sealed;
