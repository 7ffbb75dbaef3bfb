//! Runs a bootstrap on a device: keys, numbers and masks are loaded once, and the masks transformed when they are used.

use std::collections::BTreeMap;

use tracing::debug_span;

use crate::ckks::bootstrap::keys::{BootstrapKeyRequest, SeededBootstrapKey};
use crate::ckks::bootstrap::program::{Map, Mask, Program};
use crate::ckks::bootstrap::recipe::Recipe;
use crate::ckks::bootstrap::sine::Step;
use crate::ckks::error::{CkksError, same_scale};
use crate::ckks::files::seeded::SeededSwitchKey;
use crate::ckks::ops::{Constant, Product, RnsOps, refs};
use crate::ckks::ring::number::{Number, State};

/// A bootstrap on a device, with a client's keys.
pub struct Bootstrap<'a, B: RnsOps> {
    ring: &'a B,
    prepared: PreparedBootstrap<B>,
    relinearise: B::SwitchKey,
    conjugate: B::GaloisKey,
    to_sparse: B::GaloisKey,
    from_sparse: B::GaloisKey,
    rotations: BTreeMap<usize, B::GaloisKey>,
}

/// The loaded keys that a bootstrap uses.
pub struct BootstrapKeys<'k, B: RnsOps> {
    /// From s^2 to s.
    pub relinearise: &'k B::SwitchKey,
    /// Of X -> X^-1.
    pub conjugate: &'k B::GaloisKey,
    /// From s to the sparse secret.
    pub to_sparse: &'k B::GaloisKey,
    /// From the sparse secret to s.
    pub from_sparse: &'k B::GaloisKey,
    /// By rotation, in slots to the left.
    pub rotations: &'k BTreeMap<usize, B::GaloisKey>,
}

/// The masks of one map: for each giant step the baby steps with the masks that they are multiplied with.
type LoadedMasks<B> = BTreeMap<isize, Vec<(usize, <B as RnsOps>::Coefficients)>>;

/// A program with its numbers and masks on a device, for any client's keys.
pub struct PreparedBootstrap<B: RnsOps> {
    /// Its masks are those below.
    program: Program,
    /// Of the maps from slots to coefficients, then of those back.
    masks: [Vec<LoadedMasks<B>>; 2],
    /// What the input is multiplied with.
    growth: Number,
    shift: Number,
    steps: Vec<StepNumbers>,
}

/// The numbers of one step of the sine.
struct StepNumbers {
    terms: Vec<Number>,
    constant: Number,
}

impl<B: RnsOps> PreparedBootstrap<B> {
    /// Works out a recipe, and loads its masks.
    ///
    /// # Errors
    /// [`CkksError::Plan`] for a recipe that does not fit the ring; whatever the device fails with.
    pub fn new(ring: &B, recipe: &Recipe) -> Result<Self, CkksError> {
        Self::of(ring, Program::new(ring.params(), recipe).map_err(CkksError::Plan)?)
    }

    fn of(ring: &B, mut program: Program) -> Result<Self, CkksError> {
        let params = ring.params();
        let _loading = debug_span!("load masks of bootstraps", masks = program.counts().1).entered();
        let masks = [load_masks(ring, &mut program.to_coefficients)?, load_masks(ring, &mut program.to_slots)?];
        let sine = &program.sine;
        let mut states = vec![sine.argument];
        states.extend(sine.steps.iter().map(|step| step.value));
        let numbers = |step: &Step| {
            let term = |&(value, number): &(usize, f64)| {
                let scale = step.sum.scale / states[value].scale;
                Number::new(params, number, State { scale, limbs: step.sum.limbs })
            };
            StepNumbers {
                terms: step.terms.iter().map(term).collect(),
                constant: Number::new(params, step.constant, step.value),
            }
        };
        let growth = State { scale: program.growth, limbs: program.recipe.input().limbs };
        Ok(Self {
            growth: Number::new(params, 1.0, growth),
            shift: Number::new(params, sine.shift, sine.argument),
            steps: sine.steps.iter().map(numbers).collect(),
            program,
            masks,
        })
    }

    /// As [`Bootstrap::run`], on the ring that it was made for, with keys that lie elsewhere. They are those that
    /// [`Program::keys`] asks for.
    ///
    /// # Errors
    /// As [`Bootstrap::run`].
    ///
    /// # Panics
    /// If a rotation has no key.
    pub fn run(
        &self,
        ring: &B,
        keys: &BootstrapKeys<'_, B>,
        batch: Vec<B::Ciphertext>,
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        Run { ring, prepared: self, keys }.run(batch)
    }
}

impl<'a, B: RnsOps> Bootstrap<'a, B> {
    /// Works out a recipe and loads the keys.
    ///
    /// # Errors
    /// [`CkksError::Plan`] for a recipe that does not fit the ring, or keys that lack something; whatever the device
    /// fails with.
    pub fn new(ring: &'a B, recipe: &Recipe, keys: &SeededBootstrapKey) -> Result<Self, CkksError> {
        let program = Program::new(ring.params(), recipe).map_err(CkksError::Plan)?;
        let request = program.keys(ring.params());
        check_keys(&request, keys)?;
        let prepared = PreparedBootstrap::of(ring, program)?;
        let _loading = debug_span!("load bootstrap keys", keys = keys.rotations.len() + 4).entered();
        let conjugation = ring.host().conjugation_element();
        let rotation = |(&steps, _): (&usize, &usize)| {
            Ok::<_, CkksError>((steps, ring.load_galois_key(&keys.rotations[&steps], steps)?))
        };
        Ok(Self {
            ring,
            relinearise: ring.load_switch_key(&keys.relinearise)?,
            conjugate: ring.load_automorphism_key(&keys.conjugate, conjugation)?,
            to_sparse: ring.load_automorphism_key(&keys.to_sparse, 1)?,
            from_sparse: ring.load_automorphism_key(&keys.from_sparse, 1)?,
            rotations: request.rotation_limbs.iter().map(rotation).collect::<Result<_, _>>()?,
            prepared,
        })
    }

    /// What is run, without the coefficients of its masks.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.prepared.program
    }

    /// The same numbers at the recipe's output: numbers of magnitudes up to its bound, which repeat after as many slots
    /// as it says, at its input's scale and at least as many limbs.
    ///
    /// Noise: [`crate::ckks::bootstrap::precision::Precision`].
    ///
    /// # Errors
    /// [`CkksError::Scale`], [`CkksError::Depth`] for another scale or too few limbs; whatever the device fails with.
    pub fn run(&self, batch: Vec<B::Ciphertext>) -> Result<Vec<B::Ciphertext>, CkksError> {
        let keys = BootstrapKeys {
            relinearise: &self.relinearise,
            conjugate: &self.conjugate,
            to_sparse: &self.to_sparse,
            from_sparse: &self.from_sparse,
            rotations: &self.rotations,
        };
        self.prepared.run(self.ring, &keys, batch)
    }
}

/// What runs.
struct Run<'r, B: RnsOps> {
    ring: &'r B,
    prepared: &'r PreparedBootstrap<B>,
    keys: &'r BootstrapKeys<'r, B>,
}

impl<B: RnsOps> Run<'_, B> {
    fn run(&self, batch: Vec<B::Ciphertext>) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (ring, program) = (self.ring, &self.prepared.program);
        if batch.is_empty() {
            return Ok(batch);
        }
        for ciphertext in &batch {
            same_scale(ring.state(ciphertext).scale, program.recipe.input_scale)?;
        }
        let mut values = ring.drop_to(batch, program.recipe.input().limbs)?;
        {
            let _span = debug_span!("slots to coefficients").entered();
            let grown = ring.products(&refs(&values), &vec![Constant::Number(&self.prepared.growth); values.len()])?;
            ring.release(std::mem::replace(&mut values, grown));
            for (map, masks) in program.to_coefficients.iter().zip(&self.prepared.masks[0]) {
                values = self.apply(map, masks, values)?;
            }
        }
        {
            let _span = debug_span!("raise").entered();
            values = self.rotate(values, self.keys.to_sparse)?;
            values = ring.raise(values, ring.params().primes.len())?;
            values = self.rotate(values, self.keys.from_sparse)?;
            for steps in &program.folds {
                ring.rotate_add(&mut values, &self.keys.rotations[steps])?;
            }
        }
        {
            let _span = debug_span!("coefficients to slots").entered();
            for (map, masks) in program.to_slots.iter().zip(&self.prepared.masks[1]) {
                values = self.apply(map, masks, values)?;
            }
            ring.rotate_add(&mut values, self.keys.conjugate)?;
        }
        let _span = debug_span!("sine").entered();
        self.sine(values)
    }

    fn rotate(&self, values: Vec<B::Ciphertext>, key: &B::GaloisKey) -> Result<Vec<B::Ciphertext>, CkksError> {
        let pairs: Vec<_> = values.iter().map(|value| (value, key)).collect();
        let rotated = self.ring.rotate(&pairs)?;
        self.ring.release(values);
        Ok(rotated)
    }

    /// One factor of a transform.
    fn apply(
        &self,
        map: &Map,
        masks: &LoadedMasks<B>,
        values: Vec<B::Ciphertext>,
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let keys: Vec<_> = map.babies.iter().map(|&steps| (steps > 0).then(|| &self.keys.rotations[&steps])).collect();
        let babies = self.ring.rotate_hoisted(&refs(&values), map.input.limbs, &keys)?;
        self.ring.release(values);
        // Horner's rule from either end towards the middle.
        let left = map.giants.keys().copied().filter(|&giant| giant > 0).rev();
        let mut sums = self.horner((map, masks), &babies, left, map.giant_steps[0])?;
        let right = map.giants.keys().copied().filter(|&giant| giant < 0);
        self.join(&mut sums, self.horner((map, masks), &babies, right, map.giant_steps[1])?)?;
        if let Some(masks) = masks.get(&0) {
            self.join(&mut sums, self.inner_products(map, masks, &babies)?)?;
        }
        babies.into_iter().for_each(|own| self.ring.release(own));
        self.ring.rescale_by(sums, map.primes)
    }

    /// `rotate(... rotate(rotate(sum of the first giant) + sum of the next) ...)`, nothing without giants.
    fn horner(
        &self,
        (map, masks): (&Map, &LoadedMasks<B>),
        babies: &[Vec<B::Ciphertext>],
        giants: impl Iterator<Item = isize>,
        steps: usize,
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (mut sums, mut before) = (Vec::new(), 0);
        for giant in giants {
            // Giants that have no diagonals are steps all the same.
            for _ in giant.unsigned_abs()..before {
                sums = self.rotate(sums, &self.keys.rotations[&steps])?;
            }
            self.join(&mut sums, self.inner_products(map, &masks[&giant], babies)?)?;
            before = giant.unsigned_abs();
        }
        for _ in 0..before {
            sums = self.rotate(sums, &self.keys.rotations[&steps])?;
        }
        Ok(sums)
    }

    /// `sums += terms`, either of which may be nothing.
    fn join(&self, sums: &mut Vec<B::Ciphertext>, terms: Vec<B::Ciphertext>) -> Result<(), CkksError> {
        if sums.is_empty() {
            *sums = terms;
        } else if !terms.is_empty() {
            self.ring.add_assign(sums, &refs(&terms))?;
            self.ring.release(terms);
        }
        Ok(())
    }

    /// The sum of the baby steps times their masks, for each ciphertext.
    fn inner_products(
        &self,
        map: &Map,
        masks: &[(usize, B::Coefficients)],
        babies: &[Vec<B::Ciphertext>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let coefficients: Vec<_> = masks.iter().map(|(_, mask)| mask).collect();
        let plaintexts = self.ring.plaintexts(&coefficients, map.input.limbs)?;
        let terms = masks.iter().zip(&plaintexts).map(|((baby, _), mask)| (*baby, mask));
        let terms: Vec<(usize, &B::Plaintext)> = terms.collect();
        let mut sums = Vec::with_capacity(babies.len());
        for own in babies {
            sums.extend(self.ring.inner_products(own, std::slice::from_ref(&terms))?);
        }
        self.ring.release_plaintexts(plaintexts);
        Ok(sums)
    }

    /// The sine of twice `t / RANGE` without the shift.
    fn sine(&self, mut argument: Vec<B::Ciphertext>) -> Result<Vec<B::Ciphertext>, CkksError> {
        let (ring, sine) = (self.ring, &self.prepared.program.sine);
        let shift = vec![Constant::Number(&self.prepared.shift); argument.len()];
        ring.add_constants(&mut argument, &shift)?;
        let mut values = vec![argument];
        for (at, (step, numbers)) in sine.steps.iter().zip(&self.prepared.steps).enumerate() {
            // No step reads more limbs than the one before it.
            for own in &mut values {
                if own.first().is_some_and(|value| ring.state(value).limbs > step.sum.limbs) {
                    *own = ring.drop_to(std::mem::take(own), step.sum.limbs)?;
                }
            }
            let value = self.step(step, numbers, &values)?;
            values.push(value);
            for (value, own) in values.iter_mut().enumerate() {
                if sine.last_use(value) == at {
                    ring.release(std::mem::take(own));
                }
            }
        }
        Ok(values.pop().unwrap_or_default())
    }

    fn step(
        &self,
        step: &Step,
        numbers: &StepNumbers,
        values: &[Vec<B::Ciphertext>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let ring = self.ring;
        let mut sums = self.sum_of_products(&step.products, values)?;
        for (&(value, _), number) in step.terms.iter().zip(&numbers.terms) {
            let (terms, factors) = (refs(&values[value]), vec![Constant::Number(number); values[value].len()]);
            if sums.is_empty() {
                sums = ring.products(&terms, &factors)?;
            } else {
                ring.add_products(&mut sums, &terms, &factors)?;
            }
        }
        let primes = step.sum.limbs - step.value.limbs;
        let mut value = ring.rescale_by(sums, primes)?;
        let constants = vec![Constant::Number(&numbers.constant); value.len()];
        ring.add_constants(&mut value, &constants)?;
        Ok(value)
    }

    /// Sums of products of values, relinearised once for each ciphertext; nothing without products.
    fn sum_of_products(
        &self,
        products: &[(usize, usize)],
        values: &[Vec<B::Ciphertext>],
    ) -> Result<Vec<B::Ciphertext>, CkksError> {
        let ring = self.ring;
        let pairs = |&(a, b): &(usize, usize)| -> Vec<_> { values[a].iter().zip(&values[b]).collect() };
        match products {
            [] => Ok(Vec::new()),
            [one] => ring.multiply(&pairs(one), self.keys.relinearise),
            _ => {
                let open: Result<Vec<Vec<Product<_>>>, _> =
                    products.iter().map(|own| ring.tensor(&pairs(own))).collect();
                let open = open?;
                let group = |at: usize| open.iter().map(|own| &own[at]).collect();
                let sums = ring.sums_of_products(&(0..open[0].len()).map(group).collect::<Vec<_>>())?;
                open.into_iter().flatten().for_each(|own| ring.release(vec![own.low, own.high]));
                ring.relinearise(sums, self.keys.relinearise)
            }
        }
    }
}

/// Takes the masks of maps to the device.
fn load_masks<B: RnsOps>(ring: &B, maps: &mut [Map]) -> Result<Vec<LoadedMasks<B>>, CkksError> {
    let load = |scale: f64, mask: &mut Mask| {
        let coefficients = ring.host().coefficients(&std::mem::take(&mut mask.coefficients), scale);
        Ok((mask.baby, ring.load_coefficients(coefficients)?))
    };
    let of_map = |map: &mut Map| {
        let of_giant = |(&giant, masks): (&isize, &mut Vec<Mask>)| {
            Ok((giant, masks.iter_mut().map(|mask| load(map.mask_scale, mask)).collect::<Result<_, CkksError>>()?))
        };
        map.giants.iter_mut().map(of_giant).collect()
    };
    maps.iter_mut().map(of_map).collect()
}

/// Whether there is a key of enough limbs for everything that is asked for.
fn check_keys(request: &BootstrapKeyRequest, keys: &SeededBootstrapKey) -> Result<(), CkksError> {
    let check = |what: &str, key: Option<&SeededSwitchKey>, limbs: usize| {
        let own = key.map_or(0, |key| key.limbs as usize);
        if own >= limbs {
            return Ok(());
        }
        Err(CkksError::Plan(format!("the key {what} is for {own} limbs, and the bootstrap needs {limbs}")))
    };
    check("that relinearises", Some(&keys.relinearise), request.relinearisation_limbs)?;
    check("that conjugates", Some(&keys.conjugate), request.conjugation_limbs)?;
    check("to the sparse secret", Some(&keys.to_sparse), request.to_sparse_limbs)?;
    check("from the sparse secret", Some(&keys.from_sparse), request.from_sparse_limbs)?;
    for (steps, &limbs) in &request.rotation_limbs {
        check(&format!("that rotates by {steps}"), keys.rotations.get(steps), limbs)?;
    }
    Ok(())
}
