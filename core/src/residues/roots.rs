//! Roots of a transform, in the order in which it reads them.

use crate::residues::modulus::Factor;

/// Blocks of a tile, and words of a block: a row. Of a factor that repeats, one row stands for several.
pub(crate) const LANES: usize = 16;
/// Words of a tile.
pub(super) const TILE: usize = LANES * LANES;

/// Roots for one prime, degree and direction.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// Node `2^d + b` of depth d, for depths whose blocks are longer than 16 words.
    pub heads: Vec<Factor>,
    /// For each tile, 15 nodes of 16 lanes: depths 0 to 3 within a block; values, then quotients.
    pub tiles: Vec<u32>,
}
