// Integer affine maps over rows of words: up to eight kernels at one position share each word that is read.

struct LweLinearParams {
    length: u32,
    row_words: u32,
    tiles: u32,
}

struct Launch {
    // Word of the arguments where the items begin.
    items: u32,
    block: LweLinearParams,
    // Tile that this launch begins with.
    first_tile: u32,
    picks: u32,
    weights: u32,
    targets: u32,
    bias: u32,
    values: u32,
    out: u32,
}

var<immediate> launch: Launch;

const KERNELS: u32 = 8u;
const CHUNK: u32 = 64u;

var<workgroup> weights: array<u32, KERNELS * CHUNK>;
var<workgroup> picks: array<u32, CHUNK>;

// An item: terms, kernels, first pick, first weight of `terms x 8`, first target.
@compute @workgroup_size(256)
fn lwe_linear(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = launch.items + workgroup.x * 5u;
    let terms = arguments[item];
    let kernels = arguments[item + 1u];
    let first_pick = arguments[item + 2u];
    let first_weight = arguments[item + 3u];
    let first_target = arguments[item + 4u];
    let word = (launch.first_tile + workgroup.y) * 256u + thread;
    let is_inside = word < launch.block.length;
    var sums: array<u32, KERNELS>;
    for (var first = 0u; first < terms; first += CHUNK) {
        let count = min(CHUNK, terms - first);
        workgroupBarrier();
        if (thread < count) {
            picks[thread] = load(launch.picks + first_pick + first + thread);
        }
        for (var i = thread; i < KERNELS * count; i += 256u) {
            weights[i] = load(launch.weights + first_weight + KERNELS * first + i);
        }
        workgroupBarrier();
        if (is_inside) {
            for (var term = 0u; term < count; term++) {
                let own = value(picks[term], word);
                for (var kernel = 0u; kernel < KERNELS; kernel++) {
                    sums[kernel] += own * weights[KERNELS * term + kernel];
                }
            }
        }
    }
    if (is_inside) {
        for (var kernel = 0u; kernel < kernels; kernel++) {
            finish(word, first_target + kernel, sums[kernel]);
        }
    }
}

// Writes a sum to its target, with the constant if it is a body.
fn finish(word: u32, target_number: u32, sum: u32) {
    let target_ = load(launch.targets + target_number);
    var start = 0u;
    if (word % launch.block.row_words == launch.block.row_words - 1u) {
        start = load(launch.bias + target_);
    }
    store(launch.out + target_ * launch.block.length + word, start + sum);
}

// The same for weights of bytes, of which four products are summed by one instruction, for each of the four bytes of a
// word. Weights come with 128 added, which the sum of the values takes off again. An item counts terms, picks and
// weights in fours: a word of weights is four terms of one kernel.
@compute @workgroup_size(256)
fn lwe_linear_bytes(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = launch.items + workgroup.x * 5u;
    let groups = arguments[item];
    let kernels = arguments[item + 1u];
    let first_pick = 4u * arguments[item + 2u];
    let first_weight = arguments[item + 3u];
    let first_target = arguments[item + 4u];
    let word = (launch.first_tile + workgroup.y) * 256u + thread;
    let is_inside = word < launch.block.length;
    var sums: array<u32, KERNELS>;
    for (var first = 0u; first < groups; first += CHUNK / 4u) {
        let count = min(CHUNK / 4u, groups - first);
        workgroupBarrier();
        if (thread < 4u * count) {
            picks[thread] = load(launch.picks + first_pick + 4u * first + thread);
        }
        if (thread < KERNELS * count) {
            weights[thread] = load(launch.weights + first_weight + KERNELS * first + thread);
        }
        workgroupBarrier();
        if (is_inside) {
            var places: array<vec4<u32>, KERNELS>;
            var total = 0u;
            for (var group = 0u; group < count; group++) {
                let values = vec4<u32>(value(picks[4u * group], word), value(picks[4u * group + 1u], word),
                    value(picks[4u * group + 2u], word), value(picks[4u * group + 3u], word));
                total += values.x + values.y + values.z + values.w;
                let bytes = transposed(values);
                for (var kernel = 0u; kernel < KERNELS; kernel++) {
                    let packed = weights[KERNELS * group + kernel];
                    places[kernel] += vec4<u32>(dot4U8Packed(packed, bytes.x), dot4U8Packed(packed, bytes.y),
                        dot4U8Packed(packed, bytes.z), dot4U8Packed(packed, bytes.w));
                }
            }
            for (var kernel = 0u; kernel < KERNELS; kernel++) {
                let own = places[kernel];
                sums[kernel] += own.x + (own.y << 8u) + (own.z << 16u) + (own.w << 24u) - 128u * total;
            }
        }
    }
    if (is_inside) {
        for (var kernel = 0u; kernel < kernels; kernel++) {
            finish(word, first_target + kernel, sums[kernel]);
        }
    }
}

fn value(pick: u32, word: u32) -> u32 {
    return load(launch.values + pick * launch.block.length + word);
}

// Byte i of four words, for each i.
fn transposed(words: vec4<u32>) -> vec4<u32> {
    let even = (words & vec4<u32>(0x00ff00ffu));
    let odd = ((words >> vec4<u32>(8u)) & vec4<u32>(0x00ff00ffu));
    // Bytes 0 and 2, then 1 and 3, of the first two words and of the last two.
    let low = vec2<u32>(even.x | (even.y << 8u), even.z | (even.w << 8u));
    let high = vec2<u32>(odd.x | (odd.y << 8u), odd.z | (odd.w << 8u));
    return vec4<u32>((low.x & 0xffffu) | (low.y << 16u), (high.x & 0xffffu) | (high.y << 16u),
        (low.x >> 16u) | (low.y & 0xffff0000u), (high.x >> 16u) | (high.y & 0xffff0000u));
}
