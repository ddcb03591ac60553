#include "models/token_embedding.h"

#include "base/error.h"

namespace minicpmo {

Tensor TokenEmbedding::lookup(Graph& g, Tensor ids) const {
    const Tensor rows = ggml_get_rows(g.ctx(), weight, ids);
    return scale == 1.0F ? rows : ggml_scale(g.ctx(), rows, scale);
}

Array<float> TokenEmbedding::lookup(std::span<const int32_t> ids, Workspace& workspace) const {
    for (const int32_t id : ids) {
        check<ArgumentError>(id >= 0 && id < weight->ne[1], "[embedding] expected ids of 0 to {}, got {}",
                             weight->ne[1] - 1, id);
    }
    Array<float> rows({weight->ne[0], static_cast<int64_t>(ids.size())});
    if (ids.empty()) return rows;
    GraphRunner& runner = workspace.runner("token_embedding", 16);
    // The table is part of the key: one workspace may serve several.
    runner.prepare({static_cast<int64_t>(ids.size()), reinterpret_cast<intptr_t>(weight)}, [&](Graph& g) {
        const Tensor input = g.input("ids", GGML_TYPE_I32, {static_cast<int64_t>(ids.size())});
        g.output("rows", lookup(g, input));
    });
    runner.set("ids", ids);
    runner.compute();
    runner.read("rows", rows.data);
    return rows;
}

Tensor Head::logits(Graph& g, Tensor hidden) const {
    const Tensor logits = nn::linear(g, linear, hidden);
    return scale == 1.0F ? logits : ggml_scale(g.ctx(), logits, scale);
}

}  // namespace minicpmo
