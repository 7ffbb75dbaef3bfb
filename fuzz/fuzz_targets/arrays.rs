#![no_main]

include!("target.rs");

const KIND: Kind = Kind::Arrays;
