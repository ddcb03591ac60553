#pragma once
// Memory for C: what a model needs, against what the machine has, before it is loaded. Reference:
// csrc/engine/memory_plan.h; minicpmo.h says what holds for all functions.

#include "minicpmo.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum minicpmo_module {  // bits of minicpmo_model_params.left_out
    MINICPMO_MODULE_VISION = 1,
    MINICPMO_MODULE_AUDIO = 2,
    MINICPMO_MODULE_SPEECH = 4
} minicpmo_module;

typedef struct minicpmo_memory_plan {  // sizes in bytes
    size_t struct_size;
    int32_t n_ctx;         // tokens of context that each conversation is counted with
    int32_t can_allocate;  // 1: what has to be allocated fits; 0: minicpmo_model_load refuses
    int32_t fits;     // 1: pages of the file fit too; 0: they would be read from the disk again and again
    uint64_t mapped;  // of the file, read where they lie; the system drops and reads them as it likes
    uint64_t host;    // allocated in the machine's memory
    uint64_t device;  // allocated on the GPU
    uint64_t kv_bytes_per_token;
    uint64_t host_available;    // UINT64_MAX: the system does not say
    uint64_t device_available;  // the same
} minicpmo_memory_plan;

// What minicpmo_model_load would plan of the same arguments, whether it fits or not; only headers are read.
// params may be null. Any thread; the caller owns *plan.
MINICPMO_API minicpmo_status minicpmo_plan_memory(const char* path, const minicpmo_model_params* params,
                                                  minicpmo_memory_plan* plan);

// The plan of a model for people, module by module, as lines; buffer as for minicpmo_devices. Any thread.
MINICPMO_API minicpmo_status minicpmo_model_memory(const minicpmo_model* model, char* buffer, size_t n_buffer,
                                                   size_t* n_byte);

#ifdef __cplusplus
}
#endif
