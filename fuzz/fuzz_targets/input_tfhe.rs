#![no_main]

include!("target.rs");

const KIND: Kind = Kind::Input(heman_core::files::scheme::Scheme::Tfhe);
