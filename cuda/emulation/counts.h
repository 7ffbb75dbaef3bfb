// How often the host asked what of the stand-in driver.
//
// HEMAN_EMULATION_COUNTS: at the end, on stderr, launches and blocks of each kernel, then calls by name. Those that wait for the device, or may on a
// real one: cuStreamSynchronize, cuEventSynchronize, cuCtxSynchronize, plain allocations and frees, and copies to pageable memory.
// HEMAN_EMULATION_TRACE=FILE: the same calls as they come, a line each.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace emulation {

class Counts {
public:
    Counts() {
        if (const char* path = std::getenv("HEMAN_EMULATION_TRACE")) trace_ = std::fopen(path, "w");
    }

    void launched(const std::string& kernel, uint64_t blocks) {
        std::lock_guard guard(lock_);
        auto& [launches, all] = of_kernel_[kernel];
        launches++;
        all += blocks;
        if (trace_) std::fprintf(trace_, "launch %s %llu\n", kernel.c_str(), static_cast<unsigned long long>(blocks));
    }

    void called(const std::string& name) { count(name, 0); }

    // `direction` as in the driver's names; what is not page-locked goes through the driver's own buffers.
    void copied(const std::string& direction, bool page_locked, uint64_t bytes) {
        count("cuMemcpy" + direction + "Async, " + (page_locked ? "page-locked" : "pageable"), bytes);
    }

    ~Counts() {
        if (trace_) std::fclose(trace_);
        if (!std::getenv("HEMAN_EMULATION_COUNTS")) return;
        for (const auto& [kernel, counts] : of_kernel_) print(kernel, "launches", counts, "blocks");
        for (const auto& [call, counts] : of_call_) print(call, "calls", counts, "bytes");
    }

private:
    using Pair = std::pair<uint64_t, uint64_t>;

    void count(const std::string& name, uint64_t bytes) {
        std::lock_guard guard(lock_);
        auto& [calls, all] = of_call_[name];
        calls++;
        all += bytes;
        if (trace_) std::fprintf(trace_, "call %s %llu\n", name.c_str(), static_cast<unsigned long long>(bytes));
    }

    static void print(const std::string& name, const char* times, const Pair& counts, const char* measure) {
        std::fprintf(stderr, "%s: %llu %s, %llu %s\n", name.c_str(), static_cast<unsigned long long>(counts.first), times,
                     static_cast<unsigned long long>(counts.second), measure);
    }

    std::mutex lock_;
    std::map<std::string, Pair> of_kernel_, of_call_;
    std::FILE* trace_ = nullptr;
};

}  // namespace emulation
