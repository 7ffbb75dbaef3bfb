//! How many limbs each stage of a network begins with.
//!
//! Without bootstraps the first stage begins at all limbs. Between two bootstraps a stage begins at as few limbs as
//! there are levels to come: limbs that nothing needs cost time.

use std::collections::BTreeSet;

use crate::ckks::bootstrap::recipe::{INPUT_LIMBS, SPENT_LIMBS};
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::polynomials::{PolynomialNetwork, PolynomialStage};
use crate::model::network::Row;

/// Limbs of the output: so many hold it.
const OUTPUT_LIMBS: usize = 2;

impl PolynomialNetwork {
    /// For each map the tensors that it reads: 0 is the input, i + 1 the values of stage i.
    #[must_use]
    pub fn tensors_read(&self) -> Vec<BTreeSet<usize>> {
        let mut firsts = vec![self.input.len()];
        for stage in &self.stages {
            firsts.push(firsts[firsts.len() - 1] + stage.rows.len());
        }
        let of_map = |rows: Vec<&Row>| {
            let (mut read, mut last) = (BTreeSet::new(), 0..0);
            for source in rows.iter().flat_map(|row| row.taps.iter()).map(|tap| tap.source as usize) {
                if !last.contains(&source) {
                    let tensor = firsts.partition_point(|&first| first <= source);
                    last = tensor.checked_sub(1).map_or(0, |before| firsts[before])..firsts[tensor];
                    read.insert(tensor);
                }
            }
            read
        };
        self.maps().map(of_map).collect()
    }

    /// For each bootstrap the stage that it stands behind, and the tensors that it takes in.
    #[must_use]
    pub fn refreshed(&self) -> Vec<(usize, Vec<usize>)> {
        let Some(refresh) = &self.refresh else { return Vec::new() };
        let read = self.tensors_read();
        refresh.after.iter().map(|&stage| (stage, live_behind(&read, stage))).collect()
    }

    /// Whether parameters of so many limbs have the levels.
    #[must_use]
    pub fn fits(&self, limbs: usize) -> bool {
        let Some(refresh) = &self.refresh else { return limbs > self.levels() };
        let fresh = limbs.saturating_sub(SPENT_LIMBS);
        let room = |segment: usize| if segment == 0 { limbs } else { fresh };
        segments(&self.stages, &refresh.after).iter().enumerate().all(|(at, &(_, begins))| begins <= room(at))
    }

    /// Checks the places of bootstraps, and their recipe against a set. The network itself is sound.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check_refresh(&self, params: &ParameterSet) -> Result<(), String> {
        let Some(refresh) = &self.refresh else { return Ok(()) };
        refresh.recipe.check(params)?;
        let is_sorted = refresh.after.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_sorted || refresh.after.last().is_none_or(|&last| last >= self.stages.len()) {
            return Err("the plan's bootstraps are not behind its stages, each once and in order".into());
        }
        if self.refreshed().iter().any(|(_, tensors)| tensors.contains(&0)) {
            return Err("the plan has a bootstrap of its input, whose numbers have no common bound".into());
        }
        Ok(())
    }
}

/// The tensors that are there behind a stage and read by a later map, of maps that read the given ones.
#[must_use]
pub fn live_behind(read: &[BTreeSet<usize>], stage: usize) -> Vec<usize> {
    let later: BTreeSet<usize> = read[stage + 1..].iter().flatten().copied().collect();
    later.range(..=stage + 1).copied().collect()
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
