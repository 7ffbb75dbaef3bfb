//! Key switches and what is made of them: products, rotations; and divisions by primes, which work the same way.
//!
//! A key switch takes four launches for a whole batch: coefficients of the digits' parts; digits at all primes and
//! their products with the key; coefficients of the special limbs; and their conversion, subtraction, division and the
//! order of a rotation in one. Where shared memory does not hold a polynomial, registers do not hold a limb's sums, or
//! the batch is too small to fill the device with a block for each limb, digits and their products are two launches.
//!
//! **Bound**, for l limbs, s special ones, d = ceil(l / s) digits, N words: `d (l + s) + 4 l + 2 s` transforms of
//! `N / 2 log2 N` butterflies (three products of words each), `2 d (l + s) N` products with the key, and the key's
//! `8 d (l + s) N` bytes from the second-level cache.

use heman_core::ckks::error::{CkksError, enough_limbs, same_limbs};
use heman_core::ckks::gpu::{GpuRing, parts, words};
use heman_core::ckks::ops::{Constant, Product};
use heman_kernels::RnsLaunchParams;

use crate::ckks::launches::{Given, Item, Over};
use crate::ckks::lists::List;
use crate::ckks::ring::{CudaRing, block_shared_bytes};
use crate::ckks::tables::LOG2_WORDS_A_THREAD;
use crate::ckks::{Block, CudaCiphertext, CudaGaloisKey, CudaPlaintext, CudaSwitchKey};

/// What is added to a key switch's results, and in which order they are.
#[derive(Clone, Copy)]
enum Finish {
    /// Body and mask of a product's low parts.
    Product,
    /// The same, divided by the last prime as well.
    Rescaled,
    /// The body of what is rotated; values in the order of the key.
    Rotation,
}

/// A key switch in the works: the polynomial that is switched, its key, where results go, what is added to the body and
/// to the mask, and the order of values.
struct Switch<'a> {
    polynomial: u64,
    key: &'a CudaSwitchKey,
    target: u64,
    addends: [u64; 2],
    order: u64,
}

impl CudaRing {
    fn transform_params(&self, roots: u32, limbs: usize) -> RnsLaunchParams {
        RnsLaunchParams {
            log2_blocks: self.log2_degree() - self.log2_block,
            roots,
            prime_roots: self.prime_roots,
            limbs: limbs as u32,
            ..RnsLaunchParams::default()
        }
    }

    /// A transform of whole blocks, or what goes with one.
    fn of_blocks<'a>(
        &'a self,
        step: &'static str,
        function: &'a cudarc::driver::CudaFunction,
        params: RnsLaunchParams,
        given: Given<'a>,
        limbs: usize,
    ) -> Over<'a> {
        let grid = [self.degree() >> self.log2_block, limbs];
        let threads = 1 << (self.log2_block - LOG2_WORDS_A_THREAD);
        Over { step, function, params, given, grid, threads, shared_bytes: block_shared_bytes(self.log2_block) }
    }

    fn of_columns<'a>(
        &'a self,
        step: &'static str,
        function: &'a cudarc::driver::CudaFunction,
        params: RnsLaunchParams,
        given: Given<'a>,
        limbs: usize,
    ) -> Over<'a> {
        let grid = [(1 << self.log2_block) / 256, limbs];
        Over { step, function, params, given, grid, threads: 256, shared_bytes: 0 }
    }

    /// Transforms of coefficients to values.
    pub(super) fn down(&self, step: &'static str, list: List, limbs: usize, items: &[Item]) -> Result<(), CkksError> {
        let records = self.records(list, limbs)?;
        let params = self.transform_params(self.places.down, limbs);
        let given = || Given::Records(&records.slice);
        if params.log2_blocks > 0 {
            let columns = &self.kernels.forward_columns;
            self.over(&self.of_columns(step, columns, params, given(), records.count), items)?;
        }
        self.over(&self.of_blocks(step, &self.kernels.forward, params, given(), records.count), items)
    }

    /// Transforms of values to coefficients.
    pub(super) fn up(&self, step: &'static str, list: List, limbs: usize, items: &[Item]) -> Result<(), CkksError> {
        let records = self.records(list, limbs)?;
        let params = self.transform_params(self.places.up, limbs);
        let given = || Given::Records(&records.slice);
        self.over(&self.of_blocks(step, &self.kernels.inverse, params, given(), records.count), items)?;
        if params.log2_blocks > 0 {
            let columns = &self.kernels.inverse_columns;
            self.over(&self.of_columns(step, columns, params, given(), records.count), items)?;
        }
        Ok(())
    }

    /// Coefficients of the parts of polynomials' digits, `u32[limbs][N]` each.
    fn parts_of(&self, step: &'static str, limbs: usize, polynomials: &[u64]) -> Result<Vec<Block>, CkksError> {
        let parts: Vec<Block> =
            polynomials.iter().map(|_| self.reserve(step, limbs)).collect::<Result<_, CkksError>>()?;
        let items: Vec<Item> =
            polynomials.iter().zip(&parts).map(|(&polynomial, parts)| vec![polynomial, parts.address]).collect();
        self.up(step, List::Parts, limbs, &items)?;
        Ok(parts)
    }

    /// Digits at all primes but their own, `u32[digit][limbs + special][N]` each.
    fn digits_of(&self, step: &'static str, limbs: usize, parts: &[Block]) -> Result<Vec<Block>, CkksError> {
        let polynomials = limbs.div_ceil(self.special()) * (limbs + self.special());
        let digits: Vec<Block> =
            parts.iter().map(|_| self.reserve(step, polynomials)).collect::<Result<_, CkksError>>()?;
        let items: Vec<Item> =
            parts.iter().zip(&digits).map(|(parts, digits)| vec![parts.address, digits.address]).collect();
        self.down(step, List::Digits, limbs, &items)?;
        Ok(digits)
    }

    /// Products with keys of digits that are there, divided by P and finished.
    fn finish_digits(
        &self,
        step: &'static str,
        limbs: usize,
        finish: Finish,
        switches: &[(Switch<'_>, &Block)],
    ) -> Result<(), CkksError> {
        let products = self.products_of(step, limbs, switches.len())?;
        let item = |((switch, digits), products): (&(Switch<'_>, &Block), &Block)| {
            let key = switch.key;
            vec![switch.polynomial, digits.address, key.block.address, products.address, key.limbs as u64]
        };
        let items: Vec<Item> = switches.iter().zip(&products).map(item).collect();
        let params = RnsLaunchParams { limbs: limbs as u32, ..RnsLaunchParams::default() };
        self.over(&self.of_words(step, &self.kernels.key_products, params, limbs + self.special()), &items)?;
        let switches: Vec<&Switch<'_>> = switches.iter().map(|(switch, _)| switch).collect();
        self.divide(step, limbs, finish, &switches, &products)
    }

    fn products_of(&self, step: &'static str, limbs: usize, count: usize) -> Result<Vec<Block>, CkksError> {
        (0..count).map(|_| self.reserve(step, 2 * (limbs + self.special()))).collect()
    }

    /// Key switches of one number of limbs.
    fn switch(
        &self,
        step: &'static str,
        limbs: usize,
        finish: Finish,
        switches: Vec<Switch<'_>>,
    ) -> Result<(), CkksError> {
        let polynomials: Vec<u64> = switches.iter().map(|switch| switch.polynomial).collect();
        let parts = self.parts_of(step, limbs, &polynomials)?;
        let blocks = switches.len() * (limbs + self.special());
        let Some(function) = self.kernels.switch.as_ref().filter(|_| blocks >= self.backend.multiprocessors()) else {
            let digits = self.digits_of(step, limbs, &parts)?;
            let switches: Vec<_> = switches.into_iter().zip(&digits).collect();
            return self.finish_digits(step, limbs, finish, &switches);
        };
        let products = self.products_of(step, limbs, switches.len())?;
        let item = |((switch, parts), products): ((&Switch<'_>, &Block), &Block)| {
            let key = switch.key;
            vec![switch.polynomial, parts.address, key.block.address, products.address, key.limbs as u64]
        };
        let items: Vec<Item> = switches.iter().zip(&parts).zip(&products).map(item).collect();
        let conversions = self.records(List::Conversions, limbs)?;
        let params = self.transform_params(self.places.down, limbs);
        let given = Given::Records(&conversions.slice);
        self.over(&self.of_blocks(step, function, params, given, limbs + self.special()), &items)?;
        self.divide(step, limbs, finish, &switches.iter().collect::<Vec<_>>(), &products)
    }

    /// Products divided by P, with what is added to them, in their order.
    fn divide(
        &self,
        step: &'static str,
        limbs: usize,
        finish: Finish,
        switches: &[&Switch<'_>],
        products: &[Block],
    ) -> Result<(), CkksError> {
        let special: Vec<Item> = products.iter().map(|products| vec![products.address]).collect();
        self.up(step, List::Special, limbs, &special)?;
        let whole = self.log2_block == self.log2_degree();
        // Between two launches, and before values are put in order.
        let scratch = |needed: bool| -> Result<Vec<Block>, CkksError> {
            let count = if needed { switches.len() } else { 0 };
            (0..count).map(|_| self.reserve(step, 2 * limbs)).collect()
        };
        let (between, disordered) = (scratch(!whole)?, scratch(!whole && matches!(finish, Finish::Rotation))?);
        let address = |blocks: &[Block], at: usize| blocks.get(at).map(|block| block.address);
        let item = |(at, switch): (usize, &&Switch<'_>)| {
            let target = address(&disordered, at).unwrap_or(switch.target);
            let [body, mask] = switch.addends;
            let last = if whole && matches!(finish, Finish::Rotation) { switch.order } else { mask };
            vec![products[at].address, address(&between, at).unwrap_or(0), target, body, last]
        };
        let items: Vec<Item> = switches.iter().enumerate().map(item).collect();
        if matches!(finish, Finish::Rescaled) {
            self.down(step, List::DividedLast, limbs, &items)?;
            self.up(step, List::Last, limbs, &special)?;
        }
        let list = match (finish, whole) {
            (Finish::Product, _) => List::Divided,
            (Finish::Rescaled, _) => List::DividedTwice,
            (Finish::Rotation, true) => List::TurnedInOrder,
            (Finish::Rotation, false) => List::Turned,
        };
        self.down(step, list, limbs, &items)?;
        let pairs = switches.iter().zip(&disordered);
        let items: Vec<Item> = pairs.map(|(switch, sums)| vec![switch.target, sums.address, switch.order]).collect();
        // Both parts lie one behind the other.
        self.over(&self.of_words(step, &self.kernels.permute, RnsLaunchParams::default(), 2 * limbs), &items)
    }

    pub(super) fn multiply_pairs(
        &self,
        pairs: &[(&CudaCiphertext, &CudaCiphertext)],
        key: &CudaSwitchKey,
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.multiplied(pairs, key, Finish::Product, |_, _| Ok(()))
    }

    /// What is added to a product may join its low parts before they meet the switched one: sums are exact.
    pub(super) fn multiply_and_rescale(
        &self,
        pairs: &[(&CudaCiphertext, &CudaCiphertext)],
        key: &CudaSwitchKey,
        terms: &[&[CudaCiphertext]],
        constants: &[Vec<Constant<'_, CudaPlaintext>>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        if pairs.iter().any(|(a, _)| a.limbs() == 1) {
            return Err(CkksError::Depth);
        }
        self.multiplied(pairs, key, Finish::Rescaled, |lows, first| {
            for (terms, constants) in terms.iter().zip(constants) {
                let own: Vec<&CudaCiphertext> = terms[first..first + lows.len()].iter().collect();
                words::add_products(self, lows, &own, &constants[first..first + lows.len()])?;
            }
            Ok(())
        })
    }

    /// Products, relinearised. `add` adds to the low parts of some, of which the first has the given number.
    fn multiplied(
        &self,
        pairs: &[(&CudaCiphertext, &CudaCiphertext)],
        key: &CudaSwitchKey,
        finish: Finish,
        add: impl Fn(&mut [CudaCiphertext], usize) -> Result<(), CkksError>,
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "product";
        let degree = self.degree();
        for (a, b) in pairs {
            same_limbs(a.limbs(), b.limbs())?;
            enough_limbs(a.limbs(), key.limbs)?;
        }
        let mut results = Vec::with_capacity(pairs.len());
        for chunk in parts::switched_together(self, pairs, |(a, _)| a.limbs()) {
            let limbs = chunk[0].0.limbs();
            let (mut items, mut lows, mut highs) = (Vec::new(), Vec::new(), Vec::new());
            for (a, b) in chunk {
                let low = self.ciphertext(STEP, limbs, a.scale() * b.scale())?;
                let high = self.reserve(STEP, limbs)?;
                items.push([&a.parts(degree)[..], &b.parts(degree), &low.parts(degree), &[high.address]].concat());
                lows.push(low);
                highs.push(high);
            }
            self.over(&self.of_words(STEP, &self.kernels.tensor, RnsLaunchParams::default(), limbs), &items)?;
            add(&mut lows, results.len())?;
            let outs = match finish {
                // In place: a thread adds the word of the low parts that it then writes.
                Finish::Product | Finish::Rotation => lows.clone(),
                Finish::Rescaled => lows.iter().map(|low| self.rescaled_room(STEP, low)).collect::<Result<_, _>>()?,
            };
            let switches = lows.iter().zip(&outs).zip(&highs).map(|((low, out), high)| Switch {
                polynomial: high.address,
                key,
                target: out.block().address,
                addends: low.parts(degree),
                order: 0,
            });
            self.switch(STEP, limbs, finish, switches.collect())?;
            results.extend(outs);
        }
        Ok(results)
    }

    pub(super) fn tensor_pairs(
        &self,
        pairs: &[(&CudaCiphertext, &CudaCiphertext)],
    ) -> Result<Vec<Product<CudaCiphertext>>, CkksError> {
        const STEP: &str = "product";
        let degree = self.degree();
        pairs.iter().try_for_each(|(a, b)| same_limbs(a.limbs(), b.limbs()))?;
        let mut results = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunk_by(|(a, _), (b, _)| a.limbs() == b.limbs()) {
            let limbs = chunk[0].0.limbs();
            let (mut items, mut highs) = (Vec::new(), Vec::new());
            for (a, b) in chunk {
                let scale = a.scale() * b.scale();
                let (low, high) = (self.ciphertext(STEP, limbs, scale)?, self.ciphertext(STEP, limbs, scale)?);
                items.push(
                    [&a.parts(degree)[..], &b.parts(degree), &low.parts(degree), &[high.part(0, degree)]].concat(),
                );
                highs.push(high.clone());
                results.push(Product { low, high });
            }
            self.over(&self.of_words(STEP, &self.kernels.tensor, RnsLaunchParams::default(), limbs), &items)?;
            words::repeat_bodies(self, STEP, &highs)?;
        }
        Ok(results)
    }

    pub(super) fn relinearise_all(
        &self,
        products: &[Product<CudaCiphertext>],
        key: &CudaSwitchKey,
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "relinearisation";
        let degree = self.degree();
        for Product { low, high } in products {
            same_limbs(low.limbs(), high.limbs())?;
            enough_limbs(low.limbs(), key.limbs)?;
        }
        let mut results = Vec::with_capacity(products.len());
        for chunk in parts::switched_together(self, products, |product| product.low.limbs()) {
            let limbs = chunk[0].low.limbs();
            let mut switches = Vec::with_capacity(chunk.len());
            for Product { low, high } in chunk {
                let out = self.ciphertext(STEP, limbs, low.scale())?;
                switches.push(Switch {
                    polynomial: high.part(0, degree),
                    key,
                    target: out.block().address,
                    addends: low.parts(degree),
                    order: 0,
                });
                results.push(out);
            }
            self.switch(STEP, limbs, Finish::Product, switches)?;
        }
        Ok(results)
    }

    /// Room for a ciphertext divided by its last prime.
    fn rescaled_room(&self, step: &'static str, ciphertext: &CudaCiphertext) -> Result<CudaCiphertext, CkksError> {
        let last = ciphertext.limbs() - 1;
        self.ciphertext(step, last, ciphertext.scale() / f64::from(self.ring.modulus(last).p))
    }

    /// Divides ciphertexts of one number of limbs by their last prime.
    pub(super) fn divide_by_last(&self, batch: &[CudaCiphertext]) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "rescale";
        let limbs = batch.first().map_or(0, |first| first.limbs());
        let (mut items, mut results, mut scratch) = (Vec::new(), Vec::with_capacity(batch.len()), Vec::new());
        for ciphertext in batch {
            let out = self.rescaled_room(STEP, ciphertext)?;
            let remainders = self.reserve(STEP, 2)?;
            let [body, mask] = ciphertext.parts(self.degree());
            items.push(vec![body, mask, remainders.address, out.block().address]);
            results.push(out);
            scratch.push(remainders);
        }
        self.up(STEP, List::Remainders, limbs, &items)?;
        self.down(STEP, List::Rescaled, limbs, &items)?;
        Ok(results)
    }

    /// Room for the result of a rotation, and the switch that makes it.
    fn turned<'a>(
        &self,
        step: &'static str,
        own: &CudaCiphertext,
        key: &'a CudaGaloisKey,
    ) -> Result<(CudaCiphertext, Switch<'a>), CkksError> {
        let out = self.ciphertext(step, own.limbs(), own.scale())?;
        let [body, mask] = own.parts(self.degree());
        let switch = Switch {
            polynomial: mask,
            key: &key.key,
            target: out.block().address,
            addends: [body, body],
            order: key.order.address,
        };
        Ok((out, switch))
    }

    pub(super) fn rotate_pairs(
        &self,
        pairs: &[(&CudaCiphertext, &CudaGaloisKey)],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        const STEP: &str = "rotation";
        pairs.iter().try_for_each(|(ciphertext, key)| enough_limbs(ciphertext.limbs(), key.key.limbs))?;
        let mut results = Vec::with_capacity(pairs.len());
        for chunk in parts::switched_together(self, pairs, |(ciphertext, _)| ciphertext.limbs()) {
            let turned = chunk.iter().map(|(own, key)| self.turned(STEP, own, key));
            let (outs, switches): (Vec<_>, Vec<_>) = turned.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
            self.switch(STEP, chunk[0].0.limbs(), Finish::Rotation, switches)?;
            results.extend(outs);
        }
        Ok(results)
    }

    /// Digits of all ciphertexts of one number of limbs together, then every rotation of every one.
    pub(super) fn rotate_by_all(
        &self,
        batch: &[&CudaCiphertext],
        limbs: usize,
        keys: &[Option<&CudaGaloisKey>],
    ) -> Result<Vec<Vec<CudaCiphertext>>, CkksError> {
        const STEP: &str = "rotations";
        let lows = batch.iter().map(|own| own.low(limbs.min(own.limbs()))).collect::<Result<Vec<_>, _>>()?;
        let turning: Vec<&CudaGaloisKey> = keys.iter().flatten().copied().collect();
        for (low, key) in lows.iter().flat_map(|low| turning.iter().map(move |key| (low, key))) {
            enough_limbs(low.limbs(), key.key.limbs)?;
        }
        let mut all = Vec::with_capacity(batch.len());
        for chunk in parts::switched_together(self, &lows, |low| low.limbs()) {
            let limbs = chunk[0].limbs();
            let rotated = if turning.is_empty() {
                Vec::new()
            } else {
                let masks: Vec<u64> = chunk.iter().map(|low| low.part(1, self.degree())).collect();
                let digits = self.digits_of(STEP, limbs, &self.parts_of(STEP, limbs, &masks)?)?;
                let pairs: Vec<_> = chunk
                    .iter()
                    .zip(&digits)
                    .flat_map(|(low, digits)| turning.iter().map(move |&key| (low, digits, key)))
                    .collect();
                let mut rotated = Vec::with_capacity(pairs.len());
                for pairs in parts::switched_together(self, &pairs, |(low, ..)| low.limbs()) {
                    let mut switches = Vec::with_capacity(pairs.len());
                    for &(low, digits, key) in pairs {
                        let (out, switch) = self.turned(STEP, low, key)?;
                        rotated.push(out);
                        switches.push((switch, digits));
                    }
                    self.finish_digits(STEP, limbs, Finish::Rotation, &switches)?;
                }
                rotated
            };
            let mut rotated = rotated.into_iter();
            for low in chunk {
                let place = |key: &Option<&CudaGaloisKey>| match key {
                    None => Ok(low.clone()),
                    Some(_) => rotated.next().ok_or(CkksError::Depth),
                };
                all.push(keys.iter().map(place).collect::<Result<_, _>>()?);
            }
        }
        Ok(all)
    }
}
