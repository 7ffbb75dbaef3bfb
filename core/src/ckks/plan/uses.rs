//! Where the constants of polynomials are used.

use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::activation::FormKind;
use crate::ckks::ring::number::State;

/// Where each constant of a polynomial is used (a sum's scale and level, or a factor's own scale), for `u` of a given
/// state; and the state of the value.
#[must_use]
pub fn uses(kind: FormKind, params: &ParameterSet, u: State) -> (Vec<State>, State) {
    let product = u.squared();
    let square = product.rescaled(params);
    // A factor that brings a term to a sum's scale.
    let factor = |sum: State, term: f64| State { scale: sum.scale / term, limbs: sum.limbs };
    match kind {
        FormKind::Product => (Vec::new(), square),
        FormKind::Square => (vec![u, square], square),
        FormKind::Cubic => {
            let last = square.squared();
            let value = last.rescaled(params);
            (vec![value, factor(last, u.scale), square, factor(product, u.scale)], value)
        }
        FormKind::Quartic => {
            let last = square.squared();
            let value = last.rescaled(params);
            (vec![factor(product, u.scale), square, factor(last, u.scale), value], value)
        }
        FormKind::Sextic => {
            let cube = State { scale: square.scale * u.scale, limbs: square.limbs };
            let inner = cube.rescaled(params);
            let last = inner.squared();
            let value = last.rescaled(params);
            let of_square = |sum: State| factor(sum, square.scale);
            (vec![of_square(cube), square, inner, of_square(last), factor(last, u.scale), value], value)
        }
        FormKind::Octic => {
            let (mut states, quartic) = uses(FormKind::Quartic, params, u);
            let cube = State { scale: square.scale * u.scale, limbs: square.limbs }.rescaled(params);
            let last = quartic.squared();
            let value = last.rescaled(params);
            states.extend([cube.scale, square.scale, u.scale].map(|term| factor(last, term)));
            states.push(value);
            (states, value)
        }
    }
}
