//! Sums of scaled rows without sorting anything twice.

use crate::model::network::{Row, Tap};

/// A dense accumulator over the value space that remembers which entries it touched.
#[derive(Default)]
pub struct RowSum {
    weights: Vec<f64>,
    is_touched: Vec<bool>,
    touched: Vec<u32>,
    bias: f64,
    work: u64,
    limit: Option<u64>,
}

impl RowSum {
    /// An accumulator that adds up to `limit` terms in all its life; then it is exhausted and adds none.
    #[must_use]
    pub fn bounded(limit: u64) -> Self {
        Self { limit: Some(limit), ..Self::default() }
    }

    /// Whether terms were left out because there were too many.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.limit.is_some_and(|limit| self.work > limit)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, constant: f64) {
        self.bias += constant;
    }

    /// Adds `weight * value[source]`.
    pub fn add_value(&mut self, source: u32, weight: f64) {
        let at = source as usize;
        if at >= self.weights.len() {
            let length = (at + 1).next_power_of_two();
            self.weights.resize(length, 0.0);
            self.is_touched.resize(length, false);
        }
        if !self.is_touched[at] {
            self.is_touched[at] = true;
            self.touched.push(source);
        }
        self.weights[at] += weight;
    }

    /// Adds `weight * row`.
    pub fn add_row(&mut self, row: &Row, weight: f64) {
        self.bias += weight * row.bias;
        self.work = self.work.saturating_add(1 + row.taps.len() as u64);
        if self.is_exhausted() {
            return;
        }
        for tap in row.taps.iter() {
            self.add_value(tap.source, weight * f64::from(tap.weight));
        }
    }

    /// The row with values replaced: `parts` says what stands for each value so far, `more` for those from `first` on,
    /// and `add` adds what stands for a tap. The sum must be empty.
    pub fn replaced<T>(
        &mut self,
        row: &Row,
        parts: &[Option<T>],
        (more, first): (&[T], usize),
        add: impl Fn(&mut Self, &Tap, &T),
    ) -> Row {
        let part = |source: u32| match parts.get(source as usize) {
            Some(part) => part.as_ref(),
            None => (source as usize).checked_sub(first).and_then(|at| more.get(at)),
        };
        if row.taps.iter().all(|tap| part(tap.source).is_none()) {
            return row.clone();
        }
        self.add_constant(row.bias);
        for tap in row.taps.iter() {
            match part(tap.source) {
                None => self.add_value(tap.source, f64::from(tap.weight)),
                Some(part) => add(self, tap, part),
            }
        }
        self.take()
    }

    /// The sum as a row, its taps sorted and without zeros; empties the accumulator.
    pub fn take(&mut self) -> Row {
        self.touched.sort_unstable();
        let mut taps = Vec::with_capacity(self.touched.len());
        for &source in &self.touched {
            self.is_touched[source as usize] = false;
            let weight = std::mem::take(&mut self.weights[source as usize]) as f32;
            if weight != 0.0 {
                taps.push(Tap { source, weight });
            }
        }
        self.touched.clear();
        Row { bias: std::mem::take(&mut self.bias), taps: taps.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_sum_stops_and_says_so() {
        let row = Row { bias: 0.0, taps: vec![Tap { source: 3, weight: 2.0 }].into() };
        let mut sum = RowSum::bounded(4);
        sum.add_row(&row, 1.0);
        sum.add_row(&row, 1.0);
        assert_eq!(sum.take().taps[0].weight, 4.0);
        assert!(!sum.is_exhausted());
        sum.add_row(&row, 1.0);
        assert!(sum.take().taps.is_empty() && sum.is_exhausted());
    }
}
