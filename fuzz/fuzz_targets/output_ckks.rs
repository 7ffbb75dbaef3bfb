#![no_main]

include!("target.rs");

const KIND: Kind = Kind::Output(heman_core::files::scheme::Scheme::Ckks);
