// Modulus switch, blind rotation by exact transforms over two primes, and sample extraction.
//
// Constants: the moduli of both primes; for each prime the factor `(q / p)^-1 N^-1`, and the factor of Montgomery form
// with, in the pair behind it, F of the recombination; then roots on the way down, on the way up, and, where bits are
// taken in groups, all powers of the 2N-th root in Montgomery form, a pair each.
//
// A workgroup rotates one ciphertext, POLYNOMIALS polynomials at a time in workgroup memory, one prime after the other.
// Its accumulators are two sets of COLUMNS polynomials of torus words: a step reads one and writes the other.

struct LweBootstrapParams {
    rows: u32,
    inputs: u32,
    lwe_dimension: u32,
    base_log: u32,
    level: u32,
    ciphertexts: u32,
    digit_offset: u32,
    grouping: u32,
}

struct Launch {
    items: u32,
    block: LweBootstrapParams,
    // Steps of this launch.
    first_step: u32,
    steps: u32,
    // First row of this launch within the batch.
    first_row: u32,
    // Exponents, `n + 1` a row; accumulators.
    exponents: u32,
    accumulators: u32,
    // The key's words of the first step, or places of tables, see each kernel.
    a: u32,
    b: u32,
}

var<immediate> launch: Launch;

const DEGREE: u32 = 1u << LOG2_BLOCK;
const THREADS: u32 = POLYNOMIALS * DEGREE / 16u;
const COLUMN_BATCHES: u32 = (COLUMNS + POLYNOMIALS - 1u) / POLYNOMIALS;
const SUMS: u32 = 16u * COLUMN_BATCHES;
const PRIME_CONSTANTS: u32 = 2u;
const DOWN: u32 = 8u;
const UP: u32 = DOWN + 2u * DEGREE;
const TURNS: u32 = UP + 2u * DEGREE;

fn accumulator(half: u32, row: u32) -> u32 {
    return launch.accumulators + ((half & 1u) * launch.block.rows + row) * COLUMNS * DEGREE;
}

var<workgroup> error_high: atomic<i32>;
var<workgroup> error_low: atomic<i32>;
var<workgroup> start_exponent: u32;

// Exponents of a row, and its accumulator: the table, rotated back by the body. `a` and `b` are the addresses of the
// input rows and of the places of tables: for each value its table's address.
@compute @workgroup_size(THREADS)
fn lwe_modulus_switch(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.x;
    let dimension = launch.block.lwe_dimension;
    let input = launch.a + (launch.first_row + row) * (dimension + 1u);
    let out = launch.exponents + row * (dimension + 1u);
    let drop = 31u - LOG2_BLOCK;
    let half = 1u << (drop - 1u);
    if (thread == 0u) {
        atomicStore(&error_high, 0);
        atomicStore(&error_low, 0);
    }
    workgroupBarrier();
    // The sum has more than 32 bits: it is taken in two.
    var high = 0;
    var low = 0;
    for (var i = thread; i < dimension; i += THREADS) {
        let word = load(input + i);
        let exponent = (word + half) >> drop;
        let error = bitcast<i32>(word - (exponent << drop));
        high += error >> 8u;
        low += error & 255;
        store(out + i, exponent);
    }
    high = part_to_add(high);
    low = part_to_add(low);
    if (adds_part()) {
        atomicAdd(&error_high, high);
        atomicAdd(&error_low, low);
    }
    workgroupBarrier();
    if (thread == 0u) {
        let halved = atomicLoad(&error_high) * 128 + (atomicLoad(&error_low) >> 1u);
        let body = load(input + dimension) - bitcast<u32>(halved);
        let exponent = ((body + half) >> drop) & (2u * DEGREE - 1u);
        store(out + dimension, exponent);
        start_exponent = (2u * DEGREE - exponent) & (2u * DEGREE - 1u);
    }
    workgroupBarrier();
    let back = start_exponent;
    let table = load(launch.b + (launch.first_row + row) / launch.block.inputs);
    let target_ = accumulator(0u, row);
    for (var i = thread; i < COLUMNS * DEGREE; i += THREADS) {
        var word = 0u;
        if (i >= (COLUMNS - 1u) * DEGREE) {
            word = rotated(table, i - (COLUMNS - 1u) * DEGREE, back);
        }
        store(target_ + i, word);
    }
}

// Coefficient `at` of a polynomial times X^degree, degree below 2N.
fn rotated(polynomial: u32, at: u32, degree: u32) -> u32 {
    let source = (at - degree) & (2u * DEGREE - 1u);
    let word = load(polynomial + (source & (DEGREE - 1u)));
    return select(word, 0u - word, source >= DEGREE);
}

// Digit `level`, lowest first, of a word rounded to the digits' bits, halves to even; as a word below 4p.
fn digit(word: u32, level: u32, p: u32) -> u32 {
    let base_log = launch.block.base_log;
    let dropped = 32u - base_log * launch.block.level;
    let below_half = (1u << (dropped - 1u)) - 1u;
    var state = bitcast<i32>(word + below_half + ((word >> dropped) & 1u)) >> dropped;
    var own = state;
    for (var at = 0u; at <= level; at++) {
        own = state;
        let rest = (state + (1i << (base_log - 1u))) >> base_log;
        if (at + 1u < launch.block.level) {
            own = state - (rest << base_log);
        }
        state = rest;
    }
    return select(bitcast<u32>(own), bitcast<u32>(own) + 2u * p, own < 0);
}

// Steps of the blind rotation. `a` is the address of the key's words for the first step of this launch: steps, sets of
// bits, rows, columns, primes, leaves.
@compute @workgroup_size(THREADS)
fn lwe_rotate(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let ciphertext = workgroup.x;
    let grouping = launch.block.grouping;
    let sets = (1u << grouping) - 1u;
    let rows = COLUMNS * launch.block.level;
    let exponents = launch.exponents + ciphertext * (launch.block.lwe_dimension + 1u);
    let polynomial = thread / (DEGREE / 16u);
    let own_thread = thread % (DEGREE / 16u);
    let block = polynomial * DEGREE;
    for (var at = 0u; at < launch.steps; at++) {
        let step = launch.first_step + at;
        let current = accumulator(step, ciphertext);
        let next = accumulator(step + 1u, ciphertext);
        let first_exponent = load(exponents + step * grouping);
        // For each set of the group's bits the sum of their exponents.
        var degrees: array<u32, 8>;
        if (grouping > 1u) {
            let second = load(exponents + step * grouping + 1u);
            degrees[1] = first_exponent;
            degrees[2] = second;
            degrees[3] = first_exponent + second;
            if (grouping > 2u) {
                let third = load(exponents + step * grouping + 2u);
                degrees[4] = third;
                degrees[5] = first_exponent + third;
                degrees[6] = second + third;
                degrees[7] = degrees[3] + third;
            }
        }
        let key_step = launch.a + at * sets * rows * COLUMNS * 2u * DEGREE;
        for (var prime = 0u; prime < 2u; prime++) {
            let modulus = constants[prime];
            var sums: array<u32, SUMS>;
            for (var first_row = 0u; first_row < rows; first_row += POLYNOMIALS) {
                workgroupBarrier();
                for (var i = 0u; i < 16u; i++) {
                    let place = thread + i * THREADS;
                    let row = first_row + place / DEGREE;
                    if (row < rows) {
                        let source = current + (row % COLUMNS) * DEGREE;
                        let coefficient = place % DEGREE;
                        var word = load(source + coefficient);
                        if (grouping == 1u) {
                            word = rotated(source, coefficient, first_exponent) - word;
                        }
                        shared_words[place] = digit(word, row / COLUMNS, modulus.x);
                    }
                }
                workgroupBarrier();
                block_down(block, own_thread, first_row + polynomial < rows, 1u, DOWN + prime * DEGREE, modulus.x);
                workgroupBarrier();
                let count = min(POLYNOMIALS, rows - first_row);
                for (var i = 0u; i < SUMS; i++) {
                    let place = thread + i * THREADS;
                    let column = place / DEGREE;
                    let point = place % DEGREE;
                    if (column < COLUMNS) {
                        let key = key_step + ((first_row * COLUMNS + column) * 2u + prime) * DEGREE + point;
                        var sum = vec2<u32>(0u, 0u);
                        if (grouping == 1u) {
                            for (var row = 0u; row < count; row++) {
                                let word = load(key + row * COLUMNS * 2u * DEGREE);
                                sum = accumulate(sum, shared_words[row * DEGREE + point], word, modulus.x);
                            }
                        } else {
                            // The key of the group as it is set for this ciphertext: one product with each digit.
                            var turns: array<u32, 8>;
                            for (var subset = 1u; subset <= sets; subset++) {
                                turns[subset] = turn(degrees[subset], point, prime);
                            }
                            for (var row = 0u; row < count; row++) {
                                var own = vec2<u32>(0u, 0u);
                                for (var subset = 0u; subset < sets; subset++) {
                                    let word = load(key + (subset * rows + row) * COLUMNS * 2u * DEGREE);
                                    own = accumulate(own, turns[subset + 1u], word, modulus.x);
                                }
                                let digit = shared_words[row * DEGREE + point];
                                sum = accumulate(sum, digit, reduce(own, modulus), modulus.x);
                            }
                        }
                        sums[i] = add_residues(sums[i], reduce(sum, modulus), modulus.x);
                    }
                }
            }
            for (var batch = 0u; batch < COLUMN_BATCHES; batch++) {
                workgroupBarrier();
                for (var i = 0u; i < 16u; i++) {
                    shared_words[thread + i * THREADS] = sums[batch * 16u + i];
                }
                workgroupBarrier();
                let column = batch * POLYNOMIALS + polynomial;
                block_up(block, own_thread, column < COLUMNS, 1u, UP + prime * DEGREE, modulus.x);
                workgroupBarrier();
                for (var i = 0u; i < 16u; i++) {
                    let place = thread + i * THREADS;
                    let word = batch * POLYNOMIALS * DEGREE + place;
                    if (word < COLUMNS * DEGREE) {
                        let y = times(shared_words[place], constants[PRIME_CONSTANTS + prime], modulus.x);
                        let fraction = constants[6u + prime].x;
                        let share = 4u * y + ((multiply_high(y, fraction) + 128u) >> 8u);
                        // The first prime starts the next accumulator, the second adds to it: one thread does both.
                        let before = select(next, current, prime == 0u);
                        store(next + word, load(before + word) + share);
                    }
                }
            }
        }
        storageBarrier();
        workgroupBarrier();
    }
}

// `X^degree - 1` at a leaf, in Montgomery form.
fn turn(degree: u32, leaf: u32, prime: u32) -> u32 {
    let point = 2u * (reverseBits(leaf) >> (32u - LOG2_BLOCK)) + 1u;
    let turns = TURNS + prime * 2u * DEGREE;
    let power = constants[turns + ((degree * point) & (2u * DEGREE - 1u))].x;
    return subtract_residues(power, constants[turns].x, constants[prime].x);
}

// Constant coefficients as rows, to their places. `a` is the address of each value's row, `b` that of the output.
@compute @workgroup_size(THREADS)
fn lwe_extract(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup.x;
    let global_row = launch.first_row + row;
    let inputs = launch.block.inputs;
    let place = load(launch.a + global_row / inputs) * inputs + global_row % inputs;
    let source = accumulator(launch.first_step, row);
    let words = (COLUMNS - 1u) * DEGREE + 1u;
    for (var i = thread; i < words; i += THREADS) {
        let at = i % DEGREE;
        var word = load(source + i);
        if (at != 0u) {
            word = 0u - load(source + i - at + DEGREE - at);
        }
        store(launch.b + place * words + i, word);
    }
}

// Residues of polynomials of the key to values in Montgomery form, POLYNOMIALS a workgroup. `a` is the address of the
// residues, `b` that of the first polynomial's values; `first_step` is the prime, `steps` the number of polynomials.
@compute @workgroup_size(THREADS)
fn bootstrap_key(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let prime = launch.first_step;
    let modulus = constants[prime];
    let first = workgroup.x * POLYNOMIALS;
    let polynomial = thread / (DEGREE / 16u);
    let takes_part = first + polynomial < launch.steps;
    for (var i = 0u; i < 16u; i++) {
        let place = thread + i * THREADS;
        if (first + place / DEGREE < launch.steps) {
            shared_words[place] = load(launch.a + first * DEGREE + place);
        }
    }
    workgroupBarrier();
    block_down(polynomial * DEGREE, thread % (DEGREE / 16u), takes_part, 1u, DOWN + prime * DEGREE, modulus.x);
    workgroupBarrier();
    for (var i = 0u; i < 16u; i++) {
        let place = thread + i * THREADS;
        if (first + place / DEGREE < launch.steps) {
            let value = times(shared_words[place], constants[4u + prime], modulus.x);
            let target_ = launch.b + ((first + place / DEGREE) * 2u) * DEGREE + place % DEGREE;
            store(target_, value);
        }
    }
}
