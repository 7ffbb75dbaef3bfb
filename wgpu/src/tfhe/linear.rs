//! Affine maps over rows: blocks with weights of bytes by packed products, others word by word.

use bytemuck::{Pod, Zeroable};
use heman_core::device::error::{BackendError, require};
use heman_core::tfhe::ops::LinearOps;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
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
/// Items of a launch at the most: their arguments are a part of a submission's.
const MOST_ITEMS: usize = 1 << 14;
/// Terms whose products are summed by one instruction where weights are bytes.
const BYTES: usize = 4;

const STEP: &str = "linear map";

/// A map on the device.
pub struct WgpuAffine {
    rows: usize,
    values: usize,
    words: Option<Items>,
    bytes: Option<Items>,
    bias: Block,
}

/// Items of one kernel.
struct Items {
    /// Products of each, those of all kernels.
    products: Vec<usize>,
    list: Vec<LweLinearItem>,
    picks: Block,
    weights: Block,
    targets: Block,
}

/// Items while they are collected.
#[derive(Default)]
struct Parts {
    products: Vec<usize>,
    list: Vec<LweLinearItem>,
    picks: Vec<u32>,
    weights: Vec<u32>,
    targets: Vec<u32>,
}

impl Parts {
    /// One block: `word(kernel, step)` are its weights for a step of `of_step` terms.
    fn add(&mut self, block: &AffineBlock, of_step: usize, word: impl Fn(usize, usize) -> u32) {
        let steps = block.terms.div_ceil(of_step);
        let first_pick = self.picks.len() / of_step;
        for picks in block.picks.chunks(block.terms.max(1)) {
            self.picks.extend_from_slice(picks);
            // Any value does where the weight is 0.
            self.picks.resize(self.picks.len() + steps * of_step - block.terms, picks[0]);
        }
        for first in (0..block.kernels).step_by(KERNELS) {
            let kernels = KERNELS.min(block.kernels - first);
            let first_weight = self.weights.len();
            for step in 0..steps {
                self.weights.extend((0..KERNELS).map(|k| if k < kernels { word(first + k, step) } else { 0 }));
            }
            for position in 0..block.positions {
                self.list.push(LweLinearItem {
                    terms: steps as u32,
                    kernels: kernels as u32,
                    picks: (first_pick + position * steps) as u32,
                    weights: first_weight as u32,
                    targets: self.targets.len() as u32,
                });
                self.targets.extend((first..first + kernels).map(|k| block.targets[k * block.positions + position]));
                self.products.push(KERNELS * block.terms);
            }
        }
    }

    fn load(self, backend: &WgpuBackend) -> Result<Option<Items>, BackendError> {
        if self.products.is_empty() {
            return Ok(None);
        }
        Ok(Some(Items {
            products: self.products,
            list: self.list,
            picks: backend.context.load(STEP, &self.picks)?,
            weights: backend.context.load(STEP, &self.weights)?,
            targets: backend.context.load(STEP, &self.targets)?,
        }))
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LinearLaunch {
    items: u32,
    block: LweLinearParams,
    first_tile: u32,
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
        let (mut words, mut bytes) = (Parts::default(), Parts::default());
        for block in &map.blocks {
            let weight = |kernel: usize, term: usize| block.weights[kernel * block.terms + term];
            if block.terms >= BYTES && block.weights.iter().all(|&weight| i8::try_from(weight).is_ok()) {
                bytes.add(block, BYTES, |kernel, step| {
                    let byte = |at: usize| {
                        let term = BYTES * step + at;
                        let weight = if term < block.terms { weight(kernel, term) } else { 0 };
                        (weight + 128) as u8
                    };
                    u32::from_le_bytes([0, 1, 2, 3].map(byte))
                });
            } else {
                words.add(block, 1, |kernel, term| i32::from(weight(kernel, term)).cast_unsigned());
            }
        }
        let picks = map.blocks.iter().flat_map(|block| &block.picks);
        Ok(WgpuAffine {
            rows: map.rows,
            values: picks.max().map_or(0, |&pick| pick as usize + 1),
            words: words.load(self)?,
            bytes: bytes.load(self)?,
            bias: self.context.load(STEP, &map.bias)?,
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
        let block = LweLinearParams { length: length as u32, row_words: row_words as u32, tiles: tiles as u32 };
        for (items, entry) in [(&map.words, "lwe_linear"), (&map.bytes, "lwe_linear_bytes")] {
            if let Some(items) = items {
                let params = LinearLaunch {
                    items: 0,
                    block,
                    first_tile: 0,
                    picks: items.picks.address,
                    weights: items.weights.address,
                    targets: items.targets.address,
                    bias: map.bias.address,
                    values: values.0.address,
                    out: out.0.address,
                };
                self.launch_items(items, entry, params)?;
            }
        }
        Ok(())
    }
}

impl WgpuBackend {
    /// Launches all items, as many of them and of their tiles at a time as a submission may take.
    fn launch_items(&self, items: &Items, entry: &'static str, params: LinearLaunch) -> Result<(), BackendError> {
        let kernel = self.context.pipelines.kernel(STEP, &LWE_LINEAR, &[], entry)?;
        let table = self.empty_table()?;
        let most = self.context.most_multiplications();
        let tiles = params.block.tiles as usize;
        let mut first = 0;
        while first < items.list.len() {
            // A product of words is a quarter of one of residues.
            let of_tile = |at: usize| (items.products[at] * TILE).max(TILE) as f64 / 4.0;
            let tiles_a_launch = ((most / of_tile(first)) as usize).clamp(1, tiles.min(MOST_GROUPS));
            let mut multiplications = 0.0;
            let fitting = (first..items.list.len()).take(MOST_ITEMS).take_while(|&at| {
                let own = of_tile(at) * tiles_a_launch as f64;
                let fits = at == first || multiplications + own <= most;
                multiplications += if fits { own } else { 0.0 };
                fits
            });
            let count = fitting.count();
            let mut arguments = Arguments::default();
            arguments.extend(bytemuck::cast_slice(&items.list[first..first + count]).iter().copied());
            for first_tile in (0..tiles).step_by(tiles_a_launch) {
                self.context.launch(&Launch {
                    step: STEP,
                    kernel: &kernel,
                    table,
                    params: LinearLaunch { first_tile: first_tile as u32, ..params },
                    arguments: &arguments,
                    first_item: 0,
                    groups: [count, tiles_a_launch.min(tiles - first_tile), 1],
                    multiplications,
                })?;
            }
            first += count;
        }
        Ok(())
    }
}
