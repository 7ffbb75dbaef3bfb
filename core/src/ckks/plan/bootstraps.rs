//! Which tensors a network's bootstraps take in, and whether they may stand where they do.

use std::collections::BTreeSet;

use crate::ckks::error::same_scale;
use crate::ckks::params::set::ParameterSet;
use crate::ckks::plan::limbs::limbs_of_stages;
use crate::ckks::plan::polynomials::{Closing, PolynomialNetwork};
use crate::ckks::plan::refresh::Refresh;
use crate::ckks::plan::scales::value_state;
use crate::model::network::Row;

/// Most stages of a network that is read from outside behind which there are bootstraps.
const MOST_PLACES: usize = 1 << 10;
/// Most tensors that all bootstraps of such a network take in together: each takes seconds.
const MOST_TENSORS: usize = 1 << 13;

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
        let Some(Refresh { after, .. }) = &self.refresh else { return Vec::new() };
        after.iter().copied().zip(live_behind(&self.tensors_read(), after)).collect()
    }

    /// Checks the places of bootstraps, and their recipe against a set and the values that it is for. The network
    /// itself is sound. Without bootstraps there is nothing to check.
    ///
    /// # Errors
    /// A sentence that names the first violation.
    pub fn check_refresh(&self, params: &ParameterSet) -> Result<(), String> {
        let Some(Refresh { recipe, after }) = &self.refresh else { return Ok(()) };
        recipe.check(params)?;
        if after.len() > MOST_PLACES {
            return Err(format!("the plan has bootstraps behind {} stages, more than {MOST_PLACES}", after.len()));
        }
        let is_sorted = after.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_sorted || after.last().is_none_or(|&last| last >= self.stages.len()) {
            return Err("the plan's bootstraps are not behind its stages, each once and in order".into());
        }
        if !self.fits(params.primes.len()) {
            return Err("the plan's parameters have too few levels between two bootstraps".into());
        }
        if self.stages.iter().any(|stage| stage.scaling.closing != Closing::Value) {
            return Err("the plan has bootstraps and products of three parts, which none takes in".into());
        }
        let last = last_reads(&self.tensors_read());
        if last[0] > after[0] {
            return Err("the plan has a bootstrap of its input, whose numbers have no common bound".into());
        }
        // How many bootstraps take in each tensor.
        let times = |tensor: usize| {
            let born = after.partition_point(|&stage| stage + 1 < tensor);
            after.partition_point(|&stage| stage < last[tensor]).saturating_sub(born)
        };
        let all: usize = (0..last.len()).map(times).sum();
        if all > MOST_TENSORS {
            return Err(format!("the plan's bootstraps take in {all} tensors, more than {MOST_TENSORS}"));
        }
        let limbs = limbs_of_stages(self, params.primes.len());
        for (at, stage) in self.stages.iter().enumerate().filter(|(at, _)| times(at + 1) > 0) {
            let state = value_state(stage, params, limbs[at]).map_err(|error| error.to_string())?;
            // Whatever reads the tensor behind the bootstrap takes it at the scale that it had before.
            for scale in [recipe.input_scale, recipe.output_scale] {
                let other =
                    |error| format!("the values of stage {} have another scale than bootstraps: {error}", stage.name);
                same_scale(state.scale, scale).map_err(other)?;
            }
        }
        Ok(())
    }
}

/// For each tensor the last map that reads it, 0 where none does.
fn last_reads(read: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut last = vec![0; read.len()];
    for (map, tensors) in read.iter().enumerate() {
        tensors.iter().for_each(|&tensor| last[tensor] = map);
    }
    last
}

/// For each of the given stages, which are in order, the tensors that are there behind it and read by a later map, of
/// maps that read the given ones.
#[must_use]
pub fn live_behind(read: &[BTreeSet<usize>], after: &[usize]) -> Vec<Vec<usize>> {
    let last = last_reads(read);
    let (mut live, mut next) = (Vec::new(), 0);
    let behind = |&stage: &usize| {
        live.extend(next..=stage + 1);
        next = stage + 2;
        live.retain(|&tensor| last[tensor] > stage);
        live.clone()
    };
    after.iter().map(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::bootstrap::recipe::Recipe;
    use crate::ckks::plan::activation::Form;
    use crate::ckks::plan::samples::{network, seventh, square};

    #[test]
    fn what_later_maps_read_is_live() {
        let read = [vec![0], vec![1], vec![1, 2], vec![3]].map(BTreeSet::from_iter);
        assert_eq!(live_behind(&read, &[0, 1, 2]), [vec![1], vec![1, 2], vec![3]]);
        assert_eq!(live_behind(&read, &[1]), [[1, 2]]);
        assert_eq!(live_behind(&read, &[0, 2]), [[1], [3]]);
        // The input, and what nothing reads.
        let read = [vec![0], vec![0, 1], vec![0]].map(BTreeSet::from_iter);
        assert_eq!(live_behind(&read, &[0, 1]), [vec![0, 1], vec![0]]);
        let read = [vec![0], vec![], vec![]].map(BTreeSet::from_iter);
        assert_eq!(live_behind(&read, &[0, 1]), [[0_usize; 0]; 2]);
    }

    fn set() -> ParameterSet {
        ParameterSet::new(16, 49, 29, 8).expect("a secure set")
    }

    /// What is wrong with bootstraps behind the given stages of a network that is spoilt.
    fn wrong(
        network: &PolynomialNetwork,
        after: &[usize],
        spoil: impl Fn(&mut PolynomialNetwork, &mut Recipe),
    ) -> String {
        let mut network = network.clone();
        network.refresh_behind(after);
        let mut refresh = network.refresh.take().expect("bootstraps");
        spoil(&mut network, &mut refresh.recipe);
        network.refresh = Some(refresh);
        network.check_refresh(&set()).expect_err("unsound bootstraps")
    }

    #[test]
    fn bootstraps_that_cannot_be_are_refused() {
        let mut sound = network(&[seventh(), seventh(), seventh()], &[&[0], &[1], &[1, 2], &[3]]);
        assert_eq!(sound.check_refresh(&set()), Ok(()), "none at all");
        for after in [&[0][..], &[1], &[2], &[0, 1, 2]] {
            sound.refresh_behind(after);
            assert_eq!((sound.check(), sound.check_refresh(&set())), (Ok(()), Ok(())), "{after:?}");
        }
        for after in [&[][..], &[1, 0], &[1, 1], &[3], &[0, usize::MAX]] {
            let error = wrong(&sound, after, |_, _| ());
            assert!(error.contains("each once and in order"), "{after:?}: {error}");
        }
        assert!(wrong(&sound, &vec![0; MOST_PLACES + 1], |_, _| ()).contains("behind 1025 stages"));
        let late = network(&[seventh(), seventh()], &[&[0], &[0, 1], &[2]]);
        assert!(wrong(&late, &[0], |_, _| ()).contains("a bootstrap of its input"));
        let open = wrong(&sound, &[0], |network, _| network.stages[2].scaling.closing = Closing::Output);
        assert!(open.contains("three parts"), "{open}");
        let deep = network(
            &[seventh(); 12],
            &[&[0], &[1], &[2], &[3], &[4], &[5], &[6], &[7], &[8], &[9], &[10], &[11], &[12]],
        );
        assert!(wrong(&deep, &[0], |_, _| ()).contains("too few levels"));
    }

    #[test]
    fn recipes_that_do_not_fit_the_values_are_refused() {
        let sound = network(&[seventh(), seventh()], &[&[0], &[1], &[1, 2]]);
        let factors = wrong(&sound, &[1], |_, recipe| recipe.maps.iter_mut().for_each(|map| map.depths = u32::MAX));
        assert!(factors.contains("factors"), "{factors}");
        let factors = wrong(&sound, &[1], |_, recipe| {
            recipe.log2_slots = 15;
            recipe.maps.iter_mut().zip([1, 4, 10]).for_each(|(map, depths)| map.depths = depths);
        });
        assert!(factors.contains("factors"), "{factors}");
        let spoils: [fn(&mut PolynomialNetwork, &mut Recipe); 3] = [
            |_, recipe| recipe.input_scale *= 1.001,
            |_, recipe| recipe.output_scale = 2_f64.powi(33),
            |network, _| network.stages[0].scaling.argument_log2 = Some(28),
        ];
        for spoil in spoils {
            let error = wrong(&sound, &[1], spoil);
            assert!(error.contains("another scale"), "{error}");
        }
        // A square's value has the scale of its product over a prime.
        let squared = network(&[square()], &[&[0], &[1]]);
        assert!(wrong(&squared, &[0], |_, _| ()).contains("stage 0 have another scale"));
    }

    #[test]
    fn bootstraps_of_too_many_tensors_are_refused_at_once() {
        let count = 3000;
        let forms: Vec<Form> = vec![square(); count];
        let all: Vec<usize> = (1..=count).collect();
        let own: Vec<Vec<usize>> = (0..count).map(|at| vec![at]).chain([all]).collect();
        let reads: Vec<&[usize]> = own.iter().map(Vec::as_slice).collect();
        let network = network(&forms, &reads);
        let after: Vec<usize> = (0..MOST_PLACES).map(|at| at * 3 + 1).filter(|&at| at < count).collect();
        let error = wrong(&network, &after, |_, _| ());
        assert!(error.contains("tensors, more than 8192"), "{error}");
    }
}
