//! What external products in doubles round, beside the model of it.

use crate::device::simd;
use crate::tfhe::cpu::bootstrap_key::transform_slice;
use crate::tfhe::cpu::fourier::block::Block;
use crate::tfhe::cpu::fourier::lanes;
use crate::tfhe::cpu::fourier::torus::{Accumulate, Decompose, Gadget};
use crate::tfhe::cpu::fourier::transform::Transform;
use crate::tfhe::cpu::product::{Product, Shape};
use crate::tfhe::noise::fft_variance;
use crate::tfhe::params::set::ParameterSet;

/// Words that look random.
fn words() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) ^ (state << 31)
    }
}

/// Digits of a word, times their units, the least significant first: halves to even.
fn digits(word: u32, params: &ParameterSet) -> Vec<i64> {
    let nearest = |x: i64, level: usize| {
        let unit = (Gadget::unit_log2(params.pbs_base_log, params.pbs_level, level) as f64).exp2();
        ((x as f64 / unit).round_ties_even() * unit) as i64
    };
    let mut rest = nearest(i64::from(word.cast_signed()), 0);
    (1..=params.pbs_level)
        .map(|level| {
            let upper = if level == params.pbs_level { 0 } else { nearest(rest, level) };
            std::mem::replace(&mut rest, upper) - upper
        })
        .collect()
}

/// The last column of the product of one ciphertext with a GGSW ciphertext, mod 2^64.
fn exact(params: &ParameterSet, polys: &[u32], ggsw: &[u64]) -> Vec<u64> {
    let (size, columns) = (params.polynomial_size, params.glwe_dimension + 1);
    let mut sums = vec![0_u64; size];
    for (column, poly) in polys.chunks_exact(size).enumerate() {
        let digits: Vec<Vec<i64>> = poly.iter().map(|&word| digits(word, params)).collect();
        for level in 0..params.pbs_level {
            let unit = Gadget::unit_log2(params.pbs_base_log, params.pbs_level, level);
            let row = level * columns + column;
            let key = &ggsw[(row * columns + columns - 1) * size..][..size];
            for (at, digits) in digits.iter().enumerate() {
                let digit = (digits[level] >> unit).cast_unsigned();
                for (power, &key) in key.iter().enumerate() {
                    let product = digit.wrapping_mul(key);
                    let sum = &mut sums[(at + power) % size];
                    *sum = if at + power < size { sum.wrapping_add(product) } else { sum.wrapping_sub(product) };
                }
            }
        }
    }
    sums
}

#[test]
fn products_round_as_the_model_says() {
    // Ciphertexts of a batch: four are multiplied together, and one is left.
    const COUNT: usize = 5;
    for (k, size, base_log, level) in [(4, 512, 23, 1), (7, 256, 20, 1), (2, 1024, 15, 2), (1, 2048, 23, 1)] {
        let params = ParameterSet::with_least_noise(800, k, size, (base_log, level), (2, 7));
        let mut random = words();
        let polys: Vec<u32> = (0..COUNT * (k + 1) * size).map(|_| random() as u32).collect();
        let ggsw: Vec<u64> = (0..(k + 1) * (k + 1) * level * size).map(|_| random()).collect();
        let want: Vec<Vec<u64>> =
            polys.chunks_exact((k + 1) * size).map(|polys| exact(&params, polys, &ggsw)).collect();
        for arch in simd::every() {
            let transform = Transform::new(size, lanes::count(arch));
            let shape = Shape::new(&params, lanes::sums(arch));
            let mut points = vec![Block::ZERO; level * shape.blocks];
            let mut key = vec![Block::ZERO; shape.slice()];
            transform_slice(arch, &params, &transform, shape, &ggsw, &mut points[..shape.blocks], &mut key);
            let gadget = Gadget::new(base_log, level);
            let mut digits = vec![Block::ZERO; COUNT * shape.rows * shape.blocks];
            for (polys, out) in
                polys.chunks_exact((k + 1) * size).zip(digits.chunks_exact_mut(shape.rows * shape.blocks))
            {
                let (transform, gadget, points) = (&transform, &gadget, &mut points[..]);
                lanes::run(arch, Decompose { transform, gadget, polys, degree: None, points, out });
            }
            let mut scratch = vec![Block::ZERO; shape.scratch(COUNT)];
            let product =
                Product { shape, count: COUNT, key: &key, digits: &mut digits, factors: None, scratch: &mut scratch };
            lanes::run(arch, product);
            let mut squares = 0.0;
            for (want, from) in want.iter().zip(digits.chunks_exact(shape.rows * shape.blocks)) {
                let mut polys = vec![0_u32; size];
                let (transform, points) = (&transform, &mut points[..shape.blocks]);
                let (from, polys_of_it) = (&from[k..], &mut polys[..]);
                let accumulate =
                    Accumulate { transform, small: true, from, stride: shape.rows, points, polys: polys_of_it };
                lanes::run(arch, accumulate);
                for (&got, &want) in polys.iter().zip(want) {
                    let error = (u64::from(got) << 32).wrapping_sub(want).cast_signed() as f64;
                    squares += (error * (-64.0_f64).exp2()).powi(2);
                }
            }
            // The model is of phases: every mask polynomial's errors meet the key, half of whose bits are set.
            let polynomials = 1.0 + params.big_dimension() as f64 / 2.0;
            let of_words = (-64.0_f64).exp2() / 12.0;
            let ratio = polynomials * (squares / (COUNT * size) as f64 - of_words) / fft_variance(&params);
            println!("{k}, {size}, {base_log}, {level}, {}: {ratio:.3} of the model's", lanes::count(arch));
            assert!((0.7..1.4).contains(&ratio), "{ratio} of the model's at {k}, {size}, {base_log}, {level}");
        }
    }
}
