//! The first word in which two results differ.

use std::fmt;

use heman_core::ckks::ring::ciphertext::Ciphertext;

/// Where two CKKS results differ.
#[derive(Clone, Debug, PartialEq)]
pub enum CkksDifference {
    /// In a word.
    Word {
        /// Which of the step's results.
        ciphertext: usize,
        /// 0 for the body, 1 for the mask.
        part: usize,
        /// Which prime's residues.
        limb: usize,
        /// Which of the limb's N words.
        index: usize,
        /// What both have there.
        words: [u32; 2],
    },
    /// In the number of results.
    Count([usize; 2]),
    /// In the number of words of one result.
    Length {
        /// Which of the step's results.
        ciphertext: usize,
        /// Words of both.
        words: [usize; 2],
    },
    /// In the scale of one result.
    Scale {
        /// Which of the step's results.
        ciphertext: usize,
        /// Scales of both.
        scales: [f64; 2],
    },
}

impl fmt::Display for CkksDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { ciphertext, part, limb, index, words: [left, right] } => {
                let part = ["body", "mask"][*part];
                write!(f, "ciphertext {ciphertext}, {part}, limb {limb}, word {index}: {left} and {right}")
            }
            Self::Count([left, right]) => write!(f, "{left} and {right} ciphertexts"),
            Self::Length { ciphertext, words: [left, right] } => {
                write!(f, "ciphertext {ciphertext}: {left} and {right} words")
            }
            Self::Scale { ciphertext, scales: [left, right] } => {
                write!(f, "ciphertext {ciphertext}: scales {left} and {right}")
            }
        }
    }
}

/// The first difference of two results of a step, if there is one; `degree` is N. A mask that either left out is not
/// compared.
#[must_use]
pub fn of_ciphertexts(left: &[Ciphertext], right: &[Ciphertext], degree: usize) -> Option<CkksDifference> {
    if left.len() != right.len() {
        return Some(CkksDifference::Count([left.len(), right.len()]));
    }
    left.iter().zip(right).enumerate().find_map(|(ciphertext, (left, right))| {
        let parts = left.parts.iter().zip(&right.parts).enumerate();
        let of_part = |(part, (left, right)): (usize, (&Vec<u32>, &Vec<u32>))| {
            if part == 1 && (left.is_empty() || right.is_empty()) {
                return None;
            }
            if left.len() != right.len() {
                return Some(CkksDifference::Length { ciphertext, words: [left.len(), right.len()] });
            }
            let at = first_word(left, right)?;
            let (limb, index) = (at / degree, at % degree);
            Some(CkksDifference::Word { ciphertext, part, limb, index, words: [left[at], right[at]] })
        };
        let same_scale = left.scale.to_bits() == right.scale.to_bits();
        let scales = (!same_scale).then_some([left.scale, right.scale]);
        parts.into_iter().find_map(of_part).or(scales.map(|scales| CkksDifference::Scale { ciphertext, scales }))
    })
}

/// The first place at which two buffers of one length differ.
#[must_use]
pub fn first_word(left: &[u32], right: &[u32]) -> Option<usize> {
    left.iter().zip(right).position(|(left, right)| left != right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let ciphertext = |seed: u32| Ciphertext { parts: [0, 1].map(|part| vec![seed + part; 12]), scale: 2.0 };
        let left = [ciphertext(1), ciphertext(5)];
        assert_eq!(of_ciphertexts(&left, &left, 4), None);
        let mut right = left.clone();
        right[1].parts[1][10] = 9;
        right[1].parts[1][11] = 9;
        let found = of_ciphertexts(&left, &right, 4).expect("a difference");
        assert_eq!(found, CkksDifference::Word { ciphertext: 1, part: 1, limb: 2, index: 2, words: [6, 9] });
        assert_eq!(found.to_string(), "ciphertext 1, mask, limb 2, word 2: 6 and 9");
        let mut right = left.clone();
        right[0].scale = 3.0;
        let scale = CkksDifference::Scale { ciphertext: 0, scales: [2.0, 3.0] };
        assert_eq!(of_ciphertexts(&left, &right, 4), Some(scale));
        right[0].parts[0].pop();
        let length = CkksDifference::Length { ciphertext: 0, words: [12, 11] };
        assert_eq!(of_ciphertexts(&left, &right, 4), Some(length));
        assert_eq!(of_ciphertexts(&left, &right[..1], 4), Some(CkksDifference::Count([2, 1])));
    }
}
