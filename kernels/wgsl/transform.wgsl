// The negacyclic transform of residues, 16 words a thread and up to four depths of its tree between two barriers.
//
// Depths and roots are those of `core/src/residues/ntt.rs`: node `2^d + i` of a table of factors is the root of node i
// at depth d. Values stay below 4p on the way down, below 2p on the way up.

var<workgroup> shared_words: array<u32, SHARED_WORDS>;

// Node `node` and below, `count` depths of the `2^count` words from `first` on.
fn depths_down(x: ptr<function, array<u32, 16>>, first: u32, count: u32, node: u32, roots: u32, p: u32) {
    for (var depth = 0u; depth < count; depth++) {
        let rest = count - 1u - depth;
        let half = 1u << rest;
        for (var pair = 0u; pair < (1u << (count - 1u)); pair++) {
            let low = first + (((pair >> rest) << (rest + 1u)) | (pair & (half - 1u)));
            let root = constants[roots + (node << depth) + (pair >> rest)];
            let a = min((*x)[low], (*x)[low] - 2u * p);
            let b = times_lazy((*x)[low + half], root, p);
            (*x)[low] = a + b;
            (*x)[low + half] = a + 2u * p - b;
        }
    }
}

fn depths_up(x: ptr<function, array<u32, 16>>, first: u32, count: u32, node: u32, roots: u32, p: u32) {
    for (var up = 0u; up < count; up++) {
        let depth = count - 1u - up;
        let half = 1u << up;
        for (var pair = 0u; pair < (1u << (count - 1u)); pair++) {
            let low = first + (((pair >> up) << (up + 1u)) | (pair & (half - 1u)));
            let root = constants[roots + (node << depth) + (pair >> up)];
            let sum = (*x)[low] + (*x)[low + half];
            let difference = (*x)[low] + 2u * p - (*x)[low + half];
            (*x)[low] = min(sum, sum - 2u * p);
            (*x)[low + half] = times_lazy(difference, root, p);
        }
    }
}

// Below 4p to below p.
fn reduce_down(x: u32, p: u32) -> u32 {
    let once = min(x, x - 2u * p);
    return min(once, once - p);
}

// Word `word` of group `group` where a block of 2^LOG2_BLOCK words is at depth `depth` and `count` depths are taken.
fn place_of(group: u32, word: u32, depth: u32, count: u32) -> u32 {
    let stride_log2 = LOG2_BLOCK - depth - count;
    let node = group >> stride_log2;
    return (node << (LOG2_BLOCK - depth)) | (group & ((1u << stride_log2) - 1u)) | (word << stride_log2);
}

// The place among values of the value at a leaf: the last two of its four-bit digits change places.
fn place_of_leaf(leaf: u32) -> u32 {
    return (leaf & 0xffffff00u) | ((leaf & 15u) << 4u) | ((leaf >> 4u) & 15u);
}

// Depths before the last eight, taken in one step of 0 to 4.
const FIRST_DEPTHS: u32 = LOG2_BLOCK - 8u;
// Threads that transform a block.
const BLOCK_THREADS: u32 = 1u << (LOG2_BLOCK - 4u);

// One step of a thread in shared memory: words are read from and written to `block .. block + 2^LOG2_BLOCK`.
fn step_down(block: u32, thread: u32, depth: u32, count: u32, top: u32, roots: u32, p: u32) {
    var x: array<u32, 16>;
    for (var j = 0u; j < (16u >> count); j++) {
        let group = thread + j * BLOCK_THREADS;
        for (var k = 0u; k < (1u << count); k++) {
            x[(j << count) + k] = shared_words[block + place_of(group, k, depth, count)];
        }
        let node = (top << depth) + (group >> (LOG2_BLOCK - depth - count));
        depths_down(&x, j << count, count, node, roots, p);
        for (var k = 0u; k < (1u << count); k++) {
            shared_words[block + place_of(group, k, depth, count)] = x[(j << count) + k];
        }
    }
}

fn step_up(block: u32, thread: u32, depth: u32, count: u32, top: u32, roots: u32, p: u32) {
    var x: array<u32, 16>;
    for (var j = 0u; j < (16u >> count); j++) {
        let group = thread + j * BLOCK_THREADS;
        for (var k = 0u; k < (1u << count); k++) {
            x[(j << count) + k] = shared_words[block + place_of(group, k, depth, count)];
        }
        let node = (top << depth) + (group >> (LOG2_BLOCK - depth - count));
        depths_up(&x, j << count, count, node, roots, p);
        for (var k = 0u; k < (1u << count); k++) {
            shared_words[block + place_of(group, k, depth, count)] = x[(j << count) + k];
        }
    }
}

// Words in shared memory, below 4p, to values in the order of leaves, below 4p. `top` is the block's node in the whole
// polynomial's tree. Ends without a barrier: a thread's own last words are those of leaf `16 thread` and the 15 behind.
fn block_down(block: u32, thread: u32, takes_part: bool, top: u32, roots: u32, p: u32) {
    if (FIRST_DEPTHS > 0u) {
        if (takes_part) {
            step_down(block, thread, 0u, FIRST_DEPTHS, top, roots, p);
        }
        workgroupBarrier();
    }
    if (takes_part) {
        step_down(block, thread, FIRST_DEPTHS, 4u, top, roots, p);
    }
    workgroupBarrier();
    if (takes_part) {
        step_down(block, thread, FIRST_DEPTHS + 4u, 4u, top, roots, p);
    }
}

// Values in the order of leaves, below 2p, to words below 2p. A thread's first words are its own, as above.
fn block_up(block: u32, thread: u32, takes_part: bool, top: u32, roots: u32, p: u32) {
    if (takes_part) {
        step_up(block, thread, FIRST_DEPTHS + 4u, 4u, top, roots, p);
    }
    workgroupBarrier();
    if (takes_part) {
        step_up(block, thread, FIRST_DEPTHS, 4u, top, roots, p);
    }
    if (FIRST_DEPTHS > 0u) {
        workgroupBarrier();
        if (takes_part) {
            step_up(block, thread, 0u, FIRST_DEPTHS, top, roots, p);
        }
    }
}
