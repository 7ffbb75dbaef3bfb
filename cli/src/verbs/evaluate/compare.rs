//! Encrypted outputs beside plaintext ones and beside labels, each kind of output by its own measure.

use heman_core::planning::confidence::interval_95;
use heman_core::planning::measures::{Spread, cosine, has_exploded, most_of, squared_errors};
use heman_core::planning::output_kind::OutputKind;

use super::truth::Truth;

/// A share of decisions, and what it says about other inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Decisions that are the same, or right.
    pub hits: usize,
    /// Decisions taken.
    pub of: usize,
    /// Inputs that they were taken for.
    pub inputs: usize,
}

impl Share {
    fn of<'a>(pairs: impl Iterator<Item = (&'a Vec<usize>, &'a Vec<usize>)>) -> Self {
        let mut share = Self { hits: 0, of: 0, inputs: 0 };
        for (a, b) in pairs {
            share.hits += a.iter().zip(b).filter(|(a, b)| a == b).count();
            share.of += a.len();
            share.inputs += 1;
        }
        share
    }

    /// The share itself.
    pub fn value(&self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// Clopper and Pearson's interval. Decisions of one input depend on one another, so that inputs are counted.
    pub fn interval(&self) -> (f64, f64) {
        interval_95(self.value() * self.inputs as f64, self.inputs as u64)
    }
}

/// Decisions, where the output decides something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decisions {
    /// Encrypted like plaintext.
    pub agreement: Share,
    /// Inputs all of whose decisions are like plaintext.
    pub whole_inputs: usize,
    /// Encrypted and plaintext like the labels.
    pub accuracy: Option<(Share, Share)>,
}

/// One number of an output, or all of them together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Root mean square error against plaintext.
    pub error: f64,
    /// Deviation of the plaintext output over the calibration inputs; its size where it is constant.
    pub deviation: f64,
    /// Whether it is the same for all calibration inputs.
    pub constant: bool,
    /// Share of the plaintext output's variance that is kept; nothing where it does not vary.
    pub r2: Option<f64>,
    /// Encrypted and plaintext: share of the labels' variance that the output tells.
    pub r2_labels: Option<(f64, f64)>,
}

impl Target {
    /// Error over deviation; nothing where that is zero.
    pub fn relative_error(&self) -> Option<f64> {
        (self.deviation > 0.0).then(|| self.error / self.deviation)
    }
}

/// How encrypted outputs compare with plaintext ones and with labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Where something is decided.
    pub decisions: Option<Decisions>,
    /// Each number, where they are targets.
    pub targets: Vec<Target>,
    /// All numbers together.
    pub all: Target,
    /// Error over deviation: the root mean square of those of the targets, or that of all numbers together. Nothing
    /// where the output is zero for all inputs.
    pub relative_error: Option<f64>,
    /// Largest and mean difference of an element.
    pub differences: (f64, f64),
    /// Inputs with a number in the output that is many times as large as any in plaintext, or none.
    pub exploded: usize,
    /// Mean and least cosine of the angle between encrypted and plaintext outputs, where there are several numbers.
    pub cosines: Option<(f64, f64)>,
}

impl Comparison {
    /// What a budget of the planner bounds: the share of changed decisions, or the relative error.
    pub fn loss(&self) -> Option<f64> {
        match &self.decisions {
            Some(decisions) => {
                Some((decisions.agreement.of - decisions.agreement.hits) as f64 / decisions.agreement.of.max(1) as f64)
            }
            None => self.relative_error,
        }
    }
}

/// The outputs of the same inputs in three ways, one vector an input, before the client's operators.
pub struct Outputs<'a> {
    /// What they are for.
    pub kind: OutputKind,
    /// Their shape.
    pub shape: &'a [usize],
    /// Encrypted or simulated.
    pub got: &'a [Vec<f64>],
    /// In plaintext.
    pub plain: &'a [Vec<f64>],
    /// How plaintext outputs vary over the calibration inputs.
    pub spread: &'a Spread,
    /// The largest number that is known of them in plaintext.
    pub largest: f64,
    /// What they should be.
    pub truth: Option<&'a Truth>,
}

/// Compares outputs with the plaintext network's, and with labels.
pub fn compare(outputs: &Outputs<'_>) -> Comparison {
    let (got, plain) = (outputs.got, outputs.plain);
    let squared = squared_errors(got, plain);
    let differences: Vec<f64> =
        got.iter().zip(plain).flat_map(|(g, p)| g.iter().zip(p).map(|(g, p)| (g - p).abs())).collect();
    let width = outputs.spread.variances.len();
    let every: Vec<usize> = (0..width).collect();
    let targets = match outputs.kind {
        OutputKind::Targets | OutputKind::Constant => {
            every.iter().map(|&at| target(outputs, &squared, &[at])).collect()
        }
        _ => Vec::new(),
    };
    let cosines: Vec<f64> = got.iter().zip(plain).filter(|_| width > 1).map(|(g, p)| cosine(g, p)).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Comparison {
        decisions: outputs.kind.decides().then(|| decisions(outputs)),
        targets,
        all: target(outputs, &squared, &every),
        relative_error: outputs.spread.relative_error(&outputs.kind, &squared),
        differences: (differences.iter().copied().fold(0.0, f64::max), mean(&differences)),
        exploded: got.iter().filter(|y| has_exploded(y, most_of(outputs.largest))).count(),
        cosines: (!cosines.is_empty()).then(|| (mean(&cosines), cosines.iter().copied().fold(1.0, f64::min))),
    }
}

fn decisions(outputs: &Outputs<'_>) -> Decisions {
    let of = |values: &[Vec<f64>]| -> Vec<Vec<usize>> {
        values.iter().map(|y| outputs.kind.decisions(y, outputs.shape)).collect()
    };
    let (ours, plain) = (of(outputs.got), of(outputs.plain));
    let accuracy = match outputs.truth {
        Some(Truth::Decisions(right)) => Some((Share::of(ours.iter().zip(right)), Share::of(plain.iter().zip(right)))),
        _ => None,
    };
    Decisions {
        agreement: Share::of(ours.iter().zip(&plain)),
        whole_inputs: ours.iter().zip(&plain).filter(|(a, b)| a == b).count(),
        accuracy,
    }
}

/// The measures of some numbers of the output together.
fn target(outputs: &Outputs<'_>, squared: &[f64], which: &[usize]) -> Target {
    let sum = |values: &[f64]| which.iter().map(|&at| values[at]).sum::<f64>();
    let unexplained = |values: &[Vec<f64>], want: &[Vec<f64>]| {
        let power = Spread::of(want);
        let varies = which.iter().any(|&at| !power.constant[at]);
        varies.then(|| 1.0 - sum(&squared_errors(values, want)) / sum(&power.variances))
    };
    let labels = match outputs.truth {
        Some(Truth::Numbers(labels)) => unexplained(outputs.got, labels).zip(unexplained(outputs.plain, labels)),
        _ => None,
    };
    Target {
        error: (sum(squared) / which.len().max(1) as f64).sqrt(),
        deviation: (sum(&outputs.spread.variances) / which.len().max(1) as f64).sqrt(),
        constant: which.iter().all(|&at| outputs.spread.constant[at]),
        r2: unexplained(outputs.got, outputs.plain),
        r2_labels: labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(kind: OutputKind, got: &[Vec<f64>], plain: &[Vec<f64>], truth: Option<&Truth>) -> Comparison {
        let shape = [1, plain[0].len()];
        compare(&Outputs { kind, shape: &shape, got, plain, spread: &Spread::of(plain), largest: 1.0, truth })
    }

    fn columns(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&value| vec![value]).collect()
    }

    #[test]
    fn one_number_agrees_by_the_side_of_its_threshold() {
        let (plain, got) = (columns(&[0.9, 0.1, 0.6, 0.4]), columns(&[0.8, 0.2, 0.4, 0.3]));
        let truth = Truth::Decisions(vec![vec![1], vec![0], vec![0], vec![1]]);
        let found = compared(OutputKind::Decision { threshold: 0.5 }, &got, &plain, Some(&truth));
        let decisions = found.decisions.expect("a decision");
        assert_eq!(decisions.agreement, Share { hits: 3, of: 4, inputs: 4 });
        let (ours, theirs) = decisions.accuracy.expect("labels");
        assert_eq!((ours.hits, theirs.hits), (3, 2));
        assert_eq!(found.loss(), Some(0.25));
    }

    #[test]
    fn labels_of_one_input_count_one_by_one_and_together() {
        let plain = vec![vec![0.9, 0.1, 0.9], vec![0.1, 0.1, 0.1]];
        let got = vec![vec![0.9, 0.6, 0.2], vec![0.1, 0.1, 0.1]];
        let decisions =
            compared(OutputKind::Labels { threshold: 0.5 }, &got, &plain, None).decisions.expect("decisions");
        assert_eq!((decisions.agreement.hits, decisions.agreement.of, decisions.whole_inputs), (4, 6, 1));
    }

    #[test]
    fn each_target_has_its_own_error_and_r2() {
        let plain = vec![vec![-1.0, 100.0], vec![1.0, 300.0]];
        let got = vec![vec![-0.5, 110.0], vec![1.5, 310.0]];
        let truth = Truth::Numbers(vec![vec![-1.0, 100.0], vec![1.0, 300.0]]);
        let found = compared(OutputKind::Targets, &got, &plain, Some(&truth));
        let errors: Vec<Option<f64>> = found.targets.iter().map(Target::relative_error).collect();
        assert_eq!(errors, [Some(0.5), Some(0.1)]);
        let r2: Vec<Option<f64>> = found.targets.iter().map(|target| target.r2).collect();
        assert_eq!(r2, [Some(0.75), Some(0.99)]);
        assert_eq!(found.targets[0].r2_labels, Some((0.75, 1.0)));
        let loss = found.loss().expect("the outputs vary");
        assert!((loss - 0.13_f64.sqrt()).abs() < 1e-12 && found.decisions.is_none(), "{loss}");
    }

    #[test]
    fn an_output_of_zeros_has_errors_and_no_relative_ones() {
        let found = compared(OutputKind::Constant, &columns(&[0.25, -0.25]), &columns(&[0.0, 0.0]), None);
        assert_eq!((found.loss(), found.differences), (None, (0.25, 0.25)));
        assert_eq!((found.targets[0].error, found.targets[0].r2), (0.25, None));
        assert!(found.targets[0].constant);
    }

    #[test]
    fn the_interval_counts_inputs() {
        let share = Share { hits: 600, of: 600, inputs: 200 };
        let (low, high) = share.interval();
        assert!((low - (1.0 - 0.018_275_340_355)).abs() < 1e-9 && high == 1.0, "{low} {high}");
    }
}
