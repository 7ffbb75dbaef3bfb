// Sums of products of polynomials, value by value: digits times a key, ciphertexts times plaintexts.

struct RnsInnerProductParams {
    // Word of the arguments where the items begin.
    items: u32,
    // log2 N.
    log2_degree: u32,
    // Index of the first limb's prime.
    first_prime: u32,
    // Whether sums are added to what is there.
    adds: u32,
}

var<immediate> params: RnsInnerProductParams;

// For each item: target, number of terms, and the word of the arguments where their pairs of addresses begin. The
// addresses are those of the first limb.
@compute @workgroup_size(256)
fn rns_inner_product(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = params.items + workgroup.z * 3u;
    let place = (workgroup.y << params.log2_degree) + workgroup.x * 256u + thread;
    let modulus = constants[params.first_prime + workgroup.y];
    let terms = arguments[at + 1u];
    let pairs = arguments[at + 2u];
    var sum = vec2<u32>(0u, 0u);
    for (var term = 0u; term < terms; term++) {
        let x = load(arguments[pairs + 2u * term] + place);
        let y = load(arguments[pairs + 2u * term + 1u] + place);
        sum = accumulate(sum, x, y, modulus.x);
    }
    var word = reduce(sum, modulus);
    if (params.adds == 1u) {
        word = add_residues(word, load(arguments[at] + place), modulus.x);
    }
    store(arguments[at] + place, word);
}
