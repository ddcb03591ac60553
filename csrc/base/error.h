#pragma once
// Every failure is an exception derived from Error; messages read "[component] expected X, got Y (file,
// tensor or argument)".

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace minicpmo {

class Error : public std::runtime_error {
    using std::runtime_error::runtime_error;
};
class ModelFileError : public Error {  // a model file is damaged, cut or inconsistent
    using Error::Error;
};
class UnsupportedModelError : public Error {  // a sound file asks for something this build cannot run
    using Error::Error;
};
class ContextFullError : public Error {  // the KV cache has no room for what was asked
    using Error::Error;
};
class SessionLimitError : public Error {  // the model has as many conversations as it may
    using Error::Error;
};
class ArgumentError : public Error {  // the caller passed something out of range
    using Error::Error;
};
class InterruptedError : public Error {  // somebody called interrupt() while this was computing
    using Error::Error;
};
class OutOfMemoryError : public Error {  // ggml or the system refused a buffer
    using Error::Error;
};

namespace detail {
// Writes `pattern` up to its next "{}" and returns what follows.
std::string_view format_until_slot(std::ostringstream& out, std::string_view pattern);
}  // namespace detail

// format("expected {}, got {}", 3, x): std::format's simplest form, for compilers that lack it.
template <class... Args>
std::string format(std::string_view pattern, const Args&... args) {
    std::ostringstream out;
    out.precision(9);
    ((pattern = detail::format_until_slot(out, pattern), out << args), ...);
    out << pattern;
    return out.str();
}

template <class E, class... Args>
[[noreturn]] void fail(std::string_view pattern, const Args&... args) {
    throw E(format(pattern, args...));
}

template <class E, class... Args>
void check(bool holds, std::string_view pattern, const Args&... args) {
    if (!holds) fail<E>(pattern, args...);
}

}  // namespace minicpmo
