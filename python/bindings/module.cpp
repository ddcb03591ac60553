#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings.h"
#include "core/backend.h"

namespace py = pybind11;
using namespace minicpmo;

namespace {

void bind_errors(py::module_& m) {
    static py::exception<Error> base(m, "MiniCPMOError", PyExc_RuntimeError);
    py::register_exception<ModelFileError>(m, "ModelFileError", base);
    py::register_exception<UnsupportedModelError>(m, "UnsupportedModelError", base);
    py::register_exception<ContextFullError>(m, "ContextFullError", base);
    py::register_exception<SessionLimitError>(m, "SessionLimitError", base);
    py::register_exception<InterruptedError>(m, "GenerationInterruptedError", base);
    base.doc() = "What the engine could not do; the message says what was expected and what was found.";
    // Translators run last registered first, so the base class must not swallow these.
    py::register_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const ModelFileError&) {
            throw;
        } catch (const UnsupportedModelError&) {
            throw;
        } catch (const ContextFullError&) {
            throw;
        } catch (const SessionLimitError&) {
            throw;
        } catch (const InterruptedError&) {
            throw;
        } catch (const ArgumentError& e) {
            PyErr_SetString(PyExc_ValueError, e.what());
        } catch (const OutOfMemoryError& e) {
            PyErr_SetString(PyExc_MemoryError, e.what());
        } catch (const Error& e) {
            py::set_error(base, e.what());
        }
    });
}

}  // namespace

PYBIND11_MODULE(_core, m) {
    m.doc() = "The C++ engine. Use minicpmo_cpp; this module's names may change.";
    m.attr("__version__") = MINICPMO_VERSION;
    bind_errors(m);
    m.def("devices", &Backend::devices, "Names that `device` accepts beside \"auto\" and \"cpu\".");
    bindings::bind_tokenizer(m);
    bindings::bind_model(m);
    bindings::bind_memory(m);
    bindings::bind_audio(m);
    bindings::bind_session(m);
    bindings::bind_voice(m);
    bindings::bind_tts(m);
    bindings::bind_flow(m);
    bindings::bind_vocoder(m);
    bindings::bind_speech(m);
    bindings::bind_book(m);
    bindings::bind_duplex(m);
    bindings::bind_bench(m);
    bind_quantize(m);
}
