#![no_main]

include!("target.rs");

const KIND: Kind = Kind::Key(heman_core::files::scheme::Scheme::Ckks);
