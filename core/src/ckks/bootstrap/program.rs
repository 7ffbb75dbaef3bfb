//! A bootstrap as data: its rotations, masks and numbers, in the order in which a device takes them.

use std::collections::{BTreeMap, BTreeSet};

use crate::ckks::bootstrap::keys::BootstrapKeyRequest;
use crate::ckks::bootstrap::maps::{Diagonals, Direction};
use crate::ckks::bootstrap::recipe::{INPUT_LIMBS, MAPS, MapShape, PRIMES_A_LEVEL, Recipe};
use crate::ckks::bootstrap::sine::{RANGE, Sine};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::ring::encode::{Complex, Encoder};
use crate::ckks::ring::number::State;
use crate::ckks::ring::raise::MOST_RAISED_LIMBS;

/// A factor of a transform as baby steps and giant steps.
///
/// With baby steps b and giant steps g the factor is `sum_g rotate(sum_b m_(g, b) rotate(x, b), g G)`. Sums of the
/// giant steps to the left and to the right of 0 are each made by Horner's rule, with one key.
pub struct Map {
    /// Of what goes in.
    pub input: State,
    /// Scale of the masks.
    pub mask_scale: f64,
    /// Primes that the sums are divided by.
    pub primes: usize,
    /// Rotations of what goes in, in slots to the left; one is 0.
    pub babies: Vec<usize>,
    /// Rotations by one giant step to the left and to the right, in slots to the left.
    pub giant_steps: [usize; 2],
    /// Numbers after which the masks repeat.
    pub period: usize,
    /// Root of the sum of the squares of a row's numbers, on average over the rows.
    pub row: f64,
    /// Sums, by the number of their giant step to the left.
    pub giants: BTreeMap<isize, Vec<Mask>>,
}

/// A plaintext that is not transformed yet.
pub struct Mask {
    /// The baby step that it is multiplied with.
    pub baby: usize,
    /// Coefficients times the scale of the masks: those of a polynomial in a power of X where the numbers repeat.
    pub coefficients: Vec<f64>,
}

impl Map {
    /// Of what comes out.
    #[must_use]
    pub fn output(&self, params: &ParameterSet) -> State {
        let sum = State { scale: self.input.scale * self.mask_scale, limbs: self.input.limbs };
        (0..self.primes).fold(sum, |state, _| state.rescaled(params))
    }

    /// Rotations, and the limbs that their keys are used at.
    fn rotations(&self) -> impl Iterator<Item = (usize, usize)> {
        let (least, most) = (self.giants.keys().min().copied(), self.giants.keys().max().copied());
        let [left, right] = self.giant_steps;
        let giants = [(most.is_some_and(|most| most > 0), left), (least.is_some_and(|least| least < 0), right)];
        let giants = giants.into_iter().filter(|(is_used, _)| *is_used).map(|(_, steps)| steps);
        self.babies.iter().copied().filter(|&steps| steps > 0).chain(giants).map(|steps| (steps, self.input.limbs))
    }

    fn new(
        params: &ParameterSet,
        shape: MapShape,
        diagonals: &Diagonals,
        input: State,
        mask_scale: f64,
        primes: usize,
    ) -> Self {
        let (babies, slots) = (shape.babies as isize, params.slots() as isize);
        // Babies around 0, but from 0 on where offsets go round: then there are giant steps to the left alone.
        let first = if diagonals.is_cyclic() { 0 } else { -(babies / 2) };
        let step = diagonals.step as isize;
        let in_slots = |steps: isize| (steps * step).rem_euclid(slots) as usize;
        let mut places: BTreeMap<isize, BTreeMap<isize, &[Complex]>> = BTreeMap::new();
        for (&offset, mask) in &diagonals.masks {
            let offset = if diagonals.is_cyclic() { offset.rem_euclid(diagonals.cycle as isize) } else { offset };
            let giant = (offset - first).div_euclid(babies);
            places.entry(giant).or_default().insert(offset - giant * babies, mask);
        }
        let used: BTreeSet<isize> = places.values().flat_map(BTreeMap::keys).copied().chain([0]).collect();
        let used: Vec<isize> = used.into_iter().collect();
        let period = diagonals.masks.values().next().map_or(1, Vec::len);
        let encoder = Encoder::new(period.trailing_zeros() + 1);
        let mask = |giant: isize, baby: isize, numbers: &[Complex]| {
            // The giant step is yet to come.
            let back = (giant * babies * step).rem_euclid(period as isize) as usize;
            let turned: Vec<Complex> = (0..period).map(|j| numbers[(j + period - back) % period]).collect();
            let baby = used.iter().position(|&own| own == baby).unwrap_or_default();
            Mask { baby, coefficients: encoder.coefficients(&turned, mask_scale) }
        };
        let giants = places
            .iter()
            .map(|(&giant, masks)| (giant, masks.iter().map(|(&baby, numbers)| mask(giant, baby, numbers)).collect()));
        let squares: f64 = diagonals.masks.values().flatten().map(Complex::norm_sqr).sum();
        Self {
            input,
            mask_scale,
            primes,
            period,
            row: (squares / period as f64).sqrt(),
            babies: used.iter().map(|&baby| in_slots(baby)).collect(),
            giant_steps: [in_slots(babies), in_slots(-babies)],
            giants: giants.collect(),
        }
    }
}

/// A bootstrap of one recipe in one ring.
pub struct Program {
    /// What it was made for.
    pub recipe: Recipe,
    /// What the input is multiplied with before all else, exactly: there is room, and errors of later steps weigh less.
    pub growth: f64,
    /// From slots to coefficients, at the last levels.
    pub to_coefficients: Vec<Map>,
    /// Rotations whose results are added to what was raised, one after the other, so that only what repeats is left.
    pub folds: Vec<usize>,
    /// From coefficients to slots, at the first levels.
    pub to_slots: Vec<Map>,
    /// From the argument to the sine.
    pub sine: Sine,
}

impl Program {
    /// Works out a recipe.
    ///
    /// # Errors
    /// What [`Recipe::check`] finds.
    pub fn new(params: &ParameterSet, recipe: &Recipe) -> Result<Self, String> {
        recipe.check(params)?;
        let log2_slots = recipe.log2_slots;
        let first_depths = [0, recipe.maps[0].depths, recipe.maps[0].depths + recipe.maps[1].depths];
        let raised = State { scale: recipe.raised_scale(params), limbs: params.primes.len() };

        let growth = (raised.scale / recipe.input_scale).log2().floor().exp2();
        let more = (raised.scale / (recipe.input_scale * growth)).powf(1.0 / MAPS as f64);
        let mut state = State { scale: recipe.input_scale * growth, limbs: INPUT_LIMBS };
        let mut to_coefficients = Vec::with_capacity(MAPS);
        for (shape, first) in recipe.maps.into_iter().zip(first_depths) {
            let diagonals = Diagonals::new(Direction::ToCoefficients, log2_slots, first, shape.depths, 1.0);
            let prime = f64::from(params.primes[state.limbs - 1]);
            to_coefficients.push(Map::new(params, shape, &diagonals, state, prime * more, 1));
            state = to_coefficients[to_coefficients.len() - 1].output(params);
        }

        let copies = params.slots() >> log2_slots;
        let folds = (0..copies.trailing_zeros()).map(|at| params.slots() >> (at + 1)).collect();
        let sine = Sine::new(params, recipe, raised.limbs - MAPS * PRIMES_A_LEVEL);
        // The real part is half of a number and its conjugate: both together are the argument.
        let unit = raised.scale / Recipe::low_modulus(params);
        let gain = (unit / (RANGE * copies as f64)).powf(1.0 / MAPS as f64);
        let more = (sine.argument.scale / raised.scale).powf(1.0 / MAPS as f64);
        let mut state = raised;
        let mut to_slots = Vec::with_capacity(MAPS);
        for (shape, first) in recipe.maps.into_iter().zip(first_depths).rev() {
            let diagonals = Diagonals::new(Direction::ToSlots, log2_slots, first, shape.depths, gain);
            let primes = &params.primes[state.limbs - PRIMES_A_LEVEL..state.limbs];
            let product: f64 = primes.iter().map(|&p| f64::from(p)).product();
            to_slots.push(Map::new(params, shape, &diagonals, state, product * more, PRIMES_A_LEVEL));
            state = to_slots[to_slots.len() - 1].output(params);
        }
        Ok(Self { recipe: recipe.clone(), growth, to_coefficients, folds, to_slots, sine })
    }

    /// Keys that the program uses.
    #[must_use]
    pub fn keys(&self, params: &ParameterSet) -> BootstrapKeyRequest {
        let most = params.primes.len();
        let folds = self.folds.iter().map(|&steps| (steps, most));
        let maps = self.to_coefficients.iter().chain(&self.to_slots).flat_map(Map::rotations);
        let mut rotation_limbs = BTreeMap::new();
        for (steps, limbs) in maps.chain(folds) {
            let own = rotation_limbs.entry(steps).or_insert(limbs);
            *own = limbs.max(*own);
        }
        BootstrapKeyRequest {
            relinearisation_limbs: self.sine.argument.limbs,
            conjugation_limbs: self.sine.argument.limbs,
            to_sparse_limbs: MOST_RAISED_LIMBS,
            from_sparse_limbs: most,
            rotation_limbs,
        }
    }

    /// Rotations, and products with masks.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let maps = || self.to_coefficients.iter().chain(&self.to_slots);
        let rotations = |map: &Map| {
            let (least, most) = (map.giants.keys().min(), map.giants.keys().max());
            map.babies.len() - 1 + most.map_or(0, |g| g.unsigned_abs()) + least.map_or(0, |g| g.unsigned_abs())
        };
        let masks = |map: &Map| map.giants.values().map(Vec::len).sum::<usize>();
        (maps().map(rotations).sum::<usize>() + self.folds.len(), maps().map(masks).sum())
    }
}
