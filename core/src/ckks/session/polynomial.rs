//! Polynomials on ciphertexts, with the least depth. Their leading coefficients are left to whatever reads the values.

use crate::ckks::error::CkksError;
use crate::ckks::ops::{Constant, RnsOps, State};
use crate::ckks::params::set::CkksParams;
use crate::ckks::plan::activation::{Form, Kind};

/// Where each constant of a polynomial is used (a sum's scale and level, or a factor's own scale), for `u` of a given state; and the
/// state of the value.
#[must_use]
pub fn uses(kind: Kind, params: &CkksParams, u: State) -> (Vec<State>, State) {
    let product = u.squared();
    let square = product.rescaled(params);
    // A factor that brings a term to a sum's scale.
    let factor = |sum: State, term: f64| State { scale: sum.scale / term, limbs: sum.limbs };
    match kind {
        Kind::Product => (Vec::new(), square),
        Kind::Square => (vec![u, square], square),
        Kind::Cubic => {
            let last = square.squared();
            let value = last.rescaled(params);
            (vec![value, factor(last, u.scale), square, factor(product, u.scale)], value)
        }
        Kind::Quartic => {
            let last = square.squared();
            let value = last.rescaled(params);
            (vec![factor(product, u.scale), square, factor(last, u.scale), value], value)
        }
        Kind::Sextic => {
            let cube = State { scale: square.scale * u.scale, limbs: square.limbs };
            let inner = cube.rescaled(params);
            let last = inner.squared();
            let value = last.rescaled(params);
            let of_square = |sum: State| factor(sum, square.scale);
            (vec![of_square(cube), square, inner, of_square(last), factor(last, u.scale), value], value)
        }
    }
}

/// Values of polynomials of one kind without their gain; `constants[i]` is constant i of [`Form::constants`] for each
/// element of `u`. For products `u` holds all first factors, then all second ones.
///
/// # Errors
/// [`CkksError`] of the steps.
pub fn activate<B: RnsOps>(
    backend: &B,
    key: &B::SwitchKey,
    kind: Kind,
    mut u: Vec<B::Ciphertext>,
    constants: &[Vec<Constant<'_, B::Plaintext>>],
) -> Result<Vec<B::Ciphertext>, CkksError> {
    let squares = |values: &[B::Ciphertext]| {
        let pairs: Vec<_> = values.iter().map(|value| (value, value)).collect();
        backend.multiply(&pairs, key)
    };
    match kind {
        Kind::Product => {
            let v = u.split_off(u.len() / 2);
            let pairs: Vec<_> = u.iter().zip(&v).collect();
            let value = backend.rescale(backend.multiply(&pairs, key)?)?;
            [u, v].into_iter().for_each(|done| backend.release(done));
            Ok(value)
        }
        Kind::Square => {
            backend.add_constants(&mut u, &constants[0])?;
            let mut value = backend.rescale(squares(&u)?)?;
            backend.release(u);
            backend.add_constants(&mut value, &constants[1])?;
            Ok(value)
        }
        Kind::Quartic => {
            // a u joins u^2 before it is rescaled: no level of its own.
            let mut product = squares(&u)?;
            backend.add_products(&mut product, &refs::<B>(&u), &constants[0])?;
            let mut inner = backend.rescale(product)?;
            backend.add_constants(&mut inner, &constants[1])?;
            let mut product = squares(&inner)?;
            backend.add_products(&mut product, &refs::<B>(&u), &constants[2])?;
            [inner, u].into_iter().for_each(|done| backend.release(done));
            let mut value = backend.rescale(product)?;
            backend.add_constants(&mut value, &constants[3])?;
            Ok(value)
        }
        Kind::Sextic => {
            let square = backend.rescale(squares(&u)?)?;
            let mut shifted = square.clone();
            backend.add_constants(&mut shifted, &constants[1])?;
            let limbs = square.first().map_or(0, |square| backend.state(square).limbs);
            let u = backend.drop_to(u, limbs)?;
            let pairs: Vec<_> = shifted.iter().zip(&u).collect();
            let mut product = backend.multiply(&pairs, key)?;
            backend.add_products(&mut product, &refs::<B>(&square), &constants[0])?;
            let mut inner = backend.rescale(product)?;
            backend.add_constants(&mut inner, &constants[2])?;
            let mut product = squares(&inner)?;
            backend.add_products(&mut product, &refs::<B>(&square), &constants[3])?;
            backend.add_products(&mut product, &refs::<B>(&u), &constants[4])?;
            [square, shifted, inner, u].into_iter().for_each(|done| backend.release(done));
            let mut value = backend.rescale(product)?;
            backend.add_constants(&mut value, &constants[5])?;
            Ok(value)
        }
        Kind::Cubic => {
            let product = squares(&u)?;
            let scale = product.first().map_or(1.0, |product| backend.state(product).scale);
            let square = backend.rescale(product)?;
            let lead = backend.products(&refs::<B>(&u), &constants[3], scale)?;
            let mut factor = backend.rescale(lead)?;
            backend.add_constants(&mut factor, &constants[2])?;
            let pairs: Vec<_> = square.iter().zip(&factor).collect();
            let mut product = backend.multiply(&pairs, key)?;
            backend.add_products(&mut product, &refs::<B>(&u), &constants[1])?;
            [square, factor, u].into_iter().for_each(|done| backend.release(done));
            let mut value = backend.rescale(product)?;
            backend.add_constants(&mut value, &constants[0])?;
            Ok(value)
        }
    }
}

fn refs<B: RnsOps>(batch: &[B::Ciphertext]) -> Vec<&B::Ciphertext> {
    batch.iter().collect()
}

/// Numbers of polynomials of one form, by constant and then by element.
#[must_use]
pub fn numbers<'a, P>(forms: &[&Form]) -> Vec<Vec<Constant<'a, P>>> {
    let each: Vec<Vec<f64>> = forms.iter().map(|form| form.constants()).collect();
    let count = each.first().map_or(0, Vec::len);
    (0..count).map(|at| each.iter().map(|constants| Constant::Number(constants[at])).collect()).collect()
}
