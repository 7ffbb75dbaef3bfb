//! Constants in the order in which the kernels read them, and those of steps that the device does in one.

use heman_core::ckks::ring::constants::Places;
use heman_core::ckks::ring::context::Ring;
use heman_core::residues::modulus::Factor;

use crate::roots_by_thread::{roots_by_thread, subtree};

/// log2 of the words that a thread transforms.
pub(super) const LOG2_WORDS_A_THREAD: u32 = 5;

/// A prime's roots as blocks of `2^log2_block` words take them: the first depths of a larger polynomial by nodes, then
/// those of each block by threads.
pub(super) fn block_roots(tree: &[[u32; 2]], log2_block: u32) -> Vec<[u32; 2]> {
    let blocks = tree.len() >> log2_block;
    let above = if blocks == 1 { &[] } else { &tree[..blocks] };
    let of_block = |block: usize| roots_by_thread(&subtree(tree, blocks + block, log2_block), LOG2_WORDS_A_THREAD);
    above.iter().copied().chain((0..blocks).flat_map(of_block)).collect()
}

/// Where constants of a division by P and the last prime in one stand.
///
/// The division by P makes `(x - v) / P + low` of a limb's products x, v being the special part's values; that by the
/// last prime q makes `(r - w) / q` of a limb r, w being the last limb's. Both together are `(x - (v + P w)) / (P q)
/// + low / q`, and v and w are values of one transform: of the sum of both conversions, the second times P.
pub(super) struct DividedTwice {
    /// For each last prime and each prime before it the conversion of the last limb's coefficients and the special
    /// ones.
    pub conversions: Vec<Vec<u32>>,
    /// The factor `1 / (P q)` of each.
    pub factors: Vec<Vec<u32>>,
}

impl DividedTwice {
    /// Adds the constants to a table.
    pub fn new(ring: &Ring, places: &Places, table: &mut Vec<[u32; 2]>) -> Self {
        let special: Vec<u32> = ring.params.special_primes.clone();
        let (mut conversions, mut factors) = (Vec::new(), Vec::new());
        for last in 0..ring.limbs() {
            let (mut of_last, mut factors_of_last) = (Vec::with_capacity(last), Vec::with_capacity(last));
            for limb in 0..last {
                let modulus = ring.modulus(limb);
                let product = special.iter().fold(1, |product, &p| modulus.mul(product, p % modulus.p));
                let (by_special, by_last) = (&ring.special_conversions[limb], places.rescale[last].conversions[limb]);
                let [offset, _] = table[by_last as usize];
                let [weight, _] = table[by_last as usize + 1];
                let sum = modulus.add(modulus.mul(offset, product), (by_special.offset % u64::from(modulus.p)) as u32);
                of_last.push(table.len() as u32);
                table.push([sum, 0]);
                table.push([modulus.mul(weight, product), 0]);
                table.extend(by_special.weights.iter().map(|&weight| [weight, 0]));
                factors_of_last.push(table.len() as u32);
                let quotient = modulus.mul(ring.special_quotient[limb].value, ring.rescale[last][limb].value);
                let factor = Factor::new(quotient, modulus);
                table.push([factor.value, factor.quotient]);
            }
            conversions.push(of_last);
            factors.push(factors_of_last);
        }
        Self { conversions, factors }
    }
}
