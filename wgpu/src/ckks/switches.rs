//! Key switches and what is made of them: products, rotations; and divisions by primes, which work the same way.
//!
//! A key switch takes five launches for a whole batch: coefficients of the digits' parts; digits at all primes;
//! products with the key; coefficients of the special limbs; and their conversion, subtraction and division in one.

use heman_core::ckks::error::{CkksError, enough_limbs, same_limbs};
use heman_core::ckks::gpu::{GpuRing, Operation, parts, words};
use heman_core::ckks::ops::{Product, RnsOps};
use heman_core::ckks::params::set::RingKind;
use heman_core::ckks::ring::constants::DigitPlaces;
use heman_kernels::wgsl::RNS_LOG2_BLOCK;
use heman_kernels::{RnsPermuteParams, RnsTensorParams, RnsTransformParams};

use crate::ckks::batch::{Item, NOWHERE, Over};
use crate::ckks::ring::WgpuRing;
use crate::ckks::{WgpuCiphertext, WgpuGaloisKey, WgpuSwitchKey};
use crate::context::Block;

/// What products of ciphertexts are called where the device fails.
const PRODUCT: &str = "product";

/// A polynomial's digits at all primes in use.
struct Digits {
    limbs: usize,
    /// `u32[limbs + special][N]` each.
    blocks: Vec<Block>,
}

/// What becomes of values on the way down.
#[derive(Clone, Copy)]
pub(super) struct Down {
    source: u32,
    sources: usize,
    conversion: u32,
    prime: usize,
    between: u32,
    target: u32,
    /// `(kept - value) factor + addend`.
    kept: u32,
    factor: u32,
    addend: u32,
}

impl Down {
    /// Values as they are, at one place all the way, of so many polynomials that are converted.
    pub(super) fn values(source: u32, sources: usize, conversion: u32, prime: usize, target: u32) -> Self {
        let (between, kept, factor, addend) = (target, NOWHERE, 0, NOWHERE);
        Self { source, sources, conversion, prime, between, target, kept, factor, addend }
    }

    pub(super) fn item(self) -> Item {
        let Self { source, conversion, between, target, kept, factor, addend, .. } = self;
        let (sources, prime) = (self.sources as u32, self.prime as u32);
        Item::new([source, sources, conversion, prime, between, target, kept, factor, addend])
    }
}

impl WgpuRing {
    /// Transforms of coefficients to values.
    pub(super) fn down(&self, step: &'static str, items: &[Item]) -> Result<(), CkksError> {
        let log2_blocks = self.log2_degree() - RNS_LOG2_BLOCK;
        let params = RnsTransformParams { items: 0, log2_blocks, roots: self.places.down };
        let special = self.params().special_primes.len();
        let words = self.degree() as f64;
        let (converted, folded) = self.folding();
        let of_block = if log2_blocks > 0 { 0.0 } else { folded };
        if log2_blocks > 0 {
            let multiplications = words * (converted * special as f64 + folded + f64::from(log2_blocks) / 2.0);
            let groups = [(1 << RNS_LOG2_BLOCK) / 256, 0];
            self.over(&Over { step, kernel: &self.kernels.forward_columns, params, groups, multiplications }, items)?;
        }
        let multiplications = words * (2.0 + of_block + f64::from(RNS_LOG2_BLOCK) / 2.0);
        let groups = [1 << log2_blocks, 0];
        self.over(&Over { step, kernel: &self.kernels.forward, params, groups, multiplications }, items)
    }

    /// Transforms of values to coefficients: `[source, prime, target, factor, offset]` each.
    pub(super) fn up(&self, step: &'static str, items: &[Item]) -> Result<(), CkksError> {
        let log2_blocks = self.log2_degree() - RNS_LOG2_BLOCK;
        let params = RnsTransformParams { items: 0, log2_blocks, roots: self.places.up };
        let folded = self.folding().1;
        let of_block = if log2_blocks > 0 { 0.0 } else { folded };
        let multiplications = self.degree() as f64 * (2.0 + of_block + f64::from(RNS_LOG2_BLOCK) / 2.0);
        let groups = [1 << log2_blocks, 0];
        self.over(&Over { step, kernel: &self.kernels.inverse, params, groups, multiplications }, items)?;
        if log2_blocks > 0 {
            let groups = [(1 << RNS_LOG2_BLOCK) / 256, 0];
            let multiplications = multiplications + self.degree() as f64 * folded;
            let over = Over { step, kernel: &self.kernels.inverse_columns, params, groups, multiplications };
            self.over(&over, items)?;
        }
        Ok(())
    }

    /// How often words are converted where columns are transformed, and multiplications of folding a word.
    fn folding(&self) -> (f64, f64) {
        match self.params().ring {
            RingKind::Complex => (1.0, 0.0),
            RingKind::Real => (2.0, 1.0),
        }
    }

    pub(super) fn words(&self, polynomials: usize) -> u32 {
        (polynomials * self.degree()) as u32
    }

    fn active_digits(&self, limbs: usize) -> impl Iterator<Item = (usize, &DigitPlaces)> {
        let alpha = self.params().special_primes.len();
        (0..limbs.div_ceil(alpha)).map(move |j| {
            let count = alpha.min(limbs - j * alpha);
            (count, &self.places.digits[j][count - 1])
        })
    }

    /// Digits of polynomials of `limbs` limbs at the given addresses.
    fn decompose(&self, step: &'static str, limbs: usize, polynomials: &[u32]) -> Result<Vec<Digits>, CkksError> {
        let extended = limbs + self.params().special_primes.len();
        let active: Vec<(usize, &DigitPlaces)> = self.active_digits(limbs).collect();
        let (mut up, mut down, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        let (mut all, mut coefficients) = (Vec::new(), Vec::new());
        for &polynomial in polynomials {
            let parts = self.reserve(step, limbs)?;
            let mut blocks = Vec::with_capacity(active.len());
            for &(count, digit) in &active {
                let block = self.reserve(step, extended)?;
                for at in 0..count {
                    let (limb, offset) = (digit.first + at, self.words(digit.first + at));
                    let half = self.ring.modulus(limb).p / 2;
                    let words = [polynomial + offset, limb as u32, parts.address + offset, digit.inverse + at as u32];
                    up.push(Item::new([&words[..], &[half]].concat()));
                    copies.push(Item::new([block.address + offset, polynomial + offset, 0, 0]));
                }
                for at in (0..extended).filter(|at| !(digit.first..digit.first + count).contains(at)) {
                    let prime = if at < limbs { at } else { self.ring.limbs() + at - limbs };
                    let target = block.address + self.words(at);
                    let source = parts.address + self.words(digit.first);
                    down.push(Down::values(source, count, digit.conversions[prime], prime, target).item());
                }
                blocks.push(block);
            }
            all.push(Digits { limbs, blocks });
            coefficients.push(parts);
        }
        self.up(step, &up)?;
        self.down(step, &down)?;
        // A limb at a time: its prime does not matter to a copy.
        self.run_items(step, Operation::Copy, 1, &copies)?;
        Ok(all)
    }

    /// For each of `switched` its digits times a key, divided by P, with `addends` added: bodies, then masks.
    fn finish_switch(
        &self,
        step: &'static str,
        switched: &[(&Digits, &WgpuSwitchKey)],
        addends: &[[u32; 2]],
        targets: &[[u32; 2]],
    ) -> Result<(), CkksError> {
        let Some((first, _)) = switched.first() else { return Ok(()) };
        let (limbs, special) = (first.limbs, self.params().special_primes.len());
        let extended = limbs + special;
        let (mut low, mut high, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut scratch = Vec::new();
        for (((digits, key), addends), targets) in switched.iter().zip(addends).zip(targets) {
            // Products; behind them, room for what is between two launches of the last step.
            let products = self.reserve(step, 2 * extended)?;
            let between = self.reserve(step, 2 * limbs)?;
            for part in 0..2 {
                let product = products.address + self.words(part * extended);
                let pairs = |of_digit: usize, of_key: usize| {
                    let pair = |(digit, key_digit): (&Block, &Block)| {
                        let key_part = part * (key.limbs + special) + of_key;
                        [digit.address + self.words(of_digit), key_digit.address + self.words(key_part)]
                    };
                    digits.blocks.iter().zip(&key.digits).map(pair).collect::<Vec<[u32; 2]>>()
                };
                low.push((product, pairs(0, 0)));
                let above = product + self.words(limbs);
                high.push((above, pairs(limbs, key.limbs)));
                for at in 0..special {
                    let (prime, word) = (self.ring.limbs() + at, above + self.words(at));
                    let half = self.ring.modulus(prime).p / 2;
                    up.push(Item::new([word, prime as u32, word, self.places.special + at as u32, half]));
                }
                for limb in 0..limbs {
                    let offset = self.words(limb);
                    let addend = if addends[part] == NOWHERE { NOWHERE } else { addends[part] + offset };
                    let item = Down {
                        source: above,
                        sources: special,
                        conversion: self.places.special_conversions[limb],
                        prime: limb,
                        between: between.address + self.words(part * limbs + limb),
                        target: targets[part] + offset,
                        kept: product + offset,
                        factor: self.places.special_quotient + limb as u32,
                        addend,
                    };
                    down.push(item.item());
                }
            }
            scratch.push((products, between));
        }
        self.inner_products_of(step, (0, limbs), &low)?;
        self.inner_products_of(step, (self.ring.limbs(), special), &high)?;
        self.up(step, &up)?;
        self.down(step, &down)
    }

    pub(super) fn multiply_pairs(
        &self,
        pairs: &[(&WgpuCiphertext, &WgpuCiphertext)],
        key: &WgpuSwitchKey,
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        let degree = self.degree();
        for (a, b) in pairs {
            same_limbs(a.limbs(), b.limbs())?;
            enough_limbs(a.limbs(), key.limbs)?;
        }
        let mut results = Vec::with_capacity(pairs.len());
        for chunk in parts::switched_together(self, pairs, |(a, _)| a.limbs()) {
            let limbs = chunk[0].0.limbs();
            let highs = chunk.iter().map(|_| self.reserve(PRODUCT, limbs)).collect::<Result<Vec<_>, _>>()?;
            let addresses: Vec<u32> = highs.iter().map(|high| high.address).collect();
            let lows = self.tensors(chunk, &addresses)?;
            let digits = self.decompose(PRODUCT, limbs, &addresses)?;
            let switched: Vec<_> = digits.iter().map(|digits| (digits, key)).collect();
            // In place: a thread adds the word of the low parts that it then writes.
            let parts: Vec<[u32; 2]> = lows.iter().map(|low| low.parts(degree)).collect();
            self.finish_switch(PRODUCT, &switched, &parts, &parts)?;
            results.extend(lows);
        }
        Ok(results)
    }

    /// Low parts of products of one number of limbs; their high parts go where it is said.
    fn tensors(
        &self,
        pairs: &[(&WgpuCiphertext, &WgpuCiphertext)],
        highs: &[u32],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        let Some((first, _)) = pairs.first() else { return Ok(Vec::new()) };
        let (limbs, degree) = (first.limbs(), self.degree());
        let (mut items, mut lows) = (Vec::new(), Vec::new());
        for ((a, b), &high) in pairs.iter().zip(highs) {
            let low = self.ciphertext(PRODUCT, limbs, a.scale() * b.scale())?;
            items.push(Item::new([&a.parts(degree)[..], &b.parts(degree), &low.parts(degree), &[high]].concat()));
            lows.push(low);
        }
        let over = Over {
            step: PRODUCT,
            kernel: &self.kernels.tensor,
            params: RnsTensorParams { items: 0, log2_degree: self.log2_degree() },
            groups: [self.limb_groups(), limbs],
            multiplications: (4 * limbs * degree) as f64,
        };
        self.over(&over, &items)?;
        Ok(lows)
    }

    pub(super) fn tensor_pairs(
        &self,
        pairs: &[(&WgpuCiphertext, &WgpuCiphertext)],
    ) -> Result<Vec<Product<WgpuCiphertext>>, CkksError> {
        pairs.iter().try_for_each(|(a, b)| same_limbs(a.limbs(), b.limbs()))?;
        let mut results = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunk_by(|(a, _), (b, _)| a.limbs() == b.limbs()) {
            let room = |(a, b): &(&WgpuCiphertext, &WgpuCiphertext)| {
                self.ciphertext(PRODUCT, a.limbs(), a.scale() * b.scale())
            };
            let highs = chunk.iter().map(room).collect::<Result<Vec<_>, _>>()?;
            let addresses: Vec<u32> = highs.iter().map(|high| high.part(0, self.degree())).collect();
            let lows = self.tensors(chunk, &addresses)?;
            words::repeat_bodies(self, PRODUCT, &highs)?;
            results.extend(lows.into_iter().zip(highs).map(|(low, high)| Product { low, high }));
        }
        Ok(results)
    }

    pub(super) fn relinearise_all(
        &self,
        products: &[Product<WgpuCiphertext>],
        key: &WgpuSwitchKey,
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "relinearisation";
        let degree = self.degree();
        for Product { low, high } in products {
            same_limbs(low.limbs(), high.limbs())?;
            enough_limbs(low.limbs(), key.limbs)?;
        }
        let mut results = Vec::with_capacity(products.len());
        for chunk in parts::switched_together(self, products, |product| product.low.limbs()) {
            let limbs = chunk[0].low.limbs();
            let addresses: Vec<u32> = chunk.iter().map(|product| product.high.part(0, degree)).collect();
            let digits = self.decompose(STEP, limbs, &addresses)?;
            let switched: Vec<_> = digits.iter().map(|digits| (digits, key)).collect();
            let outs = chunk
                .iter()
                .map(|product| self.ciphertext(STEP, limbs, product.low.scale()))
                .collect::<Result<Vec<_>, _>>()?;
            let addends: Vec<[u32; 2]> = chunk.iter().map(|product| product.low.parts(degree)).collect();
            let targets: Vec<[u32; 2]> = outs.iter().map(|out| out.parts(degree)).collect();
            self.finish_switch(STEP, &switched, &addends, &targets)?;
            results.extend(outs);
        }
        Ok(results)
    }

    /// Divides ciphertexts by their last primes.
    pub(super) fn divide_by_last(&self, batch: &[WgpuCiphertext]) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "rescale";
        let degree = self.degree();
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let (mut results, mut scratch) = (Vec::with_capacity(batch.len()), Vec::new());
        for ciphertext in batch {
            let last = ciphertext.limbs() - 1;
            let modulus = self.ring.modulus(last);
            let places = &self.places.rescale[last];
            let out = self.ciphertext(STEP, last, ciphertext.scale() / f64::from(modulus.p))?;
            let remainders = self.reserve(STEP, 2)?;
            for part in 0..2 {
                let (from, remainder) = (ciphertext.part(part, degree), remainders.address + self.words(part));
                let source = from + self.words(last);
                up.push(Item::new([source, last as u32, remainder, places.leave, modulus.p / 2]));
                for limb in 0..last {
                    let target = out.part(part, degree) + self.words(limb);
                    let item = Down {
                        kept: from + self.words(limb),
                        factor: places.quotients + limb as u32,
                        ..Down::values(remainder, 1, places.conversions[limb], limb, target)
                    };
                    down.push(item.item());
                }
            }
            results.push(out);
            scratch.push(remainders);
        }
        self.up(STEP, &up)?;
        self.down(STEP, &down)?;
        Ok(results)
    }

    /// Rotated ciphertexts: `(body + switched body, switched mask)` in the orders of their keys.
    fn turn(
        &self,
        step: &'static str,
        turned: &[(&WgpuCiphertext, &Digits, &WgpuGaloisKey)],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        let Some((first, ..)) = turned.first() else { return Ok(Vec::new()) };
        let (limbs, degree) = (first.limbs(), self.degree());
        let (mut sums, mut results, mut items) = (Vec::new(), Vec::new(), Vec::new());
        for (ciphertext, _, key) in turned {
            let sum = self.ciphertext(step, limbs, ciphertext.scale())?;
            let out = self.ciphertext(step, limbs, ciphertext.scale())?;
            for part in 0..2 {
                items.push(Item::new([out.part(part, degree), sum.part(part, degree), key.order.address]));
            }
            sums.push(sum);
            results.push(out);
        }
        let switched: Vec<_> = turned.iter().map(|(_, digits, key)| (*digits, &key.key)).collect();
        let addends: Vec<[u32; 2]> = turned.iter().map(|(own, ..)| [own.part(0, degree), NOWHERE]).collect();
        let targets: Vec<[u32; 2]> = sums.iter().map(|sum| sum.parts(degree)).collect();
        self.finish_switch(step, &switched, &addends, &targets)?;
        let over = Over {
            step,
            kernel: &self.kernels.permute,
            params: RnsPermuteParams { items: 0, log2_degree: self.log2_degree() },
            groups: [self.limb_groups(), limbs],
            multiplications: (limbs * degree) as f64,
        };
        self.over(&over, &items)?;
        Ok(results)
    }

    pub(super) fn rotate_pairs(
        &self,
        pairs: &[(&WgpuCiphertext, &WgpuGaloisKey)],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "rotation";
        pairs.iter().try_for_each(|(ciphertext, key)| enough_limbs(ciphertext.limbs(), key.key.limbs))?;
        let mut results = Vec::with_capacity(pairs.len());
        for chunk in parts::switched_together(self, pairs, |(ciphertext, _)| ciphertext.limbs()) {
            let masks: Vec<u32> = chunk.iter().map(|(own, _)| own.part(1, self.degree())).collect();
            let digits = self.decompose(STEP, chunk[0].0.limbs(), &masks)?;
            let turned: Vec<_> = chunk.iter().zip(&digits).map(|((own, key), digits)| (*own, digits, *key)).collect();
            results.extend(self.turn(STEP, &turned)?);
        }
        Ok(results)
    }

    pub(super) fn rotate_by_all(
        &self,
        ciphertext: &WgpuCiphertext,
        limbs: usize,
        keys: &[Option<&WgpuGaloisKey>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        const STEP: &str = "rotations";
        let low = ciphertext.low(limbs.min(ciphertext.limbs()))?;
        let turning: Vec<&WgpuGaloisKey> = keys.iter().flatten().copied().collect();
        if turning.is_empty() {
            return Ok(keys.iter().map(|_| low.clone()).collect());
        }
        turning.iter().try_for_each(|key| enough_limbs(low.limbs(), key.key.limbs))?;
        let digits = self.decompose(STEP, low.limbs(), &[low.part(1, self.degree())])?;
        let mut rotated = Vec::with_capacity(turning.len());
        for chunk in turning.chunks(self.shares().switched_together(self.params(), low.limbs())) {
            let turned: Vec<_> = chunk.iter().map(|&key| (&low, &digits[0], key)).collect();
            rotated.extend(self.turn(STEP, &turned)?);
        }
        let mut rotated = rotated.into_iter();
        let place = |key: &Option<&WgpuGaloisKey>| match key {
            None => Ok(low.clone()),
            Some(_) => rotated.next().ok_or(CkksError::Depth),
        };
        keys.iter().map(place).collect()
    }
}
