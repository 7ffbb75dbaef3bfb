//! The table of a ring's constants for devices that take it as one buffer, and where each of them stands.
//!
//! An entry is a pair of words: a modulus with its `-p^-1 mod 2^32`, a factor with its quotient, a number of 64 bits
//! with its low word first, or a word with a zero.

use crate::ckks::params::set::RingKind;
use crate::ckks::ring::coefficients::MOST_PIECES;
use crate::ckks::ring::context::{Conversion, Digit, Ring};
use crate::ckks::ring::raise::MOST_RAISED_LIMBS;
use crate::residues::modulus::{Factor, Modulus};
use crate::residues::ntt;

/// Places of constants; the moduli of Q, then P, come first.
pub struct Places {
    /// Roots on the way down, N a prime, by the node. There is no node 0: in its place stands the root of the
    /// butterflies that elements of the conjugate-invariant ring are folded with ([`crate::residues::ntt`]), and 0 in
    /// the other ring.
    pub down: u32,
    /// Roots on the way up, with such a root before them, too.
    pub up: u32,
    /// `digit[j][c - 1]`: the factors of digit j's parts where it has c, and its conversions.
    pub digits: Vec<Vec<DigitPlaces>>,
    /// The factors of the special primes' parts.
    pub special: u32,
    /// For each prime of Q the conversion of the special part.
    pub special_conversions: Vec<u32>,
    /// For each prime of Q the factor 1 / P.
    pub special_quotient: u32,
    /// For each prime of Q as the last one.
    pub rescale: Vec<RescalePlaces>,
    /// `plaintexts[c - 1]`: for each prime of Q the conversion of integers of c words
    /// ([`crate::ckks::ring::coefficients::Coefficients::pieces`]).
    pub plaintexts: [Vec<u32>; MOST_PIECES],
    /// `raised[c - 1]`: for each prime of Q the conversion of what is raised from c limbs. From one, of residues with
    /// half the prime added. From two, of a residue a modulo the first prime p and a digit d behind it: the number is
    /// `a + p (d - ceil(q / 2))`, q being the second prime, so that it lies between minus and plus half of `p q`.
    pub raised: [Vec<u32>; MOST_RAISED_LIMBS],
}

/// Places of one digit's constants.
pub struct DigitPlaces {
    /// First limb.
    pub first: usize,
    /// Factors of its parts.
    pub inverse: u32,
    /// For each prime of QP.
    pub conversions: Vec<u32>,
}

/// Places of the constants of a division by one prime.
pub struct RescalePlaces {
    /// The factor that brings the last limb's coefficients out of Montgomery form.
    pub leave: u32,
    /// For each prime before it the conversion.
    pub conversions: Vec<u32>,
    /// For each prime before it the factor of the quotient.
    pub quotients: u32,
}

struct Builder {
    table: Vec<[u32; 2]>,
    /// What coefficients come out of a transform too large by.
    multiple: u32,
}

impl Builder {
    fn here(&self) -> u32 {
        self.table.len() as u32
    }

    fn factor(&mut self, factor: Factor) {
        self.table.push([factor.value, factor.quotient]);
    }

    /// A factor of coefficients that come out of a transform without its 1 / N, and out of unfolding twice as large.
    fn scaled(&mut self, factor: u32, modulus: Modulus) {
        let scale = modulus.inverse(self.multiple % modulus.p);
        self.factor(Factor::new(modulus.mul(factor, scale), modulus));
    }

    fn conversion(&mut self, conversion: &Conversion) -> u32 {
        let at = self.here();
        self.table.push([conversion.offset as u32, (conversion.offset >> 32) as u32]);
        self.table.extend(conversion.weights.iter().map(|&weight| [weight, 0]));
        at
    }
}

/// The table of a ring and the places in it.
#[must_use]
pub fn constants(ring: &Ring) -> (Vec<[u32; 2]>, Places) {
    let all: Vec<Modulus> = (0..ring.key_limbs()).map(|limb| ring.modulus(limb)).collect();
    let (log2_degree, limbs) = (ring.params.log2_degree, ring.limbs());
    let unfolding = match ring.params.ring {
        RingKind::Complex => 1,
        RingKind::Real => 2,
    };
    let mut builder = Builder { table: Vec::new(), multiple: unfolding * ring.degree() as u32 };
    builder.table.extend(all.iter().map(|modulus| [modulus.p, modulus.negative_inverse()]));
    let digits = ring.digits.iter().map(|counts| {
        let place = |digit: &Digit| {
            let inverse = builder.here();
            for (at, factor) in digit.inverse.iter().enumerate() {
                builder.scaled(factor.value, all[digit.first + at]);
            }
            let conversions = digit.conversions.iter().map(|conversion| builder.conversion(conversion)).collect();
            DigitPlaces { first: digit.first, inverse, conversions }
        };
        counts.iter().map(place).collect()
    });
    let digits = digits.collect();
    let special = builder.here();
    for (factor, &modulus) in ring.special_inverse.iter().zip(&all[limbs..]) {
        builder.scaled(factor.value, modulus);
    }
    let special_conversions =
        ring.special_conversions.iter().map(|conversion| builder.conversion(conversion)).collect();
    let special_quotient = builder.here();
    ring.special_quotient.iter().for_each(|&factor| builder.factor(factor));
    let rescale = (0..limbs)
        .map(|last| {
            let (modulus, half) = (all[last], all[last].p / 2);
            let leave = builder.here();
            builder.scaled(modulus.inverse(modulus.montgomery(1)), modulus);
            let recentred = |target: &Modulus| Conversion::new(*target, &[1], half % target.p);
            let conversions = all[..last].iter().map(|target| builder.conversion(&recentred(target))).collect();
            let quotients = builder.here();
            ring.rescale[last].iter().for_each(|&factor| builder.factor(factor));
            RescalePlaces { leave, conversions, quotients }
        })
        .collect();
    let tree = |&modulus: &Modulus| {
        if ring.params.ring == RingKind::Real {
            return ntt::tree_of_invariants(modulus, log2_degree);
        }
        let mut trees = ntt::tree(modulus, log2_degree);
        trees.iter_mut().for_each(|nodes| nodes[0] = Factor::default());
        trees
    };
    let of_primes = &all[..limbs];
    let short = |target: &Modulus| Conversion::new(*target, &[1], (1 << 31) % target.p);
    let long = |target: &Modulus| {
        // 2^32 and 2^63.
        let (word, half) = (target.montgomery(1), target.montgomery((1 << 31) % target.p));
        Conversion::new(*target, &[1, word], half)
    };
    let plaintexts = [
        of_primes.iter().map(|target| builder.conversion(&short(target))).collect(),
        of_primes.iter().map(|target| builder.conversion(&long(target))).collect(),
    ];
    let first = all[0].p;
    let from_one = |target: &Modulus| Conversion::new(*target, &[1], (first / 2) % target.p);
    let from_two = |target: &Modulus| {
        let (weight, offset) = (first % target.p, all[1].p.div_ceil(2) % target.p);
        Conversion::new(*target, &[1, weight], target.mul(weight, offset))
    };
    let has_two = limbs >= MOST_RAISED_LIMBS;
    let raised = [
        of_primes.iter().map(|target| builder.conversion(&from_one(target))).collect(),
        of_primes.iter().filter(|_| has_two).map(|target| builder.conversion(&from_two(target))).collect(),
    ];
    let trees: Vec<_> = all.iter().map(tree).collect();
    let down = builder.here();
    trees.iter().for_each(|[down, _]| down.iter().for_each(|&factor| builder.factor(factor)));
    let up = builder.here();
    trees.iter().for_each(|[_, up]| up.iter().for_each(|&factor| builder.factor(factor)));
    let places =
        Places { down, up, digits, special, special_conversions, special_quotient, rescale, plaintexts, raised };
    (builder.table, places)
}
