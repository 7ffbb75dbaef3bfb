//! One line of a source, for secrets.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// Longest line.
const MOST_BYTES: usize = 1024;

/// The first line, without its end; it is never moved in memory.
///
/// # Errors
/// The source's; a line that is longer than any passphrase.
pub fn read_line(source: &mut dyn Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
    let mut byte = Zeroizing::new([0]);
    loop {
        match source.read(&mut *byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() == MOST_BYTES => {
                return Err(io::Error::other(format!("it is longer than {MOST_BYTES} bytes")));
            }
            Ok(_) => line.push(byte[0]),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_passphrase() {
        for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nbattery"] {
            assert_eq!(*read_line(&mut text.as_bytes()).expect("short"), b"correct horse", "{text:?}");
        }
        assert!(read_line(&mut &[b'x'; MOST_BYTES + 1][..]).is_err());
        assert_eq!(read_line(&mut &[b'x'; MOST_BYTES][..]).expect("short").len(), MOST_BYTES);
    }
}
