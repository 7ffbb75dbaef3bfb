// Launches every kernel once on small random data, for the sanitizers; results are compared elsewhere.
#include "exercise.h"

namespace {

struct Item {
    u32 terms, kernels, picks, weights, targets;
};

// Two tiles for one block: it takes turns.
void linear() {
    const u32 values = 9, row_words = 1030;
    u32 targets[] = {2, 0, 1, 3}, bias[] = {1, 2, 3, 4};
    auto input = filled<u32>(values * row_words);
    const u32 terms = 130;
    auto picks = filled<u32>(terms);
    for (u32 i = 0; i < terms; i++) picks[i] %= values;
    auto weights = filled<i16>(terms * 8);
    Item items[] = {{terms, 3, 0, 0, 0}, {0, 1, 0, 0, 3}};
    auto out = filled<u32>(4 * row_words);
    launch("lwe_linear_u32", 2, 1, 256, 128 * 4 * 9, LweLinearParams{row_words, row_words, 2}, static_cast<const Item*>(items),
           static_cast<const u32*>(picks.get()), static_cast<const i16*>(weights.get()), static_cast<const u32*>(targets),
           static_cast<const u32*>(bias), static_cast<const u32*>(input.get()), out.get());
    uint4 picks_of_four[16], left[64];
    for (u32 i = 0; i < 16; i++) picks_of_four[i] = {i % values, (i + 3) % values, (i + 5) % values, values - 1};
    for (uint4& registers : left) registers = {static_cast<u32>(random_words()), 7, 0x80ff017f, static_cast<u32>(random_words())};
    Item of_bytes[] = {{64, 3, 0, 0, 0}, {32, 1, 8, 32, 3}};
    auto products = filled<u32>(4 * row_words);
    launch("lwe_linear_bytes_u32", 2, 3, 256, 0, LweLinearParams{row_words, row_words, 5}, static_cast<const Item*>(of_bytes),
           static_cast<const uint4*>(picks_of_four), static_cast<const uint4*>(left), static_cast<const u32*>(targets),
           static_cast<const u32*>(bias), static_cast<const u32*>(input.get()), products.get());
}

void keyswitch() {
    const u32 rows = 70, dimension = 256, n = 100, small = n + 1, groups = (small + 7) / 8;
    for (LweKeyswitchParams p : {LweKeyswitchParams{rows, dimension, n, 2, 3}, LweKeyswitchParams{3, dimension, n, 10, 2}}) {
        auto input = filled<u32>(p.rows * (dimension + 1)), words = filled<u32>(dimension * p.level * small);
        auto out = filled<u32>(p.rows * small);
        if (p.base_log <= 7) {
            auto bytes = filled<u32>(dimension / 32 * p.level * groups * 256 + 4);
            auto* aligned = reinterpret_cast<u32*>((reinterpret_cast<uintptr_t>(bytes.get()) + 15) / 16 * 16);
            launch("keyswitch_key_u32", dimension / 32 * p.level * groups, 1, 256, 0, p, static_cast<const u32*>(words.get()), aligned);
            launch("lwe_keyswitch_u32", (small + 63) / 64, (p.rows + 63) / 64, 512, p.level * 64 * 48, p,
                   static_cast<const u32*>(input.get()), reinterpret_cast<const uint4*>(aligned), out.get());
        } else {
            launch("lwe_keyswitch_wide_u32", (small + 255) / 256, p.rows, 256, 256 * p.level * 4, p,
                   static_cast<const u32*>(input.get()), static_cast<const u32*>(words.get()), out.get());
        }
    }
}

void seeded_rows() {
    const SeededRowsParams p = {5, 37, 2, 3, 39, {1, 2, 3, 4}};
    auto bodies = filled<u32>(p.rows * p.body_words), out = filled<u32>(p.rows * (p.mask_words + p.body_words));
    launch("seeded_rows_u32", 1, 1, 256, 256 + 176, p, static_cast<const u32*>(bodies.get()), out.get());
}

// With `ways` as many as levels these are transformed side by side.
void bootstrap(u32 size, u32 k, u32 threads_a_polynomial, u32 ciphertexts, u32 level, u32 grouping, u32 ways = 1) {
    const u32 groups = 2, n = groups * grouping, rows = ciphertexts + 1, images = 1, columns = k + 1, m = size / 2;
    u32 log2_points = 0;
    while ((1u << log2_points) < m) log2_points++;
    const size_t polynomials = static_cast<size_t>(groups) * ((1u << grouping) - 1) * level * columns * columns;
    auto words = filled<u64>(polynomials * size);
    auto roots = std::make_unique<double2[]>(m);
    for (u32 i = 1; i < m; i++) roots[i] = {std::cos(i), std::sin(i)};
    auto turns = std::make_unique<double2[]>(2 * size);
    for (u32 i = 0; i < 2 * size; i++) turns[i] = {std::cos(i), std::sin(i)};
    auto key = std::make_unique<double2[]>(polynomials * m);
    launch("bootstrap_key_u64", polynomials, 1, 128, m * 32, BootstrapKeyParams{log2_points}, static_cast<const u64*>(words.get()),
           static_cast<const double2*>(roots.get()), key.get());
    auto input = filled<u32>(rows * (n + 1)), tables = filled<u32>(2 * size), out = filled<u32>(rows * (k * size + 1));
    auto table_of_value = filled<u32>(rows), row_of_value = filled<u32>(rows);
    for (u32 i = 0; i < rows; i++) {
        table_of_value[i] = i % 2;
        row_of_value[i] = rows - 1 - i;
    }
    const u32 threads = (ciphertexts * columns * threads_a_polynomial * ways + 31) / 32 * 32;
    const size_t shared = static_cast<size_t>(ciphertexts) * columns * level * m * 16 + 5 * (8 + 16) +
                          ciphertexts * columns * (size + (threads_a_polynomial < 32 ? threads_a_polynomial : 0)) * 4 + ciphertexts * ((n + 2) & ~1u) * 2;
    char name[64];
    std::snprintf(name, sizeof name, "lwe_bootstrap%s%s_u32_%u_%u", grouping == 1 ? "" : "_groups", level == 1 ? "" : "_levels", size, k);
    launch(name, (rows + ciphertexts - 1) / ciphertexts, 1, threads, shared, LweBootstrapParams{rows, images, n, 7, level, ciphertexts, level == 1 ? 0u : level == 2 ? 0x40u : 0x2040u, grouping},
           static_cast<const u32*>(input.get()), static_cast<const double2*>(key.get()), static_cast<const double2*>(roots.get()),
           static_cast<const double2*>(turns.get()), static_cast<const u32*>(tables.get()), static_cast<const u32*>(table_of_value.get()),
           static_cast<const u32*>(row_of_value.get()), 0u, out.get());
}

// The same by exact transforms; `threads` as in kernels/src/exact_shapes.rs.
void bootstrap_exact(u32 size, u32 k, u32 threads, u32 ciphertexts, u32 level, u32 grouping) {
    const u32 groups = 2, n = groups * grouping, rows = ciphertexts + 1, images = 1, columns = k + 1;
    const u32 moduli[] = {1073692673u, 1073668097u};
    const u32 threads_a_polynomial = size / (size == 1024 ? 32 : 16), stride = size + (threads_a_polynomial < 32 ? threads_a_polynomial : 0);
    const size_t polynomials = static_cast<size_t>(groups) * ((1u << grouping) - 1) * level * columns * columns;
    auto words = filled<u64>(polynomials * size);
    auto constants = std::make_unique<uint2[]>(6 + 4 * size);
    for (u32 i = 0; i < 6 + 4 * size; i++) {
        const u32 p = moduli[i < 6 ? i % 2 : (i - 6) / size % 2], w = static_cast<u32>(random_words() % p);
        constants[i] = {w, static_cast<u32>((static_cast<u64>(w) << 32) / p)};
    }
    for (u32 prime = 0; prime < 2; prime++) {
        u32 inverse = 1;
        for (u32 i = 0; i < 5; i++) inverse *= 2 - moduli[prime] * inverse;
        constants[prime] = {moduli[prime], 0u - inverse};
    }
    auto turns = filled<u32>(4 * size);
    for (u32 i = 0; i < 4 * size; i++) turns[i] %= moduli[i / (2 * size)];
    auto key = filled<u32>(2 * polynomials * size);
    char name[64];
    std::snprintf(name, sizeof name, "bootstrap_key_exact_u32_%u", size);
    launch(name, polynomials, 1, 2 * threads_a_polynomial, 8 * size, static_cast<const u64*>(words.get()),
           static_cast<const uint2*>(constants.get()), key.get());
    auto input = filled<u32>(rows * (n + 1)), tables = filled<u32>(2 * size), out = filled<u32>(rows * (k * size + 1));
    auto table_of_value = filled<u32>(rows), row_of_value = filled<u32>(rows);
    for (u32 i = 0; i < rows; i++) {
        table_of_value[i] = i % 2;
        row_of_value[i] = rows - 1 - i;
    }
    const size_t shared = 160 + static_cast<size_t>(ciphertexts) * columns * (2 * size + stride) * 4;
    std::snprintf(name, sizeof name, "lwe_bootstrap_exact%s_u32_%u_%u", level == 1 ? "" : "_levels", size, k);
    launch(name, (rows + ciphertexts - 1) / ciphertexts, 1, threads, shared,
           LweBootstrapParams{rows, images, n, 7, level, ciphertexts, level == 1 ? 0u : level == 2 ? 0x40u : 0x2040u, grouping},
           static_cast<const u32*>(input.get()), static_cast<const u32*>(key.get()), static_cast<const uint2*>(constants.get()),
           static_cast<const u32*>(turns.get()), static_cast<const u32*>(tables.get()), static_cast<const u32*>(table_of_value.get()),
           static_cast<const u32*>(row_of_value.get()), 0u, out.get());
}

}  // namespace

int main() {
    linear();
    keyswitch();
    seeded_rows();
    bootstrap(256, 5, 8, 3, 2, 1);
    bootstrap(256, 5, 8, 2, 2, 1, 2);
    bootstrap(512, 4, 16, 3, 1, 1);
    bootstrap(512, 3, 16, 1, 3, 1);
    bootstrap(512, 3, 16, 2, 3, 1, 3);
    bootstrap(1024, 2, 16, 5, 1, 1);
    bootstrap(1024, 2, 32, 2, 2, 1, 2);
    bootstrap(2048, 1, 32, 4, 1, 1);
    bootstrap(2048, 1, 32, 2, 2, 1, 2);
    bootstrap(4096, 1, 64, 1, 2, 1);
    bootstrap(512, 4, 16, 3, 1, 2);
    bootstrap(1024, 2, 32, 3, 2, 2);
    bootstrap(2048, 1, 32, 1, 2, 3, 2);
    bootstrap_exact(256, 5, 192, 4, 1, 1);
    bootstrap_exact(512, 4, 320, 3, 1, 1);
    bootstrap_exact(512, 3, 256, 1, 3, 1);
    bootstrap_exact(512, 8, 576, 1, 1, 3);
    bootstrap_exact(1024, 2, 192, 2, 1, 2);
    bootstrap_exact(2048, 1, 256, 2, 1, 1);
    bootstrap_exact(2048, 2, 384, 1, 2, 3);
    bootstrap_exact(4096, 1, 512, 1, 2, 1);
    exercise_ckks();
}
