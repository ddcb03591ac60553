#include <pybind11/stl.h>

#include "arrays.h"
#include "bindings.h"
#include "load_options.h"

namespace minicpmo::bindings {

namespace {

std::optional<uint64_t> known(uint64_t n_bytes) {
    return n_bytes == MachineMemory::kUnknown ? std::nullopt : std::optional(n_bytes);
}

PyFacts to_facts(const MemoryPlan& plan) {
    using namespace py::literals;
    py::list needs;
    for (const MemoryNeed& need : plan.needs)
        needs.append(py::make_tuple(need.name, need.mapped, need.host, need.device));
    return py::dict("needs"_a = needs, "n_ctx"_a = plan.n_ctx, "n_sessions"_a = plan.n_session,
                    "kv_bytes_per_token"_a = plan.kv_bytes_per_token,
                    "available"_a = known(plan.available.host),
                    "device_available"_a = known(plan.available.device),
                    "can_allocate"_a = plan.can_allocate(), "fits"_a = plan.fits(), "table"_a = plan.table());
}

}  // namespace

void bind_memory(py::module_& m) {
    m.def(
        "plan_memory",
        [](const std::string& path, const std::vector<std::string>& parts, bool looks_around,
           const std::string& device, int max_sessions,
           const std::optional<std::vector<std::string>>& modules, int n_ctx,
           const std::optional<std::string>& kv_type, bool checks_memory, std::optional<uint64_t> available,
           bool copies_weights) {
            MemoryPlan plan;
            {
                const py::gil_scoped_release release;
                LoadOptions options =
                    to_load_options(parts, device, 0, max_sessions,
                                    {modules, n_ctx, kv_type, checks_memory, available, copies_weights});
                options.looks_around = looks_around;
                plan = Model::plan_memory(path, options);
            }
            return to_facts(plan);
        },
        py::arg("path"), py::kw_only(), py::arg("parts") = std::vector<std::string>{},
        py::arg("looks_around") = true, py::arg("device") = "auto", py::arg("max_sessions") = 0,
        py::arg("modules") = py::none(), py::arg("n_ctx") = 0, py::arg("kv_type") = py::none(),
        py::arg("checks_memory") = true, py::arg("available") = py::none(), py::arg("copies_weights") = false,
        "What Model.load would plan of the same arguments: a dict of needs [(name, bytes mapped, allocated, "
        "on "
        "the device)] and what there is.");
    m.def(
        "memory_plan", [](const Model& model) { return to_facts(model.memory_plan()); }, py::arg("model"),
        "What the model was loaded for, as plan_memory has it.");
}

}  // namespace minicpmo::bindings
