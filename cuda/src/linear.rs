//! Affine maps as work items of up to eight kernels that share every value they read.

use cudarc::driver::CudaSlice;
use heman_core::affine::AffineMap;
use heman_core::backend::{BackendError, LinearOps, require};
use heman_kernels::{LWE_LINEAR, LweLinearItem, LweLinearParams};

use crate::backend::{Block, CudaBackend, MOST_TILES, config, launch};

/// Kernels an item; mirrors `lwe_linear.cu`.
const KERNELS: usize = 8;
/// Terms whose picks and weights are staged in shared memory at a time.
const CHUNK: usize = 128;
/// Words a block.
const TILE: usize = 1024;

const STEP: &str = "linear map";

/// A map as the kernel reads it.
pub struct CudaAffine {
    rows: usize,
    values: usize,
    items: usize,
    list: CudaSlice<Block<LweLinearItem>>,
    picks: CudaSlice<u32>,
    weights: CudaSlice<i16>,
    targets: CudaSlice<u32>,
    bias: CudaSlice<u32>,
}

impl LinearOps for CudaBackend {
    type Affine = CudaAffine;

    fn load_affine(&self, map: &AffineMap) -> Result<CudaAffine, BackendError> {
        let (mut items, mut picks, mut weights, mut targets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for block in &map.blocks {
            let first_pick = picks.len();
            picks.extend_from_slice(&block.picks);
            for kernel in (0..block.kernels).step_by(KERNELS) {
                let kernels = KERNELS.min(block.kernels - kernel);
                let first_weight = weights.len();
                for term in 0..block.terms {
                    let weight =
                        |k: usize| if k < kernels { block.weights[(kernel + k) * block.terms + term] } else { 0 };
                    weights.extend((0..KERNELS).map(weight));
                }
                for position in 0..block.positions {
                    items.push(Block(LweLinearItem {
                        terms: index(block.terms)?,
                        kernels: kernels as u32,
                        picks: index(first_pick + position * block.terms)?,
                        weights: index(first_weight)?,
                        targets: index(targets.len())?,
                    }));
                    targets.extend((0..kernels).map(|k| block.targets[(kernel + k) * block.positions + position]));
                }
            }
        }
        Ok(CudaAffine {
            rows: map.rows,
            values: picks.iter().max().map_or(0, |&pick| pick as usize + 1),
            items: items.len(),
            list: self.load(STEP, &items)?,
            picks: self.load(STEP, &picks)?,
            weights: self.load(STEP, &weights)?,
            targets: self.load(STEP, &targets)?,
            bias: self.load(STEP, &map.bias)?,
        })
    }

    fn affine(
        &self,
        map: &CudaAffine,
        images: usize,
        row_words: usize,
        values: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<(), BackendError> {
        let length = images * row_words;
        require("linear map, values", map.values * length, values.len())?;
        require("linear map, output", map.rows * length, out.len())?;
        let tiles = length.div_ceil(TILE);
        if tiles > MOST_TILES {
            let expected = format!("at most {} words a value", MOST_TILES * TILE);
            return Err(BackendError::Shape { step: STEP, expected, found: format!("{length}") });
        }
        if map.items == 0 || tiles == 0 {
            return Ok(());
        }
        let shared = CHUNK * 4 * (1 + KERNELS);
        let function = self.function(STEP, &LWE_LINEAR, "lwe_linear_u32", shared)?;
        let params =
            Block(LweLinearParams { length: length as u32, row_words: row_words as u32, items: map.items as u32 });
        launch!(
            self,
            STEP,
            &function,
            config((map.items, tiles), 256, shared),
            &params,
            &map.list,
            &map.picks,
            &map.weights,
            &map.targets,
            &map.bias,
            values,
            out,
        )
    }
}

fn index(value: usize) -> Result<u32, BackendError> {
    u32::try_from(value).map_err(|_| BackendError::Shape {
        step: STEP,
        expected: "fewer than 2^32 weights and picks".into(),
        found: format!("{value}"),
    })
}
