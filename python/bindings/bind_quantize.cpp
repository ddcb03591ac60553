// Blocks of ggml types as numpy arrays; what the converter uses.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "core/quantize.h"

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style>;
using ByteArray = py::array_t<uint8_t, py::array::c_style>;

template <class Array>
void check_matrix(const Array& array, const char* name) {
    minicpmo::check<minicpmo::ArgumentError>(
        array.ndim() == 2, "[quantize] expected 2 dimensions, got {} ({})", array.ndim(), name);
}

// A numpy array that owns `data`, without copying it.
template <class To, class From>
py::array_t<To> to_matrix(std::vector<From> data, py::ssize_t n_row, py::ssize_t n_col) {
    auto owned = std::make_unique<std::vector<From>>(std::move(data));
    const auto* const first = reinterpret_cast<const To*>(owned->data());
    py::capsule owner(owned.get(), [](void* vector) {
        std::unique_ptr<std::vector<From>>(static_cast<std::vector<From>*>(vector));
    });
    owned.release();
    return py::array_t<To>({n_row, n_col}, first, owner);
}

py::array_t<uint8_t> quantize(const FloatArray& values, const std::string& type, int n_threads,
                              const std::optional<FloatArray>& importance) {
    check_matrix(values, "values");
    const ggml_type to = minicpmo::parse_type(type);
    const std::span<const float> view(values.data(), static_cast<size_t>(values.size()));
    const py::ssize_t n_row = values.shape(0), n_col = values.shape(1);
    std::span<const float> weights;
    if (importance) weights = {importance->data(), static_cast<size_t>(importance->size())};
    std::vector<std::byte> blocks;
    {
        const py::gil_scoped_release unlocked;
        blocks = minicpmo::quantize(to, view, n_col, n_threads, weights);
    }
    const auto row_bytes = static_cast<py::ssize_t>(ggml_row_size(to, n_col));
    return to_matrix<uint8_t>(std::move(blocks), n_row, row_bytes);
}

py::array_t<float> dequantize(const ByteArray& blocks, const std::string& type, int64_t n_col,
                              int n_threads) {
    check_matrix(blocks, "blocks");
    const ggml_type from = minicpmo::parse_type(type);
    const bool fits = n_col > 0 && n_col % ggml_blck_size(from) == 0 &&
                      n_col / ggml_blck_size(from) <= blocks.shape(1) &&
                      static_cast<py::ssize_t>(ggml_row_size(from, n_col)) == blocks.shape(1);
    minicpmo::check<minicpmo::ArgumentError>(
        fits, "[dequantize] expected rows of {} columns, got {} bytes (type {})", n_col, blocks.shape(1),
        type);
    const auto* const data = reinterpret_cast<const std::byte*>(blocks.data());
    const std::span<const std::byte> view(data, static_cast<size_t>(blocks.size()));
    std::vector<float> values;
    {
        const py::gil_scoped_release unlocked;
        values = minicpmo::dequantize(from, view, n_col, n_threads);
    }
    return to_matrix<float>(std::move(values), blocks.shape(0), n_col);
}

std::pair<int64_t, size_t> type_info(const std::string& type) {
    const ggml_type known = minicpmo::parse_type(type);
    return {ggml_blck_size(known), ggml_type_size(known)};
}

}  // namespace

void bind_quantize(py::module_& module) {
    module.def("quantize", &quantize, py::arg("values").noconvert(), py::arg("type"),
               py::arg("n_threads") = 0, py::arg("importance") = py::none(), R"(
Rows of float32 as blocks of a ggml type.

Args:
    values: float32 [n_row, n_col], C-contiguous and finite; n_col a multiple of the type's block size.
    type: name of the type as ggml prints it, in any case: "q4_k", "q8_0", "f16".
    n_threads: threads to share the rows; 0 means all processors.
    importance: float32 [n_col], 0 and above: errors in a column weigh as much. None weighs by the values.

Returns:
    uint8 [n_row, row_bytes].
)");
    module.def("dequantize", &dequantize, py::arg("blocks").noconvert(), py::arg("type"), py::arg("n_col"),
               py::arg("n_threads") = 0, R"(
The values that blocks of a ggml type stand for.

Args:
    blocks: uint8 [n_row, row_bytes], C-contiguous.
    type: name of the type as ggml prints it, in any case.
    n_col: values in a row.
    n_threads: threads to share the rows; 0 means all processors.

Returns:
    float32 [n_row, n_col].
)");
    module.def("type_info", &type_info, py::arg("type"),
               "(values in a block, bytes of a block) of a ggml type.");
}
