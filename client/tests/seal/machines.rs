//! What runs a circuit on this side: plain numbers, and CKKS of this project.

use std::collections::HashMap;

use heman_client::ckks::secret::SecretPolynomial;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::encode::Encoder;
use heman_core::ckks::ring::keys::{GaloisKey, SwitchKey};
use heman_core::ckks::ring::number::{Number, State};
use heman_core::ckks::ring::plaintext::Plaintext;
use tfhe_fft::c64;

/// Operations on vectors of slots.
pub trait Machine {
    /// A vector of slots.
    type Number: Clone;
    fn encrypt(&self, slots: &[c64]) -> Self::Number;
    fn decrypt(&self, a: &Self::Number) -> Vec<c64>;
    fn add(&self, a: &Self::Number, b: &Self::Number) -> Self::Number;
    fn subtract(&self, a: &Self::Number, b: &Self::Number) -> Self::Number;
    fn multiply(&self, a: &Self::Number, b: &Self::Number) -> Self::Number;
    fn add_plain(&self, a: &Self::Number, plain: &[c64]) -> Self::Number;
    fn multiply_plain(&self, a: &Self::Number, plain: &[c64]) -> Self::Number;
    fn add_constant(&self, a: &Self::Number, constant: f64) -> Self::Number;
    fn rotate(&self, a: &Self::Number, steps: isize) -> Self::Number;
    fn conjugate(&self, a: &Self::Number) -> Self::Number;
    /// `sum_i plain_i rotate(a, steps_i)`.
    fn matrix(&self, a: &Self::Number, diagonals: &[(isize, &[c64])]) -> Self::Number;
    fn rescale(&self, a: &Self::Number) -> Self::Number;
    /// Drops levels.
    fn drop(&self, a: &Self::Number, levels: usize) -> Self::Number;
}

/// Inputs of the circuits, by name.
pub struct Inputs {
    pub encrypted: HashMap<&'static str, Vec<c64>>,
    pub plain: HashMap<&'static str, Vec<c64>>,
}

/// The slots of a circuit's last result; the grammar is that of `circuits.py`.
pub fn run<M: Machine>(machine: &M, inputs: &Inputs, circuit: &'static str) -> Vec<c64> {
    let mut numbers: HashMap<&str, M::Number> =
        inputs.encrypted.iter().map(|(&name, slots)| (name, machine.encrypt(slots))).collect();
    let mut last = "";
    for instruction in circuit.split("; ") {
        let words: Vec<&str> = instruction.split(' ').collect();
        let [target, "=", operation, a, rest @ ..] = words.as_slice() else { panic!("{instruction}") };
        let a = &numbers[a];
        let result = match (*operation, rest) {
            ("add", [b]) => machine.add(a, &numbers[b]),
            ("subtract", [b]) => machine.subtract(a, &numbers[b]),
            ("multiply", [b]) => machine.multiply(a, &numbers[b]),
            ("square", []) => machine.multiply(a, a),
            ("add_plain", [p]) => machine.add_plain(a, &inputs.plain[p]),
            ("multiply_plain", [p]) => machine.multiply_plain(a, &inputs.plain[p]),
            ("add_constant", [number]) => machine.add_constant(a, number.parse().expect("a number")),
            ("rotate", [steps]) => machine.rotate(a, steps.parse().expect("a number of steps")),
            ("conjugate", []) => machine.conjugate(a),
            ("rescale", []) => machine.rescale(a),
            ("drop", [levels]) => machine.drop(a, levels.parse().expect("a number of levels")),
            ("matrix", diagonals) => {
                let steps = |pair: &[&str]| pair[0].parse().expect("a number of steps");
                let diagonals: Vec<(isize, &[c64])> =
                    diagonals.chunks(2).map(|pair| (steps(pair), inputs.plain[pair[1]].as_slice())).collect();
                machine.matrix(a, &diagonals)
            }
            _ => panic!("{instruction}"),
        };
        numbers.insert(target, result);
        last = target;
    }
    machine.decrypt(&numbers[last])
}

/// Numbers as they are.
pub struct Plain;

fn zip(a: &[c64], b: &[c64], f: impl Fn(c64, c64) -> c64) -> Vec<c64> {
    let zero = c64::new(0.0, 0.0);
    a.iter().zip(b.iter().chain(std::iter::repeat(&zero))).map(|(&a, &b)| f(a, b)).collect()
}

impl Machine for Plain {
    type Number = Vec<c64>;

    fn encrypt(&self, slots: &[c64]) -> Vec<c64> {
        slots.to_vec()
    }

    fn decrypt(&self, a: &Vec<c64>) -> Vec<c64> {
        a.clone()
    }

    fn add(&self, a: &Vec<c64>, b: &Vec<c64>) -> Vec<c64> {
        zip(a, b, |a, b| a + b)
    }

    fn subtract(&self, a: &Vec<c64>, b: &Vec<c64>) -> Vec<c64> {
        zip(a, b, |a, b| a - b)
    }

    fn multiply(&self, a: &Vec<c64>, b: &Vec<c64>) -> Vec<c64> {
        zip(a, b, |a, b| a * b)
    }

    fn add_plain(&self, a: &Vec<c64>, plain: &[c64]) -> Vec<c64> {
        zip(a, plain, |a, b| a + b)
    }

    fn multiply_plain(&self, a: &Vec<c64>, plain: &[c64]) -> Vec<c64> {
        zip(a, plain, |a, b| a * b)
    }

    fn add_constant(&self, a: &Vec<c64>, constant: f64) -> Vec<c64> {
        a.iter().map(|a| a + constant).collect()
    }

    fn rotate(&self, a: &Vec<c64>, steps: isize) -> Vec<c64> {
        let count = a.len() as isize;
        (0..count).map(|j| a[(j + steps).rem_euclid(count) as usize]).collect()
    }

    fn conjugate(&self, a: &Vec<c64>) -> Vec<c64> {
        a.iter().map(c64::conj).collect()
    }

    fn matrix(&self, a: &Vec<c64>, diagonals: &[(isize, &[c64])]) -> Vec<c64> {
        let terms = diagonals.iter().map(|&(steps, plain)| self.multiply_plain(&self.rotate(a, steps), plain));
        terms.reduce(|sum, term| self.add(&sum, &term)).expect("diagonals")
    }

    fn rescale(&self, a: &Vec<c64>) -> Vec<c64> {
        a.clone()
    }

    fn drop(&self, a: &Vec<c64>, _: usize) -> Vec<c64> {
        a.clone()
    }
}

/// CKKS of this project, with keys of its own.
pub struct Heman {
    pub ring: Ring,
    pub encoder: Encoder,
    key: SecretPolynomial,
    relinearise: SwitchKey,
    scale: f64,
}

impl Heman {
    pub fn new(params: ParameterSet) -> Self {
        let ring = Ring::new(params).expect("a secure set");
        let key = SecretPolynomial::generate(&ring);
        let relinearise = key.relinearisation_key(&ring, ring.limbs());
        let relinearise = ring.expand_key(&relinearise).expect("fresh from generation");
        let encoder = Encoder::new(ring.params.log2_degree);
        let scale = f64::from(ring.params.scale_log2).exp2();
        Self { ring, encoder, key, relinearise, scale }
    }

    /// A key for the ciphertext's limbs and no more.
    fn galois_key(&self, element: usize, a: &Ciphertext) -> GaloisKey {
        let seeded = self.key.galois_key(&self.ring, element, self.ring.limbs_of(a));
        GaloisKey::new(&self.ring, element, self.ring.expand_key(&seeded).expect("fresh from generation"))
    }

    fn rotation_element(&self, steps: isize) -> usize {
        self.ring.rotation_element(steps.rem_euclid(self.ring.params.slots() as isize) as usize)
    }

    fn plaintext(&self, slots: &[c64], scale: f64, a: &Ciphertext) -> Plaintext {
        self.ring.plaintext(&self.encoder.coefficients(slots, scale), scale, self.ring.limbs_of(a))
    }

    /// X -> X^element.
    pub fn automorphism(&self, a: &Ciphertext, element: usize) -> Ciphertext {
        self.ring.automorphism(a, &self.galois_key(element, a))
    }
}

impl Machine for Heman {
    type Number = Ciphertext;

    fn encrypt(&self, slots: &[c64]) -> Ciphertext {
        let seeded = self.key.encrypt(&self.ring, &self.encoder.coefficients(slots, self.scale));
        self.ring.expand(&seeded, self.scale).expect("fresh from encryption")
    }

    fn decrypt(&self, a: &Ciphertext) -> Vec<c64> {
        self.encoder.slots(&self.key.decrypt(&self.ring, a), a.scale)
    }

    fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Ciphertext {
        self.ring.add(a, b).expect("alike")
    }

    fn subtract(&self, a: &Ciphertext, b: &Ciphertext) -> Ciphertext {
        self.ring.subtract(a, b).expect("alike")
    }

    fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Ciphertext {
        self.ring.multiply(a, b, &self.relinearise).expect("alike")
    }

    fn add_plain(&self, a: &Ciphertext, plain: &[c64]) -> Ciphertext {
        let mut sum = a.clone();
        self.ring.add_plain(&mut sum, &self.plaintext(plain, a.scale, a)).expect("alike");
        sum
    }

    fn multiply_plain(&self, a: &Ciphertext, plain: &[c64]) -> Ciphertext {
        self.ring.multiply_plain(a, &self.plaintext(plain, self.scale, a)).expect("as many limbs")
    }

    fn add_constant(&self, a: &Ciphertext, constant: f64) -> Ciphertext {
        let mut sum = a.clone();
        let at = State { scale: a.scale, limbs: self.ring.limbs_of(a) };
        self.ring.add_number(&mut sum, &Number::new(&self.ring.params, constant, at)).expect("alike");
        sum
    }

    fn rotate(&self, a: &Ciphertext, steps: isize) -> Ciphertext {
        self.automorphism(a, self.rotation_element(steps))
    }

    fn conjugate(&self, a: &Ciphertext) -> Ciphertext {
        self.automorphism(a, 2 * self.ring.degree() - 1)
    }

    /// With hoisted rotations.
    fn matrix(&self, a: &Ciphertext, diagonals: &[(isize, &[c64])]) -> Ciphertext {
        let decomposed = self.ring.decompose_mask(a, self.ring.limbs_of(a));
        let rotate = |steps| self.ring.hoisted(a, &decomposed, &self.galois_key(self.rotation_element(steps), a));
        let rotations: Vec<Ciphertext> =
            diagonals.iter().map(|&(steps, _)| if steps == 0 { a.clone() } else { rotate(steps) }).collect();
        let plain: Vec<Plaintext> = diagonals.iter().map(|(_, plain)| self.plaintext(plain, self.scale, a)).collect();
        let sum = plain.iter().enumerate().collect();
        self.ring.inner_products_plain(&rotations, &[sum]).expect("alike").remove(0)
    }

    fn rescale(&self, a: &Ciphertext) -> Ciphertext {
        self.ring.rescale(a.clone()).expect("a level is left")
    }

    fn drop(&self, a: &Ciphertext, levels: usize) -> Ciphertext {
        self.ring.drop_to(a.clone(), self.ring.limbs_of(a) - levels).expect("as many limbs")
    }
}
