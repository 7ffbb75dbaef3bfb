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

@compute @workgroup_size(256)
fn lwe_keyswitch(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let level = launch.block.level;
    let small = launch.block.output_dimension + 1u;
    let big = launch.block.input_dimension + 1u;
    let column = workgroup.x * 256u + thread;
    let first_row = launch.first_row + workgroup.y * ROWS;
    let is_inside = column < small;
    var sums: array<u32, ROWS>;
    for (var first = 0u; first < launch.words; first += CHUNK) {
        let count = min(CHUNK, launch.words - first);
        workgroupBarrier();
        if (thread < ROWS * CHUNK) {
            let row = thread % ROWS;
            let word = thread / ROWS;
            if (word < count && first_row + row < launch.block.rows) {
                let place = (first_row + row) * big + launch.first_word + first + word;
                decompose(load(launch.input + place), word * level * ROWS + row);
            }
        }
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
            if (first_row + row < launch.block.rows) {
                let target_ = launch.out + (first_row + row) * small + column;
                var start = 0u;
                if (launch.first_word > 0u) {
                    start = load(target_);
                } else if (column == launch.block.output_dimension) {
                    start = load(launch.input + (first_row + row) * big + launch.block.input_dimension);
                }
                store(target_, start + sums[row]);
            }
        }
    }
}
