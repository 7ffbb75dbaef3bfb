// Streams of the stand-in driver. By default what is queued runs at once. HEMAN_EMULATION_STREAMS=late: it runs when somebody waits for it, so that a
// missing event or an early free shows; random: some of it whenever more is queued.
#pragma once

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace emulation {

// Held in every call that touches a stream.
inline std::recursive_mutex stream_lock;

struct Stream {
    std::deque<std::function<void()>> waiting;
    uint64_t done = 0, queued = 0;

    // Runs what was queued up to a number.
    void advance(uint64_t up_to) {
        while (done < up_to && !waiting.empty()) {
            auto step = std::move(waiting.front());
            waiting.pop_front();
            step();
            done++;
        }
    }
};

struct Event {
    std::chrono::steady_clock::time_point time;
    Stream* stream = nullptr;
    uint64_t at = 0;

    void wait() const {
        if (stream) stream->advance(at);
    }
};

inline std::vector<Stream*> streams;

inline void run_all_streams() {
    for (Stream* stream : streams) stream->advance(stream->queued);
}

inline void queue(void* handle, std::function<void()> step) {
    static const char* const setting = std::getenv("HEMAN_EMULATION_STREAMS");
    static const std::string mode = setting ? setting : "";
    static std::mt19937 random(7);
    auto* stream = static_cast<Stream*>(handle);
    stream->waiting.push_back(std::move(step));
    stream->queued++;
    if (mode == "random") {
        Stream* some = streams[random() % streams.size()];
        some->advance(some->done + random() % 4);
    } else if (mode != "late") {
        stream->advance(stream->queued);
    }
}

}  // namespace emulation
