// Keyswitch: digits of the mask words times the key, eight rows and 256 output words a workgroup.

struct LweKeyswitchParams {
    rows: u32,
    input_dimension: u32,
    output_dimension: u32,
    base_log: u32,
    level: u32,
}

struct Launch {
    items: u32,
    block: LweKeyswitchParams,
    // Input words that this launch takes, and its first row.
    first_word: u32,
    words: u32,
    first_row: u32,
    // The key's words for `first_word` and behind: input word, level, output word.
    key: u32,
    input: u32,
    out: u32,
}

var<immediate> launch: Launch;

const ROWS: u32 = 8u;
const CHUNK: u32 = 16u;
const MOST_LEVELS: u32 = 16u;

var<workgroup> digits: array<u32, ROWS * CHUNK * MOST_LEVELS>;

// Balanced digits of a word, least significant level first, to `digits` from `at` on, rows side by side. At half a base
// the carry follows the next digit.
fn decompose(word: u32, at: u32) {
    let base_log = launch.block.base_log;
    let kept = base_log * launch.block.level;
    let rounded = word >> (31u - kept);
    let value = ((rounded + 1u) >> 1u) & (0xffffffffu >> (32u - kept));
    let tie = (rounded & 1u) << (kept - 1u);
    let negative = (((value - 1u) | tie) & value) >> (kept - 1u);
    var state = value - (negative << kept);
    for (var level = 0u; level < launch.block.level; level++) {
        let digit = state & ((1u << base_log) - 1u);
        state = bitcast<u32>(bitcast<i32>(state) >> base_log);
        let carry = (((digit - 1u) | state) & digit) >> (base_log - 1u);
        state += carry;
        digits[at + level * ROWS] = digit - (carry << base_log);
    }
}

// Digits of a chunk of the rows' words, a word a thread.
fn decompose_chunk(thread: u32, first_row: u32, first: u32, count: u32) {
    let row = thread % ROWS;
    let word = thread / ROWS;
    if (word < count && first_row + row < launch.block.rows) {
        let place = (first_row + row) * (launch.block.input_dimension + 1u) + launch.first_word + first + word;
        decompose(load(launch.input + place), word * launch.block.level * ROWS + row);
    }
}

@compute @workgroup_size(256)
fn lwe_keyswitch(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let level = launch.block.level;
    let small = launch.block.output_dimension + 1u;
    let column = workgroup.x * 256u + thread;
    let first_row = launch.first_row + workgroup.y * ROWS;
    let is_inside = column < small;
    var sums: array<u32, ROWS>;
    for (var first = 0u; first < launch.words; first += CHUNK) {
        let count = min(CHUNK, launch.words - first);
        workgroupBarrier();
        decompose_chunk(thread, first_row, first, count);
        workgroupBarrier();
        if (is_inside) {
            for (var at = 0u; at < count * level; at++) {
                let key = load(launch.key + (first * level + at) * small + column);
                for (var row = 0u; row < ROWS; row++) {
                    sums[row] -= digits[at * ROWS + row] * key;
                }
            }
        }
    }
    if (is_inside) {
        for (var row = 0u; row < ROWS; row++) {
            finish(first_row + row, column, sums[row]);
        }
    }
}

// Adds a sum to an output word, which begins as the input's body or 0.
fn finish(row: u32, column: u32, sum: u32) {
    if (row < launch.block.rows) {
        let target_ = launch.out + row * (launch.block.output_dimension + 1u) + column;
        var start = 0u;
        if (launch.first_word > 0u) {
            start = load(target_);
        } else if (column == launch.block.output_dimension) {
            let big = launch.block.input_dimension + 1u;
            start = load(launch.input + row * big + launch.block.input_dimension);
        }
        store(target_, start + sum);
    }
}

// The same for digits of bytes: products of four digits with bytes of four key words are summed by one instruction, for
// each of the four places of a byte. Digits come with 128 added, which one more sum takes off again. The key's words:
// four terms, place of the byte, output word.
@compute @workgroup_size(256)
fn lwe_keyswitch_bytes(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let level = launch.block.level;
    let small = launch.block.output_dimension + 1u;
    let column = workgroup.x * 256u + thread;
    let first_row = launch.first_row + workgroup.y * ROWS;
    let is_inside = column < small;
    var sums: array<u32, ROWS>;
    for (var first = 0u; first < launch.words; first += CHUNK) {
        let count = min(CHUNK, launch.words - first);
        workgroupBarrier();
        decompose_chunk(thread, first_row, first, count);
        workgroupBarrier();
        // Four terms to one word, in the place of the first: terms of a group are read and written by one thread.
        for (var i = thread; i < count * level / 4u * ROWS; i += 256u) {
            let at = i / ROWS * 4u * ROWS + i % ROWS;
            var packed = 0u;
            for (var term = 0u; term < 4u; term++) {
                packed |= ((digits[at + term * ROWS] + 128u) & 255u) << (8u * term);
            }
            digits[at] = packed;
        }
        workgroupBarrier();
        if (is_inside) {
            var places: array<vec4<u32>, ROWS>;
            var less = vec4<u32>(0u);
            for (var group = 0u; group < count * level / 4u; group++) {
                let key = launch.key + (first * level / 4u + group) * 4u * small + column;
                let bytes = vec4<u32>(load(key), load(key + small), load(key + 2u * small), load(key + 3u * small));
                less += dots(0x80808080u, bytes);
                for (var row = 0u; row < ROWS; row++) {
                    places[row] += dots(digits[group * 4u * ROWS + row], bytes);
                }
            }
            for (var row = 0u; row < ROWS; row++) {
                let total = places[row] - less;
                sums[row] -= total.x + (total.y << 8u) + (total.z << 16u) + (total.w << 24u);
            }
        }
    }
    if (is_inside) {
        for (var row = 0u; row < ROWS; row++) {
            finish(first_row + row, column, sums[row]);
        }
    }
}

fn dots(packed: u32, bytes: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(dot4U8Packed(packed, bytes.x), dot4U8Packed(packed, bytes.y), dot4U8Packed(packed, bytes.z),
        dot4U8Packed(packed, bytes.w));
}
