#include "api/arguments.h"
#include "api/handles.h"
#include "include/minicpmo_memory.h"

using namespace minicpmo;
using namespace minicpmo::api;

minicpmo_status minicpmo_plan_memory(const char* path, const minicpmo_model_params* params,
                                     minicpmo_memory_plan* plan) {
    return guard([&] {
        check_struct(plan, "memory_plan");
        const MemoryPlan found = Model::plan_memory(to_path(path), to_load_options(params));
        const MemoryNeed sum = found.total();
        *plan = {.struct_size = sizeof(*plan),
                 .n_ctx = found.n_ctx,
                 .can_allocate = found.can_allocate() ? 1 : 0,
                 .fits = found.fits() ? 1 : 0,
                 .mapped = sum.mapped,
                 .host = sum.host,
                 .device = sum.device,
                 .kv_bytes_per_token = found.kv_bytes_per_token,
                 .host_available = found.available.host,
                 .device_available = found.available.device};
    });
}

minicpmo_status minicpmo_model_memory(const minicpmo_model* model, char* buffer, size_t n_buffer,
                                      size_t* n_byte) {
    return guard(
        [&] { store_text(not_null(model, "model").model->memory_plan().table(), buffer, n_buffer, n_byte); });
}
