//! What is done for each limb in key switches and rescalings: lists that all ciphertexts at a number of limbs share.
//!
//! A place is the number of an argument of the item and a polynomial behind its address.

use std::sync::Arc;

use bytemuck::cast_slice;
use heman_core::ckks::error::CkksError;
use heman_core::ckks::ring::constants::DigitPlaces;
use heman_kernels::{RNS_NOWHERE, RnsDown, RnsUp};

use crate::ckks::lists::{List, Records};
use crate::ckks::ring::CudaRing;

fn place(argument: usize, polynomial: usize) -> u32 {
    (argument << 24 | polynomial) as u32
}

/// Values as they are, at one place all the way.
fn to_values(prime: usize, target: u32) -> RnsDown {
    RnsDown {
        prime: prime as u32,
        sources: 0,
        source: 0,
        conversion: 0,
        between: target,
        target,
        kept: RNS_NOWHERE,
        factor: RNS_NOWHERE,
        addend: RNS_NOWHERE,
        addend_factor: RNS_NOWHERE,
        order: RNS_NOWHERE,
    }
}

impl CudaRing {
    /// The list at a number of limbs, made when it is first asked for.
    pub fn records(&self, list: List, limbs: usize) -> Result<Arc<Records>, CkksError> {
        let mut known = self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(records) = known.get(&(list, limbs)) {
            return Ok(records.clone());
        }
        let words: Vec<u32> = match list {
            List::Parts => cast_slice(&self.parts(limbs)).to_vec(),
            List::Conversions => self.conversions(limbs),
            List::Digits => cast_slice(&self.digits(limbs)).to_vec(),
            List::Special => cast_slice(&self.special_parts(limbs)).to_vec(),
            List::Divided | List::Turned | List::TurnedInOrder => cast_slice(&self.divided(list, limbs)).to_vec(),
            List::DividedLast => cast_slice(&self.divided_last(limbs)).to_vec(),
            List::Last => cast_slice(&self.last(limbs)).to_vec(),
            List::DividedTwice => cast_slice(&self.divided_twice(limbs)).to_vec(),
            List::Remainders => cast_slice(&self.remainders(limbs)).to_vec(),
            List::Rescaled => cast_slice(&self.rescaled(limbs)).to_vec(),
            List::Plaintexts(pieces) => cast_slice(&self.plaintext_values(pieces, limbs)).to_vec(),
            List::RaisedParts => cast_slice(&self.raised_parts(limbs)).to_vec(),
            List::Raised(own) => cast_slice(&self.raised(own, limbs)).to_vec(),
        };
        let each = match list {
            List::Conversions => 1,
            List::Parts | List::Special | List::Last | List::Remainders | List::RaisedParts => size_of::<RnsUp>() / 4,
            List::Digits
            | List::Divided
            | List::Turned
            | List::TurnedInOrder
            | List::DividedLast
            | List::DividedTwice
            | List::Rescaled
            | List::Plaintexts(_)
            | List::Raised(_) => size_of::<RnsDown>() / 4,
        };
        let slice = self.backend.load("loading constants", &words)?;
        let records = Arc::new(Records { slice, count: words.len() / each });
        known.insert((list, limbs), records.clone());
        Ok(records)
    }

    /// Digits at a number of limbs, with the limbs of each.
    pub fn active_digits(&self, limbs: usize) -> impl Iterator<Item = (usize, &DigitPlaces)> {
        let alpha = self.special();
        (0..limbs.div_ceil(alpha)).map(move |j| {
            let count = alpha.min(limbs - j * alpha);
            (count, &self.places.digits[j][count - 1])
        })
    }

    /// Number in QP of a limb of what is in use.
    fn prime(&self, limbs: usize, limb: usize) -> usize {
        self.ring.extended_limb(limbs, limb)
    }

    fn half(&self, prime: usize) -> u32 {
        self.ring.modulus(prime).p / 2
    }

    fn parts(&self, limbs: usize) -> Vec<RnsUp> {
        let of_digit = |(count, digit): (usize, &DigitPlaces)| {
            let (first, inverse) = (digit.first, digit.inverse);
            (0..count).map(move |at| (first + at, inverse + at as u32))
        };
        let record = |(limb, factor): (usize, u32)| RnsUp {
            prime: limb as u32,
            source: place(0, limb),
            target: place(1, limb),
            factor,
            offset: self.half(limb),
        };
        self.active_digits(limbs).flat_map(of_digit).map(record).collect()
    }

    fn conversions(&self, limbs: usize) -> Vec<u32> {
        let of_limb = |limb: usize| {
            let prime = self.prime(limbs, limb);
            self.active_digits(limbs).map(move |(_, digit)| digit.conversions[prime])
        };
        (0..limbs + self.special()).flat_map(of_limb).collect()
    }

    fn digits(&self, limbs: usize) -> Vec<RnsDown> {
        let extended = limbs + self.special();
        let of_digit = |(number, (count, digit)): (usize, (usize, &DigitPlaces))| {
            let others = (0..extended).filter(|limb| !(digit.first..digit.first + count).contains(limb));
            let record = |limb: usize| {
                let prime = self.prime(limbs, limb);
                RnsDown {
                    sources: count as u32,
                    source: place(0, digit.first),
                    conversion: digit.conversions[prime],
                    ..to_values(prime, place(1, number * extended + limb))
                }
            };
            others.map(record).collect::<Vec<_>>()
        };
        self.active_digits(limbs).enumerate().flat_map(of_digit).collect()
    }

    fn special_parts(&self, limbs: usize) -> Vec<RnsUp> {
        let extended = limbs + self.special();
        let record = |at: usize| {
            let (part, at) = (at / self.special(), at % self.special());
            let (prime, own) = (self.ring.limbs() + at, place(0, part * extended + limbs + at));
            let factor = self.places.special + at as u32;
            RnsUp { prime: prime as u32, source: own, target: own, factor, offset: self.half(prime) }
        };
        (0..2 * self.special()).map(record).collect()
    }

    fn divided(&self, list: List, limbs: usize) -> Vec<RnsDown> {
        let extended = limbs + self.special();
        let record = |at: usize| {
            let (part, limb) = (at / limbs, at % limbs);
            let adds = list == List::Divided || part == 0;
            RnsDown {
                prime: limb as u32,
                sources: self.special() as u32,
                source: place(0, part * extended + limbs),
                conversion: self.places.special_conversions[limb],
                between: place(1, at),
                target: place(2, at),
                kept: place(0, part * extended + limb),
                factor: self.places.special_quotient + limb as u32,
                addend: if adds { place(3 + part, limb) } else { RNS_NOWHERE },
                addend_factor: RNS_NOWHERE,
                order: if list == List::TurnedInOrder { place(4, 0) } else { RNS_NOWHERE },
            }
        };
        (0..2 * limbs).map(record).collect()
    }

    /// In place: a thread reads the product that it then writes.
    fn divided_last(&self, limbs: usize) -> Vec<RnsDown> {
        let (last, extended) = (limbs - 1, limbs + self.special());
        let record = |(at, of_all): (usize, RnsDown)| {
            let part = at / limbs;
            RnsDown { between: place(1, part), target: place(0, part * extended + last), ..of_all }
        };
        let all = self.divided(List::Divided, limbs).into_iter().enumerate();
        all.filter(|(at, _)| at % limbs == last).map(record).collect()
    }

    fn last(&self, limbs: usize) -> Vec<RnsUp> {
        let (last, extended) = (limbs - 1, limbs + self.special());
        let record = |part: usize| {
            let (own, factor) = (place(0, part * extended + last), self.places.rescale[last].leave);
            RnsUp { prime: last as u32, source: own, target: own, factor, offset: self.half(last) }
        };
        (0..2).map(record).collect()
    }

    fn divided_twice(&self, limbs: usize) -> Vec<RnsDown> {
        let (last, extended) = (limbs - 1, limbs + self.special());
        let record = |at: usize| {
            let (part, limb) = (at / last, at % last);
            RnsDown {
                // The last limb's coefficients, and behind them the special ones.
                sources: 1 + self.special() as u32,
                source: place(0, part * extended + last),
                conversion: self.divided_twice.conversions[last][limb],
                between: place(1, at),
                target: place(2, at),
                kept: place(0, part * extended + limb),
                factor: self.divided_twice.factors[last][limb],
                addend: place(3 + part, limb),
                addend_factor: self.places.rescale[last].quotients + limb as u32,
                ..to_values(limb, 0)
            }
        };
        (0..2 * last).map(record).collect()
    }

    fn remainders(&self, limbs: usize) -> Vec<RnsUp> {
        let last = limbs - 1;
        let record = |part: usize| RnsUp {
            prime: last as u32,
            source: place(part, last),
            target: place(2, part),
            factor: self.places.rescale[last].leave,
            offset: self.half(last),
        };
        (0..2).map(record).collect()
    }

    fn rescaled(&self, limbs: usize) -> Vec<RnsDown> {
        let last = limbs - 1;
        let places = &self.places.rescale[last];
        let record = |at: usize| {
            let (part, limb) = (at / last, at % last);
            RnsDown {
                sources: 1,
                source: place(2, part),
                conversion: places.conversions[limb],
                kept: place(part, limb),
                factor: places.quotients + limb as u32,
                ..to_values(limb, place(3, at))
            }
        };
        (0..2 * last).map(record).collect()
    }

    fn plaintext_values(&self, pieces: usize, limbs: usize) -> Vec<RnsDown> {
        let record = |limb: usize| RnsDown {
            sources: pieces as u32,
            source: place(0, 0),
            conversion: self.places.plaintexts[pieces - 1][limb],
            ..to_values(limb, place(1, limb))
        };
        (0..limbs).map(record).collect()
    }

    fn raised_parts(&self, limbs: usize) -> Vec<RnsUp> {
        let record = |at: usize| {
            let (part, limb) = (at / limbs, at % limbs);
            RnsUp {
                prime: limb as u32,
                source: place(part, limb),
                target: place(2, at),
                factor: self.places.rescale[limb].leave,
                offset: if limbs == 1 { self.half(limb) } else { 0 },
            }
        };
        (0..2 * limbs).map(record).collect()
    }

    fn raised(&self, own: usize, limbs: usize) -> Vec<RnsDown> {
        let record = |(part, limb): (usize, usize)| RnsDown {
            sources: own as u32,
            source: place(0, part * own),
            conversion: self.places.raised[own - 1][limb],
            ..to_values(limb, place(1, part * limbs + limb))
        };
        (0..2).flat_map(|part| (own..limbs).map(move |limb| (part, limb))).map(record).collect()
    }
}
