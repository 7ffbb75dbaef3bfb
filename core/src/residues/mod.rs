//! Residues of word-sized primes and the transform of polynomials of them: the integer arithmetic of CKKS, and of
//! TFHE's exact external products.

mod fold;
#[cfg(test)]
mod invariants;
pub mod modulus;
pub mod ntt;
#[cfg(target_arch = "x86_64")]
mod ntt_wide;
pub(crate) mod roots;
#[cfg(target_arch = "x86_64")]
pub(crate) mod vectors;
