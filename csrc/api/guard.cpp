#include "api/guard.h"

#include <exception>
#include <new>
#include <string>

namespace minicpmo::api {

namespace {

constexpr const char* kNoMemory = "[api] no memory left";

struct LastError {
    std::string text;
    const char* shown = "";
};

LastError& of_this_thread() noexcept {
    thread_local LastError error;
    return error;
}

minicpmo_status fail_with(minicpmo_status status, const char* text) noexcept {
    LastError& error = of_this_thread();
    try {
        error.text = text;
        error.shown = error.text.c_str();
    } catch (...) {
        error.shown = kNoMemory;
    }
    return status;
}

}  // namespace

minicpmo_status status_of_current_exception() noexcept {
    try {
        throw;
    } catch (const ArgumentError& error) {
        return fail_with(MINICPMO_ERROR_ARGUMENT, error.what());
    } catch (const ModelFileError& error) {
        return fail_with(MINICPMO_ERROR_MODEL_FILE, error.what());
    } catch (const UnsupportedModelError& error) {
        return fail_with(MINICPMO_ERROR_UNSUPPORTED_MODEL, error.what());
    } catch (const ContextFullError& error) {
        return fail_with(MINICPMO_ERROR_CONTEXT_FULL, error.what());
    } catch (const InterruptedError& error) {
        return fail_with(MINICPMO_ERROR_INTERRUPTED, error.what());
    } catch (const OutOfMemoryError& error) {
        return fail_with(MINICPMO_ERROR_OUT_OF_MEMORY, error.what());
    } catch (const BufferError& error) {
        return fail_with(MINICPMO_ERROR_BUFFER_TOO_SMALL, error.what());
    } catch (const SessionLimitError& error) {
        return fail_with(MINICPMO_ERROR_SESSION_LIMIT, error.what());
    } catch (const TimeoutError& error) {
        return fail_with(MINICPMO_ERROR_TIMEOUT, error.what());
    } catch (const std::bad_alloc&) {
        return fail_with(MINICPMO_ERROR_OUT_OF_MEMORY, kNoMemory);
    } catch (const std::exception& error) {
        return fail_with(MINICPMO_ERROR_INTERNAL, error.what());
    } catch (...) {
        return fail_with(MINICPMO_ERROR_INTERNAL, "[api] expected an exception with a text, got another");
    }
}

const char* last_error() noexcept { return of_this_thread().shown; }

}  // namespace minicpmo::api
