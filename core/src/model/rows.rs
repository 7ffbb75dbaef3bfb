//! Serialises rows as lists of plain words.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::network::{Row, Tap};
use crate::word_bytes;

#[derive(Serialize, Deserialize)]
struct Lists {
    #[serde(with = "word_bytes")]
    biases: Vec<f64>,
    #[serde(with = "word_bytes")]
    terms: Vec<u32>,
    #[serde(with = "word_bytes")]
    sources: Vec<u32>,
    #[serde(with = "word_bytes")]
    weights: Vec<f32>,
}

/// Writes the lists.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
    let taps = || rows.iter().flat_map(|row| row.taps.iter());
    let lists = Lists {
        biases: rows.iter().map(|row| row.bias).collect(),
        terms: rows.iter().map(|row| row.taps.len() as u32).collect(),
        sources: taps().map(|tap| tap.source).collect(),
        weights: taps().map(|tap| tap.weight).collect(),
    };
    lists.serialize(serializer)
}

/// Reads rows back.
///
/// # Errors
/// If the lists' lengths disagree.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Row>, D::Error> {
    let lists = Lists::deserialize(deserializer)?;
    let total: u64 = lists.terms.iter().map(|&terms| u64::from(terms)).sum();
    let same = lists.sources.len() == lists.weights.len() && lists.sources.len() as u64 == total;
    if !same || lists.biases.len() != lists.terms.len() {
        return Err(D::Error::custom("the lists of a linear map disagree in length"));
    }
    let mut taps = lists.sources.iter().zip(&lists.weights).map(|(&source, &weight)| Tap { source, weight });
    let row = |(&bias, &terms): (&f64, &u32)| Row { bias, taps: taps.by_ref().take(terms as usize).collect() };
    Ok(lists.biases.iter().zip(&lists.terms).map(row).collect())
}
