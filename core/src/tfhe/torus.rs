//! Words and turns of the torus.

/// The word nearest to a phase in turns, any integer part dropped.
#[must_use]
pub fn to_word(turns: f64) -> u32 {
    ((turns - turns.floor()) * 4_294_967_296.0).round() as u64 as u32
}

/// The phase of a word in [-1/2, 1/2) turns.
#[must_use]
pub fn to_turns(word: u32) -> f64 {
    f64::from(word.cast_signed()) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_and_turns_are_inverse(word: u32, whole in -1000_i32..1000) {
            prop_assert_eq!(to_word(to_turns(word)), word);
            prop_assert_eq!(to_word(to_turns(word) + f64::from(whole)), word);
        }
    }
}
