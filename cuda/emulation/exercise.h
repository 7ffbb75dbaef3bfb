// Launches of kernels on small random data, for the sanitizers.
#pragma once

#include "cuda_emulation.h"
#include "parameters.cuh"

inline std::mt19937_64 random_words(1);

// Exactly as long as the kernel may touch: the address sanitizer sees the next byte.
template <typename T>
std::unique_ptr<T[]> filled(size_t count) {
    std::unique_ptr<T[]> data(new T[count]);
    for (size_t i = 0; i < count; i++) data[i] = static_cast<T>(random_words());
    return data;
}

template <typename... Args>
void launch(const char* name, unsigned gx, unsigned gy, unsigned threads, size_t shared, Args... args) {
    void* pointers[] = {static_cast<void*>(&args)...};
    auto found = emulation::kernels().find(name);
    if (found == emulation::kernels().end()) emulation::fail(name);
    emulation::launch({gx, gy, 1}, {threads, 1, 1}, shared, 2, found->second.call(pointers));
    std::printf("%s\n", name);
}

// The kernels of CKKS.
void exercise_ckks();
