#pragma once
// One init function per topic; module.cpp calls them.

#include <pybind11/pybind11.h>

namespace minicpmo::bindings {

void bind_bench(pybind11::module_& m);
void bind_tokenizer(pybind11::module_& m);
void bind_memory(pybind11::module_& m);
void bind_model(pybind11::module_& m);
void bind_audio(pybind11::module_& m);
void bind_tts(pybind11::module_& m);
void bind_flow(pybind11::module_& m);
void bind_vocoder(pybind11::module_& m);
void bind_voice(pybind11::module_& m);
void bind_speech(pybind11::module_& m);
void bind_book(pybind11::module_& m);
void bind_session(pybind11::module_& m);
void bind_duplex(pybind11::module_& m);

}  // namespace minicpmo::bindings

void bind_quantize(pybind11::module_& m);
