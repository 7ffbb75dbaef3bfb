//! Bytes with a few changed, whatever they mean.

use crate::random::Random;

/// Largest file that a mutation makes, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// Changes a few bytes, words, or stretches.
pub fn mutate(of: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if of.is_empty() {
            of.push(random.word() as u8);
        }
        let length = of.len();
        // Heads tell how the rest is read, and are hit as often as all the rest.
        let at = if random.once_in(2) { random.below(length.min(64)) } else { random.below(length) };
        match random.below(9) {
            0 => of[at] ^= 1 << random.below(8),
            1 => of[at] = random.word() as u8,
            2 => of[at] = random.pick(&[0, 0x7f, 0x80, 0xff]),
            3 => overwrite(of, at, &random.integer().to_le_bytes()[..random.pick(&[2_usize, 4, 8])]),
            4 => overwrite(of, at, &random.real().to_le_bytes()),
            5 => {
                // A number as postcard writes it, seven bits a byte.
                let mut number = random.integer();
                let mut encoded = Vec::new();
                while number >= 0x80 {
                    encoded.push(number as u8 | 0x80);
                    number >>= 7;
                }
                encoded.push(number as u8);
                let replaced = random.below(3).min(length - at);
                drop(of.splice(at..at + replaced, encoded));
            }
            6 => of.truncate(at),
            7 => drop(of.drain(at..(at + 1 + random.below(16)).min(length))),
            _ => {
                let stretch = of[at..(at + 1 + random.below(64)).min(length)].to_vec();
                let times = 1 << random.below(6);
                if of.len() + stretch.len() * times <= MOST_BYTES {
                    let copies = stretch.repeat(times);
                    drop(of.splice(at..at, copies));
                }
            }
        }
    }
}

fn overwrite(of: &mut [u8], at: usize, with: &[u8]) {
    of[at..].iter_mut().zip(with).for_each(|(byte, &new)| *byte = new);
}
