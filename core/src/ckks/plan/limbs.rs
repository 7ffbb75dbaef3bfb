//! How many limbs each stage of a network begins with.
//!
//! Without bootstraps the first stage begins at all limbs. Between two bootstraps a stage begins at as few limbs as
//! there are levels to come: limbs that nothing needs cost time.

use crate::ckks::bootstrap::recipe::{INPUT_LIMBS, SPENT_LIMBS};
use crate::ckks::plan::polynomials::{PolynomialNetwork, PolynomialStage};
use crate::ckks::plan::scales::OUTPUT_LIMBS;

impl PolynomialNetwork {
    /// Whether parameters of so many limbs have the levels.
    #[must_use]
    pub fn fits(&self, limbs: usize) -> bool {
        let Some(refresh) = &self.refresh else { return limbs > self.levels() };
        let fresh = limbs.saturating_sub(SPENT_LIMBS);
        let room = |segment: usize| if segment == 0 { limbs } else { fresh };
        segments(&self.stages, &refresh.after).iter().enumerate().all(|(at, &(_, begins))| begins <= room(at))
    }
}

/// Limbs that stages begin at which end in a bootstrap, or in the output.
#[must_use]
pub fn limbs_of_stretch(stages: &[PolynomialStage], is_last: bool) -> usize {
    let levels: usize = stages.iter().map(PolynomialStage::levels).sum();
    levels + if is_last { OUTPUT_LIMBS } else { INPUT_LIMBS }
}

/// For each stretch between bootstraps behind the given stages its first stage, and the limbs that it begins at. The
/// last stretch ends in the output, and may have no stage.
#[must_use]
pub fn segments(stages: &[PolynomialStage], after: &[usize]) -> Vec<(usize, usize)> {
    let mut starts: Vec<usize> = std::iter::once(0).chain(after.iter().map(|stage| stage + 1)).collect();
    starts.push(stages.len());
    let last = starts.len() - 2;
    let segment = |(at, pair): (usize, &[usize])| (pair[0], limbs_of_stretch(&stages[pair[0]..pair[1]], at == last));
    starts.windows(2).enumerate().map(segment).collect()
}

/// Limbs at which each stage and the output begin, for parameters that have the levels: see
/// [`PolynomialNetwork::fits`].
#[must_use]
pub fn limbs_of_stages(network: &PolynomialNetwork, limbs: usize) -> Vec<usize> {
    let mut begins = vec![None; network.stages.len() + 1];
    begins[0] = Some(limbs);
    if let Some(refresh) = &network.refresh {
        segments(&network.stages, &refresh.after).into_iter().for_each(|(first, own)| begins[first] = Some(own));
    }
    let mut left = Vec::with_capacity(begins.len());
    for (at, own) in begins.into_iter().enumerate() {
        let before = |left: &Vec<usize>| left[at - 1].saturating_sub(network.stages[at - 1].levels());
        left.push(own.unwrap_or_else(|| before(&left)));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::plan::samples::{network, seventh, square};

    #[test]
    fn stretches_begin_at_as_few_limbs_as_they_need() {
        let forms = [seventh(), seventh(), square(), seventh()];
        let mut network = network(&forms, &[&[0], &[1], &[2], &[3], &[4]]);
        assert_eq!(network.stages.iter().map(PolynomialStage::levels).collect::<Vec<_>>(), [4, 4, 2, 4]);
        assert_eq!(limbs_of_stages(&network, 17), [17, 13, 9, 7, 3], "all limbs without bootstraps");
        assert!(network.fits(16) && !network.fits(15));
        // Eight levels and five limbs for the bootstrap; six levels and two limbs for the output.
        network.refresh_behind(&[1]);
        assert_eq!(segments(&network.stages, &[1]), [(0, 13), (2, 8)]);
        assert_eq!(limbs_of_stages(&network, 50), [13, 9, 8, 6, 2]);
        assert!(network.fits(SPENT_LIMBS + 8) && !network.fits(SPENT_LIMBS + 7) && !network.fits(0));
        // The output alone stands behind the last stage.
        network.refresh_behind(&[3]);
        assert_eq!(segments(&network.stages, &[3]), [(0, 19), (4, 2)]);
        assert_eq!(limbs_of_stages(&network, 50), [19, 15, 11, 9, 2]);
        assert!(network.fits(SPENT_LIMBS + 2) && !network.fits(SPENT_LIMBS + 1));
        // The first stretch has all limbs, not those that a bootstrap leaves.
        network.refresh_behind(&[0, 2]);
        assert_eq!(limbs_of_stages(&network, 50), [9, 11, 7, 6, 2]);
        assert!(network.fits(SPENT_LIMBS + 11) && !network.fits(SPENT_LIMBS + 10));
    }
}
