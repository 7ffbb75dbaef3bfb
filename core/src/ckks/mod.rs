//! RNS-CKKS: approximate arithmetic on vectors of N real numbers, or of N/2 complex ones.
//!
//! Elements of the conjugate-invariant ring, or polynomials mod X^N + 1, are kept as residues modulo primes below 2^30,
//! `u32[limb][N]`, one layout for every backend.
//! Sources: Cheon, Kim, Kim, Song (ASIACRYPT 2017); Cheon, Han, Kim, Kim, Song (SAC 2018) for the RNS variant; Han and
//! Ki (CT-RSA 2020) for hybrid key switching; Kim and Song (ICISC 2018) for the conjugate-invariant ring.

pub mod bootstrap;
pub mod cost;
pub mod cpu;
pub mod error;
pub mod files;
pub mod gpu;
pub mod noise;
pub mod ops;
pub mod params;
pub mod plan;
pub mod planner;
pub mod ring;
pub mod schedule;
pub mod session;
