//! Values that are to be encrypted.

use crate::error::ClientError;

/// Checks that values are a whole number of inputs, and within the range that the parameters allow for.
pub(crate) fn check_values(values: &[f32], expected: usize, (low, high): (f64, f64)) -> Result<(), ClientError> {
    if values.is_empty() || !values.len().is_multiple_of(expected) {
        return Err(ClientError::InputLength { found: values.len(), expected });
    }
    let outside = |&x: &f32| !x.is_finite() || f64::from(x) < low || f64::from(x) > high;
    match values.iter().position(outside) {
        None => Ok(()),
        Some(at) => {
            Err(ClientError::InputRange { input: at / expected, index: at % expected, value: values[at], low, high })
        }
    }
}
