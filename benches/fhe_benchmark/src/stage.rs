//! What the harness asks for, by the name of a program.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::StageError;

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Makes the plans of all sizes; `scripts/build_task.sh` asks for it, not the harness.
    PlanSizes,
    /// The client's keys.
    ClientKeyGeneration,
    /// What the server does before it knows an input.
    ServerPreprocessModel,
    /// From pixels to the network's inputs.
    ClientPreprocessInput,
    /// Encryption.
    ClientEncodeEncryptInput,
    /// The evaluation.
    ServerEncryptedCompute,
    /// Decryption.
    ClientDecryptDecode,
    /// From outputs to labels.
    ClientPostprocess,
}

impl Stage {
    /// All stages with the names that they are started by.
    pub const ALL: [(&'static str, Self); 8] = [
        ("plan_sizes", Self::PlanSizes),
        ("client_key_generation", Self::ClientKeyGeneration),
        ("server_preprocess_model", Self::ServerPreprocessModel),
        ("client_preprocess_input", Self::ClientPreprocessInput),
        ("client_encode_encrypt_input", Self::ClientEncodeEncryptInput),
        ("server_encrypted_compute", Self::ServerEncryptedCompute),
        ("client_decrypt_decode", Self::ClientDecryptDecode),
        ("client_postprocess", Self::ClientPostprocess),
    ];

    /// The stage of the link that the program was started by.
    ///
    /// # Errors
    /// [`StageError::Name`] for any other name.
    pub fn of_link(started_as: &OsStr) -> Result<Self, StageError> {
        let name = Path::new(started_as).file_name().unwrap_or_default();
        let found = Self::ALL.iter().find(|(own, _)| OsStr::new(own) == name);
        found.map(|&(_, stage)| stage).ok_or_else(|| StageError::Name(name.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_known_by_their_last_part() {
        let stage = |path: &str| Stage::of_link(OsStr::new(path)).ok();
        assert_eq!(stage("/a/build/server_encrypted_compute"), Some(Stage::ServerEncryptedCompute));
        assert_eq!(stage("plan_sizes"), Some(Stage::PlanSizes));
        assert_eq!(stage("/a/build/fhe_benchmark"), None);
    }
}
