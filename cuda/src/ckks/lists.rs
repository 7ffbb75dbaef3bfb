//! Lists of what is done for each limb, by name.

use cudarc::driver::CudaSlice;

/// A list of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// Coefficients of the parts of a polynomial's digits. Items: polynomial, parts.
    Parts,
    /// For each limb of QP in use the conversion of each digit.
    Conversions,
    /// Digits at all primes but their own. Items: parts, digits.
    Digits,
    /// Coefficients of special limbs. Items: products.
    Special,
    /// Division of products by P. Items: products, words between two launches, target, and what is added to body and
    /// mask.
    Divided,
    /// The same with something added to the body only.
    Turned,
    /// The same, in the order of the item's last argument.
    TurnedInOrder,
    /// The last limb of products, divided by P and with what is added. Items as for [`List::Divided`].
    DividedLast,
    /// Its coefficients, in its place. Items: products.
    Last,
    /// Division of products by P and the last prime. Items as for [`List::Divided`], the target with a limb less.
    DividedTwice,
    /// Coefficients of the last limb. Items: body, mask, remainders.
    Remainders,
    /// Division by the last prime. Items: body, mask, remainders, target.
    Rescaled,
    /// Plaintexts of integers of so many words. Items: the words, the plaintext.
    Plaintexts(usize),
    /// Coefficients of what is raised. Items: body, mask, coefficients.
    RaisedParts,
    /// What is raised from so many limbs, behind them. Items: coefficients, target.
    Raised(usize),
}

/// A list on the device.
pub struct Records {
    pub slice: CudaSlice<u32>,
    /// How many.
    pub count: usize,
}
