//! The Fourier domain: its memory, the negacyclic transform fused with what stands before and behind it, and what they
//! need of instruction sets.

pub mod block;
pub mod butterfly;
pub mod lanes;
mod roots;
pub mod torus;
pub mod transform;
