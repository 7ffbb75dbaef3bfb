//! Affine maps over rows.

use bytemuck::{Pod, Zeroable};
use heman_core::device::error::{BackendError, require};
use heman_core::tfhe::ops::LinearOps;
use heman_core::tfhe::plan::affine::AffineMap;
use heman_kernels::wgsl::LWE_LINEAR;
use heman_kernels::{LweLinearItem, LweLinearParams};

use crate::context::Block;
use crate::device::{WgpuBackend, WgpuBuffer};
use crate::queue::{Launch, MOST_GROUPS};
use crate::recorder::Arguments;

/// Kernels that share a word.
const KERNELS: usize = 8;
/// Words of a tile.
const TILE: usize = 256;

const STEP: &str = "linear map";

/// A map on the device.
pub struct WgpuAffine {
    rows: usize,
    values: usize,
    /// Terms of each item, those of all kernels.
    terms: Vec<usize>,
    items: Block,
    picks: Block,
    weights: Block,
    targets: Block,
    bias: Block,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinearLaunch {
    items: u32,
    block: LweLinearParams,
    list: u32,
    first: u32,
    picks: u32,
    weights: u32,
    targets: u32,
    bias: u32,
    values: u32,
    out: u32,
}

impl LinearOps for WgpuBackend {
    type Affine = WgpuAffine;

    fn load_affine(&self, map: &AffineMap) -> Result<WgpuAffine, BackendError> {
        let (mut items, mut picks, mut weights, mut targets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut terms = Vec::new();
        for block in &map.blocks {
            let first_pick = picks.len();
            picks.extend_from_slice(&block.picks);
            for first in (0..block.kernels).step_by(KERNELS) {
                let kernels = KERNELS.min(block.kernels - first);
                let first_weight = weights.len();
                for term in 0..block.terms {
                    let weight = |k: usize| {
                        let word = |k: usize| i32::from(block.weights[(first + k) * block.terms + term]);
                        if k < kernels { word(k).cast_unsigned() } else { 0 }
                    };
                    weights.extend((0..KERNELS).map(weight));
                }
                for position in 0..block.positions {
                    let item = LweLinearItem {
                        terms: block.terms as u32,
                        kernels: kernels as u32,
                        picks: (first_pick + position * block.terms) as u32,
                        weights: first_weight as u32,
                        targets: targets.len() as u32,
                    };
                    items.extend_from_slice(bytemuck::cast_slice::<LweLinearItem, u32>(&[item]));
                    targets.extend((first..first + kernels).map(|k| block.targets[k * block.positions + position]));
                    terms.push(KERNELS * block.terms);
                }
            }
        }
        Ok(WgpuAffine {
            rows: map.rows,
            values: picks.iter().max().map_or(0, |&pick| pick as usize + 1),
            terms,
            items: self.load(STEP, &items)?,
            picks: self.load(STEP, &picks)?,
            weights: self.load(STEP, &weights)?,
            targets: self.load(STEP, &targets)?,
            bias: self.load(STEP, &map.bias)?,
        })
    }

    fn affine(
        &self,
        map: &WgpuAffine,
        inputs: usize,
        row_words: usize,
        values: &WgpuBuffer,
        out: &mut WgpuBuffer,
    ) -> Result<(), BackendError> {
        let length = inputs * row_words;
        require("linear map, values", map.values * length, values.0.words)?;
        require("linear map, output", map.rows * length, out.0.words)?;
        if length == 0 {
            return Ok(());
        }
        let tiles = length.div_ceil(TILE);
        if tiles > MOST_GROUPS {
            return Err(self.context.out_of_memory(STEP, map.rows * length));
        }
        let kernel = self.context.pipelines.kernel(STEP, &LWE_LINEAR, &[], "lwe_linear")?;
        let table = self.empty_table()?;
        let arguments = Arguments::default();
        let mut first = 0;
        while first < map.terms.len() {
            let mut multiplications = 0.0;
            let count = map.terms[first..].iter().take(MOST_GROUPS).take_while(|&&terms| {
                // A product of words is a quarter of one of residues.
                multiplications += (terms * length / 4) as f64;
                multiplications <= self.context.most_multiplications()
            });
            let count = count.count().max(1);
            self.context.launch(&Launch {
                step: STEP,
                kernel: &kernel,
                table,
                params: LinearLaunch {
                    items: 0,
                    block: LweLinearParams { length: length as u32, row_words: row_words as u32, tiles: tiles as u32 },
                    list: map.items.address,
                    first: first as u32,
                    picks: map.picks.address,
                    weights: map.weights.address,
                    targets: map.targets.address,
                    bias: map.bias.address,
                    values: values.0.address,
                    out: out.0.address,
                },
                arguments: &arguments,
                first_item: 0,
                groups: [count, tiles, 1],
                multiplications: multiplications.min(self.context.most_multiplications()),
            })?;
            first += count;
        }
        Ok(())
    }
}
