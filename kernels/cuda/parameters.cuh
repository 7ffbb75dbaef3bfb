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
