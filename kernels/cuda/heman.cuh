// Words, and the few things that differ between a device build and the host emulation of the same source.
#pragma once

#ifdef HEMAN_EMULATION
#include "cuda_emulation.h"
#define SHARED_MEMORY emulation::shared_memory()
#else
extern __shared__ uint4 heman_shared_memory[];
#define SHARED_MEMORY reinterpret_cast<unsigned char*>(heman_shared_memory)
#define HEMAN_ENTRY(name)
#endif

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
