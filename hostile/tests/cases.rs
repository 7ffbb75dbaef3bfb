//! Hostile files that were found once, made anew in today's format: each is refused for its own reason, or is sound for
//! whoever reads it next.

#[path = "../../import/tests/onnx/mod.rs"]
mod onnx;

use std::collections::BTreeMap;
use std::time::Instant;

use heman_client::SecretKey;
use heman_core::ckks::bootstrap::recipe::{MapShape, Recipe};
use heman_core::ckks::params::key_request::KeyRequest;
use heman_core::ckks::params::packing::Packing;
use heman_core::ckks::params::set::ParameterSet;
use heman_core::ckks::plan::Plan as CkksPlan;
use heman_core::ckks::plan::activation::{Activation, Form};
use heman_core::ckks::plan::polynomials::{Closing, PolynomialStage};
use heman_core::ckks::planner::Options as CkksOptions;
use heman_core::either::params::Params;
use heman_core::either::plan::Plan;
use heman_core::either::planner::{self, Options};
use heman_core::files::chunks::Reader;
use heman_core::files::scheme::Scheme;
use heman_core::files::sealed::Sealed;
use heman_core::model::network::{Row, Tap};
use heman_core::planning::loss::LossBudget;
use heman_core::planning::task::Task;
use heman_core::progress::NoProgress;
use heman_core::tfhe::files::evaluation_key::SeededEvaluationKey;
use heman_core::tfhe::planner::options::Options as TfheOptions;
use heman_hostile::drive::MOST_SECONDS;
use heman_hostile::seeds::{deep, owner};
use heman_import::import_bytes;
use onnx::Attr::{Int, Ints};
use onnx::Onnx;
use serde_json::{Value, json};

type Spoil = fn(&mut Value);
type SpoilPlan = fn(&mut CkksPlan);

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

/// Keys of bootstraps that no set of theirs has, or that would tell the sparse secret.
#[test]
fn parameters_that_ask_for_other_keys_of_bootstraps_are_refused_for_that() {
    let text = deep().params.to_json();
    assert!(text.contains("\"bootstrap\": {") && Params::from_json(text.as_bytes()).is_ok());
    let cases: [(&str, Spoil, &str); 6] = [
        ("limbs that there are not", |p| p["keys"]["bootstrap"]["conjugation_limbs"] = 27.into(), "cannot be made"),
        ("2^64 - 1 limbs", |p| p["keys"]["bootstrap"]["from_sparse_limbs"] = u64::MAX.into(), "cannot be made"),
        ("a key without limbs", |p| p["keys"]["bootstrap"]["from_sparse_limbs"] = 0.into(), "cannot be made"),
        ("a sparse key of three limbs", |p| p["keys"]["bootstrap"]["to_sparse_limbs"] = 3.into(), "cannot be made"),
        ("a key that is left out", |p| p["keys"]["bootstrap"] = json!({}), "missing field"),
        ("the ring of real slots", |p| p["ckks"]["ring"] = "real".into(), ""),
    ];
    for (what, spoil, reason) in cases {
        let mut object: Value = serde_json::from_str(&text).expect("JSON");
        spoil(&mut object);
        match Params::from_json(object.to_string().as_bytes()) {
            Ok(_) => panic!("{what} is taken"),
            Err(error) => assert!(error.to_string().contains(reason), "{what}: {error}"),
        }
    }
}

fn refused(plan: &CkksPlan) -> String {
    let file = plan.seal(&());
    let begin = Instant::now();
    let error = Reader::of_bytes(&file).and_then(Plan::open).err().expect("an unsound plan").to_string();
    assert!(begin.elapsed().as_secs_f64() < MOST_SECONDS, "{error}: {:?}", begin.elapsed());
    error
}

fn recipe(plan: &mut CkksPlan) -> &mut Recipe {
    &mut plan.network.refresh.as_mut().expect("a bootstrap").recipe
}

#[test]
fn plans_whose_bootstraps_cannot_be_are_refused_for_that() {
    let wider = |plan: &mut CkksPlan| {
        let map = &mut plan.latency.as_mut().expect("rotations").maps[1];
        (map.period, map.output.period) = (16, 16);
    };
    let cases: [(&str, SpoilPlan, &str); 13] = [
        ("slots beyond those of the recipe", wider, "more slots than its bootstraps take in"),
        ("depths that overflow", |p| recipe(p).maps = [MapShape { depths: u32::MAX, babies: 1 }; 3], "factors"),
        (
            "factors of 2^10 masks",
            |p| recipe(p).maps = [1, 4, 10].map(|depths| MapShape { depths, babies: 1 }),
            "factors",
        ),
        ("slots of another recipe", |p| recipe(p).log2_slots = u32::MAX, "factors"),
        ("no bound", |p| recipe(p).bound = f64::NAN, "range or a scale"),
        ("another scale behind", |p| recipe(p).output_scale *= 2.0, "another scale"),
        ("another scale before", |p| recipe(p).input_scale *= 1.01, "another scale"),
        ("another scale of a stage", |p| p.network.stages[1].scaling.argument_log2 = Some(28), "another scale"),
        ("a scale of 2^61", |p| p.network.stages[0].scaling.argument_log2 = Some(61), "out of range"),
        ("sums of three parts", |p| p.network.stages[0].scaling.closing = Closing::Sum, "no product to be summed"),
        ("no place", |p| p.network.refresh.as_mut().expect("a bootstrap").after.clear(), "each once and in order"),
        ("too few levels", |p| p.network.refresh.as_mut().expect("a bootstrap").after = vec![0], "too few levels"),
        ("a key of fewer limbs", |p| p.params.keys.relinearisation_limbs -= 1, "not that of its parameters"),
    ];
    let sound = deep();
    for (what, spoil, reason) in cases {
        let mut plan = sound.clone();
        spoil(&mut plan);
        let error = refused(&plan);
        assert!(error.contains(reason), "{what}: {error}");
    }
}

/// Squares behind each other, with a bootstrap behind every so many of them.
fn long(stages: usize, every: usize, output_taps: Vec<Tap>) -> CkksPlan {
    let mut plan = deep();
    let form = Form::Square { gain: 1.0, shift: 0.0, constant: 0.0 };
    let tap = |at: usize| Tap { source: if at == 0 { 0 } else { at as u32 + 3 }, weight: 0.5 };
    let first = plan.network.stages[0].clone();
    let stage = |at: usize| PolynomialStage {
        name: String::new(),
        operator: String::new(),
        shape: vec![1],
        rows: vec![Row { bias: 0.0, taps: vec![tap(at)].into() }],
        channel: vec![0],
        activations: vec![Activation { centre: 0.0, radius: 1.0, form }],
        ..first.clone()
    };
    plan.network.stages = (0..stages).map(stage).collect();
    plan.network.output_rows.iter_mut().for_each(|row| row.taps = output_taps.clone().into());
    // The largest set, whose primes are all next to 2^29.
    plan.params.ckks = ParameterSet::new(16, 49, 29, 8).expect("a secure set");
    plan.params.keys = KeyRequest { relinearisation_limbs: 0, rotation_limbs: BTreeMap::new(), bootstrap: None };
    if let Packing::Latency { input, output, .. } = &mut plan.params.packing {
        (input.ring, output.ring) = (1 << 15, 1 << 15);
    }
    plan.network.refresh.as_mut().expect("a bootstrap").after = (1..=stages / every).map(|at| at * every - 1).collect();
    plan
}

#[test]
fn many_bootstraps_are_refused_in_little_time() {
    let last = |stages: usize| vec![Tap { source: stages as u32 + 3, weight: 1.0 }];
    let error = refused(&long(50_000, 1, last(50_000)));
    assert!(error.contains("behind 50000 stages"), "{error}");
    // All of them are read in the end.
    let error = refused(&long(10_000, 10, (4..10_004).map(|source| Tap { source, weight: 1.0 }).collect()));
    assert!(error.contains("tensors, more than"), "{error}");
    let error = refused(&long(10_000, 10, last(10_000)));
    assert!(error.contains("another scale"), "{error}");
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
        let tfhe =
            TfheOptions { budget: LossBudget { max_loss, task, ..LossBudget::default() }, ..TfheOptions::default() };
        let ckks =
            CkksOptions { budget: LossBudget { max_loss, task, ..LossBudget::default() }, ..CkksOptions::default() };
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
