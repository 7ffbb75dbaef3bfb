//! Files of a kind with something changed, behind checksums that fit.

use heman_core::files::scheme::Scheme;

use crate::bytes;
use crate::kind::Kind;
use crate::random::Random;
use crate::seeds::{opened, sealed};
use crate::{arrays, json, plans};

/// A mutated file, made from ones of its kind, best sound ones.
#[must_use]
pub fn mutated(kind: Kind, seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let seed = &seeds[random.below(seeds.len())];
    let mut file = seed.clone();
    if kind.sealed().is_none() {
        match kind {
            Kind::Onnx => bytes::mutate(&mut file, random),
            Kind::Arrays => arrays::mutate(&mut file, random),
            _ => json::mutate(&mut file, random),
        }
        return file;
    }
    // Once in a while the container itself; and what is no container.
    let inner = opened(seed).filter(|_| !random.once_in(16));
    let Some((mut header, mut body)) = inner else {
        bytes::mutate(&mut file, random);
        return file;
    };
    match kind {
        Kind::Plan(_) if !random.once_in(4) => {
            if let Some(plan) = plans::mutated(seed, random) {
                return plan;
            }
            bytes::mutate(&mut body, random);
        }
        Kind::Key(_) if !random.once_in(4) => key(&mut body, random),
        _ => bytes::mutate(&mut body, random),
    }
    if random.once_in(32) {
        header.scheme = if header.scheme == Scheme::Tfhe { Scheme::Ckks } else { Scheme::Tfhe };
    }
    if random.once_in(32) {
        header.fingerprint.0[random.below(16)] ^= 1;
    }
    sealed(&header, &body)
}

/// The parameters in a key's body.
fn key(body: &mut Vec<u8>, random: &mut Random) {
    let Some((length, rest)) = body.split_first_chunk::<4>() else { return };
    let length = u32::from_le_bytes(*length) as usize;
    if length > rest.len() {
        return bytes::mutate(body, random);
    }
    let (text, bits) = rest.split_at(length);
    let (mut text, bits) = (text.to_vec(), bits.to_vec());
    json::mutate(&mut text, random);
    let length = if random.once_in(16) { random.integer() as u32 } else { text.len() as u32 };
    *body = [&length.to_le_bytes(), text.as_slice(), &bits].concat();
}
