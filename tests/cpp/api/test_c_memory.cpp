#include <doctest/doctest.h>
#include <minicpmo_memory.h>

#include <string>

#include "api/c_handle.h"
#include "models/tiny_model.h"

using namespace minicpmo;

namespace {

using ModelHandle = Handle<minicpmo_model, minicpmo_model_free>;

minicpmo_model_params on_cpu() {
    minicpmo_model_params params;
    REQUIRE(minicpmo_model_params_default(&params, sizeof params) == MINICPMO_OK);
    params.device = "cpu";
    return params;
}

}  // namespace

TEST_CASE("a plan counts what a model and its context take") {
    const TinyModelFile file;
    const std::string path = file.path().string();
    minicpmo_model_params params = on_cpu();
    auto plan = sized<minicpmo_memory_plan>();
    REQUIRE(minicpmo_plan_memory(path.c_str(), &params, &plan) == MINICPMO_OK);
    CHECK(plan.n_ctx == 4096);
    CHECK((plan.can_allocate == 1 && plan.fits == 1));
    CHECK(plan.mapped > 0);
    CHECK(plan.device == 0);
    CHECK(plan.host > 4096 * plan.kv_bytes_per_token);
    CHECK(plan.host_available > plan.host);

    params.n_ctx = 512;
    params.left_out = MINICPMO_MODULE_VISION | MINICPMO_MODULE_AUDIO | MINICPMO_MODULE_SPEECH;
    auto less = sized<minicpmo_memory_plan>();
    REQUIRE(minicpmo_plan_memory(path.c_str(), &params, &less) == MINICPMO_OK);
    CHECK(less.n_ctx == 512);
    CHECK(less.mapped < plan.mapped);
    CHECK(less.host < plan.host);

    params.copies_weights = 1;
    auto copied = sized<minicpmo_memory_plan>();
    REQUIRE(minicpmo_plan_memory(path.c_str(), &params, &copied) == MINICPMO_OK);
    CHECK(copied.mapped == 0);
    CHECK(copied.host == less.host + less.mapped);
}

TEST_CASE("a model has what it was loaded for") {
    const TinyModelFile file;
    const std::string path = file.path().string();
    minicpmo_model_params params = on_cpu();
    params.left_out = MINICPMO_MODULE_AUDIO;
    params.n_ctx = 600;
    params.ignores_memory = 1;
    minicpmo_model* model = nullptr;
    REQUIRE(minicpmo_model_load(path.c_str(), &params, &model) == MINICPMO_OK);
    const ModelHandle handle(model);
    auto info = sized<minicpmo_model_info>();
    REQUIRE(minicpmo_model_describe(model, &info) == MINICPMO_OK);
    CHECK((info.has_vision == 1 && info.has_audio == 0));
    size_t n = 0;
    REQUIRE(minicpmo_model_memory(model, nullptr, 0, &n) == MINICPMO_OK);
    std::string table(n + 1, ' ');
    REQUIRE(minicpmo_model_memory(model, table.data(), table.size(), &n) == MINICPMO_OK);
    CHECK(table.find("600 tokens of context") != std::string::npos);
}

TEST_CASE("wrong arguments are refused") {
    const TinyModelFile file;
    const std::string path = file.path().string();
    minicpmo_model_params params = on_cpu();
    minicpmo_memory_plan plan = {};
    CHECK(minicpmo_plan_memory(path.c_str(), &params, &plan) == MINICPMO_ERROR_ARGUMENT);  // no struct_size
    plan = sized<minicpmo_memory_plan>();
    CHECK(minicpmo_plan_memory(nullptr, &params, &plan) == MINICPMO_ERROR_ARGUMENT);
    CHECK(minicpmo_plan_memory("none.gguf", &params, &plan) == MINICPMO_ERROR_MODEL_FILE);
    params.left_out = 8;
    CHECK(minicpmo_plan_memory(path.c_str(), &params, &plan) == MINICPMO_ERROR_ARGUMENT);
    params.left_out = 0;
    params.n_ctx = 4097;
    CHECK(minicpmo_plan_memory(path.c_str(), &params, &plan) == MINICPMO_ERROR_ARGUMENT);
    size_t n = 0;
    CHECK(minicpmo_model_memory(nullptr, nullptr, 0, &n) == MINICPMO_ERROR_ARGUMENT);
}
