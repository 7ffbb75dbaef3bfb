//! Fourier transforms of doubles, real and imaginary parts apart.
//!
//! Every pass combines four values a quarter of the points apart and writes them where the next one reads them in a
//! row, so that results come out in order and all loops run over neighbours (Stockham). Sums and products are rounded
//! one by one: results do not depend on the instruction set.

use std::f64::consts::PI;

use crate::device::simd::for_each_arch;

/// Roots for one number of points, a power of two.
pub(in crate::ckks) struct Fourier {
    arch: pulp::Arch,
    /// `exp(-2 pi i k p / points)` for k = 1, 2, 3 and p below a quarter of the points: real and imaginary parts.
    roots: [[Vec<f64>; 2]; 3],
}

impl Fourier {
    pub fn new(points: usize) -> Self {
        let root = |k: usize, p: usize| {
            let (sin, cos) = (-2.0 * PI * (k * p) as f64 / points as f64).sin_cos();
            (cos, sin)
        };
        let roots = [1, 2, 3].map(|k| {
            let all: (Vec<f64>, Vec<f64>) = (0..points / 4).map(|p| root(k, p)).unzip();
            all.into()
        });
        Self { arch: pulp::Arch::new(), roots }
    }

    /// `x_k = sum_t x_t exp(-2 pi i k t / points)`.
    pub fn backward(&self, re: &mut [f64], im: &mut [f64]) {
        let mut room = vec![0.0; 2 * re.len()];
        let (room_re, room_im) = room.split_at_mut(re.len());
        transform(self.arch, &self.roots, [re, im], [room_re, room_im]);
    }

    /// `x_t = sum_k x_k exp(2 pi i k t / points)`: real and imaginary parts change places before and behind
    /// [`Fourier::backward`].
    pub fn forward(&self, re: &mut [f64], im: &mut [f64]) {
        self.backward(im, re);
    }
}

for_each_arch! {
    fn transform = transform_points, (roots: &[[Vec<f64>; 2]; 3], values: [&mut [f64]; 2], room: [&mut [f64]; 2])
}

#[inline(always)]
fn transform_points(roots: &[[Vec<f64>; 2]; 3], values: [&mut [f64]; 2], room: [&mut [f64]; 2]) {
    let points = values[0].len();
    let (mut from, mut to) = (values, room);
    // Values that stand in a row and belong to transforms of their own.
    let mut together = 1;
    let mut is_swapped = false;
    while 4 * together <= points {
        pass(roots, together, &from, &mut to);
        std::mem::swap(&mut from, &mut to);
        is_swapped = !is_swapped;
        together *= 4;
    }
    if 2 * together == points {
        for (from, to) in from.iter().zip(&mut to) {
            let ((a, b), (sum, difference)) = (from.split_at(together), to.split_at_mut(together));
            for ((sum, difference), (&a, &b)) in sum.iter_mut().zip(difference).zip(a.iter().zip(b)) {
                (*sum, *difference) = (a + b, a - b);
            }
        }
        std::mem::swap(&mut from, &mut to);
        is_swapped = !is_swapped;
    }
    if is_swapped {
        to.iter_mut().zip(&from).for_each(|(to, from)| to.copy_from_slice(from));
    }
}

/// Transforms of four points each, turned by their roots.
#[inline(always)]
fn pass(roots: &[[Vec<f64>; 2]; 3], together: usize, from: &[&mut [f64]; 2], to: &mut [&mut [f64]; 2]) {
    let quarter = from[0].len() / 4;
    let [to_re, to_im] = to;
    if together == 1 {
        let parts: [[&[f64]; 2]; 4] =
            std::array::from_fn(|part| [0, 1].map(|of| &from[of][part * quarter..][..quarter]));
        let turns: [[&[f64]; 2]; 3] = std::array::from_fn(|k| [0, 1].map(|of| &roots[k][of][..quarter]));
        let (to_re, to_im) = (to_re.as_chunks_mut::<4>().0, to_im.as_chunks_mut::<4>().0);
        for (p, (to_re, to_im)) in to_re.iter_mut().zip(to_im).enumerate().take(quarter) {
            let results = four(parts.map(|part| part.map(|x| x[p])), turns.map(|turn| turn.map(|x| x[p])));
            (*to_re, *to_im) = (results.map(|x| x[0]), results.map(|x| x[1]));
        }
        return;
    }
    let outputs = to_re.chunks_exact_mut(4 * together).zip(to_im.chunks_exact_mut(4 * together));
    for (p, (to_re, to_im)) in outputs.enumerate() {
        let turns: [[f64; 2]; 3] = std::array::from_fn(|k| [0, 1].map(|of| roots[k][of][p * together]));
        let parts: [[&[f64]; 2]; 4] =
            std::array::from_fn(|part| [0, 1].map(|of| &from[of][part * quarter + p * together..][..together]));
        let (first_re, rest) = to_re.split_at_mut(together);
        let (second_re, rest) = rest.split_at_mut(together);
        let (third_re, fourth_re) = rest.split_at_mut(together);
        let (first_im, rest) = to_im.split_at_mut(together);
        let (second_im, rest) = rest.split_at_mut(together);
        let (third_im, fourth_im) = rest.split_at_mut(together);
        let fourth_re = &mut fourth_re[..together];
        let fourth_im = &mut fourth_im[..together];
        for q in 0..together {
            let results = four(parts.map(|part| part.map(|x| x[q])), turns);
            [first_re[q], second_re[q], third_re[q], fourth_re[q]] = results.map(|x| x[0]);
            [first_im[q], second_im[q], third_im[q], fourth_im[q]] = results.map(|x| x[1]);
        }
    }
}

/// The transform of four points, results 1 to 3 turned.
#[inline(always)]
fn four([a, b, c, d]: [[f64; 2]; 4], turns: [[f64; 2]; 3]) -> [[f64; 2]; 4] {
    let turned = |[re, im]: [f64; 2], [cos, sin]: [f64; 2]| [re * cos - im * sin, re * sin + im * cos];
    let (ac, bd) = ([a[0] + c[0], a[1] + c[1]], [b[0] + d[0], b[1] + d[1]]);
    let (across, other) = ([a[0] - c[0], a[1] - c[1]], [b[0] - d[0], b[1] - d[1]]);
    [
        [ac[0] + bd[0], ac[1] + bd[1]],
        turned([across[0] + other[1], across[1] - other[0]], turns[0]),
        turned([ac[0] - bd[0], ac[1] - bd[1]], turns[1]),
        turned([across[0] - other[1], across[1] + other[0]], turns[2]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_their_sums_and_come_back() {
        for log2 in 0..=9 {
            let points = 1_usize << log2;
            let x: Vec<[f64; 2]> = (0..points).map(|t| [(t * t % 11) as f64 - 4.0, (3 * t % 7) as f64]).collect();
            let fourier = Fourier::new(points);
            let (mut re, mut im): (Vec<f64>, Vec<f64>) = x.iter().map(|&[re, im]| (re, im)).unzip();
            fourier.backward(&mut re, &mut im);
            for k in 0..points {
                let mut want = [0.0; 2];
                for (t, x) in x.iter().enumerate() {
                    let (sin, cos) = (-2.0 * PI * (k * t % points) as f64 / points as f64).sin_cos();
                    want[0] += x[0] * cos - x[1] * sin;
                    want[1] += x[0] * sin + x[1] * cos;
                }
                assert!((re[k] - want[0]).abs() + (im[k] - want[1]).abs() < 1e-9, "{points} points, {k}");
            }
            fourier.forward(&mut re, &mut im);
            for (t, x) in x.iter().enumerate() {
                let back = [re[t] / points as f64, im[t] / points as f64];
                assert!((back[0] - x[0]).abs() + (back[1] - x[1]).abs() < 1e-12, "{points} points, {t}");
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let x: Vec<f64> = (0..2048).map(|t| (f64::from(t) * 0.37).sin()).collect();
        let run = |arch| {
            let mut values = x.clone();
            let (re, im) = values.split_at_mut(1024);
            Fourier { arch, ..Fourier::new(1024) }.backward(re, im);
            values.iter().map(|x| x.to_bits()).collect::<Vec<u64>>()
        };
        assert_eq!(run(pulp::Arch::new()), run(pulp::Arch::Scalar));
    }
}
