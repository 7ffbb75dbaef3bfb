//! Weights as integers.

use crate::device::simd::for_each_arch;
use crate::model::network::Row;
use crate::tfhe::planner::factor::QuantisedRow;
use crate::tfhe::torus::to_word;

/// What rounding a row takes, the same for all rows of a network.
pub(crate) struct Rounding<'a> {
    /// The instruction set.
    pub arch: pulp::Arch,
    /// For each value the group that its scale is of.
    pub group_of: &'a [u32],
    /// For each group the value at phase 0, and turns a unit.
    pub groups: &'a [(f64, f64)],
    /// For each group the share of a rounding error that the next value's weight takes over; empty for none.
    pub correlations: &'a [f64],
    /// The mean of each value, whose rounding errors go into the constant.
    pub value_mean: &'a [f64],
    /// Largest weight.
    pub limit: f64,
}

impl Rounding<'_> {
    /// A row whose result has phase 0 at `origin`, and so many turns a unit.
    pub fn row(&self, row: &Row, (origin, turns): (f64, f64)) -> QuantisedRow {
        let mut constant = (row.bias - origin) * turns;
        let mut weights = Vec::with_capacity(row.taps.len());
        round_taps(self.arch, self, row, turns, &mut weights, &mut constant);
        QuantisedRow { sources: row.taps.iter().map(|tap| tap.source).collect(), weights, bias: to_word(constant) }
    }
}

// Without SSE 4.1 a rounding is the call of a function.
for_each_arch! {
    fn round_taps = round_taps_body,
    (own: &Rounding<'_>, row: &Row, turns: f64, weights: &mut Vec<i16>, constant: &mut f64)
}

#[inline(always)]
fn round_taps_body(own: &Rounding<'_>, row: &Row, turns: f64, weights: &mut Vec<i16>, constant: &mut f64) {
    let mut before = None;
    let mut carried = 0.0;
    for tap in row.taps.iter() {
        let index = own.group_of[tap.source as usize];
        let (origin, group_turns) = own.groups[index as usize];
        let weight = f64::from(tap.weight) * turns;
        let exact = weight / group_turns;
        let wanted = if before == Some((index, tap.source)) {
            exact + own.correlations.get(index as usize).copied().unwrap_or(0.0) * carried
        } else {
            exact
        };
        let rounded = wanted.round().clamp(-own.limit, own.limit);
        carried = (wanted - rounded).clamp(-0.5, 0.5);
        before = Some((index, tap.source + 1));
        let mean = (own.value_mean[tap.source as usize] - origin) * group_turns;
        *constant += weight * origin + (exact - rounded) * mean;
        weights.push(rounded as i16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::network::Tap;

    #[test]
    fn every_instruction_set_rounds_alike_and_halves_away_from_zero() {
        let weights = [0.5, -0.5, 1.5, -2.5, 0.499_999_97, 3e4, -4e4, 0.3];
        let tap = |(source, &weight): (usize, &f32)| Tap { source: source as u32, weight };
        let row = Row { bias: 0.25, taps: weights.iter().enumerate().map(tap).collect() };
        let rounding = |arch, correlations| Rounding {
            arch,
            group_of: &[0, 0, 0, 0, 1, 1, 1, 1],
            groups: &[(0.5, 1.0), (-0.25, 2.0)],
            correlations,
            value_mean: &[0.1; 8],
            limit: 32767.0,
        };
        let plain = rounding(pulp::Arch::Scalar, &[]).row(&row, (0.0, 1.0));
        assert_eq!(plain.weights, [1, -1, 2, -3, 0, 15000, -20000, 0]);
        for correlations in [&[][..], &[0.9, 0.4]] {
            let arches = [pulp::Arch::Scalar, pulp::Arch::new()];
            let rows = arches.map(|arch| rounding(arch, correlations).row(&row, (0.0, 0.75)));
            let [scalar, fast] = rows.map(|row| (row.sources, row.weights, row.bias));
            assert_eq!(scalar, fast);
        }
    }
}
