//! Values that are to be encrypted.

use heman_core::ckks::params::public as ckks;
use heman_core::either::params::Params;
use heman_core::model::columns::Columns;
use heman_core::tfhe::params::public as tfhe;
use zeroize::Zeroizing;

use crate::error::ClientError;

/// Checks a batch of inputs, one after the other in `values`, as encryption does.
///
/// # Errors
/// [`ClientError::InputLength`] if `values` is no whole number of inputs, [`ClientError::InputRange`] for values that
/// are not finite or outside of the range that the parameters were made for.
pub fn check_inputs(params: &Params, values: &[f32]) -> Result<(), ClientError> {
    let encoding = match params {
        Params::Tfhe(params) => Encoding::from(&params.input),
        Params::Ckks(params) => Encoding::from(&params.input),
    };
    encoding.encoded(values).map(|_| ())
}

/// What parameters of either scheme say of inputs.
pub(crate) struct Encoding<'a> {
    /// Elements of one input.
    pub len: usize,
    /// Smallest and largest number that is encrypted.
    range: (f64, f64),
    /// What is encrypted of an element.
    columns: &'a Columns,
}

impl<'a> From<&'a tfhe::InputEncoding> for Encoding<'a> {
    fn from(input: &'a tfhe::InputEncoding) -> Self {
        Self { len: input.tensor.len(), range: (input.low, input.high), columns: &input.columns }
    }
}

impl<'a> From<&'a ckks::InputEncoding> for Encoding<'a> {
    fn from(input: &'a ckks::InputEncoding) -> Self {
        Self { len: input.tensor.len(), range: (input.low, input.high), columns: &input.columns }
    }
}

impl Encoding<'_> {
    /// The numbers that are encrypted of a whole number of inputs.
    ///
    /// # Errors
    /// As [`check_inputs`].
    pub(crate) fn encoded(&self, values: &[f32]) -> Result<Zeroizing<Vec<f64>>, ClientError> {
        if values.is_empty() || !values.len().is_multiple_of(self.len) {
            return Err(ClientError::InputLength { found: values.len(), expected: self.len });
        }
        let mut encoded = Zeroizing::new(Vec::with_capacity(values.len()));
        for (at, &value) in values.iter().enumerate() {
            let (input, index) = (at / self.len, at % self.len);
            let number = self.columns.encode(index, f64::from(value));
            if !self.columns.takes(index, f64::from(value), number, self.range) {
                let (low, high) = self.columns.taken(index, self.range);
                return Err(ClientError::InputRange { input, index, low, high });
            }
            encoded.push(number);
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns by what a parameter file says of them.
    fn columns(text: &str) -> Columns {
        serde_json::from_str(text).expect("columns")
    }

    #[test]
    fn elements_with_scales_of_their_own_have_ranges_of_their_own() {
        let columns = columns(r#"{ "centre": [100.0, 0.5], "unit": [10.0, 0.01], "taken": [] }"#);
        let encoding = Encoding { len: 2, range: (-16.0, 16.0), columns: &columns };
        let numbers = encoding.encoded(&[110.0, 0.49, 90.0, 0.5]).expect("in range");
        let want = [1.0, -1.0, -1.0, 0.0];
        assert!(numbers.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5), "{:?}", *numbers);
        let error = encoding.encoded(&[110.0, 0.5, 110.0, 0.7]).expect_err("0.66 is the most");
        assert!(!error.to_string().contains("0.7"), "the value is not told: {error}");
        let ClientError::InputRange { input: 1, index: 1, low, high } = error else { panic!("{error}") };
        assert!((low - 0.34).abs() < 1e-9 && (high - 0.66).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn what_is_cut_off_takes_numbers_beyond_the_range() {
        let columns = columns(r#"{ "centre": [100.0], "unit": [10.0], "taken": [[-1e31, 1e6]] }"#);
        let encoding = Encoding { len: 1, range: (-16.0, 16.0), columns: &columns };
        assert_eq!(*encoding.encoded(&[1e5, -1e30, 100.0]).expect("numbers"), [16.0, -16.0, 0.0]);
        for value in [f32::NAN, f32::INFINITY, 2e6] {
            assert!(matches!(encoding.encoded(&[value]), Err(ClientError::InputRange { index: 0, .. })), "{value}");
        }
    }
}
