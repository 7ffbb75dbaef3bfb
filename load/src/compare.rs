//! Two measurements of the same thing.

use crate::figure::Figure;

/// What a second measurement says beside a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is larger by more than the spread of both.
    Larger,
    /// It is smaller by more than the spread of both.
    Smaller,
    /// They differ by no more than their spread.
    Same,
    /// At least one of them tells no spread, so that the difference may be chance.
    Unknown,
}

/// Compares by the intervals: figures differ where these have nothing in common.
#[must_use]
pub fn verdict(first: &Figure, second: &Figure) -> Verdict {
    if first.value == second.value {
        return Verdict::Same;
    }
    match (first.interval, second.interval) {
        (Some((low, high)), Some((other_low, other_high))) if other_low > high || other_high < low => {
            if other_low > high { Verdict::Larger } else { Verdict::Smaller }
        }
        (Some(_), Some(_)) => Verdict::Same,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, away: f64) -> Figure {
        Figure { value, interval: Some((value - away, value + away)) }
    }

    #[test]
    fn figures_differ_where_their_intervals_have_nothing_in_common() {
        let first = figure(10.0, 1.0);
        for (second, want) in [
            (figure(12.5, 1.0), Verdict::Larger),
            (figure(7.5, 1.0), Verdict::Smaller),
            (figure(11.5, 1.0), Verdict::Same),
            (figure(12.5, 5.0), Verdict::Same),
            (Figure::single(20.0), Verdict::Unknown),
            (Figure::single(10.0), Verdict::Same),
        ] {
            assert_eq!(verdict(&first, &second), want, "{second:?}");
        }
    }
}
