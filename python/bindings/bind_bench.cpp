// What a measurement of this machine asks the engine for.

#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings.h"
#include "kernels/peak_rate.h"

namespace minicpmo::bindings {

namespace py = pybind11;

namespace {

kernels::ProductType product_type(const std::string& name) {
    if (name == "float32") return kernels::ProductType::float32;
    check<ArgumentError>(name == "int8", "[bench] expected products of float32 or int8, got {}", name);
    return kernels::ProductType::int8;
}

std::pair<std::string, int64_t> multiply_in_registers(const std::string& type, int64_t n_round) {
    const kernels::RegisterProducts found = kernels::multiply_in_registers(product_type(type), n_round);
    return {std::string(found.instructions), found.n_op};
}

}  // namespace

void bind_bench(py::module_& m) {
    m.def("multiply_in_registers", &multiply_in_registers, py::arg("type"), py::arg("n_round"),
          py::call_guard<py::gil_scoped_release>(),
          "Products of \"float32\" or \"int8\" that touch no memory -> (the instructions that computed them, "
          "how many operations they were: two a multiply-add). The interpreter is free meanwhile.");
}

}  // namespace minicpmo::bindings
