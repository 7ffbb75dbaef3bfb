//! Tables of one batch of bootstraps, and which value goes through which of them to which row.

use crate::device::error::{BackendError, require};
use crate::tfhe::params::set::ParameterSet;

/// Test polynomials with their places, checked once.
#[derive(Clone, Debug)]
pub struct TableSet {
    polynomial_size: usize,
    words: Vec<u32>,
    table_of_value: Vec<u32>,
    row_of_value: Vec<u32>,
    out_rows: usize,
}

impl TableSet {
    /// `words.len() / N` test polynomials of N words; value `v` is rotated by table `table_of_value[v]` and its result
    /// goes to row `row_of_value[v]`.
    ///
    /// Entry `j` of a table is the output's phase for rotations `j` of `0 .. N`; rotation `j + N` gives its negation.
    ///
    /// # Errors
    /// [`BackendError::Shape`] for a table that does not exist, or a row given twice.
    pub fn new(
        polynomial_size: usize,
        words: Vec<u32>,
        table_of_value: Vec<u32>,
        row_of_value: Vec<u32>,
    ) -> Result<Self, BackendError> {
        let shape = |expected: String, found: String| BackendError::Shape { step: "loading tables", expected, found };
        if !words.len().is_multiple_of(polynomial_size) {
            return Err(shape(format!("tables of {polynomial_size} words"), format!("{} words", words.len())));
        }
        if row_of_value.len() != table_of_value.len() {
            return Err(shape(format!("{} rows", table_of_value.len()), format!("{}", row_of_value.len())));
        }
        let tables = words.len() / polynomial_size;
        if let Some(&table) = table_of_value.iter().find(|&&table| table as usize >= tables) {
            return Err(shape(format!("a table below {tables}"), format!("{table}")));
        }
        let mut sorted = row_of_value.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(shape("distinct output rows".into(), "one row twice".into()));
        }
        let out_rows = sorted.last().map_or(0, |&row| row as usize + 1);
        Ok(Self { polynomial_size, words, table_of_value, row_of_value, out_rows })
    }

    /// One table for `values` values, each to the row of its own number.
    #[must_use]
    pub fn shared(table: Vec<u32>, values: usize) -> Self {
        let row_of_value: Vec<u32> = (0..values as u32).collect();
        Self {
            polynomial_size: table.len(),
            words: table,
            table_of_value: vec![0; values],
            row_of_value,
            out_rows: values,
        }
    }

    /// Coefficients of a table, N.
    #[must_use]
    pub fn polynomial_size(&self) -> usize {
        self.polynomial_size
    }

    /// All tables, one after the other.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Table `index`.
    #[must_use]
    pub fn table(&self, index: u32) -> &[u32] {
        &self.words[index as usize * self.polynomial_size..][..self.polynomial_size]
    }

    /// For each value its table.
    #[must_use]
    pub fn table_of_value(&self) -> &[u32] {
        &self.table_of_value
    }

    /// For each value its output row; no row is named twice.
    #[must_use]
    pub fn row_of_value(&self) -> &[u32] {
        &self.row_of_value
    }

    /// Checks one batch of `inputs` rows a value against parameters and buffers; returns the number of input rows.
    ///
    /// # Errors
    /// [`BackendError::Shape`] for tables of another ring or a buffer that is too short.
    pub fn check_batch(
        &self,
        params: &ParameterSet,
        inputs: usize,
        input_words: usize,
        out_words: usize,
    ) -> Result<usize, BackendError> {
        if self.polynomial_size != params.polynomial_size {
            return Err(BackendError::Shape {
                step: "bootstrap",
                expected: format!("tables of {} words", params.polynomial_size),
                found: format!("{}", self.polynomial_size),
            });
        }
        let rows = self.table_of_value.len() * inputs;
        require("bootstrap, input", rows * params.small_row_words(), input_words)?;
        require("bootstrap, output", self.out_rows * inputs * params.big_row_words(), out_words)?;
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_cannot_be_are_refused() {
        let set = |tables: &[u32], rows: &[u32]| TableSet::new(4, vec![0; 8], tables.to_vec(), rows.to_vec());
        assert!(set(&[0, 1], &[5, 3]).is_ok());
        assert!(set(&[0, 2], &[5, 3]).is_err(), "a third table");
        assert!(set(&[0, 1], &[3, 3]).is_err(), "one row twice");
        assert!(set(&[0, 1], &[3]).is_err(), "a row is missing");
        assert!(TableSet::new(4, vec![0; 9], vec![], vec![]).is_err(), "a broken table");
    }
}
