//! Plans whose key or time is out of proportion.

use serde_json::Value;

use super::{Layer, bytes};

/// Evaluation keys beyond this size are worth a word.
const LARGE_KEY: u64 = 512 << 20;
/// Thread-seconds of one evaluation that are worth a word.
const LONG: f64 = 60.0;

/// What to say of a plan, by its facts and layers, that costs more than somebody may expect; none of most plans.
pub fn warning(facts: &Value, layers: &[Layer]) -> Option<String> {
    let key = facts["evaluation_key_bytes"].as_u64().unwrap_or(0);
    let seconds = ["predicted_thread_seconds_per_input", "predicted_thread_seconds_per_run"]
        .iter()
        .find_map(|name| facts[*name].as_f64())
        .unwrap_or(0.0);
    if key <= LARGE_KEY && seconds <= LONG {
        return None;
    }
    let costliest = layers.iter().max_by(|a, b| cost(a).total_cmp(&cost(b)))?;
    let share = costliest.seconds.map_or(String::new(), |own| format!(", {own:.1} thread-seconds of {seconds:.1}"));
    Some(format!(
        "the evaluation key takes {} and one evaluation {seconds:.1} thread-seconds; the costliest layer is {} ({:?}{share}): \
         allow more with --max-loss, or make that layer smaller",
        bytes(key),
        costliest.operator,
        costliest.name,
    ))
}

/// Time of a layer, or its size where no time is told apart.
fn cost(layer: &Layer) -> f64 {
    layer.seconds.unwrap_or((layer.terms + layer.activations) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layer(name: &str, seconds: Option<f64>, terms: usize) -> Layer {
        Layer { operator: "Conv".into(), name: name.into(), shape: vec![1], activations: 1, terms, bits: None, seconds }
    }

    #[test]
    fn only_heavy_plans_get_a_word_and_it_names_the_layer() {
        let facts = |key: u64, seconds: f64| json!({ "evaluation_key_bytes": key, "predicted_thread_seconds_per_input": seconds });
        let layers = [layer("a", Some(2.0), 9), layer("b", Some(90.0), 1), layer("c", Some(8.0), 5)];
        assert_eq!(warning(&facts(100 << 20, 2.0), &layers), None);
        let text = warning(&facts(100 << 20, 100.0), &layers).expect("it takes long");
        assert!(text.contains("\"b\", 90.0 thread-seconds of 100.0"), "{text}");
        assert!(warning(&facts(2 << 30, 1.0), &layers).is_some_and(|text| text.contains("2048.0 MiB")));
        let run = json!({ "evaluation_key_bytes": 1, "predicted_thread_seconds_per_run": 61.0 });
        let text = warning(&run, &[layer("d", None, 3), layer("e", None, 4)]).expect("it takes long");
        assert!(text.contains("(\"e\")"), "{text}");
    }
}
