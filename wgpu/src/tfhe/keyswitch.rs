//! Keyswitch, the key in as many blocks as its length asks for.

use bytemuck::{Pod, Zeroable};
use heman_core::device::error::{BackendError, require};
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::ops::KeyswitchOps;
use heman_core::tfhe::params::set::ParameterSet;
use heman_kernels::LweKeyswitchParams;
use heman_kernels::wgsl::LWE_KEYSWITCH;

use crate::context::Block;
use crate::device::{WgpuBackend, WgpuBuffer};
use crate::queue::{Launch, MOST_GROUPS};
use crate::recorder::Arguments;

/// Rows and output words of a workgroup.
const ROWS: usize = 8;
const COLUMNS: usize = 256;

const STEP: &str = "keyswitch";

/// Largest base whose digits are bytes.
const MOST_BYTE_BASE_LOG: usize = 7;
/// Input words whose terms are whole groups of four.
const GROUP: usize = 4;

/// The key: input word, level, output word; where digits are bytes, four terms, place of the byte, output word.
pub struct WgpuKeyswitchKey {
    params: ParameterSet,
    /// Input words of each block but the last.
    words_a_block: usize,
    blocks: Vec<Block>,
}

/// Bytes of four rows of words side by side: a row for each place of a byte.
fn bytes_of_four(rows: &[u32], width: usize) -> impl Iterator<Item = u32> + '_ {
    (0..4).flat_map(move |place| {
        (0..width).map(move |column| {
            u32::from_le_bytes([0, 1, 2, 3].map(|term| rows[term * width + column].to_le_bytes()[place]))
        })
    })
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct KeyswitchLaunch {
    items: u32,
    block: LweKeyswitchParams,
    first_word: u32,
    words: u32,
    first_row: u32,
    key: u32,
    input: u32,
    out: u32,
}

impl KeyswitchOps for WgpuBackend {
    type KeyswitchKey = WgpuKeyswitchKey;

    fn load_keyswitch_key(&self, key: &SeededEvaluationKey) -> Result<WgpuKeyswitchKey, BackendError> {
        let params = key.params;
        let mut words = key.expand_keyswitch();
        let small = params.small_row_words();
        let of_word = params.ks_level * small;
        if params.ks_base_log <= MOST_BYTE_BASE_LOG {
            words = words.chunks_exact(4 * small).flat_map(|rows| bytes_of_four(rows, small)).collect();
        }
        let words_a_block = (self.context.most_words() / of_word / GROUP * GROUP).clamp(GROUP, params.big_dimension());
        let blocks = words.chunks(words_a_block * of_word).map(|words| self.context.load(STEP, words));
        Ok(WgpuKeyswitchKey { params, words_a_block, blocks: blocks.collect::<Result<_, _>>()? })
    }

    fn keyswitch(
        &self,
        key: &WgpuKeyswitchKey,
        rows: usize,
        input: &WgpuBuffer,
        out: &mut WgpuBuffer,
    ) -> Result<(), BackendError> {
        let p = &key.params;
        let (big, small, of_word) = (p.big_row_words(), p.small_row_words(), p.ks_level * p.small_row_words());
        require("keyswitch, input", rows * big, input.0.words)?;
        require("keyswitch, output", rows * small, out.0.words)?;
        let of_bytes = p.ks_base_log <= MOST_BYTE_BASE_LOG;
        let entry = if of_bytes { "lwe_keyswitch_bytes" } else { "lwe_keyswitch" };
        let kernel = self.context.pipelines.kernel(STEP, &LWE_KEYSWITCH, &[], entry)?;
        let table = self.empty_table()?;
        let arguments = Arguments::default();
        // Products of words: a quarter of one of residues each.
        let of_row_and_word = of_word as f64 / 4.0;
        let most = self.context.most_multiplications();
        let rows_a_launch = ((most / of_row_and_word) as usize).clamp(ROWS, MOST_GROUPS * ROWS) / ROWS * ROWS;
        for first_row in (0..rows).step_by(rows_a_launch) {
            let count = rows_a_launch.min(rows - first_row);
            let words_a_launch = (most / of_row_and_word / count as f64) as usize / GROUP * GROUP;
            let words_a_launch = words_a_launch.clamp(GROUP, key.words_a_block);
            for (at, block) in key.blocks.iter().enumerate() {
                let first_of_block = at * key.words_a_block;
                let of_block = key.words_a_block.min(p.big_dimension() - first_of_block);
                for first in (0..of_block).step_by(words_a_launch) {
                    let words = words_a_launch.min(of_block - first);
                    self.context.launch(&Launch {
                        step: STEP,
                        kernel: &kernel,
                        table,
                        params: KeyswitchLaunch {
                            items: 0,
                            block: LweKeyswitchParams {
                                rows: rows as u32,
                                input_dimension: p.big_dimension() as u32,
                                output_dimension: p.lwe_dimension as u32,
                                base_log: p.ks_base_log as u32,
                                level: p.ks_level as u32,
                            },
                            first_word: (first_of_block + first) as u32,
                            words: words as u32,
                            first_row: first_row as u32,
                            key: block.address + (first * of_word) as u32,
                            input: input.0.address,
                            out: out.0.address,
                        },
                        arguments: &arguments,
                        first_item: 0,
                        groups: [small.div_ceil(COLUMNS), count.div_ceil(ROWS), 1],
                        multiplications: of_row_and_word * (words * count) as f64,
                    })?;
                }
            }
        }
        Ok(())
    }
}
