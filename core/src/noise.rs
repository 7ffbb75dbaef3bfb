//! Noise of every homomorphic step as a variance on the torus, with its sources.

/// placeholder, replaced below
pub fn keyswitch_variance() {}
/// placeholder, replaced below
pub fn bootstrap_variance() {}
