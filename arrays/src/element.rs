//! Types of numbers in files: every width, either byte order.

/// The type of an array's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    kind: Kind,
    bytes: usize,
    is_big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
}

impl Element {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// Reads NumPy's name of a type.
    ///
    /// # Errors
    /// A sentence for what are no real numbers.
    pub fn parse(name: &str) -> Result<Self, String> {
        let unknown = || format!("its elements are of type {name:?}; real numbers are needed");
        let (order, rest) = match name.as_bytes().first() {
            Some(b'<' | b'>' | b'=' | b'|') => name.split_at(1),
            _ => ("=", name),
        };
        let is_big_endian = order == ">" || (order == "=" && cfg!(target_endian = "big"));
        let (kind, widths): (_, &[&str]) = match rest.as_bytes().first() {
            Some(b'b' | b'?') => (Kind::Bool, &["", "1"]),
            Some(b'i') => (Kind::Signed, &["1", "2", "4", "8"]),
            Some(b'u') => (Kind::Unsigned, &["1", "2", "4", "8"]),
            Some(b'f') => (Kind::Float, &["2", "4", "8"]),
            _ => return Err(unknown()),
        };
        let width = widths.iter().find(|&&width| width == &rest[1..]).ok_or_else(unknown)?;
        Ok(Self { kind, bytes: width.parse().unwrap_or(1), is_big_endian })
    }

    /// The number that one element's bytes write.
    pub fn number(self, bytes: &[u8]) -> f64 {
        let mut word = [0; 8];
        for (at, &byte) in bytes.iter().enumerate() {
            word[if self.is_big_endian { bytes.len() - 1 - at } else { at }] = byte;
        }
        let bits = u64::from_le_bytes(word);
        match (self.kind, self.bytes) {
            (Kind::Bool, _) => f64::from(u8::from(bits != 0)),
            (Kind::Unsigned, _) => bits as f64,
            (Kind::Signed, width) => {
                let unused = 64 - 8 * width as u32;
                ((bits << unused) as i64 >> unused) as f64
            }
            (Kind::Float, 2) => half(bits as u16),
            (Kind::Float, 4) => f64::from(f32::from_bits(bits as u32)),
            (Kind::Float, _) => f64::from_bits(bits),
        }
    }
}

/// The value of an IEEE 754 number of 16 bits.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_the_values_of_the_standard() {
        // Largest, smallest normal and smallest subnormal number of IEEE 754 binary16.
        assert_eq!(half(0x7bff), 65504.0);
        assert_eq!((half(0x0400), half(0x0001)), (2_f64.powi(-14), 2_f64.powi(-24)));
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }
}
