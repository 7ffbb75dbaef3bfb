//! How much a file may decode to.
//!
//! Most of a file is words, which take as much memory as they take of the file. Small objects take more: a file of
//! empty lists, or of expressions with a byte a node, would decode to many times its size. Those are counted while
//! they are decoded, and how deep they nest is counted with them, because the stack ends long before a file does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Most small objects of one file. Each takes some hundred bytes.
const MOST_OBJECTS: u64 = 1 << 22;
/// Deepest nesting of boxes within boxes.
const MOST_DEPTH: usize = 64;

thread_local! {
    /// Objects that may still come; nobody counts outside of [`bounded`].
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    /// Boxes around what is decoded now.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Puts a thread's count back when it is dropped.
struct Before<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy + 'static> Drop for Before<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// Decodes one file, whose small objects are counted.
pub fn bounded<T>(decode: impl FnOnce() -> T) -> T {
    let _before = Before(&LEFT, LEFT.replace(Some(MOST_OBJECTS)));
    decode()
}

fn count<E: Error>() -> Result<(), E> {
    match LEFT.get() {
        None => Ok(()),
        Some(0) => Err(E::custom(format!("there are more than {MOST_OBJECTS} objects in the file"))),
        Some(left) => {
            LEFT.set(Some(left - 1));
            Ok(())
        }
    }
}

/// Reads a box within a box, not too deep.
///
/// # Errors
/// The deserializer's; too deep a nesting, and too many objects.
pub fn boxed<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Box<T>, D::Error> {
    let depth = DEPTH.get();
    if depth >= MOST_DEPTH {
        return Err(D::Error::custom(format!("there is an expression nested deeper than {MOST_DEPTH}")));
    }
    count()?;
    let _before = Before(&DEPTH, DEPTH.replace(depth + 1));
    T::deserialize(deserializer).map(Box::new)
}

/// Reads a list whose elements are counted.
///
/// # Errors
/// The deserializer's; too many objects.
pub fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Counted<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Counted<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                count()?;
                list.push(element);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Counted(PhantomData))
}

/// Reads a map whose entries are counted.
///
/// # Errors
/// The deserializer's; too many objects.
pub fn map<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Counted<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Counted<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry()? {
                count()?;
                map.insert(key, value);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Counted(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[derive(Debug, Serialize, Deserialize)]
    enum Nest {
        Leaf,
        Box(#[serde(deserialize_with = "boxed")] Box<Nest>),
    }

    #[derive(Serialize, Deserialize)]
    struct Lists {
        #[serde(deserialize_with = "list")]
        lists: Vec<Vec<u8>>,
    }

    #[test]
    fn nesting_ends_where_the_bound_is_however_long_the_file() {
        let decode = |boxes: usize| {
            let bytes = [vec![1; boxes], vec![0]].concat();
            postcard::from_bytes::<Nest>(&bytes).map(|_| ())
        };
        assert!(decode(MOST_DEPTH).is_ok());
        assert!(decode(MOST_DEPTH + 1).is_err());
        assert!(decode(10_000_000).is_err(), "the stack would not hold it");
        assert!(decode(MOST_DEPTH).is_ok(), "a failure leaves nothing behind");
    }

    #[test]
    fn objects_are_counted_file_by_file() {
        let encoded = |lists: u64| {
            let mut bytes = postcard::to_allocvec(&lists).expect("a number");
            bytes.extend(std::iter::repeat_n(0, lists as usize));
            bytes
        };
        let decode = |bytes: &[u8]| bounded(|| postcard::from_bytes::<Lists>(bytes).map(|lists| lists.lists.len()));
        let most = encoded(MOST_OBJECTS);
        for _ in 0..2 {
            assert_eq!(decode(&most), Ok(MOST_OBJECTS as usize));
        }
        assert!(decode(&encoded(MOST_OBJECTS + 1)).is_err());
    }
}
