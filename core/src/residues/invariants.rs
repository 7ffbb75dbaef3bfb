//! The transform of the conjugate-invariant ring against the ring's own definition.

use crate::device::simd;
use crate::residues::modulus::{Modulus, primes_below};
use crate::residues::ntt::Ntt;

fn words(count: usize, modulus: Modulus, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(state) * u64::from(modulus.p)) >> 32) as u32
    };
    (0..count).map(|_| next()).collect()
}

/// `X^e + X^-e` as a basis element of the ring and its sign; none for e = N, where it is 0.
fn basis(exponent: usize, degree: usize) -> Option<(usize, bool)> {
    let e = exponent % (4 * degree);
    let e = e.min(4 * degree - e);
    if e == degree { None } else { Some(if e < degree { (e, false) } else { (2 * degree - e, true) }) }
}

#[test]
fn products_are_those_of_the_ring_on_every_instruction_set() {
    for arch in simd::every() {
        for log2_degree in [8, 9, 11] {
            let degree = 1_usize << log2_degree;
            let modulus = Modulus::new(primes_below(1 << 30, log2_degree + 1).nth(1).expect("a prime"));
            let ntt = Ntt::of_invariants(modulus, log2_degree);
            let (mut a, b) = (words(degree, modulus, 1), words(degree, modulus, 2));
            a[60..].fill(0);
            a[degree - 1] = 5;
            // (X^i + X^-i)(X^j + X^-j) = X^(i + j) + X^-(i + j) + X^(i - j) + X^-(i - j).
            let mut want = vec![0; degree];
            let mut add = |exponent: usize, x: u32| {
                let Some((at, negative)) = basis(exponent, degree) else { return };
                // At 0 the sum is 2, and the basis has 1.
                let x = if at == 0 { modulus.add(x, x) } else { x };
                want[at] = if negative { modulus.sub(want[at], x) } else { modulus.add(want[at], x) };
            };
            for (i, &x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
                for (j, &y) in b.iter().enumerate() {
                    let product = modulus.mul(x, y);
                    let half = modulus.mul(product, modulus.inverse(2));
                    match (i, j) {
                        (0, 0) => add(0, half),
                        (0, at) | (at, 0) => add(at, product),
                        _ => {
                            add(i + j, product);
                            add(4 * degree + i - j, product);
                        }
                    }
                }
            }
            let (mut x, mut y) = (a.clone(), b.clone());
            ntt.forward(arch, &mut x);
            ntt.forward(arch, &mut y);
            for (x, &y) in x.iter_mut().zip(&y) {
                *x = modulus.mul(*x, y);
            }
            ntt.inverse(arch, &mut x);
            assert_eq!(x, want, "N = {degree}");
        }
    }
}

#[test]
fn values_are_those_at_the_points_of_the_order() {
    let log2_degree = 9;
    let degree = 1_usize << log2_degree;
    let modulus = Modulus::new(primes_below(1 << 30, log2_degree + 1).next().expect("a prime"));
    let ntt = Ntt::of_invariants(modulus, log2_degree);
    let order = 4 * degree as u32;
    let psi = (2..)
        .map(|base| modulus.pow(base, (modulus.p - 1) / order))
        .find(|&root| modulus.pow(root, order / 2) == modulus.p - 1)
        .expect("a root");
    let mut element = vec![0; degree];
    (element[0], element[3]) = (7, 1);
    ntt.forward(pulp::Arch::new(), &mut element);
    for (at, &value) in element.iter().enumerate() {
        let (tile, i, j) = (at / 256, at / 16 % 16, at % 16);
        let leaf = 256 * tile + 16 * j + i;
        let reversed = leaf.reverse_bits() >> (usize::BITS - log2_degree);
        let cube = modulus.pow(psi, 3 * (4 * reversed as u32 + 1));
        let want = modulus.add(7, modulus.add(cube, modulus.inverse(cube)));
        assert_eq!(value, want, "{at}");
    }
}

#[test]
fn lazy_inputs_give_reduced_outputs() {
    for arch in simd::every() {
        let modulus = Modulus::new(primes_below(1 << 30, 11).next().expect("a prime"));
        let ntt = Ntt::of_invariants(modulus, 10);
        let plain = words(1024, modulus, 7);
        let mut lazy: Vec<u32> = plain.iter().map(|&x| x + 3 * modulus.p).collect();
        let mut exact = plain.clone();
        ntt.forward(arch, &mut lazy);
        ntt.forward(arch, &mut exact);
        assert_eq!(lazy, exact);
        assert!(exact.iter().all(|&x| x < modulus.p));
        let mut lazy: Vec<u32> = exact.iter().map(|&x| x + modulus.p).collect();
        ntt.inverse(arch, &mut exact);
        ntt.inverse(arch, &mut lazy);
        assert_eq!(exact, plain);
        assert_eq!(lazy, plain);
    }
}
