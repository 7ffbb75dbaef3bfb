//! The highest rate at which a server keeps to its bound.

/// Trials of the bisection.
const TRIALS: usize = 6;
/// What a rate is lowered by where the long run does not hold it, as a factor.
const STEP: f64 = 0.95;
/// Long runs at the most.
const LONG_RUNS: usize = 12;

/// How long a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Long enough to steer the search.
    Short,
    /// What the result is read off.
    Long,
}

/// Finds a rate from `least` to `most` by bisection with short trials, then lowers it a little at a time until a long
/// one holds; returns it with what the long trial gave. None where no rate holds.
///
/// `trial` tells whether a rate holds, and what came of it. Source of the procedure: MLCommons, `inference_rules.adoc`,
/// section "Load Generator", on Server.
///
/// # Errors
/// The trial's.
pub fn highest<T, E>(
    (least, most): (f64, f64),
    mut trial: impl FnMut(f64, Trial) -> Result<(bool, T), E>,
) -> Result<Option<(f64, T)>, E> {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..TRIALS {
        let middle = f64::midpoint(low, high);
        if middle < least {
            break;
        }
        if trial(middle, Trial::Short)?.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut rate = if low > 0.0 { low } else { high };
    for _ in 0..LONG_RUNS {
        if rate < least {
            break;
        }
        let (holds, result) = trial(rate, Trial::Long)?;
        if holds {
            return Ok(Some((rate, result)));
        }
        rate *= STEP;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_the_highest_that_holds() {
        let found = highest((0.01, 10.0), |rate, _| Ok::<_, ()>((rate <= 3.7, rate))).expect("never fails");
        let (rate, result) = found.expect("some rate holds");
        assert!(rate <= 3.7 && rate > 3.7 - 10.0 / 64.0 && (rate - result).abs() < 1e-12, "{rate}");
    }

    #[test]
    fn where_the_long_run_is_stricter_the_rate_is_lowered() {
        let holds = |rate: f64, trial| rate <= if trial == Trial::Short { 4.0 } else { 3.0 };
        let found = highest((0.01, 10.0), |rate, trial| Ok::<_, ()>((holds(rate, trial), ()))).expect("never fails");
        let (rate, ()) = found.expect("some rate holds");
        assert!(rate <= 3.0 && rate > 3.0 * STEP, "{rate}");
    }

    #[test]
    fn there_may_be_none() {
        assert_eq!(highest((0.01, 10.0), |_, _| Ok::<_, ()>((false, ()))), Ok(None));
    }

    #[test]
    fn no_rate_below_the_least_is_tried() {
        let mut tried = Vec::new();
        let found = highest((4.0, 10.0), |rate, _| {
            tried.push(rate);
            Ok::<_, ()>((false, ()))
        });
        assert_eq!((found, tried), (Ok(None), vec![5.0, 5.0, 4.75, 4.5125, 4.286875, 4.07253125]));
    }
}
