#include "models/speech/dvae.h"

#include <string>

#include "base/error.h"

namespace minicpmo {

namespace {

constexpr int kTaps = 3;  // of the convolutions around the blocks
constexpr nn::Conv1dShape kAround = {.pad_left = 1, .pad_right = 1};
constexpr size_t kOtherNodes = 96;

std::string book_name(size_t book) { return "codes" + std::to_string(book); }

}  // namespace

Dvae::Dvae(const DvaeConfig& config, const WeightScope& scope)
    : config_(config),
      conv1_(nn::bind_conv1d(scope / "conv1", config.n_width, config.n_stem, kTaps)),
      conv2_(nn::bind_conv1d(scope / "conv2", config.n_stem, config.block.n_embd, kTaps)),
      out_(nn::bind_linear(scope / "out", config.block.n_embd, config.n_width, nn::Bias::no)),
      mel_(nn::bind_conv1d(scope / "mel", config.n_width, config.n_mel, kTaps, nn::Bias::no)) {
    for (int i = 0; i < config.n_book(); ++i)
        books_.push_back((scope / "codes" / i).get("weight", {config.n_width, config.n_code}));
    for (int i = 0; i < config.n_block; ++i)
        blocks_.push_back(nn::bind_convnext(scope / "blk" / i, config.block));
}

// The vectors of a group are added, the groups take turns in time. -> [n_width, n_group * n]
Tensor Dvae::embed(Graph& g, int64_t n) const {
    Tensor frames = nullptr;  // [n_width, groups so far, n]
    for (int group = 0; group < config_.n_group; ++group) {
        Tensor sum = nullptr;  // [n_width, n]
        for (int level = 0; level < config_.n_level; ++level) {
            const auto book = static_cast<size_t>(group * config_.n_level + level);
            const Tensor codes = g.input(book_name(book), GGML_TYPE_I32, {n});
            const Tensor found = ggml_get_rows(g.ctx(), books_[book], codes);
            sum = sum == nullptr ? found : ggml_add(g.ctx(), sum, found);
        }
        sum = ggml_reshape_3d(g.ctx(), sum, config_.n_width, 1, n);
        frames = frames == nullptr ? sum : ggml_concat(g.ctx(), frames, sum, 1);
    }
    return ggml_reshape_2d(g.ctx(), frames, config_.n_width, config_.n_group * n);
}

Array<float> Dvae::decode(std::span<const int32_t> codes, Workspace& workspace) const {
    const auto n_book = static_cast<size_t>(config_.n_book());
    const size_t n = codes.size() / n_book;
    check<ArgumentError>(n >= 1 && n <= kMaxSteps && codes.size() % n_book == 0,
                         "[dvae] expected {} codes a step for 1 to {} steps, got {} codes", n_book, kMaxSteps,
                         codes.size());
    for (const int32_t code : codes) {
        check<ArgumentError>(code >= 0 && code < config_.n_code, "[dvae] expected codes of 0 to {}, got {}",
                             config_.n_code - 1, code);
    }
    const auto n_step = static_cast<int64_t>(n);
    GraphRunner& runner =
        workspace.runner("dvae", nn::kConvNextNodes * blocks_.size() + 4 * n_book + kOtherNodes);
    runner.prepare({n_step}, [&](Graph& g) {
        Tensor x = nn::conv1d(g, conv1_, embed(g, n_step), kAround);              // [n_stem, n_frame]
        x = nn::conv1d(g, conv2_, nn::gelu(g, x, nn::Gelu::erf), kAround);        // [n_embd, n_frame]
        for (const nn::ConvNext& block : blocks_) x = nn::convnext(g, block, x);  // [n_embd, n_frame]
        g.output("mel", nn::conv1d(g, mel_, nn::linear(g, out_, x), kAround));    // [n_mel, n_frame]
    });
    std::vector<int32_t> book(n);
    for (size_t i = 0; i < n_book; ++i) {
        for (size_t t = 0; t < n; ++t) book[t] = codes[t * n_book + i];
        runner.set(book_name(i), book);
    }
    runner.compute();
    Array<float> mel({config_.n_mel, config_.n_group * n_step});
    runner.read("mel", mel.data);
    return mel;
}

}  // namespace minicpmo
