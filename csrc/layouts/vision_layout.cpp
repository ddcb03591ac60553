#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "core/mapped_file.h"
#include "core/metadata_keys.h"
#include "layouts/adapters.h"
#include "layouts/name_pairs.h"

namespace minicpmo {

namespace {

constexpr int64_t kHeadWidth = 128;  // of the resampler, in every member
constexpr int64_t kUsualSlices = 9;
constexpr double kFirstScale = 12.0;  // of embeddings, where a file of the architecture minicpm says nothing
constexpr const char* kComputedTable = "resampler.pos_embed_k";

int64_t position_grid(const GgufFile& file) {
    const int64_t n_row = find_tensor(file, "v.position_embd.weight", 2).ne[1];
    const auto grid = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(n_row))));
    check<ModelFileError>(grid * grid == n_row,
                          "[layout] expected a square grid of positions, got {} (v.position_embd.weight, {})",
                          n_row, utf8_path(file.path()));
    return grid;
}

// Published files mostly call the matrix down that leads up. Its shape tells; where both are alike, they do.
bool swaps_ffn(const GgufFile& file, int layer, int64_t n_embd) {
    return find_tensor(file, "v.blk." + std::to_string(layer) + ".ffn_down.weight", 2).ne[0] == n_embd;
}

constexpr NamePair kLayerNames[] = {{"ln1", "ln1"},       {"attn_q", "attn_q"},     {"attn_k", "attn_k"},
                                    {"attn_v", "attn_v"}, {"attn_out", "attn_out"}, {"ln2", "ln2"}};
constexpr NamePair kFfnNames[] = {{"ffn_up", "ffn_up"}, {"ffn_down", "ffn_down"}};
constexpr NamePair kSwappedFfnNames[] = {{"ffn_down", "ffn_up"}, {"ffn_up", "ffn_down"}};

void add_layer(Container& container, const GgufFile& file, int layer, int64_t n_embd) {
    const NamePrefix prefix = layer_prefix("v.blk", "v.blk", layer);
    add_tensors(container, file, kLayerNames, prefix);
    const bool is_swapped = swaps_ffn(file, layer, n_embd);
    add_tensors(container, file, is_swapped ? std::span(kSwappedFfnNames) : std::span(kFfnNames), prefix);
}

void check_known(const GgufFile& file) {
    const auto projector = file.get_or<std::string>("clip.projector_type", "resampler");
    check<UnsupportedModelError>(projector == "resampler",
                                 "[layout] expected clip.projector_type resampler, got {} ({})",
                                 printable(projector), utf8_path(file.path()));
    check<UnsupportedModelError>(file.get_or<bool>("clip.use_gelu", false),
                                 "[layout] expected clip.use_gelu true, got another activation ({})",
                                 utf8_path(file.path()));
}

}  // namespace

void add_vision(Container& container, const GgufFile& file, const LlmTraits& llm) {
    check_known(file);
    const Keys keys(file, "clip.vision.");
    const int patch_size = keys.integer("patch_size", 1, 64);
    const int n_embd = keys.integer("embedding_length", 1, kMaxWidth);
    const int n_layer = count_layers(file, "v.blk.", ".ln1.weight");  // the key counts a dropped one, too
    const TensorInfo& query = find_tensor(file, "resampler.query", 2);
    const auto number = [&](const char* key, int64_t value) {
        container.set(std::string("minicpmo.") + key, value);
    };
    number("vision.block_count", n_layer);
    number("vision.embedding_length", n_embd);
    number("vision.feed_forward_length", keys.integer("feed_forward_length", 1, kMaxWidth));
    number("vision.attention.head_count", keys.integer("attention.head_count", 1, kMaxLayers));
    number("vision.patch_size", patch_size);
    number("vision.position_grid", position_grid(file));
    number("vision.scale_resolution", keys.integer("image_size", patch_size, 4096));
    number("vision.max_slice_nums", kUsualSlices);
    number("resampler.query_num", query.ne[1]);
    number("resampler.embedding_length", query.ne[0]);
    number("resampler.attention.head_count", std::max<int64_t>(1, query.ne[0] / kHeadWidth));
    container.set("minicpmo.vision.attention.layer_norm_epsilon",
                  double{keys.number("attention.layer_norm_epsilon", 0.0, 1.0)});
    for (const char* key : {"image_mean", "image_std"}) {
        container.set(std::string("minicpmo.vision.") + key,
                      file.get<std::vector<double>>(keys.prefix() + key));
    }
    // Only the first member's vocabulary has no token for the number of a picture; that member is another in
    // two things more.
    const bool has_ids = std::find(llm.tokens.begin(), llm.tokens.end(), "<image_id>") != llm.tokens.end();
    container.set("minicpmo.vision.use_image_id", has_ids);
    container.set("minicpmo.vision.slice_style", std::string(has_ids ? "2.6" : "2.5"));
    container.set("minicpmo.vision.rows_are_joined", !has_ids);
    // Their runtime scales all rows that a scaled language model reads, so their resampler's are divided.
    const double usual = llm.arch == "minicpm" ? kFirstScale : 1.0;
    container.set("minicpmo.resampler.embedding_scale_folded",
                  container.number(llm.arch + ".embedding_scale", usual));
    add_own_facts(container, file);

    for (int layer = 0; layer < n_layer; ++layer) add_layer(container, file, layer, n_embd);
    for (const TensorInfo& tensor : file.tensors()) {
        const bool is_of_layer = tensor.name.starts_with("v.blk.");
        if (!is_of_layer && tensor.name != kComputedTable) container.link(file, tensor, tensor.name);
    }
}

}  // namespace minicpmo
