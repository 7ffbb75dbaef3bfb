#![no_main]

include!("target.rs");

const KIND: Kind = Kind::EvaluationKey(heman_core::files::scheme::Scheme::Tfhe);
