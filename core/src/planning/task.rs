//! What the caller says of the output.

/// What the model's output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// By what the output says, see [`OutputKind`](crate::planning::output_kind::OutputKind).
    Auto,
    /// The loss is the share of inputs whose argmax changes.
    Classify,
    /// The loss is the root mean square error over the root mean square of the centred output.
    Regress,
}
