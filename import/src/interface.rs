//! The inputs and outputs of a graph: their names, the shapes that are free in the file, and ZipMap.

use std::collections::HashMap;

use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_hir::infer::Factoid;

use crate::error::ImportError;
use heman_core::model::network::TensorInfo;

/// Most elements of all inputs together.
const MAX_INPUT_LEN: usize = 1 << 22;
/// Float tensors in ONNX's enumeration of types.
const FLOAT: i32 = 1;

/// Name and shape of an array of sample inputs, as it stands in its file: with or without a batch axis.
pub type Hint = (String, Vec<usize>);

/// An output's name, and those of its columns where a ZipMap gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputName {
    pub name: String,
    pub columns: Vec<String>,
}

/// Inputs and outputs in the order of the graph.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub inputs: Vec<TensorInfo>,
    pub outputs: Vec<OutputName>,
}

/// Takes what only names things off the graph: a ZipMap becomes the names of its output's columns, a Binarizer the
/// comparison that it is. Returns the outputs' names.
pub(crate) fn read_outputs(graph: &mut pb::GraphProto) -> Vec<OutputName> {
    let mut columns: HashMap<String, Vec<String>> = HashMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        match node.op_type.as_str() {
            "ZipMap" => {
                if let Some(output) = node.output.first() {
                    columns.insert(output.clone(), zip_map_columns(&node));
                }
                node.op_type = "Identity".into();
                node.domain = String::new();
                node.attribute.clear();
                nodes.push(node);
            }
            "Binarizer" => nodes.extend(binarizer(node, &mut graph.initializer)),
            _ => nodes.push(node),
        }
    }
    graph.node = nodes;
    let named = |output: &pb::ValueInfoProto| OutputName {
        name: output.name.clone(),
        columns: columns.remove(&output.name).unwrap_or_default(),
    };
    graph.output.iter().map(named).collect()
}

fn zip_map_columns(node: &pb::NodeProto) -> Vec<String> {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    if let Some(names) = attribute("classlabels_strings").filter(|names| !names.strings.is_empty()) {
        return names.strings.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    }
    attribute("classlabels_int64s").map_or_else(Vec::new, |names| names.ints.iter().map(i64::to_string).collect())
}

/// `x > threshold` as a float.
fn binarizer(node: pb::NodeProto, initializers: &mut Vec<pb::TensorProto>) -> Vec<pb::NodeProto> {
    let (Some(input), Some(output)) = (node.input.first().cloned(), node.output.first().cloned()) else {
        return vec![node];
    };
    let threshold = node.attribute.iter().find(|a| a.name == "threshold").map_or(0.0, |a| a.f);
    let (constant, above) = (format!("{output}__threshold"), format!("{output}__above"));
    initializers.push(pb::TensorProto {
        name: constant.clone(),
        data_type: FLOAT,
        float_data: vec![threshold],
        ..pb::TensorProto::default()
    });
    let to = pb::AttributeProto {
        name: "to".into(),
        i: i64::from(FLOAT),
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        ..pb::AttributeProto::default()
    };
    let make = |op_type: &str, input: Vec<String>, output: String, attribute: Vec<pb::AttributeProto>| pb::NodeProto {
        name: format!("{output}__{op_type}"),
        op_type: op_type.into(),
        input,
        output: vec![output],
        attribute,
        ..pb::NodeProto::default()
    };
    vec![make("Greater", vec![input, constant], above.clone(), Vec::new()), make("Cast", vec![above], output, vec![to])]
}

/// The shapes of the inputs; free axes as the samples have them, a free batch axis 1.
pub(crate) fn input_shapes(facts: &[(String, InferenceFact)], hints: &[Hint]) -> Result<Vec<TensorInfo>, ImportError> {
    let mut inputs = Vec::with_capacity(facts.len());
    for (name, fact) in facts {
        let hint = match facts {
            [_] => hints.first(),
            _ => hints.iter().find(|(own, _)| own == name),
        };
        let shape = input_shape(fact, hint.map(|(_, shape)| shape.as_slice()))?;
        inputs.push(TensorInfo { name: name.clone(), shape });
    }
    let count = inputs.iter().try_fold(0_usize, |sum, input| sum.checked_add(input.len()));
    if count.is_none_or(|count| count > MAX_INPUT_LEN) {
        return Err(ImportError::Interface("its inputs together are too large".into()));
    }
    Ok(inputs)
}

/// The input's shape: a free leading axis is 1, other free axes are as long as the sample's. Where samples come one by
/// one, but the file fixes a batch, the batch axis is 1.
fn input_shape(fact: &InferenceFact, sample: Option<&[usize]>) -> Result<Vec<usize>, ImportError> {
    let free = || {
        ImportError::Interface(
            "its input has free axes besides the batch; export it with fixed sizes, or give samples of the size that \
             it is to be used with"
                .into(),
        )
    };
    let dims: Vec<Option<usize>> = match (fact.shape.rank().concretize(), sample) {
        (Some(_), _) => fact.shape.dims().map(|dim| dim.concretize().and_then(|d| d.to_usize().ok())).collect(),
        (None, Some([_, rest @ ..])) if !rest.is_empty() => {
            std::iter::once(None).chain(rest.iter().map(|&d| Some(d))).collect()
        }
        (None, _) => return Err(free()),
    };
    // Exporters write 0 for a free batch.
    let dims: Vec<Option<usize>> = dims.into_iter().map(|dim| dim.filter(|&d| d > 0)).collect();
    let of_sample = |axis: usize| {
        let sample = sample?;
        let place = match sample.len() + 1 {
            rank if rank == dims.len() => axis.checked_sub(1)?,
            rank if rank == dims.len() + 1 => axis,
            rank if rank == dims.len() + 2 => axis + 1,
            _ => return None,
        };
        sample.get(place).copied()
    };
    let mut shape = Vec::with_capacity(dims.len());
    for (axis, dim) in dims.iter().enumerate() {
        match (*dim, of_sample(axis)) {
            (Some(length), _) => shape.push(length),
            (None, _) if axis == 0 => shape.push(1),
            (None, Some(length)) => shape.push(length),
            (None, None) => return Err(free()),
        }
    }
    if let (Some([batch, rest @ ..]), Some((first, own))) = (sample, shape.split_first())
        && rest == own
        && *first > 1
        && batch != first
    {
        shape[0] = 1;
    }
    if !shape
        .iter()
        .try_fold(1_usize, |product, &d| product.checked_mul(d))
        .is_some_and(|count| (1..=MAX_INPUT_LEN).contains(&count))
    {
        return Err(ImportError::Interface(format!("its input shape {shape:?} is empty or too large")));
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[Option<usize>], sample: Option<&[usize]>) -> Option<Vec<usize>> {
        let mut fact = InferenceFact::default();
        let symbols = SymbolScope::default();
        let dims = dims.iter().map(|dim| dim.map_or_else(|| symbols.new_with_prefix("n").to_dim(), |d| d.to_dim()));
        fact.shape = dims.collect();
        input_shape(&fact, sample).ok()
    }

    #[test]
    fn free_axes_are_as_long_as_the_samples() {
        let free = [None, None, None, Some(1)];
        assert_eq!(shape(&free, None), None);
        assert_eq!(shape(&free, Some(&[200, 8, 6, 1])), Some(vec![1, 8, 6, 1]));
        assert_eq!(shape(&free, Some(&[8, 6, 1])), Some(vec![1, 8, 6, 1]));
        assert_eq!(shape(&free, Some(&[8])), None);
        assert_eq!(shape(&[None, Some(64)], None), Some(vec![1, 64]));
    }

    #[test]
    fn a_fixed_batch_is_one_input_where_the_samples_are() {
        let four = [Some(4), Some(64)];
        assert_eq!(shape(&four, None), Some(vec![4, 64]));
        assert_eq!(shape(&four, Some(&[50, 4, 64])), Some(vec![4, 64]));
        assert_eq!(shape(&four, Some(&[200, 64])), Some(vec![1, 64]));
        assert_eq!(shape(&four, Some(&[4, 64])), Some(vec![4, 64]), "one sample of the file's own shape");
        assert_eq!(shape(&[Some(0), Some(3)], None), Some(vec![1, 3]), "0 is how scikit-learn's exporter says free");
    }
}
