// Products of words, low half and high half, from four products of half words: for adapters without 64-bit integers.

fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    // Below 2^32: (2^16 - 1)^2 + 2^16 - 1.
    let middle = a1 * b0 + (low >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>((other << 16u) | (low & 0xffffu), a1 * b1 + (middle >> 16u) + (other >> 16u));
}

fn multiply_high(a: u32, b: u32) -> u32 {
    return multiply_wide(a, b).y;
}
