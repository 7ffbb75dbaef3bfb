// A matrix of residues times the words of many ciphertexts: up to eight rows share each word that is read.

struct RnsMatrixParams {
    // Word of the arguments where the items begin.
    items: u32,
    // log2 N.
    log2_degree: u32,
    // Address of the matrix, `[limb][kernel][term]`.
    matrix: u32,
    // Rows of the matrix.
    kernels: u32,
    // Terms of each row.
    terms: u32,
    // Terms that this launch takes, the first one and the end.
    first: u32,
    end: u32,
}

var<immediate> params: RnsMatrixParams;

const ROWS: u32 = 8u;
const CHUNK: u32 = 64u;

var<workgroup> weights: array<u32, ROWS * CHUNK>;

// For each item: the word of the arguments where the addresses of the launch's terms begin, the number of rows, their kernels (eight
// words), and their targets (eight words).
@compute @workgroup_size(256)
fn rns_matrix(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = params.items + workgroup.z * (2u + 2u * ROWS);
    let limb = workgroup.y;
    let place = (limb << params.log2_degree) + workgroup.x * 256u + thread;
    let modulus = constants[limb];
    let list = arguments[at];
    let rows = arguments[at + 1u];
    var sums: array<vec2<u32>, ROWS>;
    for (var first = params.first; first < params.end; first += CHUNK) {
        workgroupBarrier();
        for (var i = thread; i < ROWS * CHUNK; i += 256u) {
            let row = i / CHUNK;
            let term = first + i % CHUNK;
            if (row < rows && term < params.end) {
                let kernel = limb * params.kernels + arguments[at + 2u + row];
                weights[i] = load(params.matrix + kernel * params.terms + term);
            } else {
                weights[i] = 0u;
            }
        }
        workgroupBarrier();
        let count = min(CHUNK, params.end - first);
        for (var term = 0u; term < count; term++) {
            let word = load(arguments[list + first - params.first + term] + place);
            for (var row = 0u; row < ROWS; row++) {
                sums[row] = accumulate(sums[row], word, weights[row * CHUNK + term], modulus.x);
            }
        }
    }
    for (var row = 0u; row < rows; row++) {
        let target_ = arguments[at + 2u + ROWS + row] + place;
        var word = reduce(sums[row], modulus);
        if (params.first > 0u) {
            word = add_residues(word, load(target_), modulus.x);
        }
        store(target_, word);
    }
}
