//! Where the constants of polynomials are used.

use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::activation::FormKind;
use crate::ckks::plan::chebyshev::{FIFTEENTH, SEVENTH, states, uses_of_constants};
use crate::ckks::ring::number::State;

/// States within the evaluation of a polynomial.
#[derive(Clone, Debug, PartialEq)]
pub struct Uses {
    /// Where each constant is used: a sum's scale and level, or a factor's own scale.
    pub constants: Vec<State>,
    /// What is rescaled, in the order in which it is: states behind each division.
    pub rescaled: Vec<State>,
    /// Of the value. If the last product stays open, its three parts are at the level of its factors and not yet
    /// rescaled.
    pub value: State,
}

/// States for `u` of a given one; `is_open` if the last product is neither relinearised nor rescaled, which polynomials
/// of [`crate::ckks::plan::chebyshev`] never are.
#[must_use]
pub fn uses(kind: FormKind, params: &ParameterSet, u: State, is_open: bool) -> Uses {
    let product = u.squared();
    let square = product.rescaled(params);
    // A factor that brings a term to a sum's scale.
    let factor = |sum: State, term: f64| State { scale: sum.scale / term, limbs: sum.limbs };
    let ends = |last: State| if is_open { last } else { last.rescaled(params) };
    let with = |constants: Vec<State>, mut rescaled: Vec<State>, value: State| {
        rescaled.extend((!is_open).then_some(value));
        Uses { constants, rescaled, value }
    };
    match kind {
        FormKind::Product => with(Vec::new(), Vec::new(), ends(product)),
        FormKind::Square => {
            let value = ends(product);
            with(vec![u, value], Vec::new(), value)
        }
        FormKind::Cubic => {
            let last = square.squared();
            let value = ends(last);
            let constants = vec![value, factor(last, u.scale), square, factor(product, u.scale)];
            with(constants, vec![square, square], value)
        }
        FormKind::Quartic => {
            let last = square.squared();
            let value = ends(last);
            let constants = vec![factor(product, u.scale), square, factor(last, u.scale), value];
            with(constants, vec![square], value)
        }
        FormKind::Sextic => {
            let cube = State { scale: square.scale * u.scale, limbs: square.limbs };
            let inner = cube.rescaled(params);
            let last = inner.squared();
            let value = ends(last);
            let of_square = |sum: State| factor(sum, square.scale);
            let constants = vec![of_square(cube), square, inner, of_square(last), factor(last, u.scale), value];
            with(constants, vec![square, inner], value)
        }
        FormKind::Octic => {
            let Uses { mut constants, rescaled, value: quartic } = uses(FormKind::Quartic, params, u, false);
            let cube = State { scale: square.scale * u.scale, limbs: square.limbs }.rescaled(params);
            let last = quartic.squared();
            let value = ends(last);
            constants.extend([cube.scale, square.scale, u.scale].map(|term| factor(last, term)));
            constants.push(value);
            with(constants, [rescaled, vec![cube]].concat(), value)
        }
        FormKind::Seventh | FormKind::Fifteenth => {
            let constants = if kind == FormKind::Seventh { SEVENTH } else { FIFTEENTH };
            let states = states(constants, params, u);
            let rescaled: Vec<State> = states.iter().map(|(_, value)| *value).collect();
            let value = rescaled[rescaled.len() - 1];
            Uses { constants: uses_of_constants(constants, u, &states), rescaled, value }
        }
    }
}
