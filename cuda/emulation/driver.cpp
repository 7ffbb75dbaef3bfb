// A stand-in for libcuda, for tests: modules hold the kernels compiled into this library, memory is the host's, streams run at
// once or late (streams.h). Host code written for the driver runs on it unchanged. Every allocation is counted, bounded and checked for leaks of
// range: copies outside an allocation abort.
//
// HEMAN_EMULATION_DEVICES: number of devices (1). HEMAN_EMULATION_MEMORY: bytes of each (2^33). HEMAN_EMULATION_COUNTS and HEMAN_EMULATION_TRACE:
// see counts.h. HEMAN_EMULATION_NO_POOLS=1: plain allocations only, as of older devices. HEMAN_EMULATION_NO_IMAGES=1: no module loads, as on a
// device that no image was made for. HEMAN_EMULATION_NO_KERNELS=1: launches are checked and counted, and nothing is computed, so that what a
// long run asks of the driver is known in seconds.
#include "counts.h"
#include "cuda_emulation.h"
#include "streams.h"

#include <map>
#include <mutex>
#include <string>

namespace {

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    NOT_FOUND = 500,
};

unsigned long long setting(const char* name, unsigned long long otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

int device_count() { return static_cast<int>(setting("HEMAN_EMULATION_DEVICES", 1)); }
size_t memory_bytes() { return setting("HEMAN_EMULATION_MEMORY", 1ull << 33); }

std::mutex memory_lock;
std::map<uintptr_t, size_t> allocations;
size_t allocated = 0;

void check_range(const void* at, size_t bytes, const char* what) {
    std::lock_guard guard(memory_lock);
    auto after = allocations.upper_bound(reinterpret_cast<uintptr_t>(at));
    if (after != allocations.begin()) {
        auto [start, size] = *std::prev(after);
        if (reinterpret_cast<uintptr_t>(at) + bytes <= start + size) return;
    }
    emulation::fail(what);
}

thread_local void* current_context = nullptr;

std::map<uintptr_t, size_t> page_locked;

bool is_page_locked(const void* at) {
    auto after = page_locked.upper_bound(reinterpret_cast<uintptr_t>(at));
    if (after == page_locked.begin()) return false;
    auto [start, size] = *std::prev(after);
    return reinterpret_cast<uintptr_t>(at) < start + size;
}

emulation::Counts counts;

// The kernel's name, for its counts.
const std::string& name_of(const emulation::Kernel* kernel) {
    static const std::string none = "?";
    for (const auto& [name, known] : emulation::kernels()) {
        if (&known == kernel) return name;
    }
    return none;
}

}  // namespace

using Handle = void*;
#define API extern "C" __attribute__((visibility("default"))) int

API cuInit(unsigned) { return device_count() > 0 ? SUCCESS : NO_DEVICE; }
API cuDriverGetVersion(int* version) {
    *version = 13000;
    return SUCCESS;
}
API cuDeviceGetCount(int* count) {
    *count = device_count();
    return SUCCESS;
}
API cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal < device_count() ? SUCCESS : INVALID_DEVICE;
}
API cuDeviceGetName(char* name, int length, int) {
    std::snprintf(name, length, "CUDA emulation");
    return SUCCESS;
}
API cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 10: *value = 32; break;            // warp size
        case 16: *value = 2; break;             // multiprocessors
        case 75: *value = 9; break;             // compute capability
        case 76: *value = 0; break;
        case 97: *value = 227 << 10; break;     // shared memory a block, opt-in
        case 13: *value = 1000000; break;       // clock, kHz
        case 36: *value = 1000000; break;       // memory clock, kHz
        case 38: *value = 1 << 20; break;       // L2
        case 115: *value = setting("HEMAN_EMULATION_NO_POOLS", 0) == 0; break;  // memory pools
        default: *value = 0; break;
    }
    return SUCCESS;
}
API cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = memory_bytes();
    return SUCCESS;
}
API cuDevicePrimaryCtxRetain(Handle* context, int device) {
    *context = reinterpret_cast<Handle>(static_cast<intptr_t>(device + 1));
    return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API cuCtxSetCurrent(Handle context) {
    current_context = context;
    return SUCCESS;
}
API cuCtxGetCurrent(Handle* context) {
    *context = current_context;
    return SUCCESS;
}
API cuCtxSynchronize() {
    counts.called("cuCtxSynchronize");
    std::lock_guard stream_guard(emulation::stream_lock);
    emulation::run_all_streams();
    return SUCCESS;
}
API cuStreamCreate(Handle* stream, unsigned) {
    std::lock_guard stream_guard(emulation::stream_lock);
    auto* own = new emulation::Stream();
    emulation::streams.push_back(own);
    *stream = own;
    return SUCCESS;
}
// What waits in it is still to be done; events may name it.
API cuStreamDestroy_v2(Handle) { return SUCCESS; }
API cuStreamSynchronize(Handle stream) {
    counts.called("cuStreamSynchronize");
    std::lock_guard stream_guard(emulation::stream_lock);
    auto* own = static_cast<emulation::Stream*>(stream);
    own->advance(own->queued);
    return SUCCESS;
}
API cuStreamWaitEvent(Handle stream, Handle event, unsigned) {
    counts.called("cuStreamWaitEvent");
    std::lock_guard stream_guard(emulation::stream_lock);
    emulation::queue(stream, [event = *static_cast<emulation::Event*>(event)] { event.wait(); });
    return SUCCESS;
}
API cuStreamIsCapturing(Handle, int* status) {
    *status = 0;
    return SUCCESS;
}
API cuEventCreate(Handle* event, unsigned) {
    *event = new emulation::Event();
    return SUCCESS;
}
API cuEventDestroy_v2(Handle event) {
    delete static_cast<emulation::Event*>(event);
    return SUCCESS;
}
API cuEventRecord(Handle event, Handle stream) {
    std::lock_guard stream_guard(emulation::stream_lock);
    auto* own = static_cast<emulation::Stream*>(stream);
    *static_cast<emulation::Event*>(event) = {std::chrono::steady_clock::now(), own, own->queued};
    return SUCCESS;
}
API cuEventSynchronize(Handle event) {
    counts.called("cuEventSynchronize");
    std::lock_guard stream_guard(emulation::stream_lock);
    static_cast<emulation::Event*>(event)->wait();
    return SUCCESS;
}
API cuEventQuery(Handle) { return SUCCESS; }
API cuEventElapsedTime_v2(float* milliseconds, Handle from, Handle to) {
    const auto time = [](Handle event) { return static_cast<emulation::Event*>(event)->time; };
    *milliseconds = std::chrono::duration<float, std::milli>(time(to) - time(from)).count();
    return SUCCESS;
}
API cuEventElapsedTime(float* milliseconds, Handle from, Handle to) { return cuEventElapsedTime_v2(milliseconds, from, to); }
static int allocate(void** pointer, size_t bytes) {
    std::lock_guard guard(memory_lock);
    if (bytes > memory_bytes() - allocated) return OUT_OF_MEMORY;
    *pointer = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
    if (!*pointer) return OUT_OF_MEMORY;
    std::memset(*pointer, 0xa5, bytes);
    allocations[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
    allocated += bytes;
    return SUCCESS;
}
static int release(void* pointer) {
    std::lock_guard guard(memory_lock);
    auto at = allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (at == allocations.end()) return INVALID_VALUE;
    std::memset(pointer, 0x5a, at->second);
    allocated -= at->second;
    allocations.erase(at);
    std::free(pointer);
    return SUCCESS;
}
API cuMemAlloc_v2(void** pointer, size_t bytes) {
    counts.called("cuMemAlloc");
    return allocate(pointer, bytes);
}
API cuMemFree_v2(void* pointer) {
    counts.called("cuMemFree");
    return release(pointer);
}
// An allocation is there at once; where memory is short, what was freed in streams before is waited for.
API cuMemAllocAsync(void** pointer, size_t bytes, Handle) {
    std::lock_guard stream_guard(emulation::stream_lock);
    counts.called("cuMemAllocAsync");
    if (const int result = allocate(pointer, bytes); result != OUT_OF_MEMORY) return result;
    emulation::run_all_streams();
    return allocate(pointer, bytes);
}
API cuMemFreeAsync(void* pointer, Handle stream) {
    std::lock_guard stream_guard(emulation::stream_lock);
    counts.called("cuMemFreeAsync");
    emulation::queue(stream, [pointer] {
        if (release(pointer) != SUCCESS) emulation::fail("memory freed twice");
    });
    return SUCCESS;
}
API cuDeviceGetDefaultMemPool(Handle* pool, int device) {
    *pool = reinterpret_cast<Handle>(static_cast<intptr_t>(device + 1));
    return device < device_count() ? SUCCESS : INVALID_DEVICE;
}
API cuMemPoolSetAttribute(Handle, int attribute, void*) { return attribute == 4 ? SUCCESS : INVALID_VALUE; }
API cuMemPoolGetAttribute(Handle, int attribute, void* value) {
    // Reserved and in use: the pool keeps nothing.
    if (attribute != 5 && attribute != 7) return INVALID_VALUE;
    std::lock_guard guard(memory_lock);
    *static_cast<uint64_t*>(value) = allocated;
    return SUCCESS;
}
API cuMemGetInfo_v2(size_t* free, size_t* total) {
    std::lock_guard guard(memory_lock);
    *total = memory_bytes();
    *free = *total - allocated;
    return SUCCESS;
}
// Page-locked memory is read and written when a copy's turn comes; other memory is read at once, into a copy.
API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    std::lock_guard stream_guard(emulation::stream_lock);
    counts.called("cuMemHostAlloc");
    *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*pointer) return OUT_OF_MEMORY;
    page_locked[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
    return SUCCESS;
}
API cuMemFreeHost(void* pointer) {
    std::lock_guard stream_guard(emulation::stream_lock);
    counts.called("cuMemFreeHost");
    std::memset(pointer, 0x5a, page_locked[reinterpret_cast<uintptr_t>(pointer)]);
    page_locked.erase(reinterpret_cast<uintptr_t>(pointer));
    std::free(pointer);
    return SUCCESS;
}
API cuMemcpyHtoDAsync_v2(void* to, const void* from, size_t bytes, Handle stream) {
    std::lock_guard stream_guard(emulation::stream_lock);
    counts.copied("HtoD", is_page_locked(from), bytes);
    const auto* words = static_cast<const char*>(from);
    auto staged = is_page_locked(from) ? nullptr : std::make_shared<std::vector<char>>(words, words + bytes);
    emulation::queue(stream, [=] {
        check_range(to, bytes, "copy to the device out of range");
        std::memcpy(to, staged ? staged->data() : words, bytes);
    });
    return SUCCESS;
}
API cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t bytes, Handle stream) {
    std::lock_guard stream_guard(emulation::stream_lock);
    counts.copied("DtoH", is_page_locked(to), bytes);
    emulation::queue(stream, [=] {
        check_range(from, bytes, "copy from the device out of range");
        std::memcpy(to, from, bytes);
    });
    return SUCCESS;
}
API cuMemcpyDtoDAsync_v2(void* to, const void* from, size_t bytes, Handle stream) {
    std::lock_guard stream_guard(emulation::stream_lock);
    emulation::queue(stream, [=] {
        check_range(to, bytes, "copy on the device out of range");
        check_range(from, bytes, "copy on the device out of range");
        std::memmove(to, from, bytes);
    });
    return SUCCESS;
}
API cuMemsetD8Async(void* to, unsigned char value, size_t bytes, Handle stream) {
    std::lock_guard stream_guard(emulation::stream_lock);
    emulation::queue(stream, [=] {
        check_range(to, bytes, "fill out of range");
        std::memset(to, value, bytes);
    });
    return SUCCESS;
}
API cuModuleLoadData(Handle* module, const void* image) {
    if (setting("HEMAN_EMULATION_NO_IMAGES", 0)) return INVALID_IMAGE;
    counts.called("cuModuleLoadData");
    *module = reinterpret_cast<Handle>(new int(0));
    return image ? SUCCESS : INVALID_IMAGE;
}
API cuModuleUnload(Handle module) {
    delete static_cast<int*>(module);
    return SUCCESS;
}
API cuModuleGetFunction(Handle* function, Handle, const char* name) {
    auto at = emulation::kernels().find(name);
    if (at == emulation::kernels().end()) return NOT_FOUND;
    *function = &at->second;
    return SUCCESS;
}
API cuFuncSetAttribute(Handle function, int attribute, int value) {
    // A function of one name is one object here for all devices: what one device allows, another must not take back
    // while the first launches.
    auto* kernel = static_cast<emulation::Kernel*>(function);
    if (attribute == 8) kernel->shared_limit = std::max(static_cast<int>(kernel->shared_limit), value);
    return value <= 227 << 10 ? SUCCESS : INVALID_VALUE;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, Handle, int, size_t shared, unsigned) {
    *blocks = static_cast<int>(std::min<size_t>(2, (227 << 10) / std::max<size_t>(shared, 1)));
    return SUCCESS;
}
API cuFuncGetAttribute(int* value, int, Handle) {
    *value = 0;
    return SUCCESS;
}
API cuLaunchKernel(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   Handle stream, void** args, void**) {
    std::lock_guard stream_guard(emulation::stream_lock);
    auto* kernel = static_cast<emulation::Kernel*>(function);
    const bool sound = gx && gy && gz && bx && by && bz && bx * by * bz <= 1024 && gy <= 65535 && gz <= 65535;
    if (!sound || static_cast<int>(shared) > kernel->shared_limit) return INVALID_VALUE;
    counts.launched(name_of(kernel), static_cast<uint64_t>(gx) * gy * gz);
    if (setting("HEMAN_EMULATION_NO_KERNELS", 0)) return SUCCESS;
    emulation::queue(stream, [=, call = kernel->call(args)] {
        emulation::launch({gx, gy, gz}, {bx, by, bz}, shared, static_cast<unsigned>(setting("HEMAN_EMULATION_WORKERS", 2)), call);
    });
    return SUCCESS;
}

static const char* describe(int error) {
    switch (error) {
        case INVALID_VALUE: return "CUDA_ERROR_INVALID_VALUE";
        case OUT_OF_MEMORY: return "CUDA_ERROR_OUT_OF_MEMORY";
        case NO_DEVICE: return "CUDA_ERROR_NO_DEVICE";
        case INVALID_DEVICE: return "CUDA_ERROR_INVALID_DEVICE";
        case INVALID_IMAGE: return "CUDA_ERROR_INVALID_IMAGE";
        case NOT_FOUND: return "CUDA_ERROR_NOT_FOUND";
        default: return "unknown error";
    }
}
API cuGetErrorName(int error, const char** text) {
    *text = describe(error);
    return SUCCESS;
}
API cuGetErrorString(int error, const char** text) {
    *text = describe(error);
    return SUCCESS;
}
