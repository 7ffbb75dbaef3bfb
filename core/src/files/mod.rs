//! Files as they travel between the parties, whatever the scheme.

pub mod chunks;
pub mod container;
pub mod params;
pub mod scheme;
pub mod sealed;
