//! Files in and out.

pub mod answers;
pub mod inputs;
pub mod ledger;
pub mod leftovers;
pub mod line;
pub mod names;
pub mod output;
pub mod pair;
pub mod passphrase;
pub mod place;
pub mod samples;
pub mod sealed;
pub mod spans;
pub mod standard_output;
pub mod temporaries;
pub mod terminal;
pub mod weights;
