//! Figures in reports: a value with its unit, and between which values the true one lies.

use heman_load::figure::Figure;
use serde_json::{Value, json};

/// Units of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Inputs or operations a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Joules.
    Joules,
    /// A share of one.
    Share,
}

impl Unit {
    const ALL: [Self; 5] = [Self::Seconds, Self::PerSecond, Self::Bytes, Self::Joules, Self::Share];

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::PerSecond => "1/s",
            Self::Bytes => "B",
            Self::Joules => "J",
            Self::Share => "1",
        }
    }

    /// Whether more is better.
    pub fn is_better_larger(self) -> bool {
        matches!(self, Self::PerSecond | Self::Share)
    }

    /// A value of it, for people.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Seconds => seconds(value),
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::Bytes => crate::report::bytes(value as u64),
            Self::Joules => format!("{} J", digits(value)),
            Self::Share => format!("{:.1} %", 100.0 * value),
        }
    }
}

/// A time in the unit that suits it.
pub fn seconds(value: f64) -> String {
    match value.abs() {
        x if x < 1e-3 => format!("{} µs", digits(1e6 * value)),
        x if x < 1.0 => format!("{} ms", digits(1e3 * value)),
        _ => format!("{} s", digits(value)),
    }
}

/// Four digits that count.
pub fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let places = 3 - value.abs().log10().floor() as i32;
    format!("{value:.*}", places.clamp(0, 9) as usize)
}

/// The same without zeros at the end.
pub fn plain(value: f64) -> String {
    let text = digits(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// A figure for machines.
pub fn figure(figure: Figure, unit: Unit) -> Value {
    let (low, high) = figure.interval.unzip();
    json!({ "value": figure.value, "low": low, "high": high, "unit": unit.name() })
}

/// One measurement for machines.
pub fn single(value: f64, unit: Unit) -> Value {
    figure(Figure::single(value), unit)
}

/// A figure that [`figure()`] wrote.
pub fn read(object: &Value) -> Option<(Figure, Unit)> {
    let unit = object.get("unit")?.as_str()?;
    let unit = Unit::ALL.into_iter().find(|known| known.name() == unit)?;
    let value = object.get("value")?.as_f64()?;
    let end = |name: &str| object.get(name).and_then(Value::as_f64);
    Some((Figure { value, interval: end("low").zip(end("high")) }, unit))
}

/// A figure for people, with its interval if it has one.
pub fn text(object: &Value) -> String {
    let Some((Figure { value, interval }, unit)) = read(object) else { return "-".into() };
    match interval {
        Some((low, high)) => format!("{} ({} to {})", unit.text(value), unit.text(low), unit.text(high)),
        None => unit.text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_were_written() {
        for value in [Figure::single(2.0), Figure { value: 2.0, interval: Some((1.5, 2.5)) }] {
            assert_eq!(read(&figure(value, Unit::PerSecond)), Some((value, Unit::PerSecond)));
        }
        assert_eq!(read(&json!({ "value": 1.0 })), None);
    }

    #[test]
    fn numbers_have_four_digits() {
        assert_eq!([0.0, 12.3456, 123_456.0, 0.001_234_5].map(digits), ["0", "12.35", "123456", "0.001234"]);
        assert_eq!([0.0, 0.5, 20.0, 100.0, 1500.0].map(plain), ["0", "0.5", "20", "100", "1500"]);
        assert_eq!([2.5e-6, 0.012_34, 12.0].map(seconds), ["2.500 µs", "12.34 ms", "12.00 s"]);
    }
}
