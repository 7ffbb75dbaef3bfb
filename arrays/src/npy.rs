//! The `.npy` format, version 1 to 3: real numbers of every width, either byte order, either order of axes.
//!
//! Source: NumPy's `numpy.lib.format`. A header is read before its data, so that what does not fit is refused before
//! memory is taken for it.

use std::io::Read;

use crate::element::Element;
use crate::numbers::Numbers;

/// Largest header, in bytes; NumPy refuses headers above 10,000 by default.
const MOST_HEADER_BYTES: usize = 1 << 16;
/// Most axes, as in NumPy 2.
const MOST_AXES: usize = 64;
/// Bytes that are decoded at a time.
const BLOCK_BYTES: usize = 1 << 16;

/// What stands in a header, whatever its elements are.
pub(crate) struct Start {
    /// Type of the elements as NumPy writes it; none of records.
    pub descr: Option<String>,
    pub shape: Vec<usize>,
    /// Number of elements.
    pub len: usize,
    pub is_fortran: bool,
}

/// What a file of numbers says before its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub len: usize,
    element: Element,
    is_fortran: bool,
}

impl Start {
    /// Reads what stands before the data.
    ///
    /// # Errors
    /// A sentence for what is no `.npy` file.
    pub fn read(source: &mut dyn Read) -> Result<Self, String> {
        let mut start = [0; 8];
        read_exact(source, &mut start)?;
        let [magic @ .., major, _minor] = &start;
        if magic != b"\x93NUMPY" {
            return Err("not a .npy file".into());
        }
        let length = match major {
            1 => {
                let mut length = [0; 2];
                read_exact(source, &mut length)?;
                usize::from(u16::from_le_bytes(length))
            }
            2 | 3 => {
                let mut length = [0; 4];
                read_exact(source, &mut length)?;
                u32::from_le_bytes(length) as usize
            }
            other => return Err(format!("not a .npy file of a version that is known: it says {other}")),
        };
        if length > MOST_HEADER_BYTES {
            return Err(format!("not a .npy file: its header has {length} bytes"));
        }
        let mut text = vec![0; length];
        read_exact(source, &mut text)?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let descr = value_of(text, "descr")?.trim_start();
        let quote = descr.chars().next().filter(|quote| ['\'', '"'].contains(quote));
        let descr = quote.map(|quote| descr[1..].split(quote).next().unwrap_or_default().to_string());
        let order = value_of(text, "fortran_order")?.trim_start();
        let is_fortran = order.starts_with("True");
        if !is_fortran && !order.starts_with("False") {
            return Err("not a .npy file: its header does not say the order of its axes".into());
        }
        let tuple = value_of(text, "shape")?.trim_start();
        let inner = tuple.strip_prefix('(').and_then(|rest| Some(rest.split_once(')')?.0));
        let inner = inner.ok_or("not a .npy file: its header has no shape")?;
        let axes = inner.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let shape: Vec<usize> = axes
            .take(MOST_AXES + 1)
            .map(|axis| {
                let digits = axis.trim_end_matches('L');
                digits.parse().map_err(|_| format!("its header promises an axis of length {axis:.40}"))
            })
            .collect::<Result<_, _>>()?;
        if shape.len() > MOST_AXES {
            return Err(format!("its header promises more than {MOST_AXES} axes"));
        }
        let len = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
        let len = len.ok_or_else(|| too_many(&shape))?;
        Ok(Self { descr, shape, len, is_fortran })
    }
}

fn too_many(shape: &[usize]) -> String {
    format!("its header promises {shape:?}, more than there can be")
}

impl Header {
    /// Reads what stands before the data.
    ///
    /// # Errors
    /// A sentence for what is no `.npy` file, and for elements that are no real numbers.
    pub fn read(source: &mut dyn Read) -> Result<Self, String> {
        let Start { descr, shape, len, is_fortran } = Start::read(source)?;
        let descr = descr.ok_or("its elements are records; real numbers are needed")?;
        let element = Element::parse(&descr)?;
        if len.checked_mul(element.bytes()).is_none() {
            return Err(too_many(&shape));
        }
        Ok(Self { shape, len, element, is_fortran })
    }

    /// Bytes of the data.
    pub fn data_bytes(&self) -> u64 {
        self.len as u64 * self.element.bytes() as u64
    }

    /// Reads the data behind the header, in C order, each number as the nearest `f64`.
    ///
    /// # Errors
    /// As [`Header::read_numbers`].
    pub fn read_doubles(&self, source: &mut dyn Read) -> Result<Vec<f64>, String> {
        let mut values = Vec::new();
        self.read_blocks(source, |bytes| {
            values.extend(bytes.chunks_exact(self.element.bytes()).map(|bytes| self.element.number(bytes)));
        })?;
        Ok(if self.is_fortran { to_c_order(&values, &self.shape, 1) } else { values })
    }

    /// Reads the data behind the header, in C order: narrow types as they are, wide ones as the nearest `f32`.
    ///
    /// Memory is taken as the data come, so that a header cannot ask for more than there is.
    ///
    /// # Errors
    /// A sentence for data that are shorter or longer than the header promises.
    pub fn read_numbers(&self, source: &mut dyn Read) -> Result<Numbers, String> {
        let width = self.element.bytes();
        if width < size_of::<f32>() {
            let mut all = Vec::new();
            self.read_blocks(source, |bytes| all.extend_from_slice(bytes))?;
            let all = if self.is_fortran { to_c_order(&all, &self.shape, width) } else { all };
            return Ok(Numbers::narrow(self.element, all));
        }
        let mut values = Vec::new();
        self.read_blocks(source, |bytes| {
            values.extend(bytes.chunks_exact(width).map(|bytes| self.element.number(bytes) as f32));
        })?;
        Ok(if self.is_fortran { to_c_order(&values, &self.shape, 1) } else { values }.into())
    }

    /// Gives out the data as they are in the file, whole elements at a time.
    fn read_blocks(&self, source: &mut dyn Read, mut take: impl FnMut(&[u8])) -> Result<(), String> {
        let width = self.element.bytes();
        let mut block = vec![0; BLOCK_BYTES / width * width];
        let mut left = self.len;
        while left > 0 {
            let count = left.min(block.len() / width);
            let bytes = &mut block[..count * width];
            source.read_exact(bytes).map_err(|_| {
                format!("its header promises {:?}, more than the file holds; it may be truncated", self.shape)
            })?;
            take(bytes);
            left -= count;
        }
        match source.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(format!("its header promises {:?}, less than the file holds", self.shape)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What stands behind a key of the header, which is the text of a Python dictionary.
fn value_of<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    for quote in ['\'', '"'] {
        if let Some((_, rest)) = text.split_once(&format!("{quote}{key}{quote}")) {
            return rest.trim_start().strip_prefix(':').ok_or_else(|| format!("not a .npy file: {key} has no value"));
        }
    }
    Err(format!("not a .npy file: its header has no {key}"))
}

fn read_exact(source: &mut dyn Read, bytes: &mut [u8]) -> Result<(), String> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "not a .npy file: it ends within its header".into(),
        _ => error.to_string(),
    })
}

/// Elements of `width` words each, brought from Fortran's order to C's.
fn to_c_order<T: Copy>(words: &[T], shape: &[usize], width: usize) -> Vec<T> {
    let len = words.len() / width;
    let source = |index: usize| {
        let (mut rest, mut at, mut stride) = (index, 0, len);
        for &length in shape.iter().rev() {
            stride /= length;
            at += (rest % length) * stride;
            rest /= length;
        }
        &words[at * width..(at + 1) * width]
    };
    (0..len).flat_map(source).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let text = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes.extend(data);
        bytes
    }

    fn values(bytes: &[u8]) -> Result<Vec<f64>, String> {
        let mut source = bytes;
        let header = Header::read(&mut source)?;
        header.read_doubles(&mut source)
    }

    #[test]
    fn every_width_and_byte_order_is_read() {
        let both = |descr: &str, data: &[u8]| values(&file(descr, "False", "(2,)", data)).expect("two numbers");
        assert_eq!(both("'|b1'", &[0, 1]), [0.0, 1.0]);
        assert_eq!(both("'|u1'", &[0, 255]), [0.0, 255.0]);
        assert_eq!(both("'|i1'", &[127, 0x80]), [127.0, -128.0]);
        assert_eq!(both("'>i2'", &[0, 1, 0xff, 0xfe]), [1.0, -2.0]);
        assert_eq!(
            both("'<i8'", &[5, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            [5.0, -1.0]
        );
        assert_eq!(both("'<u8'", &[0xff; 16]), [18_446_744_073_709_551_615.0; 2]);
        assert_eq!(both("\"<f2\"", &[0x00, 0x3e, 0x00, 0xc0]), [1.5, -2.0]);
        assert_eq!(both("'>f4'", &[0x3f, 0xc0, 0, 0, 0xbf, 0, 0, 0]), [1.5, -0.5]);
        assert_eq!(both("'<f8'", &[0.1_f64.to_le_bytes(), (-3.0_f64).to_le_bytes()].concat()), [0.1, -3.0]);
    }

    #[test]
    fn elements_that_are_no_real_numbers_are_named() {
        for descr in ["'<c8'", "'<U3'", "'|S5'", "'|O'", "'<f16'", "'<M8[ns]'", "'<i3'", "''"] {
            let error = values(&file(descr, "False", "(1,)", &[0; 16])).expect_err(descr);
            assert!(error.contains("real numbers are needed"), "{error}");
            assert!(error.contains(descr.trim_matches('\'')), "{error}");
        }
        let error = values(&file("[('a', '<f4')]", "False", "(1,)", &[0; 4])).expect_err("a record");
        assert!(error.contains("records"), "{error}");
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let bad = |shape: &str| values(&file("'<f4'", "False", shape, &[0; 8])).expect_err(shape);
        assert!(bad("(-1, 2)").contains("an axis of length -1"));
        assert!(bad("(99999999999,)").contains("promises"));
        assert!(bad("(4294967296, 4294967296, 4294967296)").contains("promises"));
        assert!(bad("(1,)").contains("less than the file holds"));
        assert!(bad("(3,)").contains("truncated"));
        assert!(bad(&format!("({})", "1, ".repeat(100))).contains("axes"));
        assert!(bad("((((").contains("shape") && bad("2").contains("shape"));
        let long = [&b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], &[b'('; 100]].concat();
        assert!(values(&long).expect_err("a long header").contains("header"));
    }

    #[test]
    fn arrays_of_no_axes_and_of_no_elements_are_read() {
        assert_eq!(values(&file("'<f4'", "False", "()", &2.5_f32.to_le_bytes())), Ok(vec![2.5]));
        assert_eq!(values(&file("'<f4'", "True", "(0, 3)", &[])), Ok(vec![]));
    }

    #[test]
    fn fortran_order_is_transposed() {
        assert_eq!(
            values(&file("'|u1'", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])),
            Ok(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        );
        let bytes = file("'<i2'", "True", "(2, 2)", &[1, 0, 3, 0, 2, 0, 4, 0]);
        let mut source = bytes.as_slice();
        let header = Header::read(&mut source).expect("an array");
        assert_eq!(header.read_numbers(&mut source), Ok(vec![1.0, 2.0, 3.0, 4.0].into()));
    }
}
