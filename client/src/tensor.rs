//! Decrypted outputs, behind what only the client can compute.

use heman_core::model::client_op::{ClientOps, ElementKind, NamedOutput};
use heman_core::model::client_run::Answer;
use heman_core::model::network::TensorInfo;

/// A decrypted tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Shape, the batch axis first.
    pub shape: Vec<usize>,
    /// Row-major elements.
    pub data: TensorData,
}

/// Elements of a decrypted tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Real numbers.
    Real(Vec<f32>),
    /// Integers: indices from ArgMax, numbers of classes.
    Index(Vec<i64>),
    /// Truth values.
    Boolean(Vec<bool>),
    /// Names of classes.
    Text(Vec<String>),
}

/// An output of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Name in the ONNX graph.
    pub name: String,
    /// Names of the columns, where the model gives them.
    pub columns: Vec<String>,
    /// Its values.
    pub tensor: Tensor,
}

/// The outputs of a batch behind the client's program, with a batch axis if asked for.
///
/// `values` holds the decrypted tensor of each input, `decrypted` says its name and shape; the program must fit it, as
/// reading the parameters checks.
pub(crate) fn outputs(values: &[Vec<f64>], decrypted: &TensorInfo, ops: &ClientOps, batched: bool) -> Vec<Output> {
    let run = |values: &Vec<f64>| ops.run(&decrypted.shape, values).expect("the parameters were checked");
    let answers: Vec<Vec<Answer>> = values.iter().map(run).collect();
    let only = [NamedOutput { name: decrypted.name.clone(), value: 0, kind: ElementKind::Real, columns: Vec::new() }];
    let named = if ops.outputs.is_empty() { &only[..] } else { &ops.outputs[..] };
    let collect = |(at, output): (usize, &NamedOutput)| Output {
        name: output.name.clone(),
        columns: output.columns.clone(),
        tensor: Tensor::collect(answers.iter().map(|answers| &answers[at]), &output.kind, batched),
    };
    named.iter().enumerate().map(collect).collect()
}

impl Tensor {
    /// Puts the results of more inputs behind these; both have a batch axis, and are of one output.
    pub fn append(&mut self, more: Self) {
        if let (Some(count), Some(own)) = (self.shape.first_mut(), more.shape.first()) {
            *count += own;
        }
        match (&mut self.data, more.data) {
            (TensorData::Real(all), TensorData::Real(more)) => all.extend(more),
            (TensorData::Index(all), TensorData::Index(more)) => all.extend(more),
            (TensorData::Boolean(all), TensorData::Boolean(more)) => all.extend(more),
            (TensorData::Text(all), TensorData::Text(more)) => all.extend(more),
            _ => unreachable!("an output has one kind of elements"),
        }
    }

    fn collect<'a>(answers: impl Iterator<Item = &'a Answer> + Clone, kind: &ElementKind, batched: bool) -> Self {
        let mut shape = answers.clone().next().map_or_else(Vec::new, |first| first.shape.clone());
        if batched {
            let count = answers.clone().count();
            match shape.first_mut() {
                Some(first) if *first == 1 => *first = count,
                _ => shape.insert(0, count),
            }
        }
        let values = answers.flat_map(|answer| answer.values.iter().copied());
        let data = match kind {
            ElementKind::Real => TensorData::Real(values.map(|x| x as f32).collect()),
            ElementKind::Integer => TensorData::Index(values.map(|x| x.round() as i64).collect()),
            ElementKind::Boolean => TensorData::Boolean(values.map(|x| x >= 0.5).collect()),
            ElementKind::Label(names) => {
                let name = |x: f64| names.get(x.round().max(0.0) as usize).or(names.last()).cloned();
                TensorData::Text(values.map(|x| name(x).unwrap_or_default()).collect())
            }
        };
        Self { shape, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heman_core::model::client_op::{ClientOp, ClientStep};

    /// The class's name, its number, whether its score is the larger half, and the probabilities.
    fn classifier() -> (TensorInfo, ClientOps) {
        let step = |op, value| ClientStep { op, reads: vec![value] };
        let named = |name: &str, value, kind| NamedOutput { name: name.into(), value, kind, columns: Vec::new() };
        let names = vec!["ant".to_string(), "bee".into(), "wasp".into()];
        let steps = vec![
            step(ClientOp::Softmax { axes: vec![1] }, 0),
            step(ClientOp::ArgMax { axis: 1, least: false, last: false }, 1),
            step(ClientOp::Reshape { shape: vec![1] }, 2),
            step(ClientOp::Lookup { table: vec![10.0, 20.0, 30.0] }, 3),
        ];
        let mut probabilities = named("probabilities", 1, ElementKind::Real);
        probabilities.columns = names.clone();
        let outputs = vec![
            named("label", 3, ElementKind::Label(names)),
            named("number", 4, ElementKind::Integer),
            named("sure", 1, ElementKind::Boolean),
            probabilities,
        ];
        (TensorInfo { name: "scores".into(), shape: vec![1, 3] }, ClientOps { steps, outputs })
    }

    #[test]
    fn each_output_has_its_name_its_kind_and_its_batch_axis() {
        let (decrypted, ops) = classifier();
        let values = [vec![0.0, 5.0, 0.0], vec![3.0, 0.0, 0.0]];
        let [label, number, sure, probabilities]: [Output; 4] =
            outputs(&values, &decrypted, &ops, true).try_into().expect("four outputs");
        let text = |names: &[&str]| TensorData::Text(names.iter().map(|name| (*name).to_string()).collect());
        assert_eq!(label.tensor, Tensor { shape: vec![2], data: text(&["bee", "ant"]) });
        assert_eq!(number.tensor, Tensor { shape: vec![2], data: TensorData::Index(vec![20, 10]) });
        let sides = vec![false, true, false, true, false, false];
        assert_eq!(sure.tensor, Tensor { shape: vec![2, 3], data: TensorData::Boolean(sides) });
        assert_eq!((probabilities.name.as_str(), probabilities.columns[2].as_str()), ("probabilities", "wasp"));
        let TensorData::Real(p) = probabilities.tensor.data else { panic!("real numbers") };
        assert!((f64::from(p[1]) - 5_f64.exp() / (5_f64.exp() + 2.0)).abs() < 1e-6, "{p:?}");
    }

    #[test]
    fn results_in_parts_are_those_of_all() {
        let (decrypted, ops) = classifier();
        let values = [vec![0.0, 5.0, 0.0], vec![3.0, 0.0, 0.0], vec![1.0, 2.0, 9.0]];
        let all = outputs(&values, &decrypted, &ops, true);
        let mut parts = outputs(&values[..2], &decrypted, &ops, true);
        let rest = outputs(&values[2..], &decrypted, &ops, true);
        parts.iter_mut().zip(rest).for_each(|(part, more)| part.tensor.append(more.tensor));
        assert_eq!(parts, all);
    }

    #[test]
    fn a_single_input_has_no_batch_axis_of_its_own() {
        let (decrypted, ops) = classifier();
        let shapes: Vec<Vec<usize>> =
            outputs(&[vec![0.0, 5.0, 0.0]], &decrypted, &ops, false).into_iter().map(|o| o.tensor.shape).collect();
        assert_eq!(shapes, [vec![1], vec![1], vec![1, 3], vec![1, 3]]);
    }

    #[test]
    fn without_a_program_the_decrypted_tensor_is_the_output() {
        let (decrypted, _) = classifier();
        let found = outputs(&[vec![1.0, 2.0, 3.0]], &decrypted, &ClientOps::default(), true);
        let tensor = Tensor { shape: vec![1, 3], data: TensorData::Real(vec![1.0, 2.0, 3.0]) };
        assert_eq!(found, [Output { name: "scores".into(), columns: Vec::new(), tensor }]);
    }
}
