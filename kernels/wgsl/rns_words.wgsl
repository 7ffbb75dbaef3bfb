// Steps word by word on polynomials of residues: a thread a word, a workgroup row a limb, a layer an item.

struct RnsWordsParams {
    // Word of the arguments where the items begin.
    items: u32,
    // log2 N.
    log2_degree: u32,
    // What is computed.
    operation: u32,
}

var<immediate> params: RnsWordsParams;

const COPY: u32 = 0u;
const ADD: u32 = 1u;
const ADD_NUMBER: u32 = 2u;
const MULTIPLY: u32 = 3u;
const MULTIPLY_NUMBER: u32 = 4u;
const MULTIPLY_ADD: u32 = 5u;
const MULTIPLY_ADD_NUMBER: u32 = 6u;
const SECOND_DIGIT: u32 = 7u;

// The digit d + (q + 1) / 2 of the number a + p d that is nearest to 0, a modulo p and b modulo q; `inverse` is 1 / p in
// Montgomery form.
fn second_digit(a: u32, b: u32, inverse: u32) -> u32 {
    let p = constants[0].x;
    let q = constants[1];
    let digit = subtract_residues(multiply_residues(b, inverse, q), multiply_residues(a, inverse, q), q.x);
    let is_beyond = digit > q.x / 2u || (digit == q.x / 2u && a > p / 2u);
    return digit + (q.x + 1u) / 2u - select(0u, q.x, is_beyond);
}

// For each item: target, a, b, and c: an address, or for numbers the word of the arguments with the first limb's.
@compute @workgroup_size(256)
fn rns_words(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = params.items + workgroup.z * 4u;
    let limb = workgroup.y;
    let place = (limb << params.log2_degree) + workgroup.x * 256u + thread;
    let modulus = constants[limb];
    let a = load(arguments[at + 1u] + place);
    var word = a;
    switch params.operation {
        case ADD: {
            word = add_residues(a, load(arguments[at + 2u] + place), modulus.x);
        }
        case ADD_NUMBER: {
            word = add_residues(a, arguments[arguments[at + 3u] + limb], modulus.x);
        }
        case MULTIPLY: {
            word = multiply_residues(a, load(arguments[at + 2u] + place), modulus);
        }
        case MULTIPLY_NUMBER: {
            word = multiply_residues(a, arguments[arguments[at + 3u] + limb], modulus);
        }
        case MULTIPLY_ADD: {
            let product = multiply_residues(load(arguments[at + 2u] + place), load(arguments[at + 3u] + place), modulus);
            word = add_residues(a, product, modulus.x);
        }
        case MULTIPLY_ADD_NUMBER: {
            let number = arguments[arguments[at + 3u] + limb];
            word = add_residues(a, multiply_residues(load(arguments[at + 2u] + place), number, modulus), modulus.x);
        }
        case SECOND_DIGIT: {
            word = second_digit(a, load(arguments[at + 2u] + place), arguments[arguments[at + 3u] + limb]);
        }
        default: {}
    }
    store(arguments[at] + place, word);
}
