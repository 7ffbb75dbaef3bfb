//! Affine maps as work items of several kernels that share every value they read: eight with any weights, or sixteen on
//! the tensor cores where weights are bytes.

use cudarc::driver::{CudaFunction, CudaSlice, DeviceRepr};
use heman_core::device::error::{BackendError, require};
use heman_core::tfhe::ops::LinearOps;
use heman_core::tfhe::plan::affine::{AffineBlock, AffineMap};
use heman_kernels::{LWE_LINEAR, LweLinearItem, LweLinearParams};

use crate::device::CudaBackend;
use crate::launch::{Block, MOST_TILES, config, launch};

/// Kernels an item; mirrors `lwe_linear.cu`.
const KERNELS: usize = 8;
/// Terms whose picks and weights are staged in shared memory at a time.
const CHUNK: usize = 128;
/// Words a block.
const TILE: usize = 1024;
/// Kernels an item on the tensor cores, terms of a step, and words a block.
const BYTE_KERNELS: usize = 16;
const BYTE_TERMS: usize = 32;
const BYTE_TILE: usize = 256;

const STEP: &str = "linear map";

/// A map as the kernels read it.
pub struct CudaAffine {
    rows: usize,
    values: usize,
    any: Option<Items<i16>>,
    bytes: Option<Items<u32>>,
    bias: CudaSlice<u32>,
}

/// Work items of one kernel.
struct Items<W> {
    count: usize,
    list: CudaSlice<Block<LweLinearItem>>,
    picks: CudaSlice<u32>,
    weights: CudaSlice<W>,
    targets: CudaSlice<u32>,
}

/// The same on the host, while a map is taken apart.
struct Parts<W> {
    list: Vec<Block<LweLinearItem>>,
    picks: Vec<u32>,
    weights: Vec<W>,
    targets: Vec<u32>,
}

impl<W: DeviceRepr> Parts<W> {
    fn new() -> Self {
        Self { list: vec![], picks: vec![], weights: vec![], targets: vec![] }
    }

    /// Items of `kernels` kernels from `first` on, one a position. Places of picks and weights are in the kernel's
    /// units, those of picks `picks` apart.
    fn push(
        &mut self,
        block: &AffineBlock,
        (first, kernels): (usize, usize),
        terms: usize,
        (first_pick, picks): (usize, usize),
        first_weight: usize,
    ) -> Result<(), BackendError> {
        for position in 0..block.positions {
            self.list.push(Block(LweLinearItem {
                terms: index(terms)?,
                kernels: kernels as u32,
                picks: index(first_pick + position * picks)?,
                weights: index(first_weight)?,
                targets: index(self.targets.len())?,
            }));
            self.targets.extend((first..first + kernels).map(|k| block.targets[k * block.positions + position]));
        }
        Ok(())
    }

    fn load(self, backend: &CudaBackend) -> Result<Option<Items<W>>, BackendError> {
        if self.list.is_empty() {
            return Ok(None);
        }
        Ok(Some(Items {
            count: self.list.len(),
            list: backend.load(STEP, &self.list)?,
            picks: backend.load(STEP, &self.picks)?,
            weights: backend.load(STEP, &self.weights)?,
            targets: backend.load(STEP, &self.targets)?,
        }))
    }
}

impl Parts<i16> {
    fn add(&mut self, block: &AffineBlock) -> Result<(), BackendError> {
        let first_pick = self.picks.len();
        self.picks.extend_from_slice(&block.picks);
        for first in (0..block.kernels).step_by(KERNELS) {
            let kernels = KERNELS.min(block.kernels - first);
            let first_weight = self.weights.len();
            for term in 0..block.terms {
                let weight = |k: usize| if k < kernels { block.weights[(first + k) * block.terms + term] } else { 0 };
                self.weights.extend((0..KERNELS).map(weight));
            }
            self.push(block, (first, kernels), block.terms, (first_pick, block.terms), first_weight)?;
        }
        Ok(())
    }
}

impl Parts<u32> {
    fn add(&mut self, block: &AffineBlock) -> Result<(), BackendError> {
        let terms = block.terms.next_multiple_of(BYTE_TERMS);
        let first_pick = self.picks.len() / 4;
        for picks in block.picks.chunks(block.terms) {
            self.picks.extend_from_slice(picks);
            self.picks.resize(self.picks.len() + terms - block.terms, picks[0]);
        }
        for first in (0..block.kernels).step_by(BYTE_KERNELS) {
            let kernels = BYTE_KERNELS.min(block.kernels - first);
            let first_weight = self.weights.len() / 4;
            let byte = |kernel: usize, term: usize| {
                let inside = kernel < kernels && term < block.terms;
                let weight = if inside { block.weights[(first + kernel) * block.terms + term] } else { 0 };
                weight as u8
            };
            // Left factors in the order of `tensor_cores.cuh`.
            for step in (0..terms).step_by(BYTE_TERMS) {
                for lane in 0..32 {
                    for register in 0..4 {
                        let (kernel, term) = (lane / 4 + register % 2 * 8, step + lane % 4 * 4 + register / 2 * 16);
                        self.weights.push(u32::from_le_bytes([0, 1, 2, 3].map(|i| byte(kernel, term + i))));
                    }
                }
            }
            self.push(block, (first, kernels), terms, (first_pick, terms / 4), first_weight)?;
        }
        Ok(())
    }
}

/// Whether the tensor cores take a block, and fewer instructions: for 8 words and 32 terms 28 (loads, permutations,
/// products) whatever the kernels, against a load and eight multiply-adds a term for 32 words of eight kernels.
fn suits_tensor_cores(block: &AffineBlock) -> bool {
    let products = block.kernels.div_ceil(BYTE_KERNELS) * block.terms.div_ceil(BYTE_TERMS) * 28;
    let gathered = block.kernels.div_ceil(KERNELS) * block.terms * 9;
    block.terms > 0 && 4 * products < gathered && block.weights.iter().all(|&weight| i8::try_from(weight).is_ok())
}

impl LinearOps for CudaBackend {
    type Affine = CudaAffine;

    fn load_affine(&self, map: &AffineMap) -> Result<CudaAffine, BackendError> {
        let (mut any, mut bytes) = (Parts::<i16>::new(), Parts::<u32>::new());
        for block in &map.blocks {
            if suits_tensor_cores(block) {
                bytes.add(block)?;
            } else {
                any.add(block)?;
            }
        }
        let picks = map.blocks.iter().flat_map(|block| &block.picks);
        Ok(CudaAffine {
            rows: map.rows,
            values: picks.max().map_or(0, |&pick| pick as usize + 1),
            any: any.load(self)?,
            bytes: bytes.load(self)?,
            bias: self.load(STEP, &map.bias)?,
        })
    }

    fn affine(
        &self,
        map: &CudaAffine,
        inputs: usize,
        row_words: usize,
        values: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<(), BackendError> {
        let length = inputs * row_words;
        require("linear map, values", map.values * length, values.len())?;
        require("linear map, output", map.rows * length, out.len())?;
        if length == 0 {
            return Ok(());
        }
        index(length)?;
        let shape = (length, row_words);
        if let Some(items) = &map.any {
            let shared = CHUNK * 4 * (1 + KERNELS);
            let function = self.function(STEP, &LWE_LINEAR, "lwe_linear_u32", shared)?;
            self.launch_items(&function, items, shape, (TILE, shared), &map.bias, values, out)?;
        }
        if let Some(items) = &map.bytes {
            let function = self.function(STEP, &LWE_LINEAR, "lwe_linear_bytes_u32", 0)?;
            self.launch_items(&function, items, shape, (BYTE_TILE, 0), &map.bias, values, out)?;
        }
        Ok(())
    }
}

impl CudaBackend {
    /// One launch over values of `length` words, in tiles.
    #[expect(clippy::too_many_arguments)]
    fn launch_items<W: DeviceRepr>(
        &self,
        function: &CudaFunction,
        items: &Items<W>,
        (length, row_words): (usize, usize),
        (tile, shared): (usize, usize),
        bias: &CudaSlice<u32>,
        values: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<(), BackendError> {
        let tiles = length.div_ceil(tile);
        let params = Block(LweLinearParams { length: length as u32, row_words: row_words as u32, tiles: tiles as u32 });
        launch!(
            self,
            STEP,
            function,
            config((items.count, tiles.min(MOST_TILES)), 256, shared),
            &params,
            &items.list,
            &items.picks,
            &items.weights,
            &items.targets,
            bias,
            values,
            out,
        )
    }
}

fn index(value: usize) -> Result<u32, BackendError> {
    u32::try_from(value).map_err(|_| BackendError::Shape {
        step: STEP,
        expected: "fewer than 2^32 weights, picks and words a value".into(),
        found: format!("{value}"),
    })
}
