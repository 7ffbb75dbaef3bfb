//! The slow, readable mirror of CKKS's steps: what fast devices are compared with, word for word.
//!
//! With them it shares what [`crate::ckks::ops`] leaves to the host: encoded numbers, matrices and plaintexts, and
//! masks. All words are those of residues in Montgomery form, values of the transform; `[x]` is x's residue.

use crate::ckks::cpu::reference_polynomials::{Parts, Prime, nearest_to_zero};
use crate::ckks::error::CkksError;
use crate::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use crate::ckks::ops::{Constant, Position, Product, RnsDevice, RnsOps};
use crate::ckks::params::packing::Occupancy;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::width::Width;
use crate::ckks::ring::ciphertext::Ciphertext;
use crate::ckks::ring::coefficients::{Coefficients, Pieces, half_bytes};
use crate::ckks::ring::context::Ring;
use crate::ckks::ring::matrix::Matrix;
use crate::ckks::ring::number::State;
use crate::ckks::ring::plaintext::Plaintext;
use crate::device::reference::ReferenceBackend;

/// A ring on one thread, one word at a time.
pub struct ReferenceRing {
    ring: Ring,
    /// Primes of Q, then of P.
    primes: Vec<Prime>,
}

/// A key-switching key with its masks.
pub struct ReferenceKey {
    /// Largest number of limbs that it switches.
    limbs: usize,
    /// For each digit body and mask, `u32[limbs + special][N]`.
    digits: Vec<[Vec<u32>; 2]>,
}

/// The key of the automorphism X -> X^element, from s to s(X^(1 / element)).
pub struct ReferenceGaloisKey {
    element: usize,
    key: ReferenceKey,
}

impl RnsDevice for ReferenceBackend {
    type Ring = ReferenceRing;

    fn ring(&self, params: &ParameterSet, _occupancy: Occupancy) -> Result<ReferenceRing, CkksError> {
        let ring = Ring::new(params.clone()).map_err(CkksError::Plan)?;
        let primes = params.primes.iter().chain(&params.special_primes);
        Ok(ReferenceRing {
            primes: primes.map(|&p| Prime::new(p, params.ring, 1 << params.log2_degree)).collect(),
            ring,
        })
    }
}

fn levels_agree(left: usize, right: usize) -> Result<(), CkksError> {
    if left == right { Ok(()) } else { Err(CkksError::Level { left, right }) }
}

fn levels_suffice(left: usize, right: usize) -> Result<(), CkksError> {
    if right >= left { Ok(()) } else { Err(CkksError::Level { left, right }) }
}

/// Scales within one part in 10^9 are one.
fn scales_agree(left: f64, right: f64) -> Result<(), CkksError> {
    let differ = (left / right - 1.0).abs() > 1e-9;
    if differ { Err(CkksError::Scale { left: left.log2(), right: right.log2() }) } else { Ok(()) }
}

impl ReferenceRing {
    fn degree(&self) -> usize {
        1 << self.params().log2_degree
    }

    fn limbs(&self, ciphertext: &Ciphertext) -> usize {
        ciphertext.parts[0].len() / self.degree()
    }

    /// A polynomial of `limbs` limbs, word by word: `word(prime, limb, place in the polynomial)`.
    fn polynomial(&self, limbs: usize, word: impl Fn(&Prime, usize, usize) -> u32) -> Vec<u32> {
        let degree = self.degree();
        (0..limbs * degree).map(|at| word(&self.primes[at / degree], at / degree, at)).collect()
    }

    /// Limbs and scale of a constant, and what its words are.
    fn constant<'c>(&self, constant: &'c Constant<'_, Plaintext>) -> (usize, f64, impl Fn(usize, usize) -> u32 + 'c) {
        let constant = *constant;
        let (limbs, scale) = match constant {
            Constant::Number(number) => (number.residues.len(), number.scale),
            Constant::Slots(plaintext) => (plaintext.words.len() / self.degree(), plaintext.scale),
        };
        let word = move |limb: usize, at: usize| match constant {
            Constant::Number(number) => number.residues[limb],
            Constant::Slots(plaintext) => plaintext.words[at],
        };
        (limbs, scale, word)
    }

    /// Coefficients of the limbs of a polynomial, which are those of the primes `limbs`.
    fn coefficients(&self, polynomial: &[u32], limbs: &[usize]) -> Vec<Vec<u64>> {
        let words = polynomial.chunks_exact(self.degree());
        limbs.iter().zip(words).map(|(&limb, words)| self.primes[limb].coefficients(words)).collect()
    }

    fn parts(&self, limbs: &[usize], coefficients: &[Vec<u64>]) -> Parts<'_> {
        Parts::new(limbs.iter().map(|&limb| &self.primes[limb]).collect(), coefficients)
    }

    /// `(x - r) / D` modulo the first `limbs` primes, D the product of the primes `by`, whose limbs come last in x, and
    /// r the integer of [`Parts`] that is x modulo D.
    fn divide(&self, x: &[u32], limbs: usize, by: &[usize]) -> Vec<u32> {
        let (kept, last) = x.split_at(limbs * self.degree());
        let remainder = self.parts(by, &self.coefficients(last, by));
        let limb = |(prime, words): (&Prime, &[u32])| {
            let product = by.iter().fold(1, |product, &at| product * (self.primes[at].p % prime.p) % prime.p);
            let quotient = prime.word(prime.inverse(product));
            let remainder = prime.values(&remainder.modulo(prime));
            let difference = |(&x, r): (&u32, u32)| prime.sum(x, (prime.p - u64::from(r)) as u32);
            words.iter().zip(remainder).map(|pair| prime.inner_product([(difference(pair), quotient)])).collect()
        };
        self.primes.iter().zip(kept.chunks_exact(self.degree())).flat_map(|pair| -> Vec<u32> { limb(pair) }).collect()
    }

    /// Body and mask that are `x s'` under s, for a key from s' to s: `sum_j d_j key_j / P`.
    ///
    /// Digit j of x is the integer d_j of [`Parts`] that is x modulo the product of up to as many primes of Q as P has,
    /// from prime j times that number on.
    fn switch(&self, x: &[u32], key: &ReferenceKey) -> Result<[Vec<u32>; 2], CkksError> {
        let (degree, special) = (self.degree(), self.params().special_primes.len());
        let limbs = x.len() / degree;
        levels_suffice(limbs, key.limbs)?;
        let own: Vec<usize> = (0..limbs).collect();
        let of_special: Vec<usize> = (self.params().primes.len()..self.primes.len()).collect();
        let extended: Vec<usize> = own.iter().chain(&of_special).copied().collect();
        let coefficients = self.coefficients(x, &own);
        let digit = |(primes, coefficients): (&[usize], &[Vec<u64>])| -> Vec<Vec<u32>> {
            let parts = self.parts(primes, coefficients);
            extended.iter().map(|&limb| self.primes[limb].values(&parts.modulo(&self.primes[limb]))).collect()
        };
        let digits: Vec<Vec<Vec<u32>>> = own.chunks(special).zip(coefficients.chunks(special)).map(digit).collect();
        Ok([0, 1].map(|part| {
            let mut products = Vec::with_capacity(extended.len() * degree);
            for (place, &limb) in extended.iter().enumerate() {
                // A key for more limbs has those between ours and the special ones.
                let of_key = if place < limbs { place } else { key.limbs + place - limbs };
                products.extend((0..degree).map(|at| {
                    let pairs = digits.iter().zip(&key.digits);
                    let pairs = pairs.map(|(digit, key)| (digit[place][at], key[part][of_key * degree + at]));
                    self.primes[limb].inner_product(pairs)
                }));
            }
            self.divide(&products, limbs, &of_special)
        }))
    }

    /// `x(X^element)`.
    fn automorphism(&self, x: &[u32], element: usize) -> Vec<u32> {
        let degree = self.degree();
        let limb =
            |(prime, words): (&Prime, &[u32])| prime.values(&prime.automorphism(&prime.coefficients(words), element));
        self.primes.iter().zip(x.chunks_exact(degree)).flat_map(limb).collect()
    }

    /// `(body, mask) -> (body, 0) + switch(mask)`, all under the automorphism.
    fn turn(&self, ciphertext: &Ciphertext, key: &ReferenceGaloisKey) -> Result<Ciphertext, CkksError> {
        let [body, mask] = self.switch(&ciphertext.parts[1], &key.key)?;
        let body = self.polynomial(self.limbs(ciphertext), |prime, _, at| prime.sum(body[at], ciphertext.parts[0][at]));
        Ok(Ciphertext { parts: [body, mask].map(|part| self.automorphism(&part, key.element)), ..*ciphertext })
    }

    fn mask(&self, key: &SeededSwitchKey, digit: usize, limb: usize) -> Vec<u32> {
        let mut mask = vec![0; self.degree()];
        self.ring.uniform(&key.seed, digit, limb, &mut mask);
        mask
    }
}

impl RnsOps for ReferenceRing {
    type Ciphertext = Ciphertext;
    type Plaintext = Plaintext;
    type Coefficients = Coefficients;
    type Map = Matrix;
    type SwitchKey = ReferenceKey;
    type GaloisKey = ReferenceGaloisKey;

    fn host(&self) -> &Ring {
        &self.ring
    }

    fn width(&self) -> Width {
        Width::of_threads(self.params(), 1)
    }

    fn upload_seeded(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<Ciphertext>, CkksError> {
        let expand = |seeded: &&SeededCiphertext| {
            let (degree, body) = (self.degree(), &seeded.body);
            let limbs = body.len() / degree;
            let whole = limbs * degree == body.len() && (1..=self.params().primes.len()).contains(&limbs);
            let reduced = |(at, &word): (usize, &u32)| u64::from(word) < self.primes[at / degree].p;
            if !whole || !body.iter().enumerate().all(reduced) {
                return Err(CkksError::Residues);
            }
            let mut mask = vec![0; body.len()];
            for (limb, mask) in mask.chunks_exact_mut(degree).enumerate() {
                self.ring.uniform(&seeded.seed, 0, limb, mask);
            }
            Ok(Ciphertext { parts: [body.clone(), mask], scale })
        };
        batch.iter().map(expand).collect()
    }

    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch)
    }

    fn download(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        Ok(batch)
    }

    fn sync(&self) -> Result<(), CkksError> {
        Ok(())
    }

    fn load_plaintext(&self, plaintext: Plaintext) -> Result<Plaintext, CkksError> {
        let scale = plaintext.scale;
        Ok(Plaintext::new(plaintext.into_words(), scale))
    }

    fn load_coefficients(&self, coefficients: Coefficients) -> Result<Coefficients, CkksError> {
        Ok(coefficients)
    }

    fn coefficient_bytes(&self, count: usize) -> u64 {
        half_bytes(count)
    }

    /// The integers modulo each prime.
    fn plaintexts(&self, batch: &[&Coefficients], limbs: usize) -> Result<Vec<Plaintext>, CkksError> {
        levels_suffice(limbs, self.params().primes.len())?;
        let plaintext = |own: &&Coefficients| {
            let Pieces { count, words } = own.pieces(self.degree());
            let bits = 32 * count;
            let integer = |at: usize| {
                let word = |piece: usize| i128::from(words[piece * self.degree() + at]) << (32 * piece);
                (0..count).map(word).sum::<i128>() - (1 << (bits - 1))
            };
            let limb = |prime: &Prime| {
                let residue = |at: usize| integer(at).rem_euclid(i128::from(prime.p)) as u64;
                prime.values(&(0..self.degree()).map(residue).collect::<Vec<u64>>())
            };
            Plaintext::new(self.primes[..limbs].iter().flat_map(limb).collect(), own.scale)
        };
        Ok(batch.iter().map(plaintext).collect())
    }

    fn load_map(&self, matrix: Matrix) -> Result<Matrix, CkksError> {
        Ok(matrix)
    }

    /// Digits of bodies; mask j of limb i of QP is polynomial j of the seed at that limb.
    fn load_switch_key(&self, key: &SeededSwitchKey) -> Result<ReferenceKey, CkksError> {
        let (degree, special, most) = (self.degree(), self.params().special_primes.len(), self.params().primes.len());
        let limbs = key.limbs as usize;
        if !(1..=self.params().key_limbs).contains(&limbs) {
            return Err(CkksError::Residues);
        }
        let extended: Vec<usize> = (0..limbs).chain(most..most + special).collect();
        if key.bodies.len() != limbs.div_ceil(special) * extended.len() * degree {
            return Err(CkksError::Residues);
        }
        let limb_at = |at: usize| extended[at / degree % extended.len()];
        let reduced = |(at, &word): (usize, &u32)| u64::from(word) < self.primes[limb_at(at)].p;
        if !key.bodies.iter().enumerate().all(reduced) {
            return Err(CkksError::Residues);
        }
        let bodies = key.bodies.chunks_exact(extended.len() * degree).enumerate();
        let digit = |(digit, body): (usize, &[u32])| {
            [body.to_vec(), extended.iter().flat_map(|&limb| self.mask(key, digit, limb)).collect()]
        };
        Ok(ReferenceKey { limbs, digits: bodies.map(digit).collect() })
    }

    fn load_automorphism_key(&self, key: &SeededSwitchKey, element: usize) -> Result<ReferenceGaloisKey, CkksError> {
        let order = self.params().root_order();
        if element.is_multiple_of(2) || element >= order {
            let text = format!("X -> X^{element} is no automorphism by an odd exponent below {order}");
            return Err(CkksError::Plan(text));
        }
        Ok(ReferenceGaloisKey { element, key: self.load_switch_key(key)? })
    }

    /// The automorphism is X -> X^(5^steps).
    fn load_galois_key(&self, key: &SeededSwitchKey, steps: usize) -> Result<ReferenceGaloisKey, CkksError> {
        let element = (0..steps % self.params().slots()).fold(1, |element, _| 5 * element % self.params().root_order());
        self.load_automorphism_key(key, element)
    }

    fn state(&self, ciphertext: &Ciphertext) -> State {
        State { scale: ciphertext.scale, limbs: self.limbs(ciphertext) }
    }

    /// `[a + b]`.
    fn add_assign(&self, sums: &mut [Ciphertext], terms: &[&Ciphertext]) -> Result<(), CkksError> {
        for (sum, term) in sums.iter_mut().zip(terms) {
            let limbs = self.limbs(sum);
            levels_agree(limbs, self.limbs(term))?;
            scales_agree(sum.scale, term.scale)?;
            for (sum, term) in sum.parts.iter_mut().zip(&term.parts) {
                *sum = self.polynomial(limbs, |prime, _, at| prime.sum(sum[at], term[at]));
            }
        }
        Ok(())
    }

    /// `[a + b + ...]`.
    fn sums(&self, groups: &[Vec<&Ciphertext>]) -> Result<Vec<Ciphertext>, CkksError> {
        let total = |group: &Vec<&Ciphertext>| {
            let (&first, rest) = group.split_first().ok_or(CkksError::Depth)?;
            let mut sum = vec![first.clone()];
            rest.iter().try_for_each(|&term| self.add_assign(&mut sum, &[term]))?;
            Ok(sum.remove(0))
        };
        groups.iter().map(total).collect()
    }

    /// `[body + c]`; a number is a constant polynomial, whose values are all alike.
    fn add_constants(&self, batch: &mut [Ciphertext], constants: &[Constant<'_, Plaintext>]) -> Result<(), CkksError> {
        for (ciphertext, constant) in batch.iter_mut().zip(constants) {
            let (limbs, (right, scale, word)) = (self.limbs(ciphertext), self.constant(constant));
            levels_suffice(limbs, right)?;
            scales_agree(ciphertext.scale, scale)?;
            let body = &ciphertext.parts[0];
            ciphertext.parts[0] = self.polynomial(limbs, |prime, limb, at| prime.sum(body[at], word(limb, at)));
        }
        Ok(())
    }

    /// `[a c]`, both parts.
    fn products(
        &self,
        terms: &[&Ciphertext],
        factors: &[Constant<'_, Plaintext>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let product = |(term, factor): (&&Ciphertext, &Constant<'_, Plaintext>)| {
            let (limbs, (right, scale, word)) = (self.limbs(term), self.constant(factor));
            levels_suffice(limbs, right)?;
            let times = |part: &Vec<u32>| {
                self.polynomial(limbs, |prime, limb, at| prime.inner_product([(part[at], word(limb, at))]))
            };
            Ok(Ciphertext { parts: term.parts.each_ref().map(times), scale: term.scale * scale })
        };
        terms.iter().zip(factors).map(product).collect()
    }

    /// `[sum + a c]`, both parts.
    fn add_products(
        &self,
        sums: &mut [Ciphertext],
        terms: &[&Ciphertext],
        factors: &[Constant<'_, Plaintext>],
    ) -> Result<(), CkksError> {
        for ((sum, term), factor) in sums.iter_mut().zip(terms).zip(factors) {
            let (limbs, (right, scale, word)) = (self.limbs(sum), self.constant(factor));
            levels_suffice(limbs, right.min(self.limbs(term)))?;
            scales_agree(sum.scale, term.scale * scale)?;
            for (sum, term) in sum.parts.iter_mut().zip(&term.parts) {
                *sum = self.polynomial(limbs, |prime, limb, at| {
                    prime.sum(sum[at], prime.inner_product([(term[at], word(limb, at))]))
                });
            }
        }
        Ok(())
    }

    /// `[sum_i w_ki a_i]` for each wanted row k.
    fn apply_map(&self, map: &Matrix, positions: &[Position<'_, Ciphertext>]) -> Result<Vec<Ciphertext>, CkksError> {
        let mut results = Vec::new();
        for Position { terms, kernels } in positions {
            if terms.len() != map.terms() {
                let (terms, given) = (map.terms(), terms.len());
                return Err(CkksError::Plan(format!("a matrix of {terms} terms was applied to {given}")));
            }
            if let Some(kernel) = kernels.iter().find(|&&kernel| kernel as usize >= map.kernels) {
                let kernels = map.kernels;
                return Err(CkksError::Plan(format!("a matrix of {kernels} kernels has none of number {kernel}")));
            }
            for (term, &scale) in terms.iter().zip(&map.term_scales) {
                let (left, right) = (self.limbs(term), map.limbs);
                levels_suffice(right, left).map_err(|_| CkksError::Level { left, right })?;
                scales_agree(term.scale, scale)?;
            }
            for &kernel in kernels {
                let weights = |limb: usize| &map.words[(limb * map.kernels + kernel as usize) * terms.len()..];
                let row = |part: usize| {
                    self.polynomial(map.limbs, |prime, limb, at| {
                        let words = terms.iter().map(|term| term.parts[part][at]);
                        prime.inner_product(words.zip(weights(limb).iter().copied()))
                    })
                };
                results.push(Ciphertext { parts: [row(0), row(1)], scale: map.scale });
            }
        }
        Ok(results)
    }

    /// `[sum_i a_i c_i]`, both parts.
    fn inner_products(
        &self,
        inputs: &[Ciphertext],
        sums: &[Vec<(usize, &Plaintext)>],
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let limbs = self.limbs(inputs.first().ok_or(CkksError::Depth)?);
        inputs.iter().try_for_each(|input| levels_agree(limbs, self.limbs(input)))?;
        let scale_of = |&(input, plaintext): &(usize, &Plaintext)| inputs[input].scale * plaintext.scale;
        let sum = |terms: &Vec<(usize, &Plaintext)>| {
            let scale = scale_of(terms.first().ok_or(CkksError::Depth)?);
            for term in terms {
                scales_agree(scale, scale_of(term))?;
                levels_suffice(limbs, term.1.words.len() / self.degree())?;
            }
            let part = |part: usize| {
                self.polynomial(limbs, |prime, _, at| {
                    prime.inner_product(terms.iter().map(|(input, p)| (inputs[*input].parts[part][at], p.words[at])))
                })
            };
            Ok(Ciphertext { parts: [part(0), part(1)], scale })
        };
        sums.iter().map(sum).collect()
    }

    /// `(a0 b0, a0 b1 + a1 b0) + switch(a1 b1)` for a key from s^2 to s.
    fn multiply(&self, pairs: &[(&Ciphertext, &Ciphertext)], key: &ReferenceKey) -> Result<Vec<Ciphertext>, CkksError> {
        self.relinearise(self.tensor(pairs)?, key)
    }

    /// `(a0 b0, a0 b1 + a1 b0)` and `a1 b1`.
    fn tensor(&self, pairs: &[(&Ciphertext, &Ciphertext)]) -> Result<Vec<Product<Ciphertext>>, CkksError> {
        let product = |(a, b): &(&Ciphertext, &Ciphertext)| {
            let limbs = self.limbs(a);
            levels_agree(limbs, self.limbs(b))?;
            let ([a0, a1], [b0, b1]) = (&a.parts, &b.parts);
            let low = |prime: &Prime, _, at: usize| prime.inner_product([(a0[at], b0[at])]);
            let middle = |prime: &Prime, _, at: usize| prime.inner_product([(a0[at], b1[at]), (a1[at], b0[at])]);
            let high = self.polynomial(limbs, |prime, _, at| prime.inner_product([(a1[at], b1[at])]));
            let parts = [self.polynomial(limbs, low), self.polynomial(limbs, middle)];
            let scale = a.scale * b.scale;
            Ok(Product { low: Ciphertext { parts, scale }, high: Ciphertext { parts: [high.clone(), high], scale } })
        };
        pairs.iter().map(product).collect()
    }

    /// `low + switch(high)` for a key from s^2 to s.
    fn relinearise(
        &self,
        products: Vec<Product<Ciphertext>>,
        key: &ReferenceKey,
    ) -> Result<Vec<Ciphertext>, CkksError> {
        let closed = |Product { low, high }: Product<Ciphertext>| {
            let limbs = self.limbs(&low);
            levels_agree(limbs, self.limbs(&high))?;
            let [body, mask] = self.switch(&high.parts[0], key)?;
            let [low, middle] = &low.parts;
            let parts = [(low, body), (middle, mask)];
            let parts =
                parts.map(|(own, switched)| self.polynomial(limbs, |prime, _, at| prime.sum(own[at], switched[at])));
            Ok(Ciphertext { parts, scale: high.scale })
        };
        products.into_iter().map(closed).collect()
    }

    /// `(x - r) / q`, q the last prime and r the residue of x modulo q that is nearest to 0.
    fn rescale(&self, batch: Vec<Ciphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        let divided = |ciphertext: Ciphertext| {
            let last = self.limbs(&ciphertext) - 1;
            if last == 0 {
                return Err(CkksError::Depth);
            }
            let parts = ciphertext.parts.map(|part| self.divide(&part, last, &[last]));
            Ok(Ciphertext { parts, scale: ciphertext.scale / f64::from(self.params().primes[last]) })
        };
        batch.into_iter().map(divided).collect()
    }

    /// The integers of at most two limbs that are nearest to 0, modulo each prime.
    fn raise(&self, batch: Vec<Ciphertext>, limbs: usize) -> Result<Vec<Ciphertext>, CkksError> {
        let raise = |Ciphertext { parts, scale }: Ciphertext| {
            let own = parts[0].len() / self.degree();
            levels_suffice(own, limbs.min(2))?;
            if limbs > self.params().primes.len() {
                return Err(CkksError::Depth);
            }
            let from: Vec<usize> = (0..own).collect();
            let raised = parts.map(|part| {
                let integers = nearest_to_zero(&self.primes[..own], &self.coefficients(&part, &from));
                let limb = |prime: &Prime| {
                    let residue = |x: &i128| x.rem_euclid(i128::from(prime.p)) as u64;
                    prime.values(&integers.iter().map(residue).collect::<Vec<u64>>())
                };
                self.primes[..limbs].iter().flat_map(limb).collect()
            });
            Ok(Ciphertext { parts: raised, scale })
        };
        batch.into_iter().map(raise).collect()
    }

    fn drop_to(&self, batch: Vec<Ciphertext>, limbs: usize) -> Result<Vec<Ciphertext>, CkksError> {
        let drop = |Ciphertext { parts, scale }: Ciphertext| {
            let words = limbs * self.degree();
            let fits = (1..=parts[0].len()).contains(&words);
            let parts = fits.then(|| parts.map(|part| part[..words].to_vec())).ok_or(CkksError::Depth)?;
            Ok(Ciphertext { parts, scale })
        };
        batch.into_iter().map(drop).collect()
    }

    fn rotate(&self, pairs: &[(&Ciphertext, &ReferenceGaloisKey)]) -> Result<Vec<Ciphertext>, CkksError> {
        pairs.iter().map(|(ciphertext, key)| self.turn(ciphertext, key)).collect()
    }

    /// Each rotation by itself.
    fn rotate_hoisted(
        &self,
        batch: &[&Ciphertext],
        limbs: usize,
        keys: &[Option<&ReferenceGaloisKey>],
    ) -> Result<Vec<Vec<Ciphertext>>, CkksError> {
        let all = |&ciphertext: &&Ciphertext| {
            let limbs = limbs.min(self.limbs(ciphertext));
            let low = self.drop_to(vec![ciphertext.clone()], limbs)?.remove(0);
            let turn =
                |key: &Option<&ReferenceGaloisKey>| key.map_or_else(|| Ok(low.clone()), |key| self.turn(&low, key));
            keys.iter().map(turn).collect()
        };
        batch.iter().map(all).collect()
    }

    fn shrink(&self, batch: Vec<Ciphertext>) -> Vec<Ciphertext> {
        batch
    }

    fn release(&self, _batch: Vec<Ciphertext>) {}
}
