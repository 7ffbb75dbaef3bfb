//! CKKS against an independent implementation, Microsoft SEAL: the same circuits on the same numbers, each library with its own keys.
//! Pinned are what slots mean, not bytes: their order, the direction of rotations, conjugation, scales after rescaling.
//!
//! Needs what `client/tests/seal/install` installs; with `seal` in `HEMAN_REQUIRE` its absence is a failure.

mod machines;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use heman_core::ckks::params::set::{ParameterSet, RingKind};
use heman_testing::required::is_required;
use machines::{Heman, Inputs, Machine, Plain, run};
use tfhe_fft::c64;

/// A ring in both libraries: log2 N; here levels and special primes, scale 2^28; SEAL's primes, scale 2^40.
struct Setting {
    log2_degree: u32,
    levels: usize,
    special: usize,
    seal_bits: &'static [u32],
}

const SCALE_LOG2: u32 = 28;
const SEAL_SCALE_LOG2: u32 = 40;

/// One digit a limb, and digits of two and three limbs; the last limb's digit is a short one.
const SETTINGS: [Setting; 3] = [
    Setting { log2_degree: 13, levels: 5, special: 1, seal_bits: &[60, 40, 40, 60] },
    Setting { log2_degree: 13, levels: 4, special: 2, seal_bits: &[60, 40, 40, 60] },
    Setting { log2_degree: 14, levels: 9, special: 3, seal_bits: &[60, 40, 40, 40, 40, 40, 40, 40, 60] },
];

/// A circuit, its levels, and the largest error of a slot, here and in SEAL, in units of N / scale: about what a rescale's
/// rounding does to the worst slot.
///
/// Bounds leave room for the tails: errors of key switches and rescales are products of two Gaussians in a slot, and fall with
/// exp(-2 t). SEAL's rotations are worse: its digits are not centred, and their mean meets the key's errors in a few slots.
struct Circuit {
    name: &'static str,
    levels: usize,
    bounds: [f64; 2],
    text: &'static str,
}

const fn circuit(name: &'static str, levels: usize, bounds: [f64; 2], text: &'static str) -> Circuit {
    Circuit { name, levels, bounds, text }
}

/// Of a rotation, here and in SEAL.
const ROTATION: [f64; 2] = [25.0, 1000.0];

const CIRCUITS: [Circuit; 18] = [
    circuit("sum", 0, [1.0, 6.0], "t = add x y"),
    circuit("difference", 0, [1.0, 6.0], "t = subtract x y"),
    circuit("sum with a plaintext", 0, [1.0, 6.0], "t = add_plain x v"),
    circuit("plaintext product", 1, [5.0, 6.0], "t = multiply_plain x v; t = rescale t"),
    circuit("short plaintext product", 1, [5.0, 6.0], "t = multiply_plain x short; t = rescale t"),
    circuit("product", 1, [5.0, 8.0], "t = multiply x y; t = rescale t"),
    circuit("square of real slots", 1, [5.0, 8.0], "t = square real; t = rescale t"),
    circuit("rotation by 1", 0, ROTATION, "t = rotate x 1"),
    circuit("rotation by 77", 0, ROTATION, "t = rotate x 77"),
    circuit("rotation by 4,093", 0, ROTATION, "t = rotate x 4093"),
    circuit("rotation by -1", 0, ROTATION, "t = rotate x -1"),
    circuit("rotation by -3,000", 0, ROTATION, "t = rotate x -3000"),
    circuit("conjugate", 0, ROTATION, "t = conjugate x"),
    circuit(
        "real part of a lower level's square",
        2,
        ROTATION,
        "t = drop x 1; t = square t; t = rescale t; c = conjugate t; t = add t c",
    ),
    circuit(
        "sum of products",
        1,
        ROTATION,
        "t = multiply x y; t = rescale t; s = rotate real -5; s = multiply_plain s v; s = rescale s; t = add t s",
    ),
    circuit(
        "polynomial of degree 4",
        2,
        [12.0, 40.0],
        "t = add_constant x 0.3; t = square t; t = rescale t; t = add_plain t v; t = square t; t = rescale t; \
         t = add_constant t -0.45",
    ),
    circuit("matrix", 1, [25.0, 3000.0], "t = matrix x 0 v 1 w -1 short 2 v 64 w -64 u 2048 w; t = rescale t"),
    circuit(
        "7 squares",
        7,
        [400.0, 1000.0],
        "t = square unit; t = rescale t; t = square t; t = rescale t; t = square t; t = rescale t; t = square t; \
         t = rescale t; t = square t; t = rescale t; t = square t; t = rescale t; t = square t; t = rescale t",
    ),
];

/// Complex numbers of magnitudes below 1.
fn slots(count: usize, seed: u64) -> Vec<c64> {
    let mut state = seed | 1;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0) / std::f64::consts::SQRT_2
    };
    (0..32).for_each(|_| _ = unit());
    (0..count).map(|_| c64::new(unit(), unit())).collect()
}

fn inputs(count: usize) -> Inputs {
    let real = slots(count, 3).iter().map(|z| c64::new(z.re, 0.0)).collect();
    // Powers of magnitude 1 show what a wrong scale does, however often it is squared.
    let unit = slots(count, 4).iter().map(|z| z / z.norm_sqr().sqrt()).collect();
    let encrypted = [("x", slots(count, 1)), ("y", slots(count, 2)), ("real", real), ("unit", unit)];
    let plain = [("u", slots(count, 5)), ("v", slots(count, 6)), ("w", slots(count, 7)), ("short", slots(100, 8))];
    Inputs { encrypted: encrypted.into(), plain: plain.into() }
}

fn distance(a: &[c64], b: &[c64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).norm_sqr().sqrt()).fold(0.0, f64::max)
}

fn describe(kind: &str, name: &str, slots: &[c64]) -> String {
    let mut line = format!("{kind} {name}");
    slots.iter().for_each(|z| write!(line, " {} {}", z.re, z.im).expect("strings grow"));
    line + "\n"
}

/// The lines of numbers that SEAL answers a description with; nothing where there is no SEAL.
fn seal(setting: &Setting, description: &str) -> Option<Vec<Vec<f64>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let python = || {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", root.join("target/seal"));
        command
    };
    let probe = python().args(["-c", "import _sealapi_cpp"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        assert!(!is_required("seal"), "no tenseal: run client/tests/seal/install");
        println!("skipped: no tenseal");
        return None;
    }
    let script = root.join("client/tests/seal/circuits.py");
    let mut child = python().arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
    let bits: Vec<String> = setting.seal_bits.iter().map(u32::to_string).collect();
    let ring = format!("ring {} {} {SEAL_SCALE_LOG2}\n", setting.log2_degree, bits.join(","));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all((ring + description).as_bytes()).expect("read to the end before anything is printed");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "SEAL failed");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let number = |word: &str| word.parse().expect("a number");
    Some(text.lines().map(|line| line.split(' ').map(number).collect()).collect())
}

fn complex(numbers: &[f64]) -> Vec<c64> {
    numbers.chunks_exact(2).map(|pair| c64::new(pair[0], pair[1])).collect()
}

fn heman(setting: &Setting) -> Heman {
    // SEAL has no other.
    let ring = RingKind::Complex;
    let params = ParameterSet::of(ring, setting.log2_degree, setting.levels, SCALE_LOG2, setting.special);
    Heman::new(params.expect("a secure set"))
}

#[test]
fn circuits_decrypt_to_what_seal_decrypts() {
    for setting in &SETTINGS {
        let inputs = inputs(1 << (setting.log2_degree - 1));
        let levels = setting.levels.min(setting.seal_bits.len() - 2);
        let circuits: Vec<&Circuit> = CIRCUITS.iter().filter(|circuit| circuit.levels <= levels).collect();
        let mut description = String::new();
        inputs.encrypted.iter().for_each(|(name, slots)| description += &describe("encrypted", name, slots));
        inputs.plain.iter().for_each(|(name, slots)| description += &describe("plain", name, slots));
        circuits.iter().for_each(|circuit| description += &format!("circuit {}\n", circuit.text));
        let Some(answers) = seal(setting, &description) else { return };
        assert_eq!(answers.len(), circuits.len());

        let heman = heman(setting);
        for (circuit, theirs) in circuits.iter().zip(&answers) {
            let ours = run(&heman, &inputs, circuit.text);
            let want = run(&Plain, &inputs, circuit.text);
            compare(setting, circuit.name, circuit.bounds, &want, [&ours, &complex(theirs)]);
        }
    }
}

/// Here against plaintext, SEAL against plaintext, one against the other.
fn compare(setting: &Setting, name: &str, bounds: [f64; 2], want: &[c64], results: [&[c64]; 2]) {
    let bound =
        |at: usize, scale_log2: u32| bounds[at] * (f64::from(setting.log2_degree) - f64::from(scale_log2)).exp2();
    let bounds = [bound(0, SCALE_LOG2), bound(1, SEAL_SCALE_LOG2)];
    let [ours, theirs] = results.map(|result| distance(result, want));
    let apart = distance(results[0], results[1]);
    let ring = format!("N = 2^{}, {} special", setting.log2_degree, setting.special);
    println!(
        "{ring}: {name}: {ours:.1e} of {:.1e}, SEAL {theirs:.1e} of {:.1e}, apart {apart:.1e}",
        bounds[0], bounds[1]
    );
    assert!(ours < bounds[0], "{ring}: {name}: {ours} of {}", bounds[0]);
    assert!(theirs < bounds[1], "{ring}: {name}: SEAL {theirs} of {}", bounds[1]);
    assert!(apart < bounds[0] + bounds[1], "{ring}: {name}: apart by {apart}");
}

/// For each slot of SEAL, the polynomial's value at zeta^(3^j), the slot here, at zeta^(5^m), and whether it is the conjugate.
fn slots_of_seal(degree: usize) -> Vec<(usize, bool)> {
    let powers = |base: usize| std::iter::successors(Some(1), move |x| Some(x * base % (2 * degree))).take(degree / 2);
    let mut places = vec![None; 2 * degree];
    for (m, power) in powers(5).enumerate() {
        places[power] = Some((m, false));
        places[2 * degree - power] = Some((m, true));
    }
    powers(3).map(|power| places[power].expect("5 and -1 generate the odd residues")).collect()
}

fn conjugate_if(conjugate: bool, z: c64) -> c64 {
    if conjugate { z.conj() } else { z }
}

/// Pins the encoder coefficient by coefficient (root, order, signs, the factor), and that X -> X^5 is one step to the left.
///
/// SEAL counts slots by powers of 3, not of 5: it is given the same values at the same roots, in its own order.
#[test]
fn coefficients_are_those_of_seal() {
    for setting in &SETTINGS[1..] {
        let degree = 1_usize << setting.log2_degree;
        let ours = slots(degree / 2, 9);
        let order = slots_of_seal(degree);
        let theirs: Vec<c64> = order.iter().map(|&(m, conjugate)| conjugate_if(conjugate, ours[m])).collect();
        let description = describe("plain", "p", &theirs)
            + &describe("encrypted", "x", &theirs)
            + "coefficients p\ncircuit t = automorphism x 5\n";
        let Some(answers) = seal(setting, &description) else { return };

        let heman = heman(setting);
        let coefficients = heman.encoder.coefficients(&ours, f64::from(SEAL_SCALE_LOG2).exp2());
        assert_eq!(coefficients.len(), answers[0].len());
        let error = coefficients.iter().zip(&answers[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("N = 2^{}: coefficients differ by up to {error:.6} of 2^{SEAL_SCALE_LOG2}", setting.log2_degree);
        assert!(error < 0.51, "SEAL's are rounded: {error}");

        let mut rotated = vec![c64::new(0.0, 0.0); degree / 2];
        for (&(m, conjugate), z) in order.iter().zip(complex(&answers[1])) {
            rotated[m] = conjugate_if(conjugate, z);
        }
        let here = heman.decrypt(&heman.automorphism(&heman.encrypt(&ours), 5));
        let want = Plain.rotate(&ours, 1);
        compare(setting, "X -> X^5", ROTATION, &want, [&here, &rotated]);
    }
}
