//! Sums, products, rescaling, rotations and matrices.

use heman_core::ckks::error::CkksError;
use heman_core::ckks::ops::{Position, RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::ParameterSet;

use super::{Operation, Suite, Timed, ciphertext, matrix, sample, uniform_key};
use crate::error::EngineError;

/// log2 of the ring's degree, levels, special primes.
const RINGS: [(u32, usize, usize); 3] = [(13, 4, 1), (14, 10, 3), (15, 18, 4)];
/// log2 of the scale.
const SCALE_LOG2: u32 = 28;
/// Ciphertexts at a time: for latency and for throughput.
const CIPHERTEXTS: [usize; 2] = [1, 32];
/// What is done to so many ciphertexts.
const OPERATIONS: [&str; 4] = ["add", "multiply", "rescale", "rotate"];
/// Rows and terms of the matrix.
const MAP: (usize, usize) = (32, 64);

/// The frozen parameter sets with their names.
#[must_use]
pub fn rings() -> Vec<(String, ParameterSet)> {
    let set = |(log2_degree, levels, special)| {
        let params = ParameterSet::new(log2_degree, levels, SCALE_LOG2, special).expect("a secure set, as tests show");
        (format!("N2^{log2_degree}_L{levels}_P{special}"), params)
    };
    RINGS.into_iter().map(set).collect()
}

/// A ring on a device with uniform keys and ciphertexts, ready to be timed.
pub struct CkksBench<R: RnsOps> {
    ring: R,
    relinearise: R::SwitchKey,
    turn: R::GaloisKey,
    map: R::Map,
}

impl<R: RnsOps> CkksBench<R> {
    /// Loads keys and a matrix.
    ///
    /// # Errors
    /// The device's.
    pub fn new<D: RnsDevice<Ring = R>>(device: &D, params: &ParameterSet) -> Result<Self, CkksError> {
        let ring = device.ring(params, Occupancy::Many)?;
        let key = uniform_key(params);
        let matrix = matrix(params, MAP)?;
        let (relinearise, turn) = (ring.load_switch_key(&key)?, ring.load_galois_key(&key, 1)?);
        Ok(Self { relinearise, turn, map: ring.load_map(matrix)?, ring })
    }

    /// So many ciphertexts.
    ///
    /// # Errors
    /// The device's.
    pub fn ciphertexts(&self, count: usize) -> Result<Vec<R::Ciphertext>, CkksError> {
        self.ring.upload((0..count as u64).map(|seed| ciphertext(self.ring.params(), seed)).collect())
    }

    /// Gives memory back.
    pub fn release(&self, batch: Vec<R::Ciphertext>) {
        self.ring.release(batch);
    }

    /// Adds each of `terms` to one of `sums`, and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn add(&self, sums: &mut [R::Ciphertext], terms: &[R::Ciphertext]) -> Result<(), CkksError> {
        self.ring.add_assign(sums, &terms.iter().collect::<Vec<_>>())?;
        self.ring.sync()
    }

    /// Squares each with relinearisation, and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn multiply(&self, batch: &[R::Ciphertext]) -> Result<Vec<R::Ciphertext>, CkksError> {
        let products =
            self.ring.multiply(&batch.iter().map(|own| (own, own)).collect::<Vec<_>>(), &self.relinearise)?;
        self.ring.sync().map(|()| products)
    }

    /// Divides each by the last prime, and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn rescale(&self, batch: Vec<R::Ciphertext>) -> Result<Vec<R::Ciphertext>, CkksError> {
        let rescaled = self.ring.rescale(batch)?;
        self.ring.sync().map(|()| rescaled)
    }

    /// Rotates each by one slot, and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn rotate(&self, batch: &[R::Ciphertext]) -> Result<Vec<R::Ciphertext>, CkksError> {
        let rotated = self.ring.rotate(&batch.iter().map(|own| (own, &self.turn)).collect::<Vec<_>>())?;
        self.ring.sync().map(|()| rotated)
    }

    /// Applies a matrix of [`CkksBench::map_shape`] to as many ciphertexts as it has terms, and waits.
    ///
    /// # Errors
    /// The device's.
    pub fn matrix(&self, terms: &[R::Ciphertext]) -> Result<Vec<R::Ciphertext>, CkksError> {
        let position = Position { terms: terms.iter().collect(), kernels: (0..MAP.0 as u32).collect() };
        let rows = self.ring.apply_map(&self.map, &[position])?;
        self.ring.sync().map(|()| rows)
    }

    /// Rows and terms of the matrix.
    #[must_use]
    pub fn map_shape() -> (usize, usize) {
        MAP
    }
}

/// All sets on one device.
pub(super) struct Runner<'a, D: RnsDevice>(pub &'a D);

impl<D: RnsDevice> Suite for Runner<'_, D> {
    fn operations(&self) -> Vec<Vec<Operation>> {
        let of_ring = |(parameters, _): (String, ParameterSet)| {
            let of = |name, rows| Operation { scheme: "ckks", name, parameters: parameters.clone(), rows };
            let by_count = CIPHERTEXTS.into_iter().flat_map(|count| OPERATIONS.map(|name| of(name, count)));
            by_count.chain([of("matrix", MAP.0)]).collect()
        };
        rings().into_iter().map(of_ring).collect()
    }

    fn time(&self, set: usize, wanted: Vec<Operation>, seconds: f64) -> Result<Vec<Timed>, EngineError> {
        let bench = CkksBench::new(self.0, &rings().swap_remove(set).1)?;
        let nothing = || Ok::<_, CkksError>(());
        let time = |operation: Operation| {
            let count = if operation.name == "matrix" { MAP.1 } else { operation.rows };
            let own = bench.ciphertexts(count)?;
            let seconds = match operation.name {
                "add" => {
                    let mut sums = own.clone();
                    sample(seconds, nothing, |()| bench.add(&mut sums, &own))
                }
                "multiply" => sample(seconds, nothing, |()| bench.multiply(&own)),
                "rescale" => sample(seconds, || Ok(own.clone()), |own| bench.rescale(own)),
                "rotate" => sample(seconds, nothing, |()| bench.rotate(&own)),
                _ => sample(seconds, nothing, |()| bench.matrix(&own)),
            };
            bench.release(own);
            Ok(Timed { operation, seconds: seconds? })
        };
        wanted.into_iter().map(time).collect()
    }
}
