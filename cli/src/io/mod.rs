//! Files in and out.

pub mod answers;
pub mod arrays;
pub mod inputs;
pub mod labels;
pub mod ledger;
pub mod leftovers;
pub mod line;
pub mod names;
pub mod npy;
pub mod order;
pub mod output;
pub mod pair;
pub mod passphrase;
pub mod place;
pub mod samples;
pub mod sealed;
pub mod spans;
pub mod temporaries;
pub mod terminal;
pub mod weights;
