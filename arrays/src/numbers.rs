//! Numbers of arrays in memory.

use std::borrow::Cow;
use std::ops::Range;

use crate::element::Element;

/// Numbers that models take as 32-bit floats. Types of one or two bytes stay as they are in the file until a part is
/// asked for; wider ones are rounded when they are read.
#[derive(Clone, Debug)]
pub struct Numbers(Kept);

#[derive(Clone, Debug)]
enum Kept {
    /// Bytes of the file.
    Narrow(Element, Vec<u8>),
    Real(Vec<f32>),
}

impl Default for Numbers {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(values: Vec<f32>) -> Self {
        Self(Kept::Real(values))
    }
}

impl PartialEq for Numbers {
    /// Whether the values are the same, whatever they are kept as.
    fn eq(&self, other: &Self) -> bool {
        self.part(0..self.len()) == other.part(0..other.len())
    }
}

impl Numbers {
    pub(crate) fn narrow(element: Element, bytes: Vec<u8>) -> Self {
        Self(Kept::Narrow(element, bytes))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Narrow(element, bytes) => bytes.len() / element.bytes(),
            Kept::Real(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.0 {
            Kept::Narrow(_, bytes) => bytes.len(),
            Kept::Real(values) => size_of_val(values.as_slice()),
        }
    }

    /// Some of them.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        match &self.0 {
            Kept::Narrow(element, bytes) => {
                let width = element.bytes();
                let own = bytes[range.start * width..range.end * width].chunks_exact(width);
                Cow::Owned(own.map(|bytes| element.number(bytes) as f32).collect())
            }
            Kept::Real(values) => Cow::Borrowed(&values[range]),
        }
    }

    /// These parts, one after the other.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn parts(&self, ranges: impl Iterator<Item = Range<usize>>) -> Self {
        Self(match &self.0 {
            Kept::Narrow(element, bytes) => {
                let width = element.bytes();
                let own = ranges.flat_map(|range| &bytes[range.start * width..range.end * width]);
                Kept::Narrow(*element, own.copied().collect())
            }
            Kept::Real(values) => Kept::Real(ranges.flat_map(|range| &values[range]).copied().collect()),
        })
    }

    /// Keeps the first `count`.
    pub fn truncate(&mut self, count: usize) {
        match &mut self.0 {
            Kept::Narrow(element, bytes) => bytes.truncate(count.saturating_mul(element.bytes())),
            Kept::Real(values) => values.truncate(count),
        }
    }

    /// Puts others behind them.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        match (&mut self.0, other.0) {
            (Kept::Narrow(own, bytes), Kept::Narrow(theirs, more)) if *own == theirs => bytes.extend(more),
            (Kept::Real(values), Kept::Real(more)) => values.extend(more),
            (_, other) => {
                let other = Self(other);
                let mut values = self.part(0..self.len()).into_owned();
                values.extend_from_slice(&other.part(0..other.len()));
                self.0 = Kept::Real(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(descr: &str, bytes: &[u8]) -> Numbers {
        Numbers::narrow(Element::parse(descr).expect("a type"), bytes.to_vec())
    }

    #[test]
    fn narrow_types_take_no_more_memory_than_in_the_file() {
        let bytes = narrow("|u1", &[1, 2, 255, 0]);
        assert_eq!((bytes.len(), bytes.held_bytes()), (4, 4));
        assert_eq!(&*bytes.part(1..3), [2.0, 255.0]);
        let halves = narrow(">f2", &[0x3e, 0, 0xc0, 0]);
        assert_eq!((halves.held_bytes(), &*halves.part(0..2)), (4, &[1.5, -2.0][..]));
    }

    #[test]
    fn parts_and_other_types_come_together() {
        let mut all = Numbers::default();
        all.append(narrow("|i1", &[1, 0xff, 3]));
        assert_eq!(all.held_bytes(), 3);
        all.append(narrow("|i1", &[4]));
        assert_eq!((all.held_bytes(), &*all.part(0..4)), (4, &[1.0, -1.0, 3.0, 4.0][..]));
        let chosen = all.parts([2..4, 0..1].into_iter());
        assert_eq!((chosen.held_bytes(), &*chosen.part(0..3)), (3, &[3.0, 4.0, 1.0][..]));
        all.append(vec![0.5].into());
        all.truncate(5);
        assert_eq!(all, vec![1.0, -1.0, 3.0, 4.0, 0.5].into());
        all.truncate(1);
        assert_eq!((all.len(), all.held_bytes()), (1, 4));
    }
}
