//! RNS-CKKS: approximate arithmetic on vectors of N/2 numbers.
//!
//! Polynomials mod X^N + 1 are kept as residues modulo primes below 2^30, `u32[limb][N]`, one layout for every backend.
//! Sources: Cheon, Kim, Kim, Song (ASIACRYPT 2017); Cheon, Han, Kim, Kim, Song (SAC 2018) for the RNS variant; Han and Ki (CT-RSA
//! 2020) for hybrid key switching.

pub mod activation;
pub mod backend;
pub mod context;
pub mod cost;
mod cpu;
pub mod encode;
pub mod evaluate;
pub mod evaluator;
pub mod exec;
pub mod files;
pub mod keyswitch;
pub mod latency;
pub mod latency_session;
pub mod layout;
pub mod linear;
pub mod modulus;
pub mod noise;
pub mod ntt;
mod order;
pub mod params;
pub mod plan;
pub mod planner;
pub mod polynomials;
mod pool;
pub mod seeded;
mod shared_rows;
pub mod steps;
pub mod throughput;
pub mod words;
