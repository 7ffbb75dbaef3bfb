//! A ring on the device: its constants, kernels, and what goes in and out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaFunction, CudaSlice, DevicePtr};
use heman_core::ckks::error::CkksError;
use heman_core::ckks::files::seeded::{SeededCiphertext, SeededSwitchKey};
use heman_core::ckks::gpu::{GpuRing, coefficient_bytes, parts, words};
use heman_core::ckks::ops::{Constant, Position, Product, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::plan::activation::FormKind;
use heman_core::ckks::plan::width::Width;
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::coefficients::Coefficients;
use heman_core::ckks::ring::constants::{Places, constants};
use heman_core::ckks::ring::context::Ring;
use heman_core::ckks::ring::matrix::Matrix;
use heman_core::ckks::ring::number::State;
use heman_core::ckks::ring::plaintext::Plaintext;
use heman_core::device::Device;
use heman_core::device::error::BackendError;
use heman_kernels::{Image, RNS_COLUMNS, RNS_MASKS, RNS_MATRIX, RNS_TRANSFORM, RNS_WORDS};

use crate::ckks::lists::{List, Records};
use crate::ckks::tables::{DividedTwice, block_roots};
use crate::ckks::{Block, CudaCiphertext, CudaCoefficients, CudaGaloisKey, CudaMap, CudaPlaintext, CudaSwitchKey};
use crate::device::CudaBackend;
use crate::uploads::Uploads;

/// log2 of the smallest and of the largest degree.
const LOG2_DEGREES: [u32; 2] = [12, 16];
/// log2 of the words that a block transforms where the device's shared memory does not hold a polynomial.
const LOG2_SMALL_BLOCK: u32 = 12;
/// log2 of the smallest degree that goes in parts where there are a few polynomials; where there are many, of the next.
/// By times on an H200 (`benches/RESULTS.md`).
const LOG2_PARTS: u32 = 14;
/// log2 of the most words of a block.
const LOG2_LARGEST_BLOCK: u32 = 14;
/// Bytes that the driver takes over from any memory before the device is done with what is queued.
///
/// Source: CUDA C++ programming guide, concurrent execution between host and device.
const TAKEN_OVER_BYTES: usize = 64 << 10;

/// Shared memory of a block that transforms `2^log2_block` words: each 32 have one word more, so that no bank is met
/// twice.
pub(super) fn block_shared_bytes(log2_block: u32) -> usize {
    let words = 1 << log2_block;
    4 * (words + words / 32)
}

/// A ring on one device.
pub struct CudaRing {
    pub(super) backend: CudaBackend,
    pub(super) ring: Ring,
    /// Pairs of words, see [`constants`].
    pub(super) table: CudaSlice<u32>,
    pub(super) places: Places,
    pub(super) divided_twice: DividedTwice,
    pub(super) kernels: Kernels,
    pub(super) uploads: Uploads,
    pub(super) records: Mutex<HashMap<(List, usize), Arc<Records>>>,
    /// log2 of the words that a block transforms.
    pub(super) log2_block: u32,
    /// From a prime's roots to the next one's, both on the way down and up.
    pub(super) prime_roots: u32,
    /// Bytes that were free when the ring was made.
    reach_bytes: u64,
}

/// All kernels of CKKS for one size of block.
pub(super) struct Kernels {
    pub forward: CudaFunction,
    pub inverse: CudaFunction,
    /// Where a block holds a polynomial.
    pub switch: Option<CudaFunction>,
    pub forward_columns: CudaFunction,
    pub inverse_columns: CudaFunction,
    pub words: CudaFunction,
    pub tensor: CudaFunction,
    pub key_products: CudaFunction,
    pub inner_products: CudaFunction,
    pub permute: CudaFunction,
    /// For 8 and 16 rows.
    pub matrix: [CudaFunction; 2],
    pub masks: CudaFunction,
}

impl Kernels {
    fn new(backend: &CudaBackend, log2_block: u32, (kind, log2_degree): (RingKind, u32)) -> Result<Self, BackendError> {
        let load = |image: &Image, name: &str, shared| backend.function("loading kernels", image, name, shared);
        let of_block = |stem: &str| {
            let image = &RNS_TRANSFORM[(log2_block - LOG2_SMALL_BLOCK) as usize];
            load(image, &format!("rns_{stem}_{}", 1 << log2_block), block_shared_bytes(log2_block))
        };
        let inverse_columns = match kind {
            RingKind::Complex => "rns_inverse_columns",
            RingKind::Real => "rns_inverse_columns_real",
        };
        Ok(Self {
            forward: of_block("forward")?,
            inverse: of_block("inverse")?,
            switch: if log2_block == log2_degree { Some(of_block("switch")?) } else { None },
            forward_columns: load(&RNS_COLUMNS, "rns_forward_columns", 0)?,
            inverse_columns: load(&RNS_COLUMNS, inverse_columns, 0)?,
            words: load(&RNS_WORDS, "rns_words", 0)?,
            tensor: load(&RNS_WORDS, "rns_tensor", 0)?,
            key_products: load(&RNS_WORDS, "rns_key_products", 0)?,
            inner_products: load(&RNS_WORDS, "rns_inner_products", 0)?,
            permute: load(&RNS_WORDS, "rns_permute", 0)?,
            matrix: [load(&RNS_MATRIX, "rns_matrix_8", 0)?, load(&RNS_MATRIX, "rns_matrix_16", 0)?],
            masks: load(&RNS_MASKS, "rns_masks", 0)?,
        })
    }
}

impl RnsDevice for CudaBackend {
    type Ring = CudaRing;

    fn ring(&self, params: &ParameterSet, occupancy: Occupancy) -> Result<CudaRing, CkksError> {
        let [least, most] = LOG2_DEGREES;
        if !(least..=most).contains(&params.log2_degree) {
            return Err(CkksError::Plan(format!(
                "{} takes rings of 2^{least} to 2^{most}, and these parameters have 2^{}; the CPU takes every ring",
                self.name(),
                params.log2_degree
            )));
        }
        let ring = Ring::new(params.clone()).map_err(CkksError::Plan)?;
        let key_limbs = ring.key_limbs();
        let fits =
            params.log2_degree <= LOG2_LARGEST_BLOCK && block_shared_bytes(params.log2_degree) <= self.shared_bytes();
        // A few polynomials fill a device only in parts; of large ones a multiprocessor holds one, which leaves it idle
        // while words come and go. The smallest are faster whole.
        let gains_whole = params.log2_degree < LOG2_PARTS + u32::from(occupancy == Occupancy::Many);
        let whole = self.forced_whole().unwrap_or(gains_whole);
        let log2_block = if fits && whole { params.log2_degree } else { LOG2_SMALL_BLOCK };
        let (mut table, mut places) = constants(&ring);
        let by_node = table.split_off(places.down as usize);
        let by_thread: Vec<_> =
            by_node.chunks_exact(ring.degree()).flat_map(|tree| block_roots(tree, log2_block)).collect();
        places.up = places.down + (by_thread.len() / 2) as u32;
        table.extend(&by_thread);
        let divided_twice = DividedTwice::new(&ring, &places, &mut table);
        let table = self.load("loading constants", table.as_flattened())?;
        Ok(CudaRing {
            kernels: Kernels::new(self, log2_block, (params.ring, params.log2_degree))?,
            reach_bytes: self.free_bytes()?,
            uploads: Uploads::new(&self.stream).map_err(|error| self.error("loading constants", error, 0))?,
            backend: self.handle(),
            ring,
            table,
            places,
            divided_twice,
            records: Mutex::default(),
            log2_block,
            prime_roots: (by_thread.len() / (2 * key_limbs)) as u32,
        })
    }
}

impl CudaRing {
    pub(super) fn log2_degree(&self) -> u32 {
        self.ring.params.log2_degree
    }

    /// Primes of P.
    pub(super) fn special(&self) -> usize {
        self.ring.params.special_primes.len()
    }

    /// Bytes that were free when the ring was made.
    #[must_use]
    pub fn reach_bytes(&self) -> u64 {
        self.reach_bytes
    }

    pub(super) fn block(&self, slice: CudaSlice<u32>) -> Block {
        let address = slice.device_ptr(&self.backend.stream).0;
        Block { slice, address }
    }

    pub(super) fn load(&self, step: &'static str, words: &[u32]) -> Result<Block, CkksError> {
        Ok(self.block(self.backend.load(step, words)?))
    }

    /// A list of addresses on the device, freed behind the launches that were queued before. The host waits for
    /// nothing: the driver takes over what is short, and what is long is sent beside the kernels.
    pub(super) fn list(&self, step: &'static str, addresses: &[u64]) -> Result<Block, CkksError> {
        let words: &[u32] = bytemuck::cast_slice(addresses);
        if size_of_val(addresses) <= TAKEN_OVER_BYTES {
            return self.load(step, words);
        }
        let list = self.room(step, words.len())?;
        self.send_all(step, &[(words, list.address)])?;
        Ok(list)
    }

    /// Room for words that [`CudaRing::send_all`] writes to.
    pub(super) fn room(&self, step: &'static str, words: usize) -> Result<Block, CkksError> {
        let room = || self.uploads.room(&self.backend.stream, words);
        let slice = room().or_else(|error| self.backend.again(error, room));
        Ok(self.block(slice.map_err(|error| self.backend.error(step, error, 4 * words))?))
    }

    /// Sends words to addresses in blocks that came from [`CudaRing::room`] and are as long, beside the kernels; those
    /// that are queued from now on find them there.
    pub(super) fn send_all(&self, step: &'static str, parts: &[(&[u32], u64)]) -> Result<(), CkksError> {
        // SAFETY: the blocks are as long as that.
        let sent = unsafe { self.uploads.send(parts) };
        // Also where one failed: the others are still on their way to memory that is about to be freed.
        let joined = self.uploads.join(&self.backend.stream);
        Ok(sent.and(joined).map_err(|error| self.backend.error(step, error, 0))?)
    }

    /// Copies words to a block, from its polynomial `at` on.
    pub(super) fn copy(
        &self,
        step: &'static str,
        words: &[u32],
        block: &mut Block,
        at: usize,
    ) -> Result<(), CkksError> {
        let first = at * self.degree();
        let mut target = block.slice.slice_mut(first..first + words.len());
        let copied = self.backend.stream.memcpy_htod(words, &mut target);
        Ok(copied.map_err(|error| self.backend.error(step, error, 0))?)
    }

    fn send(&self, ciphertext: &Ciphertext) -> Result<CudaCiphertext, CkksError> {
        const STEP: &str = "upload";
        let [body, mask] = &ciphertext.parts;
        let limbs = body.len() / self.degree();
        if body.len() != limbs * self.degree() || mask.len() != body.len() {
            return Err(CkksError::Residues);
        }
        let mut block = self.reserve(STEP, 2 * limbs)?;
        self.copy(STEP, body, &mut block, 0)?;
        self.copy(STEP, mask, &mut block, limbs)?;
        Ok(CudaCiphertext::new(self, block, ciphertext.scale))
    }

    fn room_on_host(&self, ciphertext: &CudaCiphertext) -> Ciphertext {
        let words = ciphertext.limbs() * self.degree();
        Ciphertext { parts: [vec![0; words], vec![0; words]], scale: ciphertext.scale() }
    }

    /// Queues the copy of a ciphertext to the host; the words are there when the stream has come so far.
    fn receive(&self, ciphertext: &CudaCiphertext, to: &mut Ciphertext) -> Result<(), CkksError> {
        for (part, out) in to.parts.iter_mut().enumerate() {
            let first = part * ciphertext.stored() * self.degree();
            let source = ciphertext.block().slice.slice(first..first + out.len());
            let copied = self.backend.stream.memcpy_dtoh(&source, out);
            copied.map_err(|error| self.backend.error("download", error, 0))?;
        }
        Ok(())
    }
}

impl RnsOps for CudaRing {
    type Ciphertext = CudaCiphertext;
    type Plaintext = CudaPlaintext;
    type Coefficients = CudaCoefficients;
    type Map = CudaMap;
    type SwitchKey = CudaSwitchKey;
    type GaloisKey = CudaGaloisKey;

    fn host(&self) -> &Ring {
        &self.ring
    }

    fn width(&self) -> Width {
        self.shares().width(self.params())
    }

    fn upload_seeded(&self, batch: &[&SeededCiphertext], scale: f64) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.fresh(batch, scale)
    }

    fn upload(&self, batch: Vec<Ciphertext>) -> Result<Vec<CudaCiphertext>, CkksError> {
        batch.iter().map(|ciphertext| self.send(ciphertext)).collect()
    }

    fn download(&self, batch: Vec<CudaCiphertext>) -> Result<Vec<Ciphertext>, CkksError> {
        // Room outlives the wait, also where a copy fails: others may still be on their way to it.
        let mut received: Vec<Ciphertext> = batch.iter().map(|ciphertext| self.room_on_host(ciphertext)).collect();
        let queued = batch.iter().zip(&mut received).try_for_each(|(from, to)| self.receive(from, to));
        self.backend.sync()?;
        queued.map(|()| received)
    }

    fn sync(&self) -> Result<(), CkksError> {
        Ok(self.backend.sync()?)
    }

    fn load_plaintext(&self, plaintext: Plaintext) -> Result<CudaPlaintext, CkksError> {
        let scale = plaintext.scale;
        let block = self.load("loading a plaintext", &plaintext.into_words())?;
        Ok(CudaPlaintext::new(self, block, scale))
    }

    fn load_coefficients(&self, coefficients: Coefficients) -> Result<CudaCoefficients, CkksError> {
        self.integers(&coefficients)
    }

    fn coefficient_bytes(&self, _: usize) -> u64 {
        coefficient_bytes(&self.ring)
    }

    fn plaintexts(&self, batch: &[&CudaCoefficients], limbs: usize) -> Result<Vec<CudaPlaintext>, CkksError> {
        self.plaintexts_of(batch, limbs)
    }

    fn load_map(&self, matrix: Matrix) -> Result<CudaMap, CkksError> {
        let block = self.load("loading a matrix", &matrix.words)?;
        Ok(CudaMap { block, shape: Matrix { words: Vec::new(), ..matrix } })
    }

    fn load_switch_key(&self, key: &SeededSwitchKey) -> Result<CudaSwitchKey, CkksError> {
        self.switch_key(key)
    }

    fn load_automorphism_key(&self, key: &SeededSwitchKey, element: usize) -> Result<CudaGaloisKey, CkksError> {
        self.ring.check_element(element)?;
        let order = self.ring.automorphism_order(element);
        Ok(CudaGaloisKey { order: self.load("loading a key", &order)?, key: self.switch_key(key)? })
    }

    fn state(&self, ciphertext: &CudaCiphertext) -> State {
        ciphertext.state()
    }

    fn add_assign(&self, sums: &mut [CudaCiphertext], terms: &[&CudaCiphertext]) -> Result<(), CkksError> {
        words::add_assign(self, sums, terms)
    }

    fn sums(&self, groups: &[Vec<&CudaCiphertext>]) -> Result<Vec<CudaCiphertext>, CkksError> {
        words::sums(self, groups)
    }

    fn add_constants(
        &self,
        batch: &mut [CudaCiphertext],
        constants: &[Constant<'_, CudaPlaintext>],
    ) -> Result<(), CkksError> {
        words::add_constants(self, batch, constants)
    }

    fn products(
        &self,
        terms: &[&CudaCiphertext],
        factors: &[Constant<'_, CudaPlaintext>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        words::products(self, terms, factors)
    }

    fn add_products(
        &self,
        sums: &mut [CudaCiphertext],
        terms: &[&CudaCiphertext],
        factors: &[Constant<'_, CudaPlaintext>],
    ) -> Result<(), CkksError> {
        words::add_products(self, sums, terms, factors)
    }

    fn apply_map(
        &self,
        map: &CudaMap,
        positions: &[Position<'_, CudaCiphertext>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.multiply_matrix(map, positions)
    }

    fn inner_products(
        &self,
        inputs: &[CudaCiphertext],
        sums: &[Vec<(usize, &CudaPlaintext)>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.multiply_plaintexts(inputs, sums)
    }

    fn multiply(
        &self,
        pairs: &[(&CudaCiphertext, &CudaCiphertext)],
        key: &CudaSwitchKey,
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.multiply_pairs(pairs, key)
    }

    fn tensor(&self, pairs: &[(&CudaCiphertext, &CudaCiphertext)]) -> Result<Vec<Product<CudaCiphertext>>, CkksError> {
        self.tensor_pairs(pairs)
    }

    fn relinearise(
        &self,
        products: Vec<Product<CudaCiphertext>>,
        key: &CudaSwitchKey,
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.relinearise_all(&products, key)
    }

    fn multiply_add_rescale(
        &self,
        pairs: &[(&CudaCiphertext, &CudaCiphertext)],
        key: &CudaSwitchKey,
        terms: &[&[CudaCiphertext]],
        constants: &[Vec<Constant<'_, CudaPlaintext>>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.multiply_and_rescale(pairs, key, terms, constants)
    }

    fn rescale(&self, batch: Vec<CudaCiphertext>) -> Result<Vec<CudaCiphertext>, CkksError> {
        parts::rescale(self, batch, |same| self.divide_by_last(same))
    }

    fn raise(&self, batch: Vec<CudaCiphertext>, limbs: usize) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.raise_all(batch, limbs)
    }

    fn activate(
        &self,
        key: &CudaSwitchKey,
        kind: FormKind,
        u: Vec<CudaCiphertext>,
        constants: &[Vec<Constant<'_, CudaPlaintext>>],
    ) -> Result<Vec<CudaCiphertext>, CkksError> {
        parts::activate(self, key, kind, u, constants)
    }

    fn activate_open(
        &self,
        key: &CudaSwitchKey,
        kind: FormKind,
        u: Vec<CudaCiphertext>,
        constants: &[Vec<Constant<'_, CudaPlaintext>>],
    ) -> Result<Vec<Product<CudaCiphertext>>, CkksError> {
        parts::activate_open(self, key, kind, u, constants)
    }

    fn drop_to(&self, batch: Vec<CudaCiphertext>, limbs: usize) -> Result<Vec<CudaCiphertext>, CkksError> {
        batch.iter().map(|ciphertext| ciphertext.low(limbs)).collect()
    }

    fn rotate(&self, pairs: &[(&CudaCiphertext, &CudaGaloisKey)]) -> Result<Vec<CudaCiphertext>, CkksError> {
        self.rotate_pairs(pairs)
    }

    fn rotate_hoisted(
        &self,
        batch: &[&CudaCiphertext],
        limbs: usize,
        keys: &[Option<&CudaGaloisKey>],
    ) -> Result<Vec<Vec<CudaCiphertext>>, CkksError> {
        self.rotate_by_all(batch, limbs, keys)
    }

    fn shrink(&self, batch: Vec<CudaCiphertext>) -> Vec<CudaCiphertext> {
        words::shrink(self, batch)
    }

    fn release(&self, batch: Vec<CudaCiphertext>) {
        drop(batch);
    }
}
