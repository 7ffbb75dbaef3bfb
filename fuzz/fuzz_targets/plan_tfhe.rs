#![no_main]

include!("target.rs");

const KIND: Kind = Kind::Plan(heman_core::files::scheme::Scheme::Tfhe);
