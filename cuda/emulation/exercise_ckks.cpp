// Launches every kernel of CKKS once on small random data, for the sanitizers; results are compared elsewhere.
#include "exercise.h"
#include "rns_arguments.cuh"

namespace {

constexpr u32 LIMBS = 2, SPECIAL = 1, EXTENDED = LIMBS + SPECIAL, DIGITS = LIMBS;

// Any odd numbers below 2^30 for primes, and behind them factors; then roots of each prime, before which the root of folding stands: 0 where the
// ring is not that of real slots.
struct Table {
    u32 degree, factors = EXTENDED, roots = EXTENDED + 16;
    std::unique_ptr<uint2[]> entries;

    explicit Table(u32 degree) : degree(degree), entries(new uint2[roots + EXTENDED * (degree + 16)]) {
        for (u32 i = 0; i < roots + EXTENDED * (degree + 16); i++) {
            entries[i] = {static_cast<u32>(random_words()) >> 3 | 1, static_cast<u32>(random_words())};
        }
        for (u32 prime = 0; prime < EXTENDED; prime++) entries[prime].x = (1u << 29) + 2 * prime + 1;
    }
    void without_folding(u32 prime_roots) {
        for (u32 prime = 0; prime < EXTENDED; prime++) entries[roots + prime * prime_roots] = {0, 0};
    }
};

// Polynomials below 2^29 each.
struct Polynomials {
    std::unique_ptr<u32[]> words;

    Polynomials(u32 count, u32 degree) : words(filled<u32>(static_cast<size_t>(count) * degree)) {
        for (size_t i = 0; i < static_cast<size_t>(count) * degree; i++) words[i] >>= 3;
    }
    u64 address() const { return reinterpret_cast<u64>(words.get()); }
};

// Of one item.
RnsArguments arguments(std::initializer_list<u64> of_item) {
    RnsArguments all{};
    std::copy(of_item.begin(), of_item.end(), all.words);
    return all;
}

RnsLaunchParams params(u32 arguments, u32 degree, u32 block, u32 roots, u32 operation = 0) {
    const u32 log2_degree = static_cast<u32>(std::countr_zero(degree)), log2_blocks = log2_degree - static_cast<u32>(std::countr_zero(block));
    return {arguments, log2_degree, log2_blocks, roots, log2_blocks == 0 ? degree : degree + (1u << log2_blocks), LIMBS, LIMBS, SPECIAL, operation};
}

// Two launches where the block is smaller than the polynomial.
void transforms(u32 degree, u32 block, bool is_real) {
    Table table(degree);
    if (!is_real) table.without_folding(params(2, degree, block, table.roots).prime_roots);
    const uint2* constants = table.entries.get();
    const Polynomials from(5, degree), kept(1, degree), addend(1, degree), out(1, degree), parts(LIMBS, degree);
    auto order = filled<u32>(degree);
    for (u32 i = 0; i < degree; i++) order[i] %= degree;
    const u32 blocks = degree / block, threads = block / 32, shared = 4 * (block + block / 32);
    const std::string stem = std::to_string(block);
    const auto up = arguments({from.address(), out.address()});
    RnsUp ups[] = {{0, 0, 1u << 24, table.factors, 7}};
    const auto up_params = params(2, degree, block, table.roots);
    launch(("rns_inverse_" + stem).c_str(), blocks, 1, threads, shared, up_params, constants, static_cast<const RnsUp*>(ups), up);
    const char* const columns = is_real ? "rns_inverse_columns_real" : "rns_inverse_columns";
    if (blocks > 1) launch(columns, block / 256, 1, 256, 0, up_params, constants, static_cast<const RnsUp*>(ups), up);
    const auto down = arguments({from.address(), out.address(), kept.address(), addend.address(), reinterpret_cast<u64>(order.get())});
    for (u32 sources = 1; sources <= 5; sources++) {
        const u32 ordered = blocks == 1 && sources % 2 ? 4u << 24 : NOWHERE;
        RnsDown downs[] = {{0, sources, 0, table.factors, 1u << 24, 1u << 24, 2u << 24, sources == 2 ? NOWHERE : table.factors,
                            sources == 3 ? NOWHERE : 3u << 24, sources % 2 ? NOWHERE : table.factors, ordered}};
        const auto down_params = params(5, degree, block, table.roots);
        if (blocks > 1) launch("rns_forward_columns", block / 256, 1, 256, 0, down_params, constants, static_cast<const RnsDown*>(downs), down);
        launch(("rns_forward_" + stem).c_str(), blocks, 1, threads, shared, down_params, constants, static_cast<const RnsDown*>(downs), down);
    }
    if (blocks > 1 || block > 16384) return;
    const Polynomials polynomial(LIMBS, degree), key(DIGITS * 2 * EXTENDED, degree), products(2 * EXTENDED, degree);
    const u32 conversions[EXTENDED * DIGITS] = {table.factors, table.factors, table.factors, table.factors, table.factors, table.factors};
    const auto switched = arguments({polynomial.address(), parts.address(), key.address(), products.address(), LIMBS});
    launch(("rns_switch_" + stem).c_str(), 1, EXTENDED, threads, shared, params(5, degree, block, table.roots), constants, conversions, switched);
}

void words() {
    const u32 degree = 4096, parts = degree / 1024;
    const Table table(degree);
    const uint2* constants = table.entries.get();
    const Polynomials a(LIMBS, degree), b(LIMBS, degree), c(LIMBS, degree), d(LIMBS, degree), out(LIMBS, degree), second(LIMBS, degree), third(LIMBS, degree);
    for (u32 operation = 0; operation < 7; operation++) {
        const auto operands = arguments({out.address(), a.address(), b.address(), c.address(), random_words() >> 3});
        launch("rns_words", parts, LIMBS, 256, 0, params(5, degree, degree, 0, operation), constants, operands);
    }
    const auto pairs = arguments({a.address(), b.address(), c.address(), d.address(), out.address(), second.address(), third.address()});
    launch("rns_tensor", parts, LIMBS, 256, 0, params(7, degree, degree, 0), constants, pairs);
    const Polynomials digits(DIGITS * EXTENDED, degree), key(DIGITS * 2 * EXTENDED, degree), products(2 * EXTENDED, degree);
    const auto switched = arguments({a.address(), digits.address(), key.address(), products.address(), LIMBS});
    launch("rns_key_products", parts, EXTENDED, 256, 0, params(5, degree, degree, 0), constants, switched);
    u64 list[] = {a.address(), b.address(), c.address(), b.address(), a.address(), d.address()};
    const auto sums = arguments({out.address(), second.address(), reinterpret_cast<u64>(list), 2});
    launch("rns_inner_products", parts, LIMBS, 256, 0, params(4, degree, degree, 0), constants, sums);
    auto order = filled<u32>(degree);
    for (u32 i = 0; i < degree; i++) order[i] %= degree;
    launch("rns_permute", parts, LIMBS, 256, 0, params(3, degree, degree, 0), constants, arguments({out.address(), a.address(), reinterpret_cast<u64>(order.get())}));
    launch("rns_masks", degree / 2048, EXTENDED, 256, 0, params(6, degree, degree, 0), constants, RnsContextKey{{1, 2, 3, 4, 5, 6, 7, 8}},
           arguments({digits.address(), 3, 4, 5, 6, 7}));
}

// More terms than weights are in shared memory at a time, and rows that are left.
void matrices() {
    const u32 degree = 4096, terms = 29, kernels = 20;
    const Table table(degree);
    const Polynomials term(LIMBS, degree), out(LIMBS, degree), left(LIMBS, degree);
    auto matrix = filled<u32>(LIMBS * kernels * terms);
    for (u32 i = 0; i < LIMBS * kernels * terms; i++) matrix[i] >>= 3;
    std::vector<u64> list(terms, term.address());
    for (u32 rows : {8u, 16u}) {
        RnsArguments all{};
        const u32 each = 2 + rows / 2 + rows;
        all.words[0] = reinterpret_cast<u64>(list.data()), all.words[1] = 2;
        all.words[2] = static_cast<u64>(kernels - 1) << 32 | 3;
        all.words[2 + rows / 2] = out.address(), all.words[3 + rows / 2] = left.address();
        const u32 words_a_block = 256 * 32 / rows;
        launch(rows == 8 ? "rns_matrix_8" : "rns_matrix_16", degree / words_a_block, LIMBS, 256, 96 * rows + 192, params(each, degree, degree, 0),
               static_cast<const uint2*>(table.entries.get()), static_cast<const u32*>(matrix.get()), kernels, terms, all);
    }
}

}  // namespace

void exercise_ckks() {
    for (bool is_real : {false, true}) {
        for (u32 log2 : {12, 13, 14}) transforms(1u << log2, 1u << log2, is_real);
        for (u32 log2 : {13, 14, 15, 16}) transforms(1u << log2, 4096, is_real);
    }
    words();
    matrices();
}
