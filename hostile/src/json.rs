//! JSON texts with one thing or a few changed.

use serde_json::{Map, Number, Value};

use crate::bytes;
use crate::random::Random;

/// Largest text that a mutation makes, in bytes: a little more than files are in earnest.
const MOST_TEXT: usize = 200_000;

/// Changes a few values of a text; texts that are none get other bytes.
pub fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    if random.once_in(10) {
        return bytes::mutate(text, random);
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else { return bytes::mutate(text, random) };
    for _ in 0..1 + random.below(3) {
        let whole = value.clone();
        change(node(&mut value, random), &whole, random);
    }
    let mut changed = value.to_string().into_bytes();
    if random.once_in(20) {
        // Numbers that a value cannot hold.
        let digits: Vec<usize> = (0..changed.len()).filter(|&at| changed[at].is_ascii_digit()).collect();
        if !digits.is_empty() {
            let at = digits[random.below(digits.len())];
            let huge: [&[u8]; 5] = [b"1e999", b"-1e999", b"NaN", b"1e-400", b"99999999999999999999999"];
            drop(changed.splice(at..at + 1, random.pick(&huge).iter().copied()));
        }
    }
    if changed.len() <= MOST_TEXT {
        *text = changed;
    }
}

/// A value somewhere below.
fn node<'a>(value: &'a mut Value, random: &mut Random) -> &'a mut Value {
    let below = match value {
        Value::Object(fields) => fields.len(),
        Value::Array(elements) => elements.len(),
        _ => 0,
    };
    if below == 0 || random.once_in(12) {
        return value;
    }
    let at = random.below(below);
    match value {
        Value::Object(fields) => node(fields.values_mut().nth(at).expect("there are so many"), random),
        Value::Array(elements) => node(&mut elements[at], random),
        other => other,
    }
}

fn number(random: &mut Random) -> Value {
    match random.below(3) {
        0 => Number::from_f64(random.real()).map_or(Value::Null, Value::Number),
        1 => Value::from(random.integer()),
        _ => Value::from(random.integer() as i64),
    }
}

fn change(value: &mut Value, whole: &Value, random: &mut Random) {
    match random.below(12) {
        0 => *value = Value::Null,
        1 => *value = Value::String("\u{1b}[2J\u{202e}\u{0}".into()),
        2 => *value = Value::String("x".repeat(1 << random.below(17))),
        3 => *value = Value::Array(Vec::new()),
        4 => *value = Value::Object(Map::new()),
        5 => {
            for _ in 0..random.below(300) {
                *value = Value::Array(vec![value.take()]);
            }
        }
        6 => {
            // A value from elsewhere.
            let mut other = whole.clone();
            *value = node(&mut other, random).take();
        }
        _ => match value {
            Value::Number(_) | Value::Null => *value = number(random),
            Value::Bool(is) => *is = !*is,
            Value::String(text) => {
                let names = ["tfhe", "ckks", "latency", "throughput", "Real", "Boolean", "Softmax", "X", ""];
                *text = random.pick(&names).to_string();
            }
            Value::Array(elements) => match (random.below(4), elements.len()) {
                (_, 0) => elements.push(number(random)),
                (0, length) => drop(elements.remove(random.below(length))),
                (1, length) => {
                    let copy = elements[random.below(length)].clone();
                    elements.extend(std::iter::repeat_n(copy, 1 << random.below(8)));
                }
                (2, length) => elements.swap(0, random.below(length)),
                (_, length) => elements[random.below(length)] = number(random),
            },
            Value::Object(fields) => {
                let name = fields.keys().nth(random.below(fields.len().max(1))).cloned().unwrap_or_default();
                if random.once_in(2) {
                    fields.remove(&name);
                } else {
                    fields.insert(format!("{name}x"), number(random));
                }
            }
        },
    }
}
