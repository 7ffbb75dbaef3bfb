//! Parameter blocks: plain words in declaration order, sizes asserted here and in `parameters.cuh`.

use bytemuck::{Pod, Zeroable};

/// Parameters of the batched affine map, stem `lwe_linear`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LweLinearParams {
    /// Words of all inputs of one value.
    pub length: u32,
    /// Words of a row.
    pub row_words: u32,
    /// Tiles of a value's words.
    pub tiles: u32,
}

/// Up to eight kernels at one position of a map's block, or up to 16 with weights of bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LweLinearItem {
    /// Terms of each sum.
    pub terms: u32,
    /// Kernels.
    pub kernels: u32,
    /// First pick; of bytes: counted in fours.
    pub picks: u32,
    /// First weight of `terms x 8`; of bytes: counted in sixteens.
    pub weights: u32,
    /// First target row.
    pub targets: u32,
}

/// Parameters of the batched keyswitch, stem `lwe_keyswitch`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LweKeyswitchParams {
    /// Rows of the batch.
    pub rows: u32,
    /// Mask words of an input row, k N.
    pub input_dimension: u32,
    /// Mask words of an output row, n.
    pub output_dimension: u32,
    /// log2 of the decomposition base.
    pub base_log: u32,
    /// Decomposition levels.
    pub level: u32,
}

/// Parameters of the batched bootstrap, stem `lwe_bootstrap`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct LweBootstrapParams {
    /// Rows of the batch.
    pub rows: u32,
    /// Inputs a value: rows of one value share table and place.
    pub inputs: u32,
    /// Mask words of an input row, n.
    pub lwe_dimension: u32,
    /// log2 of the decomposition base.
    pub base_log: u32,
    /// Decomposition levels.
    pub level: u32,
    /// Ciphertexts that one block rotates together.
    pub ciphertexts: u32,
    /// Half a base at every place below the highest.
    pub digit_offset: u32,
    /// Bits of the key that a step takes, g.
    pub grouping: u32,
}

/// Parameters of the transform of a bootstrapping key, stem `bootstrap_key`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct BootstrapKeyParams {
    /// log2 of N / 2.
    pub log2_points: u32,
}

/// Parameters of the expansion of seeded keys, stem `seeded_rows`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct SeededRowsParams {
    /// Rows of one launch.
    pub rows: u32,
    /// 32-bit words of a row's mask.
    pub mask_words: u32,
    /// 32-bit words of a row's body.
    pub body_words: u32,
    /// Number of the first row.
    pub first_row: u32,
    /// Words from a row of the result to the next.
    pub stride: u32,
    /// The seed.
    pub seed: [u32; 4],
}

/// Parameters of transforms of residues, stem `rns_transform`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsTransformParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
    /// log2 of N over the words that a workgroup transforms.
    pub log2_blocks: u32,
    /// Index of the first prime's roots.
    pub roots: u32,
}

/// Parameters of steps word by word, stem `rns_words`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsWordsParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
    /// log2 N.
    pub log2_degree: u32,
    /// What is computed.
    pub operation: u32,
}

/// Parameters of products of ciphertexts, stem `rns_tensor`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsTensorParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
    /// log2 N.
    pub log2_degree: u32,
}

/// Parameters of sums of products, stem `rns_inner_product`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsInnerProductParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
    /// log2 N.
    pub log2_degree: u32,
    /// Index of the first limb's prime.
    pub first_prime: u32,
    /// Whether sums are added to what is there.
    pub adds: u32,
}

/// Parameters of matrices of residues, stem `rns_matrix`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsMatrixParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
    /// log2 N.
    pub log2_degree: u32,
    /// Address of the matrix, `[limb][kernel][term]`.
    pub matrix: u32,
    /// Rows of the matrix.
    pub kernels: u32,
    /// Terms of each row.
    pub terms: u32,
    /// First term of the launch.
    pub first: u32,
    /// End of its terms.
    pub end: u32,
}

/// Parameters of automorphisms, stem `rns_permute`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsPermuteParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
    /// log2 N.
    pub log2_degree: u32,
}

/// Parameters of masks made from seeds, stem `rns_masks`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsMasksParams {
    /// Word of the arguments where the items begin.
    pub items: u32,
}

/// Parameters of CUDA's kernels of CKKS, stems `rns_*`: what all items of a launch share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsLaunchParams {
    /// Arguments of an item.
    pub arguments: u32,
    /// log2 N.
    pub log2_degree: u32,
    /// log2 of N over the words that a block transforms.
    pub log2_blocks: u32,
    /// Index of the first prime's roots.
    pub roots: u32,
    /// From a prime's roots to the next one's.
    pub prime_roots: u32,
    /// Limbs of the polynomials, without special ones.
    pub limbs: u32,
    /// Primes of Q: the special ones' numbers begin here.
    pub all_limbs: u32,
    /// Primes of P.
    pub special: u32,
    /// What is computed, where there is a choice.
    pub operation: u32,
}

/// Arguments of a launch at the most: with everything else they are below the 4 KiB that every driver takes.
pub const RNS_ARGUMENTS: usize = 480;

/// Addresses and numbers of a launch's items, so many each as [`RnsLaunchParams::arguments`] says.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct RnsArguments {
    /// The items' arguments, one item behind the other.
    pub words: [u64; RNS_ARGUMENTS],
}

impl Default for RnsArguments {
    fn default() -> Self {
        Self { words: [0; RNS_ARGUMENTS] }
    }
}

/// One limb on the way down, see `parameters.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsDown {
    /// Number of the prime in QP.
    pub prime: u32,
    /// Polynomials that are converted.
    pub sources: u32,
    /// Place of the first.
    pub source: u32,
    /// Index of the conversion's constants.
    pub conversion: u32,
    /// Place of words between two launches.
    pub between: u32,
    /// Place of the result.
    pub target: u32,
    /// Place of what values are subtracted from.
    pub kept: u32,
    /// Index of the difference's factor, [`RNS_NOWHERE`] for values as they are.
    pub factor: u32,
    /// Place of what is added, or [`RNS_NOWHERE`].
    pub addend: u32,
    /// Index of its own factor, or [`RNS_NOWHERE`].
    pub addend_factor: u32,
    /// Place of the order of values, or [`RNS_NOWHERE`].
    pub order: u32,
}

/// One limb on the way up, see `parameters.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsUp {
    /// Number of the prime in QP.
    pub prime: u32,
    /// Place of the values.
    pub source: u32,
    /// Place of the coefficients.
    pub target: u32,
    /// Index of their factor.
    pub factor: u32,
    /// What is added to them.
    pub offset: u32,
}

/// The key that masks are hashed with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RnsContextKey {
    /// Its words.
    pub words: [u32; 8],
}

/// No place, no factor.
pub const RNS_NOWHERE: u32 = u32::MAX;

const _: () = assert!(size_of::<RnsLaunchParams>() == 36);
const _: () = assert!(size_of::<RnsDown>() == 44);
const _: () = assert!(size_of::<RnsUp>() == 20);
const _: () = assert!(size_of::<RnsContextKey>() == 32);
const _: () = assert!(size_of::<SeededRowsParams>() == 36);
const _: () = assert!(size_of::<BootstrapKeyParams>() == 4);
const _: () = assert!(size_of::<LweLinearParams>() == 12);
const _: () = assert!(size_of::<LweLinearItem>() == 20);
const _: () = assert!(size_of::<LweKeyswitchParams>() == 20);
const _: () = assert!(size_of::<LweBootstrapParams>() == 32);
