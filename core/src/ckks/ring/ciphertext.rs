//! Ciphertexts as words.

/// An encryption of a number a slot times `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertext {
    /// Body and mask: body + mask s is the message. `u32[limb][N]`, values in Montgomery form.
    pub parts: [Vec<u32>; 2],
    /// What the numbers are multiplied by.
    pub scale: f64,
}
