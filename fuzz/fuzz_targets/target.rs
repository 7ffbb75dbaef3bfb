// One fuzz target: bytes go to the parser of a kind, and are mutated as files of that kind are.
// Included by every target; libFuzzer's own mutations come in between.

use heman_hostile::feed;
use heman_hostile::kind::Kind;
use heman_hostile::mutation::mutated;
use heman_hostile::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| {
    feed(KIND, data);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(u64::from(seed));
    if random.once_in(3) {
        return fuzzer_mutate(data, size, max_size);
    }
    let file = mutated(KIND, &[data[..size].to_vec()], &mut random);
    let length = file.len().min(max_size);
    data[..length].copy_from_slice(&file[..length]);
    length
});
