#pragma once
// Between numpy and the engine: arrays are checked here and copied out once, never viewed into session
// memory.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "base/array.h"
#include "base/error.h"
#include "engine/message.h"

namespace minicpmo::bindings {

namespace py = pybind11;

using PyPair = py::typing::Tuple<py::array_t<float>, py::array_t<float>>;
using PyFacts = py::typing::Dict<py::str, py::object>;
using PySamples = py::array_t<float, py::array::c_style>;  // [n]
using Rows2d = py::array_t<float, py::array::c_style>;
using PyMessages = py::typing::List<py::typing::Tuple<py::str, py::typing::List<py::object>>>;

template <class T>
py::array_t<T> to_numpy(std::vector<T> values, std::vector<py::ssize_t> shape) {
    auto* owner = new std::vector<T>(std::move(values));
    py::capsule capsule(owner, [](void* p) { delete static_cast<std::vector<T>*>(p); });
    return py::array_t<T>(std::move(shape), owner->data(), capsule);
}

// ggml counts the fastest dimension first, numpy last.
template <class T>
py::array_t<T> to_numpy(Array<T> array) {
    return to_numpy(std::move(array.data),
                    std::vector<py::ssize_t>(array.shape.rbegin(), array.shape.rend()));
}

// uint8 [h, w, 3], C-contiguous. The view lives as long as `pixels`.
inline ImageView to_view(const py::array& pixels) {
    const bool is_rgb = py::isinstance<py::array_t<uint8_t, py::array::c_style>>(pixels) &&
                        pixels.ndim() == 3 && pixels.shape(2) == 3;
    check<ArgumentError>(
        is_rgb, "[image] expected a C-contiguous uint8 array [height, width, 3], got {} with {} dimensions",
        std::string(py::str(pixels.dtype())), pixels.ndim());
    check<ArgumentError>(pixels.shape(0) > 0 && pixels.shape(1) > 0 && pixels.shape(0) < (1 << 24) &&
                             pixels.shape(1) < (1 << 24),
                         "[image] expected 1 to 16777215 pixels a side, got {} x {}", pixels.shape(1),
                         pixels.shape(0));
    return {static_cast<const uint8_t*>(pixels.data()), static_cast<int>(pixels.shape(1)),
            static_cast<int>(pixels.shape(0))};
}

// float32 [n], C-contiguous: mono samples. The view lives as long as `samples`.
inline std::span<const float> to_samples(const py::array& samples) {
    check<ArgumentError>(
        py::isinstance<py::array_t<float, py::array::c_style>>(samples) && samples.ndim() == 1,
        "[audio] expected a C-contiguous float32 array [n], got {} with {} dimensions",
        std::string(py::str(samples.dtype())), samples.ndim());
    return {static_cast<const float*>(samples.data()), static_cast<size_t>(samples.size())};
}

// A picture or, with one dimension, sound.
inline MessagePart to_media_part(const py::array& array) {
    if (array.ndim() == 1) return {PartKind::audio, {}, {}, to_samples(array)};
    return {PartKind::image, {}, to_view(array), {}};
}

// ([array], [time]): frames of a video that are one picture.
inline MessagePart to_frames_part(const py::tuple& part) {
    check<ArgumentError>(part.size() == 2 && py::isinstance<py::list>(part[0]),
                         "[messages] expected frames and their times, got a tuple of {}", part.size());
    MessagePart out;
    out.kind = PartKind::image;
    for (const auto& frame : py::reinterpret_borrow<py::list>(part[0])) {
        check<ArgumentError>(py::isinstance<py::array>(frame), "[messages] expected frames as arrays, got {}",
                             std::string(py::str(py::type::of(frame))));
        out.later_frames.push_back(to_view(py::reinterpret_borrow<py::array>(frame)));
    }
    check<ArgumentError>(!out.later_frames.empty(), "[messages] expected at least one frame, got {}",
                         out.later_frames.size());
    out.image = out.later_frames.front();
    out.later_frames.erase(out.later_frames.begin());
    out.times = part[1].cast<std::vector<int32_t>>();
    return out;
}

// [(role, [str | uint8 array [h, w, 3] | float32 array [n] | frames, ...]), ...]; the views live as long as
// `messages`.
inline std::vector<Message> to_messages(const PyMessages& messages) {
    std::vector<Message> out;
    for (const auto& item : messages) {
        const auto pair = item.cast<py::tuple>();
        Message& message = out.emplace_back(Message{parse_role(pair[0].cast<std::string>()), {}});
        for (const auto& part : pair[1].cast<py::list>()) {
            if (py::isinstance<py::str>(part)) {
                message.content.push_back({PartKind::text, part.cast<std::string>(), {}, {}});
            } else if (py::isinstance<py::tuple>(part)) {
                message.content.push_back(to_frames_part(py::reinterpret_borrow<py::tuple>(part)));
            } else {
                // A cast from anything else would make a temporary array that the view outlives.
                check<ArgumentError>(py::isinstance<py::array>(part),
                                     "[messages] expected str or array parts, got {}",
                                     std::string(py::str(py::type::of(part))));
                message.content.push_back(to_media_part(py::reinterpret_borrow<py::array>(part)));
            }
        }
    }
    return out;
}

}  // namespace minicpmo::bindings
