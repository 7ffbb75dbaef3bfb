//! CKKS operations on real key sets: results against plaintext, noise against prediction.

use heman_client::ckks::secret::SecretPolynomial;
use heman_core::ckks::error::CkksError;
use heman_core::ckks::noise;
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::keys::{GaloisKey, SwitchKey};
use heman_core::ckks::ring::number::{Number, State};
use heman_core::ckks::ring::slots::SlotEncoder;
use tfhe_fft::c64;

struct Setting {
    ring: Ring,
    encoder: SlotEncoder,
    key: SecretPolynomial,
    scale: f64,
}

impl Setting {
    fn new(kind: RingKind, log2_degree: u32, levels: usize, scale_log2: u32, special: usize) -> Self {
        let params = ParameterSet::of(kind, log2_degree, levels, scale_log2, special).expect("a secure set");
        let ring = Ring::new(params).expect("a secure set");
        let key = SecretPolynomial::generate(&ring);
        Self { encoder: SlotEncoder::new(&ring.params), key, scale: f64::from(scale_log2).exp2(), ring }
    }

    fn coefficients(&self, slots: &[c64], scale: f64) -> Vec<f64> {
        match &self.encoder {
            SlotEncoder::Complex(encoder) => encoder.coefficients(slots, scale),
            SlotEncoder::Real(encoder) => {
                assert!(slots.iter().all(|z| z.im == 0.0));
                encoder.coefficients(&slots.iter().map(|z| z.re).collect::<Vec<f64>>(), scale)
            }
        }
    }

    /// Numbers for all slots, of magnitudes below 1.
    fn slots(&self, seed: u64) -> Vec<c64> {
        let real = |z: c64| c64::new(z.re, 0.0);
        let slots = slots(self.ring.params.slots(), seed).into_iter();
        match self.ring.params.ring {
            RingKind::Complex => slots.collect(),
            RingKind::Real => slots.map(real).collect(),
        }
    }

    fn encrypt(&self, slots: &[c64]) -> Ciphertext {
        let seeded = self.key.encrypt(&self.ring, &self.coefficients(slots, self.scale));
        self.ring.expand(&seeded, self.scale).expect("fresh from encryption")
    }

    fn relinearisation_key(&self) -> SwitchKey {
        let seeded = self.key.relinearisation_key(&self.ring, self.ring.limbs());
        self.ring.expand_key(&seeded).expect("fresh from generation")
    }

    fn galois_key(&self, element: usize, limbs: usize) -> GaloisKey {
        let seeded = self.key.galois_key(&self.ring, element, limbs);
        GaloisKey::new(&self.ring, element, self.ring.expand_key(&seeded).expect("fresh from generation"))
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<c64> {
        self.encoder.slots(&self.key.decrypt(&self.ring, ciphertext), ciphertext.scale)
    }

    /// Largest error of a slot.
    fn error(&self, ciphertext: &Ciphertext, want: &[c64]) -> f64 {
        let got = self.decrypt(ciphertext);
        got.iter().zip(want).map(|(g, w)| (g - w).norm_sqr().sqrt()).fold(0.0, f64::max)
    }

    /// Deviation of the coefficients from those of the wanted slots, in units of 1 / scale.
    fn deviation(&self, ciphertext: &Ciphertext, want: &[c64]) -> f64 {
        let got = self.key.decrypt(&self.ring, ciphertext);
        let want = self.coefficients(want, ciphertext.scale);
        let squares: f64 = got.iter().zip(&want).map(|(g, w)| (g - w) * (g - w)).sum();
        (squares / got.len() as f64).sqrt()
    }
}

/// log2 N, levels and special primes: one digit a limb, and digits of several limbs of which the last is short.
const SETS: [(u32, usize, usize); 3] = [(13, 4, 1), (13, 4, 2), (14, 8, 3)];

/// Sets in both rings.
fn all<S>(sets: impl IntoIterator<Item = S> + Clone) -> impl Iterator<Item = (RingKind, S)> {
    [RingKind::Complex, RingKind::Real]
        .into_iter()
        .flat_map(move |kind| sets.clone().into_iter().map(move |s| (kind, s)))
}

fn slots(count: usize, seed: u64) -> Vec<c64> {
    let mut state = seed | 1;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Magnitudes stay below 1, so that powers stay bounded.
        ((state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) / std::f64::consts::SQRT_2
    };
    (0..count).map(|_| c64::new(unit(), unit())).collect()
}

fn zip(a: &[c64], b: &[c64], f: impl Fn(c64, c64) -> c64) -> Vec<c64> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

#[test]
fn sums_products_and_rotations_are_those_of_the_slots() {
    for (kind, (log2_degree, levels, special)) in all(SETS) {
        let s = Setting::new(kind, log2_degree, levels, 28, special);
        let count = s.ring.params.slots();
        let (x, y) = (s.slots(1), s.slots(2));
        let (cx, cy) = (s.encrypt(&x), s.encrypt(&y));
        assert!(s.error(&cx, &x) < 1e-4);
        let public = s.key.public_key(&s.ring);
        let for_owner = public.encrypt(&s.ring, &s.coefficients(&x, s.scale), s.scale);
        // Errors are products of slots: exponential in their deviation's multiple, and twice as slowly where slots are real.
        let far = if kind == RingKind::Real { 16.0 } else { 8.0 };
        let bound = far * noise::public_encryption(&s.ring.params) * noise::of_slot(&s.ring.params) / s.scale;
        let error = s.error(&for_owner, &x);
        assert!(error < bound, "{kind:?}, N = 2^{log2_degree}: {error} of {bound}");
        assert!(s.error(&s.ring.add(&cx, &cy).expect("alike"), &zip(&x, &y, |a, b| a + b)) < 1e-4);
        assert!(s.error(&s.ring.subtract(&cx, &cy).expect("alike"), &zip(&x, &y, |a, b| a - b)) < 1e-4);

        let relinearise = s.relinearisation_key();
        let product = s.ring.multiply(&cx, &cy, &relinearise).expect("alike");
        let product = s.ring.rescale(product).expect("a level is left");
        let want = zip(&x, &y, |a, b| a * b);
        assert!(s.error(&product, &want) < 1e-3, "{}", s.error(&product, &want));
        // Down to the last level, products of a product.
        let mut power = product;
        let mut want = want;
        while s.ring.limbs_of(&power) > 1 {
            power = s.ring.rescale(s.ring.multiply(&power, &power, &relinearise).expect("alike")).expect("a level");
            want = zip(&want, &want, |a, b| a * b);
        }
        assert!(s.error(&power, &want) < 1e-2, "{}", s.error(&power, &want));
        assert_eq!(s.ring.rescale(power), Err(CkksError::Depth));

        let plain = s.ring.plaintext(&s.coefficients(&y, s.scale), s.scale, s.ring.limbs());
        let product = s.ring.multiply_plain(&cx, &plain).expect("enough limbs");
        let product = s.ring.rescale(product).expect("a level is left");
        assert!(s.error(&product, &zip(&x, &y, |a, b| a * b)) < 1e-3);

        for steps in [1, 5, count - 3] {
            let element = s.ring.rotation_element(steps);
            let want: Vec<c64> = (0..count).map(|j| x[(j + steps) % count]).collect();
            for limbs in [s.ring.limbs(), 2] {
                // A key for fewer limbs is a short one.
                let key = s.galois_key(element, limbs);
                let x = s.ring.drop_to(cx.clone(), limbs).expect("fewer limbs");
                let rotated = s.ring.automorphism(&x, &key);
                assert!(s.error(&rotated, &want) < 1e-3, "{steps}: {}", s.error(&rotated, &want));
                let hoisted = s.ring.hoisted(&x, &s.ring.decompose_mask(&x, s.ring.limbs_of(&x)), &key);
                assert_eq!(hoisted, rotated);
            }
        }
        if kind == RingKind::Real {
            continue;
        }
        let element = 4 * count - 1;
        let conjugate = s.ring.automorphism(&cx, &s.galois_key(element, s.ring.limbs()));
        assert!(s.error(&conjugate, &zip(&x, &x, |a, _| a.conj())) < 1e-3);
    }
}

#[test]
fn linear_combinations_take_one_number_a_term() {
    let s = Setting::new(RingKind::Real, 13, 3, 28, 1);
    let count = s.ring.params.slots();
    let inputs: Vec<Vec<c64>> = (0..30).map(|i| s.slots(10 + i)).collect();
    let ciphertexts: Vec<Ciphertext> = inputs.iter().map(|x| s.encrypt(x)).collect();
    let weights: Vec<f64> = (0..30).map(|i| f64::from(i) / 15.0 - 0.9).collect();
    let terms: Vec<(&Ciphertext, f64)> = ciphertexts.iter().zip(weights.iter().copied()).collect();
    let scale = s.ring.before_rescale(s.scale, s.ring.limbs());
    let sum = s.ring.linear_combination(&terms, scale).expect("terms");
    let mut sum = s.ring.rescale(sum).expect("a level is left");
    assert!((sum.scale / s.scale - 1.0).abs() < 1e-12, "a weight at the scale of the prime keeps the scale");
    let at = State { scale: sum.scale, limbs: s.ring.limbs_of(&sum) };
    s.ring.add_number(&mut sum, &Number::new(&s.ring.params, -1.5, at)).expect("alike");
    let want: Vec<c64> = (0..count)
        .map(|j| inputs.iter().zip(&weights).fold(c64::new(-1.5, 0.0), |sum, (x, &w)| sum + x[j] * w))
        .collect();
    assert!(s.error(&sum, &want) < 1e-3, "{}", s.error(&sum, &want));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let s = Setting::new(RingKind::Real, 13, 2, 28, 1);
    let x = s.encrypt(&s.slots(1)[..4]);
    let lower = s.ring.drop_to(x.clone(), 2).expect("fewer limbs");
    assert_eq!(s.ring.add(&x, &lower), Err(CkksError::Level { left: 3, right: 2 }));
    let mut scaled = x.clone();
    scaled.scale *= 2.0;
    assert!(matches!(s.ring.add(&x, &scaled), Err(CkksError::Scale { .. })));
    assert_eq!(s.ring.linear_combination(&[], 1.0), Err(CkksError::Depth));
    assert_eq!(s.ring.drop_to(x, 0), Err(CkksError::Depth));
}

#[test]
fn measured_noise_is_as_predicted() {
    for (kind, (log2_degree, levels, special)) in all(SETS) {
        let s = Setting::new(kind, log2_degree, levels, 28, special);
        let count = s.ring.params.slots();
        let zero = vec![c64::new(0.0, 0.0); count];
        let fresh = s.encrypt(&zero);
        let close = |what: &str, measured: f64, predicted: f64| {
            println!(
                "{kind:?}, N = 2^{log2_degree}, {special} special: {what} {:.3} of {predicted:.2}",
                measured / predicted
            );
            assert!((measured / predicted - 1.0).abs() < 0.15, "{what}: {measured} for {predicted}");
        };
        // N coefficients: a deviation estimated from 8,192 samples is itself right to 1 %.
        close("fresh", s.deviation(&fresh, &zero), noise::FRESH_DEVIATION);
        let public = s.key.public_key(&s.ring).encrypt(&s.ring, &vec![0.0; s.ring.degree()], s.scale);
        close("public key", s.deviation(&public, &zero), noise::public_encryption(&s.ring.params));
        let (x, y) = (s.slots(3), s.slots(4));
        let (cx, cy) = (s.encrypt(&x), s.encrypt(&y));
        let size = |slots: &[c64]| (slots.iter().map(|z| z.norm_sqr()).sum::<f64>() / slots.len() as f64).sqrt();
        let of = |slots: &[c64], error: f64| (error, s.scale, size(slots));
        let exact = zip(&x, &y, |a, b| a * b);
        let product = s.ring.multiply(&cx, &cy, &s.relinearisation_key()).expect("alike");
        let predicted = noise::product(of(&x, noise::FRESH_DEVIATION), of(&y, noise::FRESH_DEVIATION));
        close("product", s.deviation(&product, &exact), predicted);
        let plain = s.ring.plaintext(&s.coefficients(&y, s.scale), s.scale, s.ring.limbs());
        let product = s.ring.multiply_plain(&cx, &plain).expect("enough limbs");
        let predicted = noise::product(of(&x, noise::FRESH_DEVIATION), of(&y, noise::ENCODING_DEVIATION));
        close("product with a plaintext", s.deviation(&product, &exact), predicted);
        let rescaled = s.ring.rescale(fresh.clone()).expect("a level is left");
        close("rescale", s.deviation(&rescaled, &zero), noise::rescale(&s.ring.params));
        let element = 5;
        let rotated = s.ring.automorphism(&fresh, &s.galois_key(element, s.ring.limbs()));
        let switch = noise::key_switch(&s.ring.params, s.ring.limbs());
        let predicted = (switch * switch + noise::FRESH_DEVIATION * noise::FRESH_DEVIATION).sqrt();
        close("key switch", s.deviation(&rotated, &zero), predicted);
        // In the slots, which is what counts: as many times larger as the formulas say.
        let of_slot = noise::of_slot(&s.ring.params) / s.scale;
        let squares = |slots: Vec<c64>| slots.iter().map(|z| z.norm_sqr()).sum::<f64>() / slots.len() as f64;
        close("a slot of a key switch", squares(s.decrypt(&rotated)).sqrt(), predicted * of_slot);
        let rescaled = s.ring.rescale(s.ring.drop_to(fresh.clone(), 2).expect("limbs")).expect("a level");
        let scale = rescaled.scale;
        let predicted = noise::rescale(&s.ring.params) * of_slot * s.scale / scale;
        close("a slot of a rescale", squares(s.decrypt(&rescaled)).sqrt(), predicted);
    }
}
