//! Hostile files that were found once, made anew in today's format: each is refused for its own reason, or is sound for
//! whoever reads it next.

#[path = "../../import/tests/onnx/mod.rs"]
mod onnx;

use heman_client::SecretKey;
use heman_core::ckks::cost::CkksCost;
use heman_core::ckks::planner::Options as CkksOptions;
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::either::planner::{self, Options};
use heman_core::files::chunks::Reader;
use heman_core::files::scheme::Scheme;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::planner::options::Options as TfheOptions;
use heman_hostile::seeds::owner;
use heman_import::import_bytes;
use onnx::Attr::{Int, Ints};
use onnx::Onnx;
use serde_json::{Value, json};

type Spoil = fn(&mut Value);

fn spoilt(scheme: Scheme, spoil: Spoil) -> Result<Params, String> {
    let mut object: Value = serde_json::from_str(&owner(scheme).plan.params_json()).expect("JSON");
    spoil(&mut object);
    Params::from_json(object.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// A set that is secure and whose keys take so many bytes and more.
fn large_tfhe(object: &mut Value, size: u64, dimension: u64, small: u64) {
    let noise = ["ks_noise_bound_log2", "pbs_noise_bound_log2", "input_noise_bound_log2"].map(|name| (name, 17));
    let set = [("polynomial_size", size), ("glwe_dimension", dimension), ("lwe_dimension", small), ("pbs_level", 8)];
    let more = [("pbs_base_log", 3), ("grouping_factor", 3), ("ks_base_log", 1), ("ks_level", 16)];
    for (name, value) in set.into_iter().chain(more).chain(noise) {
        object["tfhe"][name] = value.into();
    }
}

#[test]
fn parameters_that_ask_for_too_much_or_lie_are_refused_for_that() {
    let cases: [(&str, Scheme, Spoil, &str); 10] = [
        ("a key of 120 GB", Scheme::Tfhe, |p| large_tfhe(p, 65536, 2, 4095), "key would be too large"),
        (
            "a key beyond what a file may have",
            Scheme::Tfhe,
            |p| large_tfhe(p, 16384, 4, 2049),
            "key would be too large",
        ),
        (
            "more security than there is",
            Scheme::Tfhe,
            |p| p["prediction"]["security_bits"] = 9999.into(),
            "bits of security",
        ),
        ("a scale of 1e308", Scheme::Tfhe, |p| p["input"]["turns_per_unit"] = 1e308.into(), "scale is none"),
        ("a scale of 0", Scheme::Tfhe, |p| p["output"]["turns_per_unit"][0] = 0.into(), "a scale is none"),
        ("escapes in a name", Scheme::Tfhe, |p| name(p, "\u{1b}]0;title\u{7}"), "a name has control characters"),
        ("escapes in a name", Scheme::Ckks, |p| name(p, "\u{1b}[2J"), "a name has control characters"),
        ("a scale of 1e308", Scheme::Ckks, |p| p["output"]["scale"] = 1e308.into(), "scale or noise"),
        ("noise below 0", Scheme::Ckks, |p| p["output"]["noise"] = (-1).into(), "scale or noise"),
        ("keys for 8193 rotations", Scheme::Ckks, rotations, "a key is asked for that cannot be made"),
    ];
    for (what, scheme, spoil, reason) in cases {
        match spoilt(scheme, spoil) {
            Ok(_) => panic!("{what} is taken"),
            Err(error) => assert!(error.contains(reason), "{what}: {error}"),
        }
    }
}

fn name(object: &mut Value, name: &str) {
    object["input"]["tensor"]["name"] = name.into();
    object["input"]["parts"][0]["name"] = name.into();
}

fn rotations(object: &mut Value) {
    let limbs = object["ckks"]["primes"].as_array().map_or(1, Vec::len);
    object["keys"]["rotation_limbs"] = (1..=2048).map(|steps| (steps.to_string(), json!(limbs))).collect();
}

/// What is sound and large is the next verb's to refuse, by a size that it knows before it makes anything.
#[test]
fn what_a_key_takes_is_known_before_it_is_made() {
    let large = |p: &mut Value| {
        let set = [("polynomial_size", 16384), ("glwe_dimension", 4), ("lwe_dimension", 1800), ("grouping_factor", 1)];
        set.into_iter()
            .chain([("pbs_level", 6), ("pbs_base_log", 5)])
            .for_each(|(name, value)| p["tfhe"][name] = value.into());
    };
    let params = spoilt(Scheme::Tfhe, large).expect("sound and large");
    let Params::Tfhe(tfhe) = &params else { panic!("TFHE") };
    let bytes = SeededEvaluationKey::file_bytes(&tfhe.tfhe);
    assert!((1 << 30..8 << 30).contains(&bytes), "{bytes}");
    let wide = |p: &mut Value| {
        let limbs = p["ckks"]["primes"].as_array().map_or(1, Vec::len);
        p["ckks"]["key_limbs"] = limbs.into();
        p["keys"]["rotation_limbs"] = (1..=1024).map(|steps| (steps.to_string(), json!(limbs))).collect();
    };
    let Params::Ckks(ckks) = spoilt(Scheme::Ckks, wide).expect("sound and large") else { panic!("CKKS") };
    assert!(ckks.keys.file_bytes(&ckks.ckks) > 64 << 20);
}

/// Parameters that state no noise are taken: what protects a shared result is the client's own bound.
#[test]
fn no_noise_is_no_reason_to_refuse_parameters() {
    let params = spoilt(Scheme::Ckks, |p| p["output"]["noise"] = 0.into()).expect("sound");
    assert!(SecretKey::generate(&params).is_ok());
}

fn repeated(shape: &[i64], times: usize, extend: impl Fn(&mut Onnx, usize)) -> Onnx {
    let mut model = Onnx::new(shape);
    (0..times).for_each(|at| extend(&mut model, at));
    model
}

#[test]
fn models_that_ask_for_too_much_or_contradict_themselves_are_refused_for_that() {
    let window = |attribute: &'static str, kernel: i64| {
        let mut model = Onnx::new(&[1, 1, 4, 4]);
        let pads = Ints(vec![1 << 30; 4]);
        let shape = if attribute == "pads" { Ints(vec![2, 2]) } else { Ints(vec![kernel; 2]) };
        model.node("MaxPool", &["x"], &[("kernel_shape", shape), ("pads", pads)]);
        model
    };
    let mut padded = Onnx::new(&[1, 1, 4, 4]);
    let kernel = padded.weights(&[1, 1, 2, 2]);
    padded.node("Conv", &["x", &kernel], &[("pads", Ints(vec![1 << 20; 4]))]);
    let axis = repeated(&[1, 16], 1, |model, _| drop(model.then("Softmax", &[("axis", Int(9))])));
    let mut twice = Onnx::new(&[1, 16]);
    let made = twice.then("Relu", &[]);
    twice.output(&made);
    twice.output(&made);
    let cases = [
        ("margins of 2^30", window("pads", 2), "pads holds"),
        ("a window of 2^30", window("kernel_shape", 1 << 30), "kernel_shape holds"),
        ("margins of 2^20 for a kernel", padded, "pads"),
        ("axis 9 of two", axis, "axis 9 is not one of 2"),
        ("two outputs of one name", twice, "two of its outputs have the name"),
    ];
    for (what, model, reason) in cases {
        match import_bytes(&model.build()) {
            Ok(_) => panic!("{what} is taken"),
            Err(error) => assert!(error.to_string().contains(reason), "{what}: {error}"),
        }
    }
}

/// Expressions that double, chains of many functions, and scales of all sizes: what is planned can be read again, and
/// what cannot be planned is refused with a sentence.
#[test]
fn whatever_is_planned_is_read_by_everybody_else() {
    let doubled = repeated(&[1, 4], 20, |model, _| {
        let last = model.last();
        let (sine, cosine) = (model.node("Sin", &[&last], &[]), model.node("Cos", &[&last], &[]));
        model.node("Mul", &[&sine, &cosine], &[]);
    });
    let chain = repeated(&[1, 4], 64, |model, at| drop(model.then(if at % 2 == 0 { "Sin" } else { "Cos" }, &[])));
    let scaled = |by: f32| {
        let mut model = Onnx::new(&[1, 4]);
        let scale = model.floats(&[1], &[by]);
        model.then_with("Mul", &[&scale], &[]);
        let weights = model.weights(&[4, 4]);
        model.then_with("MatMul", &[&weights], &[]);
        model
    };
    let (mut planned, mut refused) = (0, 0);
    for (what, model) in
        [("doubled", doubled), ("chain", chain), ("1e20", scaled(1e20)), ("1e-30", scaled(1e-30)), ("1", scaled(1.0))]
    {
        let network = import_bytes(&model.build()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let samples: Vec<Vec<f32>> =
            (0..32).map(|at| (0..4).map(|i| ((at * 4 + i) as f32 * 0.77).sin()).collect()).collect();
        let (max_loss, task) = (0.3, Task::Regress);
        let tfhe = TfheOptions { max_loss, task, ..TfheOptions::default() };
        let ckks = CkksOptions { max_loss, confident: false, task, batch: 1, cost: CkksCost::default() };
        let options = Options { tfhe, ckks };
        for scheme in [Scheme::Tfhe, Scheme::Ckks] {
            let Ok(derived) = planner::plan(Some(scheme), &network, &samples, &options, &NoProgress) else {
                refused += 1;
                continue;
            };
            let mut file = Vec::new();
            derived.plan.seal_to(&mut file).expect("memory takes everything");
            let again = Reader::of_bytes(&file).and_then(Plan::open).unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut once_more = Vec::new();
            again.seal_to(&mut once_more).expect("memory takes everything");
            assert!(file == once_more, "{what}: the plan is as it was");
            let params = Params::from_json(derived.plan.params_json().as_bytes());
            assert!(params.is_ok_and(|params| params == derived.plan.params()), "{what}: the parameters");
            planned += 1;
        }
    }
    assert!(planned >= 6, "{planned} plans were made, {refused} refused");
}
