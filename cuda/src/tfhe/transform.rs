//! By which transforms a device multiplies polynomials, and which are the faster ones.

use heman_core::tfhe::params::set::ParameterSet;

use crate::rates::Rates;
use crate::tfhe::counts::{ExactOperations, operations};

/// How the blind rotation multiplies polynomials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// By Fourier transforms of doubles: words differ from those of other devices by rounding, which is part of
    /// [`heman_core::tfhe::noise::bootstrap_variance`].
    Doubles,
    /// Modulo two primes: words are those of [`heman_core::tfhe::cpu::ExactBackend`], with the noise of
    /// [`heman_core::tfhe::noise::exact_bootstrap_variance`], which is less.
    Exact,
}

impl Transform {
    /// The transform that a device with these rates needs the least time for, by the counts of both kernels'
    /// instructions: doubles on A100, H100, H200 and B200; exact transforms where a multiprocessor does two
    /// double-precision instructions a clock.
    #[must_use]
    pub fn fastest(params: &ParameterSet, rates: &Rates) -> Self {
        let (doubles, exact) = [Self::Doubles, Self::Exact].map(|transform| transform.seconds(params, rates)).into();
        if doubles <= exact { Self::Doubles } else { Self::Exact }
    }

    /// Least seconds of one bootstrap on a device with these rates.
    ///
    /// Additions, minima and shifts have units of their own beside those of integer multiplications, and as many of
    /// them. Source: NVIDIA, CUDA C++ programming guide, throughput of arithmetic instructions; Nsight Compute
    /// documentation, pipelines ALU and FMA.
    #[must_use]
    pub fn seconds(self, params: &ParameterSet, rates: &Rates) -> f64 {
        match self {
            Self::Doubles => operations(params) / rates.doubles,
            Self::Exact => {
                let ExactOperations { multiplications, others } = ExactOperations::bootstrap(params);
                multiplications.max(others) / rates.words
            }
        }
    }

    /// The transform of a name, `doubles` or `exact`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "doubles" => Some(Self::Doubles),
            "exact" => Some(Self::Exact),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_taken_where_they_are_fast() {
        for (level, base_log, grouping_factor) in [(1, 23, 1), (2, 15, 1), (1, 22, 2), (1, 22, 3)] {
            let set = ParameterSet::with_least_noise(816, 4, 512, (base_log, level), (2, 7));
            let set = ParameterSet { grouping_factor, ..set };
            let chosen = |capability| Transform::fastest(&set, &Rates::new(100, 2e9, capability));
            for capability in [(8, 0), (9, 0), (10, 0)] {
                assert_eq!(chosen(capability), Transform::Doubles, "{capability:?}");
            }
            for capability in [(8, 6), (8, 9), (10, 3), (12, 0)] {
                assert_eq!(chosen(capability), Transform::Exact, "{capability:?}");
            }
        }
    }

    #[test]
    fn exact_instructions_are_counted_as_by_hand() {
        let set = ParameterSet::with_least_noise(800, 4, 512, (23, 1), (2, 7));
        let ExactOperations { multiplications, others } = ExactOperations::bootstrap(&set);
        // 800 steps, two primes, ten transforms of 2,304 butterflies of three and four, 12,800 products of two, 2,560
        // digits of none and four, and as many results of three and ten.
        let by_hand = 1600.0 * (10.0 * 2304.0 * 3.0 + 12_800.0 * 2.0 + 2560.0 * 3.0);
        assert!((multiplications / by_hand - 1.0).abs() < 1e-12);
        let by_hand = 1600.0 * (10.0 * 2304.0 * 4.0 + 2560.0 * 14.0);
        assert!((others / by_hand - 1.0).abs() < 1e-12);
        let rtx_4090 = Rates::new(128, 2.52e9, (8, 9));
        assert!((8e4..12e4).contains(&(1.0 / Transform::Exact.seconds(&set, &rtx_4090))));
        assert!((5e3..10e3).contains(&(1.0 / Transform::Doubles.seconds(&set, &rtx_4090))));
    }
}
