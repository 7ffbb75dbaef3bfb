// The product of two ciphertexts before it is relinearised.

struct RnsTensorParams {
    // Word of the arguments where the items begin.
    items: u32,
    // log2 N.
    log2_degree: u32,
}

var<immediate> params: RnsTensorParams;

// For each item: a0, a1, b0, b1, and where `a0 b0`, `a0 b1 + a1 b0` and `a1 b1` go.
@compute @workgroup_size(256)
fn rns_tensor(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = params.items + workgroup.z * 7u;
    let place = (workgroup.y << params.log2_degree) + workgroup.x * 256u + thread;
    let modulus = constants[workgroup.y];
    let a0 = load(arguments[at] + place);
    let a1 = load(arguments[at + 1u] + place);
    let b0 = load(arguments[at + 2u] + place);
    let b1 = load(arguments[at + 3u] + place);
    let middle = accumulate(multiply_wide(a0, b1), a1, b0, modulus.x);
    store(arguments[at + 4u] + place, multiply_residues(a0, b0, modulus));
    store(arguments[at + 5u] + place, reduce(middle, modulus));
    store(arguments[at + 6u] + place, multiply_residues(a1, b1, modulus));
}
