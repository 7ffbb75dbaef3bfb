//! Sums of scaled rows without sorting anything twice.

use crate::model::network::{Row, Tap};

/// A dense accumulator over the value space that remembers which entries it touched.
#[derive(Default)]
pub struct RowSum {
    weights: Vec<f64>,
    is_touched: Vec<bool>,
    touched: Vec<u32>,
    bias: f64,
}

impl RowSum {
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
        for tap in row.taps.iter() {
            self.add_value(tap.source, weight * f64::from(tap.weight));
        }
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
