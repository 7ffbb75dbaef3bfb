//! Keyswitch on the tensor cores, over the bytes of the key.

use cudarc::driver::CudaSlice;
use heman_core::device::Device;
use heman_core::device::error::{BackendError, require};
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::KeyswitchOps;
use heman_core::tfhe::params::set::ParameterSet;
use heman_kernels::{LWE_KEYSWITCH, LweKeyswitchParams};

use crate::device::CudaBackend;
use crate::launch::{Block, MOST_TILES, config, launch};
use crate::tfhe::seeded_rows::SeededRows;

/// Input words whose digits one step multiplies; rows and output words of a block. They mirror `lwe_keyswitch.cu`.
const DEPTH: usize = 32;
const ROWS: usize = 64;
const COLUMNS: usize = 64;
const STRIDE: usize = 48;
/// Largest base whose digits are signed bytes.
const MOST_BYTE_BASE_LOG: usize = 7;

const STEP: &str = "keyswitch";

/// The key, as bytes in the order in which lanes read them, or as words where digits are wider than a byte.
pub struct CudaKeyswitchKey {
    params: ParameterSet,
    words: CudaSlice<u32>,
}

fn block(params: &ParameterSet, rows: usize) -> Block<LweKeyswitchParams> {
    Block(LweKeyswitchParams {
        rows: rows as u32,
        input_dimension: params.big_dimension() as u32,
        output_dimension: params.lwe_dimension as u32,
        base_log: params.ks_base_log as u32,
        level: params.ks_level as u32,
    })
}

impl KeyswitchOps for CudaBackend {
    type KeyswitchKey = CudaKeyswitchKey;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<CudaKeyswitchKey, BackendError> {
        let params = key.params;
        let bodies = self.load(STEP, &key.keyswitch_bodies)?;
        let (mask_words, stride) = (params.lwe_dimension, params.small_row_words());
        let rows = SeededRows { seed: &key.keyswitch_seed, mask_words, body_words: 1, stride };
        let mut words = self.reserve(STEP, key.keyswitch_bodies.len() * params.small_row_words())?;
        rows.expand(self, STEP, 0..key.keyswitch_bodies.len(), &bodies.as_view(), &mut words.as_view_mut())?;
        if params.ks_base_log > MOST_BYTE_BASE_LOG {
            return Ok(CudaKeyswitchKey { params, words });
        }
        let groups = params.small_row_words().div_ceil(8);
        let count = params.big_dimension() / DEPTH * params.ks_level * groups * 256;
        let mut bytes = self.reserve(STEP, count)?;
        let function = self.function(STEP, &LWE_KEYSWITCH, "keyswitch_key_u32", 0)?;
        let block = block(&params, 0);
        launch!(self, STEP, &function, config((count / 256, 1), 256, 0), &block, &words, &mut bytes)?;
        self.sync()?;
        Ok(CudaKeyswitchKey { params, words: bytes })
    }

    fn keyswitch(
        &self,
        key: &CudaKeyswitchKey,
        rows: usize,
        input: &CudaSlice<u32>,
        out: &mut CudaSlice<u32>,
    ) -> Result<(), BackendError> {
        let (big, small) = (key.params.big_row_words(), key.params.small_row_words());
        require("keyswitch, input", rows * big, input.len())?;
        require("keyswitch, output", rows * small, out.len())?;
        let level = key.params.ks_level;
        let bytes = key.params.ks_base_log <= MOST_BYTE_BASE_LOG;
        let (name, shared, columns, per_tile, threads) = if bytes {
            ("lwe_keyswitch_u32", level * ROWS * STRIDE, small.div_ceil(COLUMNS), ROWS, 512)
        } else {
            ("lwe_keyswitch_wide_u32", 256 * level * 4, small.div_ceil(256), 1, 256)
        };
        let function = self.function(STEP, &LWE_KEYSWITCH, name, shared)?;
        let most = MOST_TILES * per_tile;
        for first in (0..rows).step_by(most) {
            let count = most.min(rows - first);
            let block = block(&key.params, count);
            let input = input.slice(first * big..(first + count) * big);
            let mut out = out.slice_mut(first * small..(first + count) * small);
            let config = config((columns, count.div_ceil(per_tile)), threads, shared);
            launch!(self, STEP, &function, config, &block, &input, &key.words, &mut out)?;
        }
        Ok(())
    }
}
