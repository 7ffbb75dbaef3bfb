//! Calibration inputs in folds, so that what is fitted to some of them is judged on the others.
//!
//! A loss that is measured on the data that a fit has seen is too small. In cross-validation every input is held out
//! once: a model fitted without its fold answers it. The plan itself is fitted to all inputs, which can only be better.
//! Source: Stone, Journal of the Royal Statistical Society B 36, 1974.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::planning::error::PlanError;

/// Folds of many inputs.
const FOLDS: usize = 5;
/// With fewer inputs, each is a fold of its own.
const FEW: usize = 20;

/// Which inputs are held out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// None for those that never are.
    of_input: Vec<Option<usize>>,
    count: usize,
}

impl Folds {
    /// Splits inputs at random, the same way each time. Equal inputs share a fold: a copy of what was fitted is not
    /// new. A single input, or copies of one, cannot be held out: there is no fold then.
    ///
    /// Of inputs whose last `unseen` are new to the model, those are the one fold, but for copies of others.
    #[must_use]
    pub fn new(inputs: &[Vec<f64>], unseen: usize) -> Self {
        let mut number: HashMap<u64, usize> = HashMap::new();
        let distinct: Vec<usize> = inputs
            .iter()
            .map(|input| {
                let mut hasher = DefaultHasher::new();
                input.iter().for_each(|x| x.to_bits().hash(&mut hasher));
                let next = number.len();
                *number.entry(hasher.finish()).or_insert(next)
            })
            .collect();
        if unseen > 0 {
            let seen: HashSet<usize> = distinct[..inputs.len().saturating_sub(unseen)].iter().copied().collect();
            let of_input: Vec<Option<usize>> = distinct.iter().map(|at| (!seen.contains(at)).then_some(0)).collect();
            let count = usize::from(!seen.is_empty() && of_input.iter().any(Option::is_some));
            return Self { of_input, count };
        }
        let count = match number.len() {
            0 | 1 => 0,
            few if few < FEW => few,
            _ => FOLDS,
        };
        // A permutation by the order of mixed numbers: calibration data often come sorted by class.
        let mut order: Vec<usize> = (0..number.len()).collect();
        order.sort_by_key(|&at| (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(position, &at)| place[at] = position);
        Self { of_input: distinct.into_iter().map(|at| Some(place[at] % count.max(1))).collect(), count }
    }

    /// Checks that so many inputs could prove a loss with 95 % confidence, if not one of them changed.
    ///
    /// # Errors
    /// [`PlanError::Confidence`] with the number that could.
    pub fn check_confidence(&self, max_loss: f64) -> Result<(), PlanError> {
        let inputs = self.judging().len();
        let needed = (0.05_f64.ln() / (-max_loss).ln_1p()).ceil() as usize;
        if inputs < needed { Err(PlanError::Confidence { inputs, max_loss, needed }) } else { Ok(()) }
    }

    /// Number of folds; 0 if nothing can be held out.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The folds by their numbers: one, of all inputs, where nothing can be held out.
    #[must_use]
    pub fn numbers(&self) -> Range<usize> {
        0..self.count.max(1)
    }

    /// The fold of an input; none if it is never held out.
    #[must_use]
    pub fn of(&self, input: usize) -> Option<usize> {
        self.of_input[input]
    }

    /// The inputs that judge: those of all folds.
    #[must_use]
    pub fn judging(&self) -> Vec<usize> {
        (0..self.of_input.len()).filter(|&input| self.of_input[input].is_some()).collect()
    }

    /// The inputs that are never held out.
    #[must_use]
    pub fn never_held_out(&self) -> Vec<usize> {
        (0..self.of_input.len()).filter(|&input| self.of_input[input].is_none()).collect()
    }

    /// The inputs that judge what is fitted without the fold.
    #[must_use]
    pub fn held_out(&self, fold: usize) -> Vec<usize> {
        (0..self.of_input.len()).filter(|&input| self.of_input[input] == Some(fold)).collect()
    }

    /// The inputs that a fold's model is fitted to: all where nothing can be held out.
    #[must_use]
    pub fn kept(&self, fold: usize) -> Vec<usize> {
        (0..self.of_input.len()).filter(|&input| self.count == 0 || self.of_input[input] != Some(fold)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(values: impl IntoIterator<Item = u32>) -> Vec<Vec<f64>> {
        values.into_iter().map(|x| vec![f64::from(x)]).collect()
    }

    #[test]
    fn every_input_is_held_out_once_and_folds_are_even() {
        let folds = Folds::new(&inputs(0..203), 0);
        assert_eq!(folds.count(), 5);
        let sizes: Vec<usize> = (0..5).map(|fold| 203 - folds.kept(fold).len()).collect();
        assert!(sizes.iter().all(|&size| size == 40 || size == 41), "{sizes:?}");
        assert!((0..203).all(|input| !folds.kept(folds.of(input).expect("a fold")).contains(&input)));
        // Neighbours do not always share a fold, nor follow each other in turn.
        assert!((1..203).any(|at| folds.of(at) == folds.of(at - 1)));
    }

    #[test]
    fn few_inputs_are_left_out_one_by_one_and_copies_together() {
        assert_eq!(Folds::new(&inputs(0..10), 0).count(), 10);
        let folds = Folds::new(&inputs((0..60).map(|i| i % 30)), 0);
        assert!((0..30).all(|at| folds.of(at) == folds.of(at + 30)));
        let copies = Folds::new(&inputs([3; 50]), 0);
        assert_eq!((copies.count(), copies.numbers()), (0, 0..1));
        assert!(copies.kept(0).len() == 50 && copies.held_out(0).len() == 50);
    }

    #[test]
    fn new_inputs_judge_alone_and_copies_of_others_are_not_new() {
        let folds = Folds::new(&inputs([0, 1, 2, 3, 1, 7, 8, 7]), 4);
        assert_eq!((folds.count(), folds.numbers()), (1, 0..1));
        assert_eq!((folds.judging(), folds.held_out(0)), (vec![5, 6, 7], vec![5, 6, 7]));
        assert_eq!((folds.kept(0), folds.never_held_out()), (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]));
        let none = Folds::new(&inputs([0, 1, 0]), 1);
        assert_eq!((none.count(), none.judging()), (0, vec![]));
    }

    #[test]
    fn confidence_needs_three_inputs_over_the_loss() {
        let enough = |count| Folds::new(&inputs(0..count), 0).check_confidence(0.005).is_ok();
        assert!(!enough(597) && enough(598));
    }
}
