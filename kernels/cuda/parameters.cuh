// Parameter blocks, word for word those of kernels/src/parameters.rs.
#pragma once

#include "heman.cuh"

struct LweLinearParams {
    u32 length;      // words of all inputs of one value
    u32 row_words;   // words of a row
    u32 tiles;       // of a value's words
};
static_assert(sizeof(LweLinearParams) == 12, "kernels/src/lib.rs");

struct LweKeyswitchParams {
    u32 rows;
    u32 input_dimension;   // k N
    u32 output_dimension;  // n
    u32 base_log;
    u32 level;
};
static_assert(sizeof(LweKeyswitchParams) == 20, "kernels/src/lib.rs");

struct LweBootstrapParams {
    u32 rows;           // of the batch
    u32 inputs;         // a value
    u32 lwe_dimension;  // n
    u32 base_log;
    u32 level;
    u32 ciphertexts;    // a block
    u32 digit_offset;   // half a base at every place below the highest
    u32 grouping;       // bits of the key that a step takes, g
};
static_assert(sizeof(LweBootstrapParams) == 32, "kernels/src/lib.rs");

struct SeededRowsParams {
    u32 rows;        // of this launch
    u32 mask_words;  // a row
    u32 body_words;  // a row
    u32 first_row;
    u32 stride;      // words from a row of the result to the next
    u32 seed[4];
};
static_assert(sizeof(SeededRowsParams) == 36, "kernels/src/lib.rs");

struct BootstrapKeyParams {
    u32 log2_points;  // log2 of N / 2
};
static_assert(sizeof(BootstrapKeyParams) == 4, "kernels/src/lib.rs");

struct RnsLaunchParams {
    u32 arguments;    // of an item
    u32 log2_degree;  // log2 N
    u32 log2_blocks;  // log2 of N over the words that a block transforms
    u32 roots;        // index of the first prime's roots
    u32 prime_roots;  // from a prime's roots to the next one's
    u32 limbs;        // of the polynomials, without special ones
    u32 all_limbs;    // primes of Q: the special ones' numbers begin here
    u32 special;      // primes of P
    u32 operation;    // what is computed, where there is a choice
};
static_assert(sizeof(RnsLaunchParams) == 36, "kernels/src/lib.rs");

// One limb on the way down: `sources` polynomials are converted to the prime and transformed; values become `(kept - value) factor + addend addend_factor`,
// in the given order, where they are named. Places as in rns_arguments.cuh.
struct RnsDown {
    u32 prime;       // its number in QP
    u32 sources;
    u32 source;      // place of the first
    u32 conversion;  // index of its constants
    u32 between;     // place of words between two launches
    u32 target;      // place
    u32 kept;        // place
    u32 factor;      // index, or NOWHERE: values as they are
    u32 addend;      // place, or NOWHERE
    u32 addend_factor;  // index of a factor of its own, or NOWHERE
    u32 order;       // place, or NOWHERE
};
static_assert(sizeof(RnsDown) == 44, "kernels/src/lib.rs");

// One limb on the way up: coefficients times a factor (1 / N is part of it), and a number that is added to them.
struct RnsUp {
    u32 prime;   // its number in QP
    u32 source;  // place
    u32 target;  // place
    u32 factor;  // index
    u32 offset;
};
static_assert(sizeof(RnsUp) == 20, "kernels/src/lib.rs");

// The key that masks are hashed with.
struct RnsContextKey {
    u32 words[8];
};
static_assert(sizeof(RnsContextKey) == 32, "kernels/src/lib.rs");
