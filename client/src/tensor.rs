//! Decrypted tensors, and the operators that only the client can apply.

use heman_core::model::client_op::{ClientOp, argmax};

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
    /// Indices from ArgMax.
    Index(Vec<i64>),
}

impl Tensor {
    /// The outputs of a batch behind the client's operators, with a batch axis if asked for.
    pub(crate) fn collect(values: Vec<Vec<f64>>, shape: &[usize], ops: &[ClientOp], batched: bool) -> Self {
        let results: Vec<Tensor> = values.into_iter().map(|values| apply(values, shape, ops)).collect();
        let mut shape = results.first().map_or_else(Vec::new, |first| first.shape.clone());
        if batched {
            match shape.first_mut() {
                Some(first) if *first == 1 => *first = results.len(),
                _ => shape.insert(0, results.len()),
            }
        }
        let mut data = results.into_iter().map(|tensor| tensor.data);
        let Some(mut all) = data.next() else { return Tensor { shape, data: TensorData::Real(Vec::new()) } };
        for more in data {
            match (&mut all, more) {
                (TensorData::Real(all), TensorData::Real(more)) => all.extend(more),
                (TensorData::Index(all), TensorData::Index(more)) => all.extend(more),
                _ => unreachable!("all inputs of a batch pass through the same operators"),
            }
        }
        Tensor { shape, data: all }
    }
}

/// Applies Softmax and ArgMax to one output.
#[must_use]
pub(crate) fn apply(mut values: Vec<f64>, shape: &[usize], ops: &[ClientOp]) -> Tensor {
    let mut shape = shape.to_vec();
    for op in ops {
        match *op {
            ClientOp::Softmax { axis } => softmax(&mut values, &shape, axis),
            ClientOp::ArgMax { axis, keep_dims } => {
                let indices = argmax(&values, &shape, axis).into_iter().map(|i| i as i64).collect();
                if keep_dims {
                    shape[axis] = 1;
                } else {
                    shape.remove(axis);
                }
                return Tensor { shape, data: TensorData::Index(indices) };
            }
        }
    }
    Tensor { shape, data: TensorData::Real(values.into_iter().map(|x| x as f32).collect()) }
}

fn softmax(values: &mut [f64], shape: &[usize], axis: usize) {
    let inner: usize = shape[axis + 1..].iter().product();
    let length = shape[axis];
    for start in (0..values.len()).filter(|i| (i / inner).is_multiple_of(length)) {
        let at = |j: usize| start + j * inner;
        let largest = (0..length).map(|j| values[at(j)]).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..length).map(|j| (values[at(j)] - largest).exp()).sum();
        for j in 0..length {
            values[at(j)] = (values[at(j)] - largest).exp() / sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_then_argmax_along_an_axis() {
        let values = vec![1.0, 4.0, 2.0, 4.0, 1.0, 0.0];
        let both = [ClientOp::Softmax { axis: 1 }, ClientOp::ArgMax { axis: 1, keep_dims: false }];
        let soft = apply(values.clone(), &[1, 3, 2], &both[..1]);
        let TensorData::Real(soft) = soft.data else { panic!("softmax is real") };
        assert!((soft[0] + soft[2] + soft[4] - 1.0).abs() < 1e-6);
        let tensor = apply(values, &[1, 3, 2], &both);
        assert_eq!(tensor, Tensor { shape: vec![1, 2], data: TensorData::Index(vec![1, 0]) });
    }
}
