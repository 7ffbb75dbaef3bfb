// The negacyclic transform of residues, 16 words a thread and up to four depths of its tree between two barriers.
//
// Depths and roots are those of `core/src/residues/ntt.rs`: node `2^d + i` of a table of factors is the root of node i
// at depth d. Values stay below 4p on the way down, below 2p on the way up.

var<workgroup> shared_words: array<u32, SHARED_WORDS>;

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

// A butterfly: from below 4p to below 4p.
fn pair_down(x: ptr<function, array<u32, 16>>, low: u32, high: u32, root: vec2<u32>, p: u32) {
    let a = min((*x)[low], (*x)[low] - 2u * p);
    let b = times_lazy((*x)[high], root, p);
    (*x)[low] = a + b;
    (*x)[high] = a + 2u * p - b;
}

// The same on the way up: from below 2p to below 2p.
fn pair_up(x: ptr<function, array<u32, 16>>, low: u32, high: u32, root: vec2<u32>, p: u32) {
    let sum = (*x)[low] + (*x)[high];
    let difference = (*x)[low] + 2u * p - (*x)[high];
    (*x)[low] = min(sum, sum - 2u * p);
    (*x)[high] = times_lazy(difference, root, p);
}

// Four depths of node `node`, written out: words stay in registers whatever a driver makes of loops.
fn sixteen_down(x: ptr<function, array<u32, 16>>, node: u32, roots: u32, p: u32) {
    let at_0 = roots + (node << 0u);
    let root_0_0 = constants[at_0 + 0u];
    pair_down(x, 0u, 8u, root_0_0, p);
    pair_down(x, 1u, 9u, root_0_0, p);
    pair_down(x, 2u, 10u, root_0_0, p);
    pair_down(x, 3u, 11u, root_0_0, p);
    pair_down(x, 4u, 12u, root_0_0, p);
    pair_down(x, 5u, 13u, root_0_0, p);
    pair_down(x, 6u, 14u, root_0_0, p);
    pair_down(x, 7u, 15u, root_0_0, p);
    let at_1 = roots + (node << 1u);
    let root_1_0 = constants[at_1 + 0u];
    pair_down(x, 0u, 4u, root_1_0, p);
    pair_down(x, 1u, 5u, root_1_0, p);
    pair_down(x, 2u, 6u, root_1_0, p);
    pair_down(x, 3u, 7u, root_1_0, p);
    let root_1_1 = constants[at_1 + 1u];
    pair_down(x, 8u, 12u, root_1_1, p);
    pair_down(x, 9u, 13u, root_1_1, p);
    pair_down(x, 10u, 14u, root_1_1, p);
    pair_down(x, 11u, 15u, root_1_1, p);
    let at_2 = roots + (node << 2u);
    let root_2_0 = constants[at_2 + 0u];
    pair_down(x, 0u, 2u, root_2_0, p);
    pair_down(x, 1u, 3u, root_2_0, p);
    let root_2_1 = constants[at_2 + 1u];
    pair_down(x, 4u, 6u, root_2_1, p);
    pair_down(x, 5u, 7u, root_2_1, p);
    let root_2_2 = constants[at_2 + 2u];
    pair_down(x, 8u, 10u, root_2_2, p);
    pair_down(x, 9u, 11u, root_2_2, p);
    let root_2_3 = constants[at_2 + 3u];
    pair_down(x, 12u, 14u, root_2_3, p);
    pair_down(x, 13u, 15u, root_2_3, p);
    let at_3 = roots + (node << 3u);
    let root_3_0 = constants[at_3 + 0u];
    pair_down(x, 0u, 1u, root_3_0, p);
    let root_3_1 = constants[at_3 + 1u];
    pair_down(x, 2u, 3u, root_3_1, p);
    let root_3_2 = constants[at_3 + 2u];
    pair_down(x, 4u, 5u, root_3_2, p);
    let root_3_3 = constants[at_3 + 3u];
    pair_down(x, 6u, 7u, root_3_3, p);
    let root_3_4 = constants[at_3 + 4u];
    pair_down(x, 8u, 9u, root_3_4, p);
    let root_3_5 = constants[at_3 + 5u];
    pair_down(x, 10u, 11u, root_3_5, p);
    let root_3_6 = constants[at_3 + 6u];
    pair_down(x, 12u, 13u, root_3_6, p);
    let root_3_7 = constants[at_3 + 7u];
    pair_down(x, 14u, 15u, root_3_7, p);
}

fn sixteen_up(x: ptr<function, array<u32, 16>>, node: u32, roots: u32, p: u32) {
    let at_3 = roots + (node << 3u);
    let root_3_0 = constants[at_3 + 0u];
    pair_up(x, 0u, 1u, root_3_0, p);
    let root_3_1 = constants[at_3 + 1u];
    pair_up(x, 2u, 3u, root_3_1, p);
    let root_3_2 = constants[at_3 + 2u];
    pair_up(x, 4u, 5u, root_3_2, p);
    let root_3_3 = constants[at_3 + 3u];
    pair_up(x, 6u, 7u, root_3_3, p);
    let root_3_4 = constants[at_3 + 4u];
    pair_up(x, 8u, 9u, root_3_4, p);
    let root_3_5 = constants[at_3 + 5u];
    pair_up(x, 10u, 11u, root_3_5, p);
    let root_3_6 = constants[at_3 + 6u];
    pair_up(x, 12u, 13u, root_3_6, p);
    let root_3_7 = constants[at_3 + 7u];
    pair_up(x, 14u, 15u, root_3_7, p);
    let at_2 = roots + (node << 2u);
    let root_2_0 = constants[at_2 + 0u];
    pair_up(x, 0u, 2u, root_2_0, p);
    pair_up(x, 1u, 3u, root_2_0, p);
    let root_2_1 = constants[at_2 + 1u];
    pair_up(x, 4u, 6u, root_2_1, p);
    pair_up(x, 5u, 7u, root_2_1, p);
    let root_2_2 = constants[at_2 + 2u];
    pair_up(x, 8u, 10u, root_2_2, p);
    pair_up(x, 9u, 11u, root_2_2, p);
    let root_2_3 = constants[at_2 + 3u];
    pair_up(x, 12u, 14u, root_2_3, p);
    pair_up(x, 13u, 15u, root_2_3, p);
    let at_1 = roots + (node << 1u);
    let root_1_0 = constants[at_1 + 0u];
    pair_up(x, 0u, 4u, root_1_0, p);
    pair_up(x, 1u, 5u, root_1_0, p);
    pair_up(x, 2u, 6u, root_1_0, p);
    pair_up(x, 3u, 7u, root_1_0, p);
    let root_1_1 = constants[at_1 + 1u];
    pair_up(x, 8u, 12u, root_1_1, p);
    pair_up(x, 9u, 13u, root_1_1, p);
    pair_up(x, 10u, 14u, root_1_1, p);
    pair_up(x, 11u, 15u, root_1_1, p);
    let at_0 = roots + (node << 0u);
    let root_0_0 = constants[at_0 + 0u];
    pair_up(x, 0u, 8u, root_0_0, p);
    pair_up(x, 1u, 9u, root_0_0, p);
    pair_up(x, 2u, 10u, root_0_0, p);
    pair_up(x, 3u, 11u, root_0_0, p);
    pair_up(x, 4u, 12u, root_0_0, p);
    pair_up(x, 5u, 13u, root_0_0, p);
    pair_up(x, 6u, 14u, root_0_0, p);
    pair_up(x, 7u, 15u, root_0_0, p);
}

// Depths before the last eight: 0 to 4.
const FIRST_DEPTHS: u32 = LOG2_BLOCK - 8u;
// Threads that transform a block.
const BLOCK_THREADS: u32 = 1u << (LOG2_BLOCK - 4u);

// Four depths of a thread's 16 words in shared memory, from `depth` on.
fn step_down(block: u32, thread: u32, depth: u32, top: u32, roots: u32, p: u32) {
    var x: array<u32, 16>;
    for (var k = 0u; k < 16u; k++) {
        x[k] = shared_words[block + place_of(thread, k, depth, 4u)];
    }
    sixteen_down(&x, (top << depth) + (thread >> (LOG2_BLOCK - depth - 4u)), roots, p);
    for (var k = 0u; k < 16u; k++) {
        shared_words[block + place_of(thread, k, depth, 4u)] = x[k];
    }
}

fn step_up(block: u32, thread: u32, depth: u32, top: u32, roots: u32, p: u32) {
    var x: array<u32, 16>;
    for (var k = 0u; k < 16u; k++) {
        x[k] = shared_words[block + place_of(thread, k, depth, 4u)];
    }
    sixteen_up(&x, (top << depth) + (thread >> (LOG2_BLOCK - depth - 4u)), roots, p);
    for (var k = 0u; k < 16u; k++) {
        shared_words[block + place_of(thread, k, depth, 4u)] = x[k];
    }
}

// One depth of a thread's eight pairs.
fn single_down(block: u32, thread: u32, depth: u32, top: u32, roots: u32, p: u32) {
    for (var j = 0u; j < 8u; j++) {
        let group = thread + j * BLOCK_THREADS;
        let low = block + place_of(group, 0u, depth, 1u);
        let high = block + place_of(group, 1u, depth, 1u);
        let root = constants[roots + (top << depth) + (group >> (LOG2_BLOCK - depth - 1u))];
        let a = min(shared_words[low], shared_words[low] - 2u * p);
        let b = times_lazy(shared_words[high], root, p);
        shared_words[low] = a + b;
        shared_words[high] = a + 2u * p - b;
    }
}

fn single_up(block: u32, thread: u32, depth: u32, top: u32, roots: u32, p: u32) {
    for (var j = 0u; j < 8u; j++) {
        let group = thread + j * BLOCK_THREADS;
        let low = block + place_of(group, 0u, depth, 1u);
        let high = block + place_of(group, 1u, depth, 1u);
        let root = constants[roots + (top << depth) + (group >> (LOG2_BLOCK - depth - 1u))];
        let sum = shared_words[low] + shared_words[high];
        let difference = shared_words[low] + 2u * p - shared_words[high];
        shared_words[low] = min(sum, sum - 2u * p);
        shared_words[high] = times_lazy(difference, root, p);
    }
}

// Words in shared memory, below 4p, to values in the order of leaves, below 4p. `top` is the block's node in the whole
// polynomial's tree. Ends without a barrier: a thread's own last words are those of leaf `16 thread` and the 15 behind.
fn block_down(block: u32, thread: u32, takes_part: bool, top: u32, roots: u32, p: u32) {
    if (FIRST_DEPTHS == 4u) {
        if (takes_part) {
            step_down(block, thread, 0u, top, roots, p);
        }
        workgroupBarrier();
    } else {
        for (var depth = 0u; depth < FIRST_DEPTHS; depth++) {
            if (takes_part) {
                single_down(block, thread, depth, top, roots, p);
            }
            workgroupBarrier();
        }
    }
    if (takes_part) {
        step_down(block, thread, FIRST_DEPTHS, top, roots, p);
    }
    workgroupBarrier();
    if (takes_part) {
        step_down(block, thread, FIRST_DEPTHS + 4u, top, roots, p);
    }
}

// Values in the order of leaves, below 2p, to words below 2p. A thread's first words are its own, as above.
fn block_up(block: u32, thread: u32, takes_part: bool, top: u32, roots: u32, p: u32) {
    if (takes_part) {
        step_up(block, thread, FIRST_DEPTHS + 4u, top, roots, p);
    }
    workgroupBarrier();
    if (takes_part) {
        step_up(block, thread, FIRST_DEPTHS, top, roots, p);
    }
    if (FIRST_DEPTHS == 4u) {
        workgroupBarrier();
        if (takes_part) {
            step_up(block, thread, 0u, top, roots, p);
        }
    } else {
        for (var up = 0u; up < FIRST_DEPTHS; up++) {
            workgroupBarrier();
            if (takes_part) {
                single_up(block, thread, FIRST_DEPTHS - 1u - up, top, roots, p);
            }
        }
    }
}
