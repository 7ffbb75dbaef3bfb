//! How labels are read: as classes, decisions or numbers, whichever fits the output.

use heman_core::planning::output_kind::OutputKind;
use heman_core::planning::task::Task;

use heman_arrays::Labels;

/// Most values or names that a sentence lists.
const MOST_LISTED: usize = 4;

/// What the outputs should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// Decisions of each input, as [`OutputKind::decisions`] numbers them.
    Decisions(Vec<Vec<usize>>),
    /// Numbers of each input, one an output element.
    Numbers(Vec<Vec<f64>>),
}

impl Truth {
    /// What is known of these inputs.
    pub fn of(&self, inputs: &[usize]) -> Self {
        match self {
            Self::Decisions(values) => Self::Decisions(inputs.iter().map(|&at| values[at].clone()).collect()),
            Self::Numbers(values) => Self::Numbers(inputs.iter().map(|&at| values[at].clone()).collect()),
        }
    }
}

/// Labels that were understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What they say.
    pub truth: Truth,
    /// What the output is for, which labels can tell where the output alone does not.
    pub kind: OutputKind,
    /// How they were read, for people.
    pub said: String,
}

/// The model's outputs that labels are to fit.
pub struct Outputs<'a> {
    /// What they are for, as far as the model tells.
    pub kind: OutputKind,
    /// Their shape.
    pub shape: &'a [usize],
    /// In plaintext, before the client's operators.
    pub plain: &'a [Vec<f64>],
    /// What the user says they are for.
    pub task: Task,
}

/// Reads labels for outputs, or says why they do not fit.
pub fn read(labels: &Labels, outputs: &Outputs<'_>) -> Result<Reading, String> {
    let inputs = outputs.plain.len();
    let elements: usize = outputs.shape.iter().product();
    if inputs == 0 || labels.is_empty() || !labels.len().is_multiple_of(inputs) {
        return Err(format!("{} labels for {inputs} inputs", labels.len()));
    }
    let each = labels.len() / inputs;
    let long = (0..outputs.shape.len()).filter(|&axis| outputs.shape[axis] > 1);
    let axis = long.clone().find(|&axis| elements / outputs.shape[axis] == each).or(long.max());
    match (outputs.kind, axis) {
        (OutputKind::Classes { axis }, _) => classes(labels, outputs, axis, each),
        (OutputKind::Decision { threshold } | OutputKind::Labels { threshold }, _) if each == elements => {
            let (values, said) = two_values(labels)?;
            Ok(decided(values, each, decision(elements, threshold), said))
        }
        (OutputKind::Labels { .. }, Some(axis)) if each == 1 => classes(labels, outputs, axis, each),
        (OutputKind::Decision { .. } | OutputKind::Labels { .. }, _) => Err(misfit(each, elements)),
        (_, Some(axis)) if outputs.task != Task::Regress && each != elements => classes(labels, outputs, axis, each),
        (_, None) if outputs.task != Task::Regress && each == 1 && looks_binary(labels) => {
            let (values, said) = two_values(labels)?;
            let threshold = best_threshold(outputs.plain, &values);
            let said = format!("{said}; the output is taken to decide at {threshold}");
            Ok(decided(values, each, OutputKind::Decision { threshold }, said))
        }
        _ => match labels {
            Labels::Numbers(values) if each == elements => Ok(Reading {
                truth: Truth::Numbers(values.chunks_exact(each).map(<[f64]>::to_vec).collect()),
                kind: outputs.kind,
                said: "numbers that the outputs should be".into(),
            }),
            Labels::Numbers(_) => Err(misfit(each, elements)),
            Labels::Texts(texts) => Err(format!(
                "labels are strings ({}), and the output is {} that nothing is decided by",
                listed(&distinct(texts)),
                if elements == 1 { "a number" } else { "numbers" },
            )),
        },
    }
}

fn misfit(each: usize, elements: usize) -> String {
    format!("{each} label(s) an input do not fit an output of {elements} number(s)")
}

fn decision(elements: usize, threshold: f64) -> OutputKind {
    if elements == 1 { OutputKind::Decision { threshold } } else { OutputKind::Labels { threshold } }
}

fn decided(values: Vec<usize>, each: usize, kind: OutputKind, said: String) -> Reading {
    Reading { truth: Truth::Decisions(values.chunks_exact(each).map(<[usize]>::to_vec).collect()), kind, said }
}

/// One class a position, or as many numbers as the output has, of which one a position is 1.
fn classes(labels: &Labels, outputs: &Outputs<'_>, axis: usize, each: usize) -> Result<Reading, String> {
    let kind = OutputKind::Classes { axis };
    let elements: usize = outputs.shape.iter().product();
    let count = outputs.shape[axis];
    if each == elements / count {
        let (values, said) = class_numbers(labels, count)?;
        return Ok(decided(values, each, kind, said));
    }
    let Labels::Numbers(values) = labels else { return Err(misfit(each, elements)) };
    if each != elements || values.iter().any(|&value| value != 0.0 && value != 1.0) {
        return Err(misfit(each, elements));
    }
    let rows = values.chunks_exact(each);
    if rows.clone().any(|row| row.iter().sum::<f64>() as usize != elements / count) {
        return Err(
            "of the labels of a position, one is 1 and the others are 0, or there is one number of a class".into()
        );
    }
    let truth = Truth::Decisions(rows.map(|row| kind.decisions(row, outputs.shape)).collect());
    Ok(Reading { truth, kind, said: "one number a class, 1 for the right one".into() })
}

/// Labels as numbers of classes from 0.
fn class_numbers(labels: &Labels, count: usize) -> Result<(Vec<usize>, String), String> {
    let values = match as_numbers(labels) {
        Ok(values) => values,
        Err(texts) => {
            let names = distinct(texts);
            if names.len() != count {
                return Err(format!(
                    "labels are {} different strings ({}), and the output has {count} classes: which is which cannot \
                     be told; give numbers of classes",
                    names.len(),
                    listed(&names)
                ));
            }
            let at = |text: &String| names.binary_search(text).unwrap_or_default();
            return Ok((texts.iter().map(at).collect(), "strings, whose classes are in alphabetical order".into()));
        }
    };
    if let Some(value) = values.iter().find(|value| value.fract() != 0.0) {
        return Err(format!("label {value} is no whole number, and the output has {count} classes"));
    }
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    let from = |first: f64| values.iter().map(|value| (value - first) as usize).collect();
    let most = count as f64;
    if low >= 0.0 && high < most {
        return Ok((from(0.0), "numbers of classes from 0".into()));
    }
    if low >= 1.0 && high == most {
        return Ok((from(1.0), "numbers of classes from 1".into()));
    }
    if count == 2 && values.iter().all(|value| value.abs() == 1.0) {
        return Ok((values.iter().map(|&value| usize::from(value > 0.0)).collect(), "-1 and 1".into()));
    }
    Err(format!("labels run from {low} to {high}, and the output has {count} classes, counted from 0 or from 1"))
}

/// Labels of which there are two values.
fn two_values(labels: &Labels) -> Result<(Vec<usize>, String), String> {
    let values = match as_numbers(labels) {
        Ok(values) => values,
        Err(texts) => {
            let names = distinct(texts);
            let [first, second] = names.as_slice() else {
                return Err(format!(
                    "labels are {} different strings ({}), and the output decides between two",
                    names.len(),
                    listed(&names)
                ));
            };
            let said = format!("strings, {first:?} for below and {second:?} for above the threshold");
            return Ok((texts.iter().map(|text| usize::from(text == second)).collect(), said));
        }
    };
    let only = |low: f64, high: f64| values.iter().all(|&value| value == low || value == high);
    let above = |low: f64| values.iter().map(|&value| usize::from(value > low)).collect();
    for (low, high) in [(0.0, 1.0), (-1.0, 1.0), (1.0, 2.0)] {
        if only(low, high) {
            return Ok((above(low), format!("{low} and {high}")));
        }
    }
    let mut found: Vec<String> = Vec::new();
    for value in &values {
        let text = value.to_string();
        if !found.contains(&text) && found.len() <= MOST_LISTED {
            found.push(text);
        }
    }
    Err(format!("labels are {}, and the output decides between two: 0 and 1, -1 and 1, or 1 and 2", listed(&found)))
}

/// Whether labels of an output of one number are decisions: two strings, or 0 and 1, or -1 and 1, both of which occur.
fn looks_binary(labels: &Labels) -> bool {
    match as_numbers(labels) {
        Err(_) => true,
        Ok(values) => {
            let both = |low: f64| values.iter().all(|&v| v == low || v == 1.0) && values.contains(&low);
            values.contains(&1.0) && (both(0.0) || both(-1.0))
        }
    }
}

/// A half or zero, by which more of the labels are right in plaintext.
fn best_threshold(plain: &[Vec<f64>], labels: &[usize]) -> f64 {
    let right =
        |threshold: f64| plain.iter().zip(labels).filter(|(y, label)| usize::from(y[0] > threshold) == **label).count();
    if right(0.5) > right(0.0) { 0.5 } else { 0.0 }
}

/// Numbers, or strings that all are numbers; otherwise the strings.
fn as_numbers(labels: &Labels) -> Result<Vec<f64>, &[String]> {
    match labels {
        Labels::Numbers(values) => Ok(values.clone()),
        Labels::Texts(texts) => {
            let number = |text: &String| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
            texts.iter().map(number).collect::<Option<Vec<f64>>>().ok_or(texts)
        }
    }
}

fn distinct(texts: &[String]) -> Vec<String> {
    let mut names = texts.to_vec();
    names.sort();
    names.dedup();
    names
}

fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_LISTED).map(String::as_str).collect();
    format!("{}{}", shown.join(", "), if names.len() > MOST_LISTED { ", ..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: OutputKind = OutputKind::Classes { axis: 1 };

    fn read_for(kind: OutputKind, shape: &[usize], plain: &[Vec<f64>], labels: &Labels) -> Result<Reading, String> {
        read(labels, &Outputs { kind, shape, plain, task: Task::Auto })
    }

    fn numbers(values: &[f64]) -> Labels {
        Labels::Numbers(values.to_vec())
    }

    fn texts(values: &[&str]) -> Labels {
        Labels::Texts(values.iter().map(ToString::to_string).collect())
    }

    fn class_labels(labels: &Labels) -> Result<(Vec<usize>, String), String> {
        let reading = read_for(CLASSES, &[1, 3], &vec![vec![0.0; 3]; 3], labels)?;
        let Truth::Decisions(values) = reading.truth else { return Err("numbers".into()) };
        Ok((values.concat(), reading.said))
    }

    #[test]
    fn classes_are_counted_from_0_or_from_1_or_named() {
        let from = |n: usize| format!("numbers of classes from {n}");
        assert_eq!(class_labels(&numbers(&[0.0, 2.0, 1.0])), Ok((vec![0, 2, 1], from(0))));
        assert_eq!(class_labels(&numbers(&[1.0, 2.0, 1.0])), Ok((vec![1, 2, 1], from(0))));
        assert_eq!(class_labels(&numbers(&[1.0, 3.0, 2.0])), Ok((vec![0, 2, 1], from(1))));
        assert_eq!(class_labels(&texts(&["2", "0", "1.0"])), Ok((vec![2, 0, 1], from(0))));
        let (values, said) = class_labels(&texts(&["b", "c", "a"])).expect("three names for three classes");
        assert_eq!(values, [1, 2, 0]);
        assert!(said.contains("alphabetical"), "{said}");
    }

    #[test]
    fn labels_that_do_not_fit_the_classes_are_refused() {
        let refused = |labels: &Labels| class_labels(labels).expect_err("labels that do not fit");
        assert_eq!(
            refused(&numbers(&[0.0, 3.0, 1.0])),
            "labels run from 0 to 3, and the output has 3 classes, counted from 0 or from 1"
        );
        assert!(refused(&numbers(&[0.0, 0.5, 1.0])).contains("0.5 is no whole number"));
        assert!(refused(&texts(&["a", "b", "a"])).contains("2 different strings (a, b)"));
        assert_eq!(refused(&numbers(&[0.0; 4])), "4 labels for 3 inputs");
        assert_eq!(refused(&numbers(&[0.0; 6])), "2 label(s) an input do not fit an output of 3 number(s)");
    }

    #[test]
    fn one_of_the_numbers_of_a_class_may_be_1() {
        let plain = vec![vec![0.0; 3]; 2];
        let labels = numbers(&[0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let reading = read_for(CLASSES, &[1, 3], &plain, &labels).expect("one-hot labels");
        assert_eq!(reading.truth, Truth::Decisions(vec![vec![1], vec![2]]));
    }

    #[test]
    fn each_position_has_its_label() {
        let labels = numbers(&[0.0, 1.0, 1.0, 0.0]);
        let reading = read_for(CLASSES, &[1, 2, 4], &[vec![0.0; 8]], &labels).expect("a label a position");
        assert_eq!(reading.truth, Truth::Decisions(vec![vec![0, 1, 1, 0]]));
    }

    #[test]
    fn two_values_may_be_written_in_many_ways() {
        let kind = OutputKind::Decision { threshold: 0.0 };
        let (plain, want) = (vec![vec![0.0]; 2], Truth::Decisions(vec![vec![1], vec![0]]));
        for labels in [
            numbers(&[1.0, 0.0]),
            numbers(&[1.0, -1.0]),
            numbers(&[2.0, 1.0]),
            texts(&["malignant", "benign"]),
            texts(&["1", "0"]),
        ] {
            assert_eq!(read_for(kind, &[1, 1], &plain, &labels).expect("two values").truth, want, "{labels:?}");
        }
        let refused = read_for(kind, &[1, 1], &plain, &numbers(&[3.0, 7.5])).expect_err("other numbers");
        assert_eq!(refused, "labels are 3, 7.5, and the output decides between two: 0 and 1, -1 and 1, or 1 and 2");
    }

    #[test]
    fn labels_tell_that_one_number_decides_and_where() {
        let plain = [vec![0.2], vec![0.8], vec![0.3], vec![0.9]];
        let reading = read_for(OutputKind::Targets, &[1, 1], &plain, &numbers(&[0.0, 1.0, 0.0, 1.0])).expect("labels");
        assert_eq!(reading.kind, OutputKind::Decision { threshold: 0.5 });
        let logits = [vec![-0.2], vec![0.4], vec![-0.3], vec![0.3]];
        let reading = read_for(OutputKind::Targets, &[1, 1], &logits, &numbers(&[0.0, 1.0, 0.0, 1.0])).expect("labels");
        assert_eq!(reading.kind, OutputKind::Decision { threshold: 0.0 });
    }

    #[test]
    fn numbers_are_what_targets_should_be() {
        let plain = [vec![0.0, 1.0], vec![2.0, 3.0]];
        let labels = numbers(&[0.5, 1.5, 2.5, 3.5]);
        let reading = read_for(OutputKind::Targets, &[1, 2], &plain, &labels).expect("a number a target");
        assert_eq!(reading.truth, Truth::Numbers(vec![vec![0.5, 1.5], vec![2.5, 3.5]]));
        let refused = read_for(OutputKind::Targets, &[1, 1], &[vec![0.0], vec![1.0]], &texts(&["a", "b"]));
        assert_eq!(refused.expect("two names are decisions").kind, OutputKind::Decision { threshold: 0.0 });
    }

    #[test]
    fn one_class_an_input_tells_that_several_numbers_are_logits() {
        let plain = vec![vec![0.0; 4]; 2];
        let reading = read_for(OutputKind::Targets, &[1, 4], &plain, &numbers(&[3.0, 0.0])).expect("classes");
        assert_eq!(reading.kind, CLASSES);
    }
}
