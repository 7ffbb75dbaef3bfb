// Transforms of polynomials of residues, N = 2^12 .. 2^16, with what comes before and after them in a key switch or a
// rescaling. Degrees above the block's take two launches: the first depths on columns, the others on blocks.

struct RnsTransformParams {
    // Word of the arguments where the items begin.
    items: u32,
    // log2 of N over the block's words.
    log2_blocks: u32,
    // Index of the first prime's roots.
    roots: u32,
}

var<immediate> params: RnsTransformParams;

const BLOCK: u32 = 1u << LOG2_BLOCK;

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

// On the way down, for each item: `sources` polynomials from `source` on (0: values to be copied), the index of the
// constants of their conversion, the prime's index, where words go between two launches, where values go, and what
// becomes of them: `(kept - value) factor + addend` where `kept` is an address, which needs the index of the factor.
const DOWN_WORDS: u32 = 9u;

struct Down {
    source: u32,
    sources: u32,
    conversion: u32,
    prime: u32,
    between: u32,
    target_: u32,
    kept: u32,
    factor: u32,
    addend: u32,
}

fn down_item(index: u32) -> Down {
    let at = params.items + index * DOWN_WORDS;
    return Down(arguments[at], arguments[at + 1u], arguments[at + 2u], arguments[at + 3u], arguments[at + 4u],
        arguments[at + 5u], arguments[at + 6u], arguments[at + 7u], arguments[at + 8u]);
}

// A coefficient, converted from the primes of the sources: `(offset + sum_i source_i weight_i) / 2^32`.
fn converted(item: Down, place: u32, modulus: vec2<u32>) -> u32 {
    if (item.sources == 0u) {
        return load(item.source + place);
    }
    let degree = BLOCK << params.log2_blocks;
    var sum = constants[item.conversion];
    for (var i = 0u; i < item.sources; i++) {
        let weight = constants[item.conversion + 1u + i].x;
        sum = accumulate(sum, load(item.source + i * degree + place), weight, modulus.x);
    }
    return reduce(sum, modulus);
}

// Elements of the conjugate-invariant ring are folded before the first depth, by butterflies of words j and N - j
// (core/src/residues/fold.rs). Their root stands before those of the prime, where other rings have 0. Word 0 has no
// partner, and word N / 2 meets itself.
fn folded(x: u32, partner: u32, is_upper: bool, root: vec2<u32>, p: u32) -> u32 {
    let product = times_lazy(select(partner, x, is_upper), root, p);
    return select(x + product, partner + 2u * p - product, is_upper);
}

@compute @workgroup_size(256)
fn rns_forward_columns(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = down_item(workgroup.y);
    let modulus = constants[item.prime];
    let column = workgroup.x * 256u + thread;
    let roots = params.roots + (item.prime << (LOG2_BLOCK + params.log2_blocks));
    var x: array<u32, 16>;
    let blocks = 1u << params.log2_blocks;
    for (var k = 0u; k < blocks; k++) {
        x[k] = converted(item, column + k * BLOCK, modulus);
    }
    let root = constants[roots];
    if (root.x != 0u) {
        for (var k = 0u; k < blocks; k++) {
            let place = column + k * BLOCK;
            if (place != 0u) {
                let partner = converted(item, blocks * BLOCK - place, modulus);
                x[k] = folded(x[k], partner, 2u * k >= blocks, root, modulus.x);
            }
        }
    }
    depths_down(&x, 0u, params.log2_blocks, 1u, roots, modulus.x);
    for (var k = 0u; k < blocks; k++) {
        store(item.between + column + k * BLOCK, x[k]);
    }
}

@compute @workgroup_size(256)
fn rns_forward(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = down_item(workgroup.y);
    let modulus = constants[item.prime];
    let first = workgroup.x * BLOCK;
    let roots = params.roots + (item.prime << (LOG2_BLOCK + params.log2_blocks));
    for (var k = 0u; k < 16u; k++) {
        let place = thread + k * 256u;
        if (params.log2_blocks == 0u) {
            shared_words[place] = converted(item, place, modulus);
        } else {
            shared_words[place] = load(item.between + first + place);
        }
    }
    workgroupBarrier();
    let root = constants[roots];
    if (params.log2_blocks == 0u && root.x != 0u) {
        var x: array<u32, 16>;
        for (var k = 0u; k < 16u; k++) {
            let place = thread + k * 256u;
            x[k] = shared_words[place];
            if (place != 0u) {
                x[k] = folded(x[k], shared_words[BLOCK - place], k >= 8u, root, modulus.x);
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            shared_words[thread + k * 256u] = x[k];
        }
        workgroupBarrier();
    }
    block_down(0u, thread, true, (1u << params.log2_blocks) + workgroup.x, roots, modulus.x);
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
        let place = thread + k * 256u;
        var value = reduce_down(shared_words[place_of_leaf(place)], modulus.x);
        if (item.kept != NOWHERE) {
            let difference = load(item.kept + first + place) + modulus.x - value;
            value = times(difference, constants[item.factor], modulus.x);
            if (item.addend != NOWHERE) {
                value = add_residues(value, load(item.addend + first + place), modulus.x);
            }
        }
        store(item.target_ + first + place, value);
    }
}

// On the way up, for each item: source, prime's index, target, index of the factor that coefficients are multiplied
// with (1 / N is part of it, and 1 / 2 of what was folded), and what is added to them.
const UP_WORDS: u32 = 5u;

struct Up {
    source: u32,
    prime: u32,
    target_: u32,
    factor: u32,
    offset: u32,
}

fn up_item(index: u32) -> Up {
    let at = params.items + index * UP_WORDS;
    return Up(arguments[at], arguments[at + 1u], arguments[at + 2u], arguments[at + 3u], arguments[at + 4u]);
}

fn finished(item: Up, word: u32, modulus: vec2<u32>) -> u32 {
    return add_residues(times(word, constants[item.factor], modulus.x), item.offset, modulus.x);
}

// Back from folding, twice as large as the element's coefficients: word j, its partner N - j, and N.
fn unfolded(x: u32, partner: u32, place: u32, degree: u32, root: vec2<u32>, p: u32) -> u32 {
    if (2u * place < degree) {
        return x + partner;
    }
    if (2u * place == degree) {
        // The root is r^-1, and r is its negative: the word in the middle is multiplied by 1 + r.
        return x + 2u * p - times_lazy(x, root, p);
    }
    return times_lazy(partner + 2u * p - x, root, p);
}

@compute @workgroup_size(256)
fn rns_inverse(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = up_item(workgroup.y);
    let modulus = constants[item.prime];
    let first = workgroup.x * BLOCK;
    let roots = params.roots + (item.prime << (LOG2_BLOCK + params.log2_blocks));
    for (var k = 0u; k < 16u; k++) {
        let place = thread + k * 256u;
        shared_words[place_of_leaf(place)] = load(item.source + first + place);
    }
    workgroupBarrier();
    block_up(0u, thread, true, (1u << params.log2_blocks) + workgroup.x, roots, modulus.x);
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
        let place = thread + k * 256u;
        var word = shared_words[place];
        if (params.log2_blocks == 0u) {
            let root = constants[roots];
            if (root.x != 0u) {
                word = unfolded(word, shared_words[(BLOCK - place) & (BLOCK - 1u)], place, BLOCK, root, modulus.x);
            }
            word = finished(item, word, modulus);
        }
        store(item.target_ + first + place, word);
    }
}

@compute @workgroup_size(256)
fn rns_inverse_columns(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = up_item(workgroup.y);
    let modulus = constants[item.prime];
    let column = workgroup.x * 256u + thread;
    let roots = params.roots + (item.prime << (LOG2_BLOCK + params.log2_blocks));
    var x: array<u32, 16>;
    let blocks = 1u << params.log2_blocks;
    let root = constants[roots];
    // Columns whose words meet are one thread's, so that no other one reads what it writes.
    if (root.x != 0u && column > BLOCK / 2u) {
        return;
    }
    for (var k = 0u; k < blocks; k++) {
        x[k] = load(item.target_ + column + k * BLOCK);
    }
    depths_up(&x, 0u, params.log2_blocks, 1u, roots, modulus.x);
    if (root.x != 0u) {
        let other = BLOCK - column;
        let degree = blocks * BLOCK;
        let is_alone = column == 0u || other == column;
        var y: array<u32, 16>;
        if (is_alone) {
            // The partner of word k is word K - 1 - k of the middle column, and word K - k of the first one.
            for (var k = 0u; k < blocks; k++) {
                y[k] = x[select(k, (k + 1u) & (blocks - 1u), column == 0u)];
            }
        } else {
            for (var k = 0u; k < blocks; k++) {
                y[k] = load(item.target_ + other + k * BLOCK);
            }
            depths_up(&y, 0u, params.log2_blocks, 1u, roots, modulus.x);
        }
        for (var k = 0u; k < blocks; k++) {
            let place = column + k * BLOCK;
            let partner = y[blocks - 1u - k];
            let word = unfolded(x[k], partner, place, degree, root, modulus.x);
            store(item.target_ + place, finished(item, word, modulus));
            if (!is_alone) {
                let word = unfolded(partner, x[k], degree - place, degree, root, modulus.x);
                store(item.target_ + degree - place, finished(item, word, modulus));
            }
        }
        return;
    }
    for (var k = 0u; k < blocks; k++) {
        store(item.target_ + column + k * BLOCK, finished(item, x[k], modulus));
    }
}
