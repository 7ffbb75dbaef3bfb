// Products of small matrices of bytes on the tensor cores (sm_80 and later), exact, sums mod 2^32.
//
// A tile is 16 x 8 sums of 32 products. Lane 4g + t of a warp holds, four bytes a register:
// left factor (signed):    row g at 4t.. and at 16 + 4t..: left[0], left[2]; row g + 8: left[1], left[3]
// right factor (unsigned): column g at 4t.. and at 16 + 4t..: right[0], right[1]
// sums:                    rows g and g + 8, columns 2t and 2t + 1: sum[0], sum[1] and sum[2], sum[3]
// Source: PTX ISA, mma.m16n8k32 with integer types. The emulation exchanges the same registers between lanes.
#pragma once

#include "heman.cuh"

__device__ __forceinline__ void multiply_tile(i32 (&sum)[4], const u32 (&left)[4], const u32 (&right)[2]) {
#ifdef HEMAN_EMULATION
    emulation::multiply_tile(sum, left, right);
#else
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
#endif
}
