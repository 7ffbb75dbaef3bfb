// Integer affine maps over rows of words: up to eight kernels at one position share each word that is read.

struct LweLinearParams {
    length: u32,
    row_words: u32,
    tiles: u32,
}

struct Launch {
    items: u32,
    block: LweLinearParams,
    // Address of the items, and the number of the first one of this launch.
    list: u32,
    first: u32,
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
    let item = launch.list + (launch.first + workgroup.x) * 5u;
    let terms = load(item);
    let kernels = load(item + 1u);
    let first_pick = load(item + 2u);
    let first_weight = load(item + 3u);
    let first_target = load(item + 4u);
    let word = workgroup.y * 256u + thread;
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
                let value = load(launch.values + picks[term] * launch.block.length + word);
                for (var kernel = 0u; kernel < KERNELS; kernel++) {
                    sums[kernel] += value * weights[KERNELS * term + kernel];
                }
            }
        }
    }
    if (is_inside) {
        let is_body = word % launch.block.row_words == launch.block.row_words - 1u;
        for (var kernel = 0u; kernel < kernels; kernel++) {
            let target_ = load(launch.targets + first_target + kernel);
            var sum = sums[kernel];
            if (is_body) {
                sum += load(launch.bias + target_);
            }
            store(launch.out + target_ * launch.block.length + word, sum);
        }
    }
}
