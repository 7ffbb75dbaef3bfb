//! What `kernels/compile` makes of the sources, and the sources themselves for devices that no image fits.

/// One compiled source, for every architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Stem of the source.
    pub name: &'static str,
    /// The fat binary.
    pub bytes: &'static [u8],
    /// The source with its headers, one text.
    pub source: &'static [&'static str],
    /// log2 N, which the source takes as `HEMAN_LOG2_N`.
    pub log2_polynomial_size: Option<u32>,
}

const HEADERS: [&str; 2] = [include_str!("../cuda/heman.cuh"), include_str!("../cuda/parameters.cuh")];
const TENSOR_CORES: &str = include_str!("../cuda/tensor_cores.cuh");
const ROOTS: &str = include_str!("../cuda/negacyclic_roots.cuh");
const FFT: &str = include_str!("../cuda/negacyclic_fft.cuh");
const ROTATION: &str = include_str!("../cuda/blind_rotation.cuh");
const BOOTSTRAP: &str = include_str!("../cuda/lwe_bootstrap.cu");
const BOOTSTRAP_EXACT: &str = include_str!("../cuda/lwe_bootstrap_exact.cu");

/// Affine maps.
pub const LWE_LINEAR: Image = Image {
    name: "lwe_linear",
    bytes: include_bytes!("../images/lwe_linear.fatbin"),
    source: &[HEADERS[0], HEADERS[1], TENSOR_CORES, include_str!("../cuda/lwe_linear.cu")],
    log2_polynomial_size: None,
};

/// Keyswitch, and the order of its key.
pub const LWE_KEYSWITCH: Image = Image {
    name: "lwe_keyswitch",
    bytes: include_bytes!("../images/lwe_keyswitch.fatbin"),
    source: &[HEADERS[0], HEADERS[1], TENSOR_CORES, include_str!("../cuda/lwe_keyswitch.cu")],
    log2_polynomial_size: None,
};

/// The bootstrapping key's transform.
pub const BOOTSTRAP_KEY: Image = Image {
    name: "bootstrap_key",
    bytes: include_bytes!("../images/bootstrap_key.fatbin"),
    source: &[HEADERS[0], HEADERS[1], include_str!("../cuda/bootstrap_key.cu")],
    log2_polynomial_size: None,
};

/// Keys from their seeds.
pub const SEEDED_ROWS: Image = Image {
    name: "seeded_rows",
    bytes: include_bytes!("../images/seeded_rows.fatbin"),
    source: &[HEADERS[0], HEADERS[1], include_str!("../cuda/seeded_rows.cu")],
    log2_polynomial_size: None,
};

const fn bootstrap(name: &'static str, bytes: &'static [u8], log2: u32) -> Image {
    let source = &[HEADERS[0], HEADERS[1], ROTATION, ROOTS, FFT, BOOTSTRAP];
    Image { name, bytes, source, log2_polynomial_size: Some(log2) }
}

/// Bootstrap, one image for each N.
pub const LWE_BOOTSTRAP: [Image; 5] = [
    bootstrap("lwe_bootstrap_256", include_bytes!("../images/lwe_bootstrap_256.fatbin"), 8),
    bootstrap("lwe_bootstrap_512", include_bytes!("../images/lwe_bootstrap_512.fatbin"), 9),
    bootstrap("lwe_bootstrap_1024", include_bytes!("../images/lwe_bootstrap_1024.fatbin"), 10),
    bootstrap("lwe_bootstrap_2048", include_bytes!("../images/lwe_bootstrap_2048.fatbin"), 11),
    bootstrap("lwe_bootstrap_4096", include_bytes!("../images/lwe_bootstrap_4096.fatbin"), 12),
];

const RESIDUES: &str = include_str!("../cuda/residues.cuh");
const RESIDUE_TRANSFORM: &str = include_str!("../cuda/residue_transform.cuh");
const RNS_ARGUMENTS: &str = include_str!("../cuda/rns_arguments.cuh");
const RNS_CONVERSION: &str = include_str!("../cuda/rns_conversion.cuh");

const fn rns_transform(name: &'static str, bytes: &'static [u8], log2: u32) -> Image {
    let source = &[
        HEADERS[0],
        HEADERS[1],
        RESIDUES,
        RESIDUE_TRANSFORM,
        RNS_ARGUMENTS,
        RNS_CONVERSION,
        include_str!("../cuda/rns_transform.cu"),
    ];
    Image { name, bytes, source, log2_polynomial_size: Some(log2) }
}

/// Transforms of CKKS, one image for each number of words that a block transforms, 2^12 first.
pub const RNS_TRANSFORM: [Image; 3] = [
    rns_transform("rns_transform_4096", include_bytes!("../images/rns_transform_4096.fatbin"), 12),
    rns_transform("rns_transform_8192", include_bytes!("../images/rns_transform_8192.fatbin"), 13),
    rns_transform("rns_transform_16384", include_bytes!("../images/rns_transform_16384.fatbin"), 14),
];

/// First depths of transforms of larger degrees.
pub const RNS_COLUMNS: Image = Image {
    name: "rns_columns",
    bytes: include_bytes!("../images/rns_columns.fatbin"),
    source: &[HEADERS[0], HEADERS[1], RESIDUES, RNS_ARGUMENTS, RNS_CONVERSION, include_str!("../cuda/rns_columns.cu")],
    log2_polynomial_size: None,
};

/// Steps word by word.
pub const RNS_WORDS: Image = Image {
    name: "rns_words",
    bytes: include_bytes!("../images/rns_words.fatbin"),
    source: &[HEADERS[0], HEADERS[1], RESIDUES, RNS_ARGUMENTS, include_str!("../cuda/rns_words.cu")],
    log2_polynomial_size: None,
};

/// Matrices of residues.
pub const RNS_MATRIX: Image = Image {
    name: "rns_matrix",
    bytes: include_bytes!("../images/rns_matrix.fatbin"),
    source: &[HEADERS[0], HEADERS[1], RESIDUES, RNS_ARGUMENTS, include_str!("../cuda/rns_matrix.cu")],
    log2_polynomial_size: None,
};

/// Masks from their seeds.
pub const RNS_MASKS: Image = Image {
    name: "rns_masks",
    bytes: include_bytes!("../images/rns_masks.fatbin"),
    source: &[HEADERS[0], HEADERS[1], RESIDUES, RNS_ARGUMENTS, include_str!("../cuda/rns_masks.cu")],
    log2_polynomial_size: None,
};

const fn exact(name: &'static str, bytes: &'static [u8], log2: u32) -> Image {
    let source = &[HEADERS[0], HEADERS[1], ROTATION, RESIDUES, RESIDUE_TRANSFORM, BOOTSTRAP_EXACT];
    Image { name, bytes, source, log2_polynomial_size: Some(log2) }
}

/// Bootstrap by exact transforms, one image for each N.
pub const LWE_BOOTSTRAP_EXACT: [Image; 5] = [
    exact("lwe_bootstrap_exact_256", include_bytes!("../images/lwe_bootstrap_exact_256.fatbin"), 8),
    exact("lwe_bootstrap_exact_512", include_bytes!("../images/lwe_bootstrap_exact_512.fatbin"), 9),
    exact("lwe_bootstrap_exact_1024", include_bytes!("../images/lwe_bootstrap_exact_1024.fatbin"), 10),
    exact("lwe_bootstrap_exact_2048", include_bytes!("../images/lwe_bootstrap_exact_2048.fatbin"), 11),
    exact("lwe_bootstrap_exact_4096", include_bytes!("../images/lwe_bootstrap_exact_4096.fatbin"), 12),
];

/// Every image.
pub const ALL_IMAGES: [Image; 21] = [
    LWE_LINEAR,
    LWE_KEYSWITCH,
    BOOTSTRAP_KEY,
    SEEDED_ROWS,
    LWE_BOOTSTRAP[0],
    LWE_BOOTSTRAP[1],
    LWE_BOOTSTRAP[2],
    LWE_BOOTSTRAP[3],
    LWE_BOOTSTRAP[4],
    RNS_TRANSFORM[0],
    RNS_TRANSFORM[1],
    RNS_TRANSFORM[2],
    RNS_COLUMNS,
    RNS_WORDS,
    RNS_MATRIX,
    RNS_MASKS,
    LWE_BOOTSTRAP_EXACT[0],
    LWE_BOOTSTRAP_EXACT[1],
    LWE_BOOTSTRAP_EXACT[2],
    LWE_BOOTSTRAP_EXACT[3],
    LWE_BOOTSTRAP_EXACT[4],
];
