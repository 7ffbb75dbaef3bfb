//! Kinds of files.

use heman_core::files::container;
use heman_core::files::scheme::Scheme;

/// A kind of file, for one scheme where the schemes have their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `params.json`.
    Params(Scheme),
    /// The plan.
    Plan(Scheme),
    /// The secret key.
    Key(Scheme),
    /// The evaluation key.
    EvaluationKey(Scheme),
    /// Encrypted inputs.
    Input(Scheme),
    /// Encrypted outputs.
    Output(Scheme),
    /// The device profile.
    Devices,
    /// A model.
    Onnx,
    /// Plaintext arrays, alone or in an archive.
    Arrays,
}

/// All kinds whose parsers are ours.
pub const OWN: [Kind; 14] = [
    Kind::Params(Scheme::Tfhe),
    Kind::Params(Scheme::Ckks),
    Kind::Plan(Scheme::Tfhe),
    Kind::Plan(Scheme::Ckks),
    Kind::Key(Scheme::Tfhe),
    Kind::Key(Scheme::Ckks),
    Kind::EvaluationKey(Scheme::Tfhe),
    Kind::EvaluationKey(Scheme::Ckks),
    Kind::Input(Scheme::Tfhe),
    Kind::Input(Scheme::Ckks),
    Kind::Output(Scheme::Tfhe),
    Kind::Output(Scheme::Ckks),
    Kind::Devices,
    Kind::Arrays,
];

impl Kind {
    /// A name for files and reports.
    #[must_use]
    pub fn name(self) -> String {
        let of = |name: &str, scheme: Scheme| format!("{name}_{}", scheme.describe().to_lowercase());
        match self {
            Self::Params(scheme) => of("params", scheme),
            Self::Plan(scheme) => of("plan", scheme),
            Self::Key(scheme) => of("key", scheme),
            Self::EvaluationKey(scheme) => of("evaluation_key", scheme),
            Self::Input(scheme) => of("input", scheme),
            Self::Output(scheme) => of("output", scheme),
            Self::Devices => "devices".into(),
            Self::Onnx => "onnx".into(),
            Self::Arrays => "arrays".into(),
        }
    }

    /// The kind in a file's header; none for texts and for others' formats.
    #[must_use]
    pub fn sealed(self) -> Option<(container::Kind, Scheme)> {
        match self {
            Self::Plan(scheme) => Some((container::Kind::Plan, scheme)),
            Self::Key(scheme) => Some((container::Kind::SecretKey, scheme)),
            Self::EvaluationKey(scheme) => Some((container::Kind::EvaluationKey, scheme)),
            Self::Input(scheme) => Some((container::Kind::Input, scheme)),
            Self::Output(scheme) => Some((container::Kind::Output, scheme)),
            Self::Params(_) | Self::Devices | Self::Onnx | Self::Arrays => None,
        }
    }
}
