#include "base/log.h"

#include <cstdio>
#include <mutex>

namespace minicpmo {

namespace {

void print_to_stderr(LogLevel level, std::string_view message) {
    if (level >= LogLevel::warn) {
        std::fprintf(stderr, "minicpmo: %.*s\n", static_cast<int>(message.size()), message.data());
    }
}

struct Sink {
    std::mutex mutex;
    LogSink write = print_to_stderr;
};

Sink& sink() {
    static Sink instance;
    return instance;
}

}  // namespace

void set_log_sink(LogSink write) {
    const std::lock_guard lock(sink().mutex);
    sink().write = write ? std::move(write) : LogSink(print_to_stderr);
}

void log(LogLevel level, const std::string& message) {
    const std::lock_guard lock(sink().mutex);
    sink().write(level, message);
}

}  // namespace minicpmo
