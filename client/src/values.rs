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
        let (low, high) = self.range;
        let mut encoded = Zeroizing::new(Vec::with_capacity(values.len()));
        for (at, &value) in values.iter().enumerate() {
            let (input, index) = (at / self.len, at % self.len);
            let number = self.columns.encode(index, f64::from(value));
            if !(value.is_finite() && number >= low && number <= high) {
                let (low, high) = (self.columns.decode(index, low), self.columns.decode(index, high));
                return Err(ClientError::InputRange { input, index, value, low, high });
            }
            encoded.push(number);
        }
        Ok(encoded)
    }
}
