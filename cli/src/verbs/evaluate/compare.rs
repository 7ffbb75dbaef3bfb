//! Encrypted outputs beside plaintext ones.

use heman_core::model::client_op::argmax;

/// How encrypted outputs compare with plaintext ones.
pub struct Comparison {
    /// Share of right answers, if there are labels.
    pub accuracy: Option<f64>,
    /// The same in plaintext.
    pub plain_accuracy: Option<f64>,
    /// Share of equal answers.
    pub agreement: f64,
    /// Largest difference of an output element.
    pub max_abs_error: f64,
    /// Mean difference of an output element.
    pub mean_abs_error: f64,
    /// Mean cosine of the angle between encrypted and plaintext outputs.
    pub mean_cosine: f64,
    /// Least cosine.
    pub min_cosine: f64,
}

/// Compares outputs with the plaintext network's.
pub fn compare(shape: &[usize], got: &[Vec<f64>], want: &[Vec<f64>], labels: Option<&[i64]>) -> Comparison {
    let axis = shape.iter().rposition(|&d| d > 1).unwrap_or(0);
    let answers =
        |outputs: &[Vec<f64>]| -> Vec<Vec<usize>> { outputs.iter().map(|y| argmax(y, shape, axis)).collect() };
    let (ours, plain) = (answers(got), answers(want));
    let count = got.len() as f64;
    let right = |answers: &[Vec<usize>]| {
        labels.map(|labels| {
            let hits = answers
                .iter()
                .zip(labels)
                .filter(|(answer, label)| answer.first() == usize::try_from(**label).ok().as_ref());
            hits.count() as f64 / count
        })
    };
    let errors: Vec<f64> =
        got.iter().zip(want).flat_map(|(g, w)| g.iter().zip(w).map(|(g, w)| (g - w).abs())).collect();
    let cosine = |g: &[f64], w: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(g, w) / (dot(g, g) * dot(w, w)).sqrt().max(f64::MIN_POSITIVE)
    };
    let cosines: Vec<f64> = got.iter().zip(want).map(|(g, w)| cosine(g, w)).collect();
    Comparison {
        accuracy: right(&ours),
        plain_accuracy: right(&plain),
        agreement: ours.iter().zip(&plain).filter(|(a, b)| a == b).count() as f64 / count,
        max_abs_error: errors.iter().copied().fold(0.0, f64::max),
        mean_abs_error: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        mean_cosine: cosines.iter().sum::<f64>() / count,
        min_cosine: cosines.iter().copied().fold(1.0, f64::min),
    }
}
