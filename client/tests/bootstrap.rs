//! Bootstrapping on real key sets: numbers against what went in, errors against what is predicted.

use heman_client::ckks::secret::SecretPolynomial;
use heman_core::ckks::bootstrap::keys::SeededBootstrapKey;
use heman_core::ckks::bootstrap::precision::Precision;
use heman_core::ckks::bootstrap::program::Program;
use heman_core::ckks::bootstrap::recipe::Recipe;
use heman_core::ckks::cpu::CpuRing;
use heman_core::ckks::error::CkksError;
use heman_core::ckks::ops::{RnsDevice, RnsOps};
use heman_core::ckks::params::packing::Occupancy;
use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_core::ckks::ring::ciphertext::Ciphertext;
use heman_core::ckks::ring::slots::SlotEncoder;
use heman_core::ckks::session::bootstrap::Bootstrap;
use heman_core::device::cpu::CpuBackend;

/// Of the levels beside a bootstrap.
const SCALE: f64 = 536_870_912.0;

/// A ring, a client's secret and a recipe.
struct Setting {
    ring: CpuRing,
    encoder: SlotEncoder,
    secret: SecretPolynomial,
    recipe: Recipe,
}

/// The smallest secure set that has room for a bootstrap: 25 primes at N = 2^15.
fn smallest() -> ParameterSet {
    ParameterSet::new(15, 24, 29, 3).expect("a secure set")
}

impl Setting {
    fn new(params: &ParameterSet, log2_slots: u32, bound: f64, ratio_log2: u32, output_scale: f64) -> Self {
        let ring = CpuBackend::new(2).expect("threads").ring(params, Occupancy::Few).expect("a ring");
        let recipe = Recipe::new(params, log2_slots, bound, ratio_log2, [SCALE, output_scale]).expect("a sound recipe");
        let secret = SecretPolynomial::generate(ring.host());
        Self { encoder: SlotEncoder::new(params), secret, recipe, ring }
    }

    fn program(&self) -> Program {
        Program::new(self.ring.params(), &self.recipe).expect("a sound recipe")
    }

    fn keys(&self) -> SeededBootstrapKey {
        self.secret.bootstrap_key(self.ring.host(), &self.program().keys(self.ring.params()))
    }

    /// Uniform numbers up to the bound; the first ones are the bound, its negative and 0.
    fn numbers(&self, seed: u64) -> Vec<f64> {
        let mut state = seed | 1;
        let mut unit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        };
        let mut numbers: Vec<f64> = (0..1 << self.recipe.log2_slots).map(|_| self.recipe.bound * unit()).collect();
        numbers[..3].copy_from_slice(&[self.recipe.bound, -self.recipe.bound, 0.0]);
        numbers
    }

    fn encrypt(&self, numbers: &[f64]) -> Ciphertext {
        let slots = numbers.repeat(self.ring.params().slots() / numbers.len());
        let coefficients = self.encoder.coefficients(&slots, self.recipe.input_scale);
        let seeded = self.secret.encrypt(self.ring.host(), &coefficients);
        self.ring.host().expand(&seeded, self.recipe.input_scale).expect("fresh from encryption")
    }

    /// Errors of all slots, real parts alone.
    fn errors(&self, ciphertext: &Ciphertext, numbers: &[f64]) -> Vec<f64> {
        let coefficients = self.secret.decrypt(self.ring.host(), ciphertext);
        let slots = self.encoder.slots(&coefficients, ciphertext.scale);
        slots.iter().zip(numbers.iter().cycle()).map(|(slot, number)| slot.re - number).collect()
    }
}

fn root_mean_square(errors: &[f64]) -> f64 {
    (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt()
}

fn worst(errors: &[f64]) -> f64 {
    errors.iter().fold(0.0, |worst, e| worst.max(e.abs()))
}

/// log2 of what is left of the bound.
fn bits(error: f64, bound: f64) -> f64 {
    (bound / error).log2()
}

#[test]
fn numbers_come_back_with_levels_and_with_the_error_that_is_predicted() {
    let params = smallest();
    // Few numbers that repeat, and rounding of the result that is seen beside the sine's bend; a wide range and a result
    // of a finer scale.
    for (log2_slots, bound, ratio_log2, output_scale) in [(5, 1.0, 9, SCALE), (8, 6.5, 8, 2_f64.powi(33))] {
        let setting = Setting::new(&params, log2_slots, bound, ratio_log2, output_scale);
        let keys = setting.keys();
        let bootstrap = Bootstrap::new(&setting.ring, &setting.recipe, &keys).expect("keys that fit");
        let all = [setting.numbers(7), setting.numbers(8)];
        let batch = all.iter().map(|numbers| setting.encrypt(numbers)).collect();
        let results = bootstrap.run(batch).expect("a bootstrap");
        let precision = Precision::new(&params, bootstrap.program());
        for (result, numbers) in results.iter().zip(&all) {
            let state = setting.ring.state(result);
            assert_eq!(state.limbs, setting.recipe.output(&params).limbs);
            assert!((state.scale / output_scale - 1.0).abs() < 1e-12, "{} of {output_scale}", state.scale);
            let errors = setting.errors(result, numbers);
            let (rms, most) = (root_mean_square(&errors), worst(&errors));
            println!(
                "2^{log2_slots} numbers up to {bound}: rms {:.2} bits ({:.2} predicted), worst {:.2} bits ({:.2})",
                bits(rms, bound),
                bits(precision.deviation(), bound),
                bits(most, bound),
                bits(precision.worst(), bound)
            );
            let ratio = rms / precision.deviation();
            assert!((0.7..1.3).contains(&ratio), "rms {rms}, predicted {}", precision.deviation());
            assert!(most < precision.worst() && bits(most, bound) > 12.0, "worst {most} of {}", precision.worst());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let params = smallest();
    let scales = [SCALE; 2];
    let refused = |params: &ParameterSet, log2_slots: u32, bound: f64, ratio_log2: u32, scales: [f64; 2]| {
        Recipe::new(params, log2_slots, bound, ratio_log2, scales).expect_err("unsound")
    };
    assert!(Recipe::new(&params, 14, 1.0, 8, scales).is_ok());
    assert!(refused(&params, 15, 1.0, 8, scales).contains("factors"), "there are 2^14 slots");
    assert!(refused(&params, 14, 1.0, 1, scales).contains("range"));
    assert!(refused(&params, 14, f64::NAN, 8, scales).contains("range"));
    assert!(refused(&params, 14, 1.0, 8, [2_f64.powi(29), 0.0]).contains("range"));
    assert!(refused(&params, 14, 2_f64.powi(28), 8, scales).contains("divide"));
    let wide = ParameterSet::new(15, 23, 29, 4).expect("a secure set");
    assert!(refused(&wide, 14, 1.0, 8, scales).contains("sparse secret"), "log2(Q_0 P) of 179 bits");
    let short = ParameterSet::new(15, 21, 29, 3).expect("a secure set");
    assert!(refused(&short, 14, 1.0, 8, scales).contains("primes"));
    let real = ParameterSet::of(RingKind::Real, 15, 24, 29, 3).expect("a secure set");
    assert!(refused(&real, 14, 1.0, 8, scales).contains("complex"));
    let small = ParameterSet::new(14, 9, 29, 1).expect("a secure set");
    assert!(Recipe::new(&small, 6, 1.0, 8, scales).is_err());

    let setting = Setting::new(&params, 3, 1.0, 8, SCALE);
    let mut keys = setting.keys();
    let bootstrap = Bootstrap::new(&setting.ring, &setting.recipe, &keys).expect("keys that fit");
    let mut other = setting.encrypt(&setting.numbers(1));
    let low = setting.ring.drop_to(vec![other.clone()], 4).expect("fewer limbs");
    assert_eq!(bootstrap.run(low).err(), Some(CkksError::Depth));
    other.scale *= 2.0;
    assert!(matches!(bootstrap.run(vec![other]), Err(CkksError::Scale { .. })));
    assert_eq!(bootstrap.run(Vec::new()), Ok(Vec::new()));
    let (&steps, _) = keys.rotations.iter().next().expect("a rotation");
    keys.rotations.remove(&steps);
    let error = Bootstrap::new(&setting.ring, &setting.recipe, &keys).err().expect("a key is missing");
    assert!(error.to_string().contains(&format!("rotates by {steps}")), "{error}");
}

/// Processor seconds of all threads of this process, on Linux.
fn thread_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Behind the name: user and system time are fields 14 and 15, in hundredths.
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// The set of networks, N = 2^16: precision, levels, keys and time. Takes 6 GiB of memory.
#[test]
#[ignore = "takes a minute and 6 GiB"]
fn a_bootstrap_of_full_size() {
    let levels = std::env::var("HEMAN_BOOTSTRAP_LEVELS").ok().and_then(|text| text.parse().ok()).unwrap_or(49);
    let params = ParameterSet::new(16, levels, 29, 8).expect("a secure set");
    let (log2_slots, ratio_log2) = (15, 10);
    let setting = Setting::new(&params, log2_slots, 1.0, ratio_log2, SCALE);
    let program = setting.program();
    let request = program.keys(&params);
    let (rotations, masks) = program.counts();
    println!(
        "N = 2^16, {} primes, log2(QP) {:.0}, log2(Q_0 P) {:.0}, 2^{log2_slots} numbers, factors {:?}",
        params.primes.len(),
        params.modulus_bits(),
        Recipe::sparse_modulus_bits(&params),
        setting.recipe.maps
    );
    let key_bytes = request.loaded_bytes(&params);
    println!(
        "{} keys, {:.2} GiB with masks; {rotations} rotations, {masks} masks; {} levels left",
        request.limbs().count(),
        key_bytes as f64 / 2_f64.powi(30),
        setting.recipe.levels_left(&params)
    );
    assert!(key_bytes <= 5 << 30 && setting.recipe.levels_left(&params) >= 23);
    let keys = setting.keys();
    let bootstrap = Bootstrap::new(&setting.ring, &setting.recipe, &keys).expect("keys that fit");
    let precision = Precision::new(&params, bootstrap.program());
    for run in 0..3 {
        let numbers = setting.numbers(run + 1);
        let ciphertext = setting.encrypt(&numbers);
        let (start, used) = (std::time::Instant::now(), thread_seconds());
        let results = bootstrap.run(vec![ciphertext]).expect("a bootstrap");
        let seconds = start.elapsed().as_secs_f64();
        let used = thread_seconds().zip(used).map(|(now, then)| now - then);
        let errors = setting.errors(&results[0], &numbers);
        let (rms, most) = (root_mean_square(&errors), worst(&errors));
        println!(
            "{seconds:.2} s, {:.2} thread-seconds; rms {:.2} bits ({:.2} predicted), worst {:.2} bits ({:.2} bound)",
            used.unwrap_or(f64::NAN),
            bits(rms, 1.0),
            bits(precision.deviation(), 1.0),
            bits(most, 1.0),
            bits(precision.worst(), 1.0)
        );
        assert!(most < precision.worst() && bits(most, 1.0) >= 12.0);
        assert!((0.7..1.3).contains(&(rms / precision.deviation())));
    }
}
