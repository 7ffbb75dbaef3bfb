//! A device that is two: every step runs on both, and the first word in which they differ is named.
//!
//! [`Dual`] stands in wherever a device does, so that whole inferences can be searched for the step that goes wrong. A
//! difference is an error of the step, [`BackendError::Device`] with step, place and both words; so is a step that
//! fails on one device alone.

pub mod ckks;
pub mod tfhe;

use std::fmt::{Debug, Display};

use heman_core::device::Device;
use heman_core::device::error::BackendError;

use crate::difference::first_word;

/// Two devices that should compute the same.
pub struct Dual<A, B> {
    /// The device whose results are handed out.
    pub first: A,
    /// The device that it is compared with.
    pub second: B,
    /// How bootstraps are compared, if they are.
    phases: Option<tfhe::Phases>,
}

/// The same on two devices.
#[derive(Clone, Debug)]
pub struct Pair<A, B> {
    /// On the first.
    pub first: A,
    /// On the second.
    pub second: B,
}

/// A buffer on two devices.
pub struct DualBuffer<A, B> {
    /// On both.
    pub pair: Pair<A, B>,
    words: usize,
}

impl<A, B> Dual<A, B> {
    /// Two devices side by side; results of bootstraps are not compared.
    #[must_use]
    pub fn new(first: A, second: B) -> Self {
        Self { first, second, phases: None }
    }
}

impl<A, B> Pair<A, B> {
    /// What two steps gave, if both succeeded.
    ///
    /// # Errors
    /// What both failed with; a difference if they did not fail alike.
    fn of<E: PartialEq + Debug + From<BackendError>>(
        step: &'static str,
        first: Result<A, E>,
        second: Result<B, E>,
    ) -> Result<Self, E> {
        match (first, second) {
            (Ok(first), Ok(second)) => Ok(Self { first, second }),
            (Err(first), Err(second)) if first == second => Err(first),
            (first, second) => {
                let what = format!("{:?} and {:?}", first.err(), second.err());
                Err(differ(step, what.replace("None", "no error")).into())
            }
        }
    }
}

fn differ(step: &'static str, difference: impl Display) -> BackendError {
    BackendError::Device { step, device: "two devices that differ".into(), message: difference.to_string() }
}

impl<A: Device, B: Device> Dual<A, B> {
    /// Fails unless both buffers hold the same words from `at` on.
    fn compare(
        &self,
        step: &'static str,
        buffer: &DualBuffer<A::Buffer, B::Buffer>,
        at: usize,
        row_words: usize,
        count: usize,
    ) -> Result<Vec<u32>, BackendError> {
        let Pair { first, second } = self.words_of(buffer, at, count)?;
        let Some(place) = first_word(&first, &second) else { return Ok(first) };
        let (row, word, words) = (place / row_words, place % row_words, [first[place], second[place]]);
        Err(differ(step, format_args!("row {row}, word {word}: {} and {}", words[0], words[1])))
    }

    fn words_of(
        &self,
        buffer: &DualBuffer<A::Buffer, B::Buffer>,
        at: usize,
        count: usize,
    ) -> Result<Pair<Vec<u32>, Vec<u32>>, BackendError> {
        let mut words = Pair { first: vec![0; count], second: vec![0; count] };
        self.first.download(&buffer.pair.first, at, &mut words.first)?;
        self.second.download(&buffer.pair.second, at, &mut words.second)?;
        Ok(words)
    }
}

impl<A: Device, B: Device> Device for Dual<A, B> {
    type Buffer = DualBuffer<A::Buffer, B::Buffer>;

    fn name(&self) -> String {
        format!("{} beside {}", self.first.name(), self.second.name())
    }

    fn allocate(&self, words: usize) -> Result<Self::Buffer, BackendError> {
        let pair = Pair { first: self.first.allocate(words)?, second: self.second.allocate(words)? };
        Ok(DualBuffer { pair, words })
    }

    fn upload(&self, words: &[u32], buffer: &mut Self::Buffer, at: usize) -> Result<(), BackendError> {
        let first = self.first.upload(words, &mut buffer.pair.first, at);
        let second = self.second.upload(words, &mut buffer.pair.second, at);
        Pair::of("upload", first, second).map(|_| ())
    }

    fn download(&self, buffer: &Self::Buffer, at: usize, words: &mut [u32]) -> Result<(), BackendError> {
        let mut others = vec![0; words.len()];
        let first = self.first.download(&buffer.pair.first, at, words);
        let second = self.second.download(&buffer.pair.second, at, &mut others);
        Pair::of("download", first, second)?;
        let Some(place) = first_word(words, &others) else { return Ok(()) };
        Err(differ("download", format_args!("word {}: {} and {}", at + place, words[place], others[place])))
    }

    fn buffer_bytes(&self) -> usize {
        self.first.buffer_bytes().min(self.second.buffer_bytes())
    }

    fn sync(&self) -> Result<(), BackendError> {
        Pair::of("sync", self.first.sync(), self.second.sync()).map(|_| ())
    }
}
