//! A ring on the device: its constants, kernels, and what goes in and out.

use std::sync::Arc;

use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use heman_core::ckks::gpu::{GpuRing, coefficient_bytes, parts, words};
use heman_core::ckks::ops::{Constant, Position, Product, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::plan::activation::FormKind;
use heman_core::ckks::plan::width::Width;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::coefficients::Coefficients;
use heman_core::ckks::ring::constants::{Places, constants};
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::State;
use heman_core::ckks::ring::plaintext::Plaintext;
use heman_kernels::wgsl::{
    RNS_INNER_PRODUCT, RNS_LOG2_BLOCK, RNS_MASKS, RNS_MATRIX, RNS_PERMUTE, RNS_TENSOR, RNS_TRANSFORM, RNS_WORDS,
    rns_constants,
};

use crate::ckks::{WgpuCiphertext, WgpuCoefficients, WgpuGaloisKey, WgpuMap, WgpuPlaintext, WgpuSwitchKey};
use crate::context::{Context, Table};
use crate::device::WgpuBackend;
use crate::pipelines::Kernel;

/// log2 of the largest degree.
const MOST_LOG2_DEGREE: u32 = 16;
/// A ring on one adapter.
pub struct WgpuRing {
    pub(super) context: Arc<Context>,
    pub(super) ring: Ring,
    pub(super) table: Table,
    pub(super) places: Places,
    pub(super) kernels: Kernels,
}

/// All kernels of CKKS.
pub(super) struct Kernels {
    pub forward: Arc<Kernel>,
    pub forward_columns: Arc<Kernel>,
    pub inverse: Arc<Kernel>,
    pub inverse_columns: Arc<Kernel>,
    pub words: Arc<Kernel>,
    pub tensor: Arc<Kernel>,
    pub inner_product: Arc<Kernel>,
    pub matrix: Arc<Kernel>,
    pub permute: Arc<Kernel>,
    pub masks: Arc<Kernel>,
}

impl Kernels {
    fn new(context: &Context) -> Result<Self, CkksError> {
        const STEP: &str = "loading kernels";
        let kernel = |shader, entry| context.pipelines.kernel(STEP, shader, &[], entry);
        let transforms = context.pipelines.kernels(STEP, &RNS_TRANSFORM, &rns_constants(), RNS_TRANSFORM.entries)?;
        Ok(Self {
            forward: transforms[0].clone(),
            forward_columns: transforms[1].clone(),
            inverse: transforms[2].clone(),
            inverse_columns: transforms[3].clone(),
            words: kernel(&RNS_WORDS, "rns_words")?,
            tensor: kernel(&RNS_TENSOR, "rns_tensor")?,
            inner_product: kernel(&RNS_INNER_PRODUCT, "rns_inner_product")?,
            matrix: kernel(&RNS_MATRIX, "rns_matrix")?,
            permute: kernel(&RNS_PERMUTE, "rns_permute")?,
            masks: kernel(&RNS_MASKS, "rns_masks")?,
        })
    }
}

impl RnsDevice for WgpuBackend {
    type Ring = WgpuRing;

    fn ring(&self, params: &ParameterSet, _occupancy: Occupancy) -> Result<WgpuRing, CkksError> {
        if !(RNS_LOG2_BLOCK..=MOST_LOG2_DEGREE).contains(&params.log2_degree) {
            return Err(CkksError::Plan(format!(
                "{} takes rings of 2^{RNS_LOG2_BLOCK} to 2^{MOST_LOG2_DEGREE}, and these parameters have 2^{}; the CPU \
                 takes every ring",
                self.context.name, params.log2_degree
            )));
        }
        self.measure()?;
        let ring = Ring::new(params.clone()).map_err(CkksError::Plan)?;
        let (table, places) = constants(&ring);
        let table = self.context.table("loading constants", &table)?;
        let kernels = Kernels::new(&self.context)?;
        Ok(WgpuRing { context: self.context.clone(), ring, table, places, kernels })
    }
}

impl WgpuRing {
    pub(super) fn log2_degree(&self) -> u32 {
        self.ring.params.log2_degree
    }

    /// Workgroups that take a word of a limb each thread.
    pub(super) fn limb_groups(&self) -> usize {
        self.degree() / 256
    }

    fn send(&self, ciphertext: &Ciphertext) -> Result<WgpuCiphertext, CkksError> {
        const STEP: &str = "upload";
        let [body, mask] = &ciphertext.parts;
        let sent = self.ciphertext(STEP, body.len() / self.degree(), ciphertext.scale)?;
        self.context.upload(STEP, body, sent.block(), 0)?;
        self.context.upload(STEP, mask, sent.block(), body.len())?;
        Ok(sent)
    }
}

impl RnsOps for WgpuRing {
    type Ciphertext = WgpuCiphertext;
    type Plaintext = WgpuPlaintext;
    type Coefficients = WgpuCoefficients;
    type Map = WgpuMap;
    type SwitchKey = WgpuSwitchKey;
    type GaloisKey = WgpuGaloisKey;

    fn host(&self) -> &Ring {
        &self.ring
    }

    fn width(&self) -> Width {
        self.shares().width(self.params())
    }

    fn upload_seeded(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.fresh(batch, scale)
    }

    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<WgpuCiphertext>, CkksError> {
        batch.iter().map(|ciphertext| self.send(ciphertext)).collect()
    }

    fn download(&self, batch: Vec<WgpuCiphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        let receive = |ciphertext: WgpuCiphertext| {
            let words = ciphertext.limbs() * self.degree();
            let mut parts = [vec![0; words], vec![0; words]];
            for (part, out) in parts.iter_mut().enumerate() {
                let at = part * ciphertext.stored() * self.degree();
                self.context.download("download", ciphertext.block(), at, out)?;
            }
            Ok(Ciphertext { parts, scale: ciphertext.scale() })
        };
        batch.into_iter().map(receive).collect()
    }

    fn sync(&self) -> Result<(), CkksError> {
        Ok(self.context.finish("waiting for the device")?)
    }

    fn load_plaintext(&self, plaintext: Plaintext) -> Result<WgpuPlaintext, CkksError> {
        let scale = plaintext.scale;
        let block = self.context.load("loading a plaintext", &plaintext.into_words())?;
        Ok(WgpuPlaintext::new(self, block, scale))
    }

    fn load_coefficients(&self, coefficients: Coefficients) -> Result<WgpuCoefficients, CkksError> {
        self.integers(&coefficients)
    }

    fn coefficient_bytes(&self, _: usize) -> u64 {
        coefficient_bytes(&self.ring)
    }

    fn plaintexts(&self, batch: &[&WgpuCoefficients], limbs: usize) -> Result<Vec<WgpuPlaintext>, CkksError> {
        self.plaintexts_of(batch, limbs)
    }

    fn load_map(&self, matrix: Matrix) -> Result<WgpuMap, CkksError> {
        let block = self.context.load("loading a matrix", &matrix.words)?;
        Ok(WgpuMap { block, shape: Matrix { words: Vec::new(), ..matrix } })
    }

    fn load_switch_key(&self, key: &SeededSwitchKey) -> Result<WgpuSwitchKey, CkksError> {
        self.switch_key(key)
    }

    fn load_automorphism_key(&self, key: &SeededSwitchKey, element: usize) -> Result<WgpuGaloisKey, CkksError> {
        self.ring.check_element(element)?;
        let order = self.ring.automorphism_order(element);
        Ok(WgpuGaloisKey { order: self.context.load("loading a key", &order)?, key: self.switch_key(key)? })
    }

    fn state(&self, ciphertext: &WgpuCiphertext) -> State {
        ciphertext.state()
    }

    fn add_assign(&self, sums: &mut [WgpuCiphertext], terms: &[&WgpuCiphertext]) -> Result<(), CkksError> {
        words::add_assign(self, sums, terms)
    }

    fn sums(&self, groups: &[Vec<&WgpuCiphertext>]) -> Result<Vec<WgpuCiphertext>, CkksError> {
        words::sums(self, groups)
    }

    fn add_constants(
        &self,
        batch: &mut [WgpuCiphertext],
        constants: &[Constant<'_, WgpuPlaintext>],
    ) -> Result<(), CkksError> {
        words::add_constants(self, batch, constants)
    }

    fn products(
        &self,
        terms: &[&WgpuCiphertext],
        factors: &[Constant<'_, WgpuPlaintext>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        words::products(self, terms, factors)
    }

    fn add_products(
        &self,
        sums: &mut [WgpuCiphertext],
        terms: &[&WgpuCiphertext],
        factors: &[Constant<'_, WgpuPlaintext>],
    ) -> Result<(), CkksError> {
        words::add_products(self, sums, terms, factors)
    }

    fn apply_map(
        &self,
        map: &WgpuMap,
        positions: &[Position<'_, WgpuCiphertext>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.multiply_matrix(map, positions)
    }

    fn inner_products(
        &self,
        inputs: &[WgpuCiphertext],
        sums: &[Vec<(usize, &WgpuPlaintext)>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.multiply_plaintexts(inputs, sums)
    }

    fn multiply(
        &self,
        pairs: &[(&WgpuCiphertext, &WgpuCiphertext)],
        key: &WgpuSwitchKey,
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.multiply_pairs(pairs, key)
    }

    fn tensor(&self, pairs: &[(&WgpuCiphertext, &WgpuCiphertext)]) -> Result<Vec<Product<WgpuCiphertext>>, CkksError> {
        self.tensor_pairs(pairs)
    }

    fn relinearise(
        &self,
        products: Vec<Product<WgpuCiphertext>>,
        key: &WgpuSwitchKey,
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.relinearise_all(&products, key)
    }

    fn rescale(&self, batch: Vec<WgpuCiphertext>) -> Result<Vec<WgpuCiphertext>, CkksError> {
        parts::rescale(self, batch, |same| self.divide_by_last(same))
    }

    fn raise(&self, batch: Vec<WgpuCiphertext>, limbs: usize) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.raise_all(batch, limbs)
    }

    fn activate(
        &self,
        key: &WgpuSwitchKey,
        kind: FormKind,
        u: Vec<WgpuCiphertext>,
        constants: &[Vec<Constant<'_, WgpuPlaintext>>],
    ) -> Result<Vec<WgpuCiphertext>, CkksError> {
        parts::activate(self, key, kind, u, constants)
    }

    fn activate_open(
        &self,
        key: &WgpuSwitchKey,
        kind: FormKind,
        u: Vec<WgpuCiphertext>,
        constants: &[Vec<Constant<'_, WgpuPlaintext>>],
    ) -> Result<Vec<Product<WgpuCiphertext>>, CkksError> {
        parts::activate_open(self, key, kind, u, constants)
    }

    fn drop_to(&self, batch: Vec<WgpuCiphertext>, limbs: usize) -> Result<Vec<WgpuCiphertext>, CkksError> {
        batch.iter().map(|ciphertext| ciphertext.low(limbs)).collect()
    }

    fn rotate(&self, pairs: &[(&WgpuCiphertext, &WgpuGaloisKey)]) -> Result<Vec<WgpuCiphertext>, CkksError> {
        self.rotate_pairs(pairs)
    }

    fn rotate_hoisted(
        &self,
        batch: &[&WgpuCiphertext],
        limbs: usize,
        keys: &[Option<&WgpuGaloisKey>],
    ) -> Result<Vec<Vec<WgpuCiphertext>>, CkksError> {
        batch.iter().map(|ciphertext| self.rotate_by_all(ciphertext, limbs, keys)).collect()
    }

    fn shrink(&self, batch: Vec<WgpuCiphertext>) -> Vec<WgpuCiphertext> {
        words::shrink(self, batch)
    }

    fn release(&self, batch: Vec<WgpuCiphertext>) {
        drop(batch);
    }
}
