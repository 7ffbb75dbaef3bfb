#![no_main]

include!("target.rs");

const KIND: Kind = Kind::Params(heman_core::files::scheme::Scheme::Ckks);
