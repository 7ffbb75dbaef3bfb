// rns_words: sums and products of polynomials, or with a number a limb, word by word.
// rns_tensor: the product of two ciphertexts before it is relinearised.
// rns_key_products: digits of a polynomial times a key, where rns_switch does not do it.
// rns_inner_products: sums of products of ciphertexts and plaintexts.
// rns_permute: values in another order, an automorphism of the ring.
//
// Grid: x over items and parts of 1024 words, y over limbs. Block: 256 threads, four words each. Shared memory: none.
// Reads and writes the items' polynomials, each word by one thread: results may take the place of operands (but not in rns_permute). No atomics.
// Mirror: core/src/ckks/cpu/evaluator.rs
#include "rns_arguments.cuh"

namespace {

// What rns_words computes: `to = from`, `from + b`, `from b` or `from + b c`; the last operand may be a number. SECOND_DIGIT is of a number whose
// residues modulo the first two primes are `from` and b.
enum Operation : u32 { COPY, ADD, ADD_NUMBER, MULTIPLY, MULTIPLY_NUMBER, MULTIPLY_ADD, MULTIPLY_ADD_NUMBER, SECOND_DIGIT };

__device__ __forceinline__ RnsPart part_of(const RnsLaunchParams& params) { return RnsPart(params.log2_degree - 10); }

__device__ __forceinline__ void add_products(u64 (&sums)[4], uint4 a, uint4 b, u32 p) {
    sums[0] = accumulate(sums[0], a.x, b.x, p);
    sums[1] = accumulate(sums[1], a.y, b.y, p);
    sums[2] = accumulate(sums[2], a.z, b.z, p);
    sums[3] = accumulate(sums[3], a.w, b.w, p);
}

__device__ __forceinline__ uint4 reduced(const u64 (&sums)[4], uint2 modulus) {
    return {reduce(sums[0], modulus), reduce(sums[1], modulus), reduce(sums[2], modulus), reduce(sums[3], modulus)};
}

// The digit d + (q + 1) / 2 of the number a + p d that is nearest to 0, a modulo p and b modulo q; `inverse` is 1 / p in Montgomery form.
__device__ __forceinline__ u32 second_digit(u32 a, u32 b, u32 p, uint2 q, u32 inverse) {
    const u32 digit = subtract_residues(multiply_residues(b, inverse, q), multiply_residues(a, inverse, q), q.x);
    const bool is_beyond = digit > q.x / 2 || (digit == q.x / 2 && a > p / 2);
    return digit + (q.x + 1) / 2 - (is_beyond ? q.x : 0);
}

__device__ __forceinline__ uint4 four_at(u64 address, u64 word) { return __ldg(reinterpret_cast<const uint4*>(polynomial_at(address) + word) + threadIdx.x); }

}  // namespace

// Arguments: to, from, b, c; then numbers, two an argument, one for each limb.
extern "C" __global__ void __launch_bounds__(256) rns_words(RnsLaunchParams params, const uint2* constants, const __grid_constant__ RnsArguments arguments) {
    const RnsPart own = part_of(params);
    const u32 limb = blockIdx.y;
    const uint2 modulus = constant(constants, limb);
    const u64 numbers = arguments.words[own.item * params.arguments + min(4 + limb / 2, params.arguments - 1)];
    const u32 number = static_cast<u32>(numbers >> limb % 2 * 32);
    auto operand = [&](u32 argument) { return four_words(arguments, params, own, argument, limb); };
    const uint4 a = *operand(1);
    uint4 result = a;
    switch (params.operation) {
        case ADD: result = each_word([&](u32 x, u32 y) { return add_residues(x, y, modulus.x); }, a, *operand(2)); break;
        case ADD_NUMBER: result = each_word([&](u32 x) { return add_residues(x, number, modulus.x); }, a); break;
        case MULTIPLY: result = each_word([&](u32 x, u32 y) { return multiply_residues(x, y, modulus); }, a, *operand(2)); break;
        case MULTIPLY_NUMBER: result = each_word([&](u32 x) { return multiply_residues(x, number, modulus); }, a); break;
        case MULTIPLY_ADD:
            result = each_word([&](u32 x, u32 y, u32 z) { return add_residues(x, multiply_residues(y, z, modulus), modulus.x); }, a, *operand(2), *operand(3));
            break;
        case MULTIPLY_ADD_NUMBER:
            result = each_word([&](u32 x, u32 y) { return add_residues(x, multiply_residues(y, number, modulus), modulus.x); }, a, *operand(2));
            break;
        case SECOND_DIGIT:
            result = each_word([&](u32 x, u32 y) { return second_digit(x, y, constant(constants, 0).x, constant(constants, 1), number); }, a, *operand(2));
            break;
        default: break;
    }
    *operand(0) = result;
}
HEMAN_ENTRY(rns_words)

// Arguments: a0, a1, b0, b1, and where `a0 b0`, `a0 b1 + a1 b0` and `a1 b1` go.
extern "C" __global__ void __launch_bounds__(256) rns_tensor(RnsLaunchParams params, const uint2* constants, const __grid_constant__ RnsArguments arguments) {
    const RnsPart own = part_of(params);
    const u32 limb = blockIdx.y;
    const uint2 modulus = constant(constants, limb);
    auto operand = [&](u32 argument) { return four_words(arguments, params, own, argument, limb); };
    const uint4 a0 = *operand(0), a1 = *operand(1), b0 = *operand(2), b1 = *operand(3);
    auto product = [&](u32 x, u32 y) { return multiply_residues(x, y, modulus); };
    auto middle = [&](u32 x0, u32 x1, u32 y0, u32 y1) { return reduce(accumulate(static_cast<u64>(x0) * y1, x1, y0, modulus.x), modulus); };
    *operand(4) = each_word(product, a0, b0);
    *operand(5) = each_word(middle, a0, a1, b0, b1);
    *operand(6) = each_word(product, a1, b1);
}
HEMAN_ENTRY(rns_tensor)

// Arguments: the polynomial's values, its digits' values (u32[digit][limbs + special][N]), the key, where products go, and the largest number of
// limbs of the key. A digit's own limbs are the polynomial's.
extern "C" __global__ void __launch_bounds__(256) rns_key_products(RnsLaunchParams params, const uint2* constants, const __grid_constant__ RnsArguments arguments) {
    const RnsPart own = part_of(params);
    const u32 limb = blockIdx.y, limbs = params.limbs, special = params.special, extended = limbs + special;
    const bool is_special = limb >= limbs;
    const u32 first_argument = own.item * params.arguments;
    const u32 key_limbs = static_cast<u32>(arguments.words[first_argument + 4]);
    const u32 key_limb = is_special ? key_limbs + limb - limbs : limb;
    const uint2 modulus = constant(constants, is_special ? params.all_limbs + limb - limbs : limb);
    const u64 word = own.part * WORDS_A_BLOCK;
    auto behind = [&](u32 polynomials) { return (static_cast<u64>(polynomials) << params.log2_degree) + word; };
    u64 body[4] = {}, mask[4] = {};
    for (u32 digit = 0; digit * special < limbs; digit++) {
        const bool owns = limb - digit * special < min(special, limbs - digit * special);
        const uint4 value = owns ? four_at(arguments.words[first_argument], behind(limb))
                                 : four_at(arguments.words[first_argument + 1], behind(digit * extended + limb));
        const u64 key = arguments.words[first_argument + 2];
        add_products(body, value, four_at(key, behind(2 * digit * (key_limbs + special) + key_limb)), modulus.x);
        add_products(mask, value, four_at(key, behind((2 * digit + 1) * (key_limbs + special) + key_limb)), modulus.x);
    }
    *four_words(arguments, params, own, 3, limb) = reduced(body, modulus);
    *four_words(arguments, params, own, 3, extended + limb) = reduced(mask, modulus);
}
HEMAN_ENTRY(rns_key_products)

// Arguments: where body and mask go, a list of triples of addresses (body, mask, plaintext), and how many there are.
extern "C" __global__ void __launch_bounds__(256)
    rns_inner_products(RnsLaunchParams params, const uint2* constants, const __grid_constant__ RnsArguments arguments) {
    const RnsPart own = part_of(params);
    const u32 limb = blockIdx.y, first_argument = own.item * params.arguments;
    const uint2 modulus = constant(constants, limb);
    const u64* const list = reinterpret_cast<const u64*>(arguments.words[first_argument + 2]);
    const u32 terms = static_cast<u32>(arguments.words[first_argument + 3]);
    const u64 word = (static_cast<u64>(limb) << params.log2_degree) + own.part * WORDS_A_BLOCK;
    u64 body[4] = {}, mask[4] = {};
    for (u32 term = 0; term < terms; term++) {
        const uint4 factor = four_at(__ldg(list + 3 * term + 2), word);
        add_products(body, four_at(__ldg(list + 3 * term), word), factor, modulus.x);
        add_products(mask, four_at(__ldg(list + 3 * term + 1), word), factor, modulus.x);
    }
    *four_words(arguments, params, own, 0, limb) = reduced(body, modulus);
    *four_words(arguments, params, own, 1, limb) = reduced(mask, modulus);
}
HEMAN_ENTRY(rns_inner_products)

// Arguments: target, source, and the order: for each place the place whose value comes there.
extern "C" __global__ void __launch_bounds__(256) rns_permute(RnsLaunchParams params, const uint2*, const __grid_constant__ RnsArguments arguments) {
    const RnsPart own = part_of(params);
    const u32* const source = polynomial_at(arguments.words[own.item * params.arguments + 1]) + (static_cast<u64>(blockIdx.y) << params.log2_degree);
    const uint4 order = *four_words(arguments, params, own, 2, 0);
    *four_words(arguments, params, own, 0, blockIdx.y) = {source[order.x], source[order.y], source[order.z], source[order.w]};
}
HEMAN_ENTRY(rns_permute)
