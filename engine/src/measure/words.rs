//! Keys and rows of uniform words.

use heman_core::device::Device;
use heman_core::device::error::BackendError;
use heman_core::files::container::Fingerprint;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::params::set::ParameterSet;

/// Words that are as good as uniform.
pub(super) fn words(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        // Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A key of uniform words.
pub(super) fn uniform_key(params: ParameterSet) -> SeededEvaluationKey {
    let bootstrap = SeededEvaluationKey::bootstrap_body_words(&params);
    let keyswitch = SeededEvaluationKey::keyswitch_body_words(&params);
    SeededEvaluationKey {
        fingerprint: Fingerprint([0; 16]),
        params,
        bootstrap_seed: [1; 16],
        bootstrap_bodies: words(1).take(bootstrap).collect(),
        keyswitch_seed: [2; 16],
        keyswitch_bodies: words(2).take(keyswitch).map(|word| word as u32).collect(),
    }
}

/// A buffer of uniform words.
pub(super) fn uploaded<D: Device>(device: &D, count: usize) -> Result<D::Buffer, BackendError> {
    let mut buffer = device.allocate(count)?;
    let rows: Vec<u32> = words(3).take(count).map(|word| word as u32).collect();
    device.upload(&rows, &mut buffer, 0)?;
    Ok(buffer)
}
