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
const BOOTSTRAP: &str = include_str!("../cuda/lwe_bootstrap.cu");

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
    let source = &[HEADERS[0], HEADERS[1], ROOTS, FFT, BOOTSTRAP];
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

/// Every image.
pub const ALL_IMAGES: [Image; 9] = [
    LWE_LINEAR,
    LWE_KEYSWITCH,
    BOOTSTRAP_KEY,
    SEEDED_ROWS,
    LWE_BOOTSTRAP[0],
    LWE_BOOTSTRAP[1],
    LWE_BOOTSTRAP[2],
    LWE_BOOTSTRAP[3],
    LWE_BOOTSTRAP[4],
];
