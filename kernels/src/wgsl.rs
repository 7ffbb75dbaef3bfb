//! WGSL sources for devices of any make, put together from parts.
//!
//! All kernels see the same memory (`kernels/wgsl/memory.wgsl`) and take a parameter block of plain words, which is the
//! first thing of the block that CUDA's kernel of the same stem takes wherever there is one.

/// How 32-bit words are multiplied to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WideProducts {
    /// From products of half words: every adapter can.
    HalfWords,
    /// By 64-bit integers, where an adapter has them.
    Words64,
}

/// What a source makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// How words are multiplied.
    pub wide: WideProducts,
    /// Whether sums of a workgroup are those of its subgroups first.
    pub subgroups: bool,
}

impl Variant {
    /// All that there are.
    pub const ALL: [Self; 4] = [
        Self { wide: WideProducts::HalfWords, subgroups: false },
        Self { wide: WideProducts::HalfWords, subgroups: true },
        Self { wide: WideProducts::Words64, subgroups: false },
        Self { wide: WideProducts::Words64, subgroups: true },
    ];
}

/// One WGSL source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shader {
    /// Stem of the source.
    pub name: &'static str,
    /// Names of its kernels.
    pub entries: &'static [&'static str],
    /// Whether it transforms polynomials.
    transforms: bool,
    /// Whether it sums over a workgroup.
    sums: bool,
    text: &'static str,
}

const MEMORY: &str = include_str!("../wgsl/memory.wgsl");
const WIDE_U32: &str = include_str!("../wgsl/wide_u32.wgsl");
const WIDE_U64: &str = include_str!("../wgsl/wide_u64.wgsl");
const SUMS_ATOMIC: &str = include_str!("../wgsl/sums_atomic.wgsl");
const SUMS_SUBGROUP: &str = include_str!("../wgsl/sums_subgroup.wgsl");
const RESIDUES: &str = include_str!("../wgsl/residues.wgsl");
const TRANSFORM: &str = include_str!("../wgsl/transform.wgsl");

impl Shader {
    const fn new(name: &'static str, entries: &'static [&'static str], transforms: bool, text: &'static str) -> Self {
        Self { name, entries, transforms, sums: false, text }
    }

    /// The whole source, with the constants that it is made for.
    #[must_use]
    pub fn text(&self, variant: Variant, constants: &[(&str, u32)]) -> String {
        let mut text = String::new();
        for (name, value) in constants {
            text += &format!("const {name}: u32 = {value}u;\n");
        }
        let wide = match variant.wide {
            WideProducts::HalfWords => WIDE_U32,
            WideProducts::Words64 => WIDE_U64,
        };
        let transform = if self.transforms { TRANSFORM } else { "" };
        let sums = match (self.sums, variant.subgroups) {
            (false, _) => "",
            (true, false) => SUMS_ATOMIC,
            (true, true) => SUMS_SUBGROUP,
        };
        for part in [MEMORY, wide, RESIDUES, transform, sums, self.text] {
            text += part;
        }
        text
    }
}

/// log2 of the words that one workgroup transforms in CKKS's rings.
pub const RNS_LOG2_BLOCK: u32 = 12;
/// Rows of a matrix that share a word.
pub const RNS_MATRIX_ROWS: usize = 8;

/// Affine maps of TFHE.
pub const LWE_LINEAR: Shader =
    Shader::new("lwe_linear", &["lwe_linear", "lwe_linear_bytes"], false, include_str!("../wgsl/lwe_linear.wgsl"));
/// Keyswitch.
pub const LWE_KEYSWITCH: Shader = Shader::new(
    "lwe_keyswitch",
    &["lwe_keyswitch", "lwe_keyswitch_bytes"],
    false,
    include_str!("../wgsl/lwe_keyswitch.wgsl"),
);
/// Bootstrap and its key, for [`RotationShape::constants`].
pub const LWE_BOOTSTRAP: Shader = Shader {
    name: "lwe_bootstrap",
    entries: &["lwe_modulus_switch", "lwe_rotate", "lwe_extract", "bootstrap_key"],
    transforms: true,
    sums: true,
    text: include_str!("../wgsl/lwe_bootstrap.wgsl"),
};

/// All sources of TFHE.
pub const LWE_SHADERS: [Shader; 3] = [LWE_LINEAR, LWE_KEYSWITCH, LWE_BOOTSTRAP];

/// How [`LWE_BOOTSTRAP`] divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationShape {
    /// log2 N.
    pub log2_size: u32,
    /// k + 1.
    pub columns: usize,
    /// Polynomials that a workgroup transforms together.
    pub polynomials: usize,
}

impl RotationShape {
    /// Words of polynomials in workgroup memory at the most: 16 KiB, what every adapter has.
    const MOST_WORDS: usize = 4096;

    /// The shape of a ring: as many columns together as fit, in batches of nearly equal size.
    #[must_use]
    pub fn new(polynomial_size: usize, glwe_dimension: usize) -> Self {
        let columns = glwe_dimension + 1;
        let batches = columns.div_ceil(Self::MOST_WORDS / polynomial_size);
        let polynomials = columns.div_ceil(batches);
        Self { log2_size: polynomial_size.trailing_zeros(), columns, polynomials }
    }

    /// What the source is made for.
    #[must_use]
    pub fn constants(&self) -> [(&'static str, u32); 4] {
        let polynomials = self.polynomials as u32;
        [
            ("LOG2_BLOCK", self.log2_size),
            ("COLUMNS", self.columns as u32),
            ("POLYNOMIALS", polynomials),
            ("SHARED_WORDS", polynomials << self.log2_size),
        ]
    }
}

/// Transforms of CKKS, for [`rns_constants`].
pub const RNS_TRANSFORM: Shader = Shader::new(
    "rns_transform",
    &["rns_forward", "rns_forward_columns", "rns_inverse", "rns_inverse_columns"],
    true,
    include_str!("../wgsl/rns_transform.wgsl"),
);
/// Steps word by word.
pub const RNS_WORDS: Shader = Shader::new("rns_words", &["rns_words"], false, include_str!("../wgsl/rns_words.wgsl"));
/// Products of ciphertexts.
pub const RNS_TENSOR: Shader =
    Shader::new("rns_tensor", &["rns_tensor"], false, include_str!("../wgsl/rns_tensor.wgsl"));
/// Sums of products.
pub const RNS_INNER_PRODUCT: Shader =
    Shader::new("rns_inner_product", &["rns_inner_product"], false, include_str!("../wgsl/rns_inner_product.wgsl"));
/// Matrices of residues.
pub const RNS_MATRIX: Shader =
    Shader::new("rns_matrix", &["rns_matrix"], false, include_str!("../wgsl/rns_matrix.wgsl"));
/// Automorphisms.
pub const RNS_PERMUTE: Shader =
    Shader::new("rns_permute", &["rns_permute"], false, include_str!("../wgsl/rns_permute.wgsl"));

/// Masks from their seeds.
pub const RNS_MASKS: Shader = Shader::new("rns_masks", &["rns_masks"], false, include_str!("../wgsl/rns_masks.wgsl"));

/// All sources of CKKS.
pub const RNS_SHADERS: [Shader; 7] =
    [RNS_TRANSFORM, RNS_WORDS, RNS_TENSOR, RNS_INNER_PRODUCT, RNS_MATRIX, RNS_PERMUTE, RNS_MASKS];

/// What [`RNS_TRANSFORM`] is made for.
#[must_use]
pub fn rns_constants() -> [(&'static str, u32); 2] {
    [("LOG2_BLOCK", RNS_LOG2_BLOCK), ("SHARED_WORDS", 1 << RNS_LOG2_BLOCK)]
}
