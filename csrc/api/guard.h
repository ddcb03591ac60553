#pragma once
// guard(): runs what a function of the C API does and turns every exception into a status and a text.
// Reference: csrc/include/minicpmo.h, minicpmo_status and minicpmo_last_error.

#include "base/error.h"
#include "include/minicpmo.h"

namespace minicpmo::api {

class BufferError : public Error {  // the caller's buffer is too small
    using Error::Error;
};
class TimeoutError : public Error {  // there was no room in time
    using Error::Error;
};

// The status of the exception that is being handled; its text becomes this thread's last error.
minicpmo_status status_of_current_exception() noexcept;
const char* last_error() noexcept;

template <class F>
minicpmo_status guard(const F& action) noexcept {
    try {
        action();
        return MINICPMO_OK;
    } catch (...) {
        return status_of_current_exception();
    }
}

}  // namespace minicpmo::api
