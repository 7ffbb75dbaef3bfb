// Residues of primes p below 2^30. A modulus is p and -p^-1 mod 2^32; a factor is w below p and floor(w 2^32 / p).

fn add_residues(a: u32, b: u32, p: u32) -> u32 {
    let sum = a + b;
    return min(sum, sum - p);
}

fn subtract_residues(a: u32, b: u32, p: u32) -> u32 {
    let difference = a - b;
    return min(difference, difference + p);
}

// x w mod p in [0, 2p), for any x (Shoup).
fn times_lazy(x: u32, factor: vec2<u32>, p: u32) -> u32 {
    return x * factor.x - multiply_high(x, factor.y) * p;
}

// x w mod p in [0, p), for any x.
fn times(x: u32, factor: vec2<u32>, p: u32) -> u32 {
    let product = times_lazy(x, factor, p);
    return min(product, product - p);
}

// x / 2^32 mod p in [0, 2p), for x below 2^32 p (Montgomery). The low halves cancel: they carry unless both are 0.
fn reduce_lazy(x: vec2<u32>, modulus: vec2<u32>) -> u32 {
    return x.y + multiply_high(x.x * modulus.y, modulus.x) + min(x.x, 1u);
}

// x / 2^32 mod p in [0, p), for x below 2^32 p.
fn reduce(x: vec2<u32>, modulus: vec2<u32>) -> u32 {
    let reduced = reduce_lazy(x, modulus);
    return min(reduced, reduced - modulus.x);
}

fn multiply_residues(a: u32, b: u32, modulus: vec2<u32>) -> u32 {
    return reduce(multiply_wide(a, b), modulus);
}

// sum + a b, kept below 2^32 p, for a sum below 2^32 p, any word a and a residue b: their product is below 2^32 p.
fn accumulate(sum: vec2<u32>, a: u32, b: u32, p: u32) -> vec2<u32> {
    let product = multiply_wide(a, b);
    let low = sum.x + product.x;
    let high = sum.y + product.y + select(0u, 1u, low < sum.x);
    return vec2<u32>(low, min(high, high - p));
}
