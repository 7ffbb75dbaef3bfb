// Uniform polynomials from their seeds: eight residues a thread, those of one block of a BLAKE3 stream.
//
// Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3", 2020, sections 2.2, 2.4 and 2.6. What is hashed is one
// block: seed, number of the polynomial, limb; which residues come of it stands in `core/src/ckks/files/seeded.rs`.

struct RnsMasksParams {
    // Word of the arguments where the items begin.
    items: u32,
}

var<immediate> params: RnsMasksParams;

// Start and end of a chunk, root, material of a derived key.
const FLAGS: u32 = 75u;
// Bytes that are hashed.
const LENGTH: u32 = 40u;

struct State {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn turned(x: vec4<u32>, bits: u32) -> vec4<u32> {
    return (x >> vec4<u32>(bits)) | (x << vec4<u32>(32u - bits));
}

// Four columns side by side.
fn mix(state: ptr<function, State>, x: vec4<u32>, y: vec4<u32>) {
    (*state).a += (*state).b + x;
    (*state).d = turned((*state).d ^ (*state).a, 16u);
    (*state).c += (*state).d;
    (*state).b = turned((*state).b ^ (*state).c, 12u);
    (*state).a += (*state).b + y;
    (*state).d = turned((*state).d ^ (*state).a, 8u);
    (*state).c += (*state).d;
    (*state).b = turned((*state).b ^ (*state).c, 7u);
}

// floor(w p / 2^64) for w of two words, low first.
fn scaled(low: u32, high: u32, p: u32) -> u32 {
    let product = multiply_wide(high, p);
    let carried = product.x + multiply_high(low, p);
    return product.y + select(0u, 1u, carried < product.x);
}

// For each item: target, the limb's number, the polynomial's number, and the word of the arguments where eight words of
// the seed and eight of the context's key begin.
@compute @workgroup_size(256)
fn rns_masks(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = params.items + workgroup.y * 4u;
    let counter = workgroup.x * 256u + thread;
    let p = constants[arguments[at + 1u]].x;
    let seed = arguments[at + 3u];
    let key = seed + 8u;
    var m: array<u32, 16>;
    for (var i = 0u; i < 8u; i++) {
        m[i] = arguments[seed + i];
    }
    m[8] = arguments[at + 2u];
    m[9] = arguments[at + 1u];
    let low_key = vec4<u32>(arguments[key], arguments[key + 1u], arguments[key + 2u], arguments[key + 3u]);
    let high_key = vec4<u32>(arguments[key + 4u], arguments[key + 5u], arguments[key + 6u], arguments[key + 7u]);
    var state = State(low_key, high_key, vec4<u32>(0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au),
        vec4<u32>(counter, 0u, LENGTH, FLAGS));
    for (var round = 0u; round < 7u; round++) {
        mix(&state, vec4<u32>(m[0], m[2], m[4], m[6]), vec4<u32>(m[1], m[3], m[5], m[7]));
        state.b = state.b.yzwx;
        state.c = state.c.zwxy;
        state.d = state.d.wxyz;
        mix(&state, vec4<u32>(m[8], m[10], m[12], m[14]), vec4<u32>(m[9], m[11], m[13], m[15]));
        state.b = state.b.wxyz;
        state.c = state.c.zwxy;
        state.d = state.d.yzwx;
        m = array<u32, 16>(m[2], m[6], m[3], m[10], m[7], m[0], m[4], m[13], m[1], m[11], m[12], m[5], m[9], m[14],
            m[15], m[8]);
    }
    let first = state.a ^ state.c;
    let second = state.b ^ state.d;
    let third = state.c ^ low_key;
    let fourth = state.d ^ high_key;
    let target_ = arguments[at] + counter * 8u;
    store(target_, scaled(first.x, first.y, p));
    store(target_ + 1u, scaled(first.z, first.w, p));
    store(target_ + 2u, scaled(second.x, second.y, p));
    store(target_ + 3u, scaled(second.z, second.w, p));
    store(target_ + 4u, scaled(third.x, third.y, p));
    store(target_ + 5u, scaled(third.z, third.w, p));
    store(target_ + 6u, scaled(fourth.x, fourth.y, p));
    store(target_ + 7u, scaled(fourth.z, fourth.w, p));
}
