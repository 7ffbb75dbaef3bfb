// Values of polynomials in another order: an automorphism of the ring.

struct RnsPermuteParams {
    // Word of the arguments where the items begin.
    items: u32,
    // log2 N.
    log2_degree: u32,
}

var<immediate> params: RnsPermuteParams;

// For each item: target, source, and the address of the order: for each place the place whose value comes there.
@compute @workgroup_size(256)
fn rns_permute(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = params.items + workgroup.z * 3u;
    let place = workgroup.x * 256u + thread;
    let limb = workgroup.y << params.log2_degree;
    let source = load(arguments[at + 2u] + place);
    store(arguments[at] + limb + place, load(arguments[at + 1u] + limb + source));
}
