#include "models/speech/voice.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "core/temp_folder.h"
#include "models/tiny_voice.h"

using namespace minicpmo;

namespace {

using Frame = std::vector<double>;
using Frames = std::vector<Frame>;  // [n_time][n_feature]

// The definitions, loop by loop, on the tensors of tiny_voice().
class Slow {
public:
    explicit Slow(const TinyVoice& voice) : tensors_(voice.tensors) {}

    const std::vector<float>& values(const std::string& name) const { return tensors_.at(name); }
    Frames linear(const std::string& name, const Frames& x) const { return conv(name, x, {}); }
    // Taps are runs of a row, the oldest first.
    Frames conv(const std::string& name, const Frames& x, const nn::Conv1dShape& shape) const {
        const std::vector<float>& w = values(name + ".weight");
        const auto bias = tensors_.find(name + ".bias");
        const int n_in = static_cast<int>(x[0].size()), n = static_cast<int>(x.size());
        const int n_row =
            bias != tensors_.end() ? static_cast<int>(bias->second.size()) : tiny_speaker_config().n_growth;
        const int n_tap = static_cast<int>(w.size()) / (n_row * n_in);
        Frames y;
        for (int t = 0;
             t * shape.stride + shape.dilation * (n_tap - 1) < n + shape.pad_left + shape.pad_right; ++t) {
            Frame& frame = y.emplace_back(n_row);
            for (int o = 0; o < n_row; ++o) {
                if (bias != tensors_.end()) frame[o] = bias->second[o];
                for (int k = 0; k < n_tap; ++k) {
                    const int source = t * shape.stride + k * shape.dilation - shape.pad_left;
                    if (source < 0 || source >= n) continue;
                    for (int i = 0; i < n_in; ++i)
                        frame[o] += double{w[(o * n_tap + k) * n_in + i]} * x[source][i];
                }
            }
        }
        return y;
    }
    Frames layer_norm(const std::string& name, Frames x, double eps) const {
        for (Frame& frame : x) {
            double mean = 0, square = 0;
            for (const double v : frame) mean += v / static_cast<double>(frame.size());
            for (const double v : frame)
                square += (v - mean) * (v - mean) / static_cast<double>(frame.size());
            for (size_t i = 0; i < frame.size(); ++i)
                frame[i] = (frame[i] - mean) / std::sqrt(square + eps) * values(name + ".weight")[i] +
                           values(name + ".bias")[i];
        }
        return x;
    }
    Frames norm_relu(const std::string& name, Frames x) const {
        for (Frame& frame : x)
            for (size_t i = 0; i < frame.size(); ++i)
                frame[i] = std::max(frame[i] * values(name + ".scale")[i] + values(name + ".shift")[i], 0.0);
        return x;
    }
    // A frame is n_channel values of each frequency; a row is time taps of frequency taps of channels.
    Frames image_conv(const std::string& name, const Frames& x, int n_channel, int stride) const {
        const std::vector<float>& w = values(name + ".weight");
        const std::vector<float>& bias = values(name + ".bias");
        const int n_out = static_cast<int>(bias.size()), n = static_cast<int>(x.size());
        const int n_freq = static_cast<int>(x[0].size()) / n_channel;
        const int n_tap = w.size() == static_cast<size_t>(n_out * n_channel) ? 1 : 3;
        Frames y(x.size());
        for (int t = 0; t < n; ++t)
            for (int f = 0; f < n_freq; f += stride)
                for (int o = 0; o < n_out; ++o) {
                    double sum = bias[o];
                    for (int kt = 0; kt < n_tap; ++kt)
                        for (int kf = 0; kf < n_tap; ++kf) {
                            const int from = t + kt - n_tap / 2, freq = f + kf - n_tap / 2;
                            if (from < 0 || from >= n || freq < 0 || freq >= n_freq) continue;
                            for (int c = 0; c < n_channel; ++c)
                                sum += double{w[((o * n_tap + kt) * n_tap + kf) * n_channel + c]} *
                                       x[from][freq * n_channel + c];
                        }
                    y[t].push_back(sum);
                }
        return y;
    }

private:
    const std::map<std::string, std::vector<float>>& tensors_;
};

Frames map(Frames x, double (*f)(double)) {
    for (Frame& frame : x)
        for (double& v : frame) v = f(v);
    return x;
}
double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double relu(double x) { return std::max(x, 0.0); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
Frames sum(Frames a, const Frames& b) {
    for (size_t t = 0; t < a.size(); ++t)
        for (size_t i = 0; i < a[t].size(); ++i) a[t][i] += b[t][i];
    return a;
}

// Feature i of a head turns with i + d / 2, frame after frame.
Frames rotated(Frames x, int d, double base) {
    for (size_t t = 0; t < x.size(); ++t)
        for (size_t head = 0; head < x[t].size(); head += d)
            for (int i = 0; i < d / 2; ++i) {
                const double angle = static_cast<double>(t) * std::pow(base, -2.0 * i / d);
                double &a = x[t][head + i], &b = x[t][head + i + d / 2];
                const double turned = a * std::cos(angle) - b * std::sin(angle);
                b = a * std::sin(angle) + b * std::cos(angle);
                a = turned;
            }
    return x;
}

Frames attend(const Frames& q, const Frames& k, const Frames& v, int d) {
    Frames y(q.size(), Frame(q[0].size()));
    for (size_t t = 0; t < q.size(); ++t)
        for (size_t head = 0; head < q[t].size(); head += d) {
            Frame weights;
            double total = 0;
            for (const Frame& key : k) {
                double score = 0;
                for (int i = 0; i < d; ++i) score += q[t][head + i] * key[head + i];
                weights.push_back(std::exp(score / std::sqrt(d)));
                total += weights.back();
            }
            for (size_t s = 0; s < v.size(); ++s)
                for (int i = 0; i < d; ++i) y[t][head + i] += weights[s] / total * v[s][head + i];
        }
    return y;
}

Frames slow_states(const Slow& net, const Frames& mel) {
    const SpeechTokenizerConfig c = tiny_tokenizer_config();
    const int d = c.n_embd / c.n_head;
    Frames x = map(net.conv("s3.conv1", mel, {.stride = 2, .pad_left = 1, .pad_right = 1}), gelu);
    x = map(net.conv("s3.conv2", x, {.stride = 2, .pad_left = 1, .pad_right = 1}), gelu);
    for (int layer = 0; layer < c.n_layer; ++layer) {
        const std::string at = "s3.blk." + std::to_string(layer) + ".";
        Frames y = net.layer_norm(at + "ln1", x, c.attention_norm_eps);
        const Frames v = net.linear(at + "attn_v", y);
        Frames k(y.size(), Frame(y[0].size()));  // has no bias
        for (size_t t = 0; t < y.size(); ++t)
            for (int o = 0; o < c.n_embd; ++o)
                for (int i = 0; i < c.n_embd; ++i)
                    k[t][o] += double{net.values(at + "attn_k.weight")[o * c.n_embd + i]} * y[t][i];
        const Frames mixed =
            attend(rotated(net.linear(at + "attn_q", y), d, c.rope_base), rotated(k, d, c.rope_base), v, d);
        Frames memory = v;
        for (int t = 0; t < static_cast<int>(v.size()); ++t)
            for (int tap = 0; tap < c.fsmn_taps; ++tap) {
                const int source = t + tap - c.fsmn_taps / 2;
                if (source < 0 || source >= static_cast<int>(v.size())) continue;
                for (int i = 0; i < c.n_embd; ++i)
                    memory[t][i] +=
                        double{net.values(at + "attn_fsmn.weight")[tap * c.n_embd + i]} * v[source][i];
            }
        x = sum(x, sum(net.linear(at + "attn_out", mixed), memory));
        y = net.layer_norm(at + "ln2", x, c.ffn_norm_eps);
        x = sum(x, net.linear(at + "ffn_down", map(net.linear(at + "ffn_up", y), gelu)));
    }
    return x;
}

Frames slow_layer(const Slow& net, const std::string& at, Frames x, int dilation) {
    const SpeakerEncoderConfig c = tiny_speaker_config();
    const Frames y = map(net.linear(at + "bottleneck", net.norm_relu(at + "norm", x)), relu);
    const Frames local =
        net.conv(at + "local", y, {.dilation = dilation, .pad_left = dilation, .pad_right = dilation});
    const auto mean = [&](size_t begin, size_t end) {
        Frame m(y[0].size());
        for (size_t t = begin; t < end; ++t)
            for (size_t i = 0; i < m.size(); ++i) m[i] += y[t][i] / static_cast<double>(end - begin);
        return m;
    };
    for (size_t t = 0; t < x.size(); ++t) {
        const size_t begin = t / c.segment * c.segment;
        const Frames context = sum({mean(0, x.size())}, {mean(begin, std::min(begin + c.segment, x.size()))});
        const Frames gate =
            map(net.linear(at + "gate2", map(net.linear(at + "gate1", context), relu)), sigmoid);
        for (size_t i = 0; i < local[t].size(); ++i) x[t].push_back(local[t][i] * gate[0][i]);
    }
    return x;
}

Frame slow_speaker(const Slow& net, const Frames& features) {
    const SpeakerEncoderConfig c = tiny_speaker_config();
    Frames x = map(net.image_conv("spk.head.conv_in", features, 1, 1), relu);
    for (size_t i = 0; i < c.strides.size(); ++i) {
        const std::string at = "spk.head.blk." + std::to_string(i) + ".";
        Frames y = map(net.image_conv(at + "conv1", x, c.n_channel, c.strides[i]), relu);
        y = net.image_conv(at + "conv2", y, c.n_channel, 1);
        if (c.strides[i] > 1) x = net.image_conv(at + "shortcut", x, c.n_channel, c.strides[i]);
        x = map(sum(x, y), relu);
    }
    x = map(net.image_conv("spk.head.conv_out", x, c.n_channel, 2), relu);
    x = map(net.conv("spk.tdnn", x, {.stride = 2, .pad_left = 2, .pad_right = 2}), relu);
    for (size_t b = 0; b < c.block_layers.size(); ++b) {
        const std::string at = "spk.block." + std::to_string(b) + ".layer.";
        for (int i = 0; i < c.block_layers[b]; ++i)
            x = slow_layer(net, at + std::to_string(i) + ".", x, c.block_dilations[b]);
        const std::string transit = "spk.transit." + std::to_string(b);
        x = net.linear(transit, net.norm_relu(transit + ".norm", x));
    }
    x = map(x, relu);
    Frame statistics(2 * x[0].size());
    for (size_t i = 0; i < x[0].size(); ++i) {
        double mean = 0, square = 0;
        for (const Frame& frame : x) mean += frame[i] / static_cast<double>(x.size());
        for (const Frame& frame : x) square += (frame[i] - mean) * (frame[i] - mean);
        statistics[i] = mean;
        statistics[x[0].size() + i] = std::sqrt(square / static_cast<double>(x.size() - 1));
    }
    return net.linear("spk.dense", {statistics})[0];
}

struct Loaded {
    TinyVoice voice = tiny_voice();
    TempFolder folder;
    std::shared_ptr<const Backend> backend =
        std::make_shared<const Backend>(BackendOptions{.device = "cpu", .n_threads = 2});
    Weights weights{
        std::make_shared<const GgufFile>(GgufFile::open(folder.write("voice.gguf", voice.file.build()))),
        *backend};
    SpeechTokenizer tokenizer{tiny_tokenizer_config(), weights.root() / "s3"};
    SpeakerEncoder speaker{tiny_speaker_config(), weights.root() / "spk"};
    Workspace workspace{backend};
};

Array<float> random_features(int n_feature, int n) {
    Array<float> features({n_feature, n});
    Rng rng{5, 0};
    for (float& x : features.data) x = static_cast<float>(2.0 * rng.uniform() - 1.0);
    return features;
}

Frames to_frames(const Array<float>& array) {
    Frames frames;
    for (int64_t t = 0; t < array.dim(1); ++t) {
        const auto row = array.row(t);
        frames.emplace_back(row.begin(), row.end());
    }
    return frames;
}

Voice sound_voice(int n_code) {
    Voice voice;
    voice.codes.assign(static_cast<size_t>(n_code), 6560);
    voice.mel = Array<float>({80, 2 * n_code});
    voice.speaker = Array<float>({192});
    return voice;
}

}  // namespace

TEST_CASE("the speech tokenizer computes what its definition says") {
    Loaded net;
    const Slow slow(net.voice);
    for (const int n_frame : {5, 8, 61}) {
        CAPTURE(n_frame);
        const Array<float> mel = random_features(tiny_tokenizer_config().n_mel, n_frame);
        const SpeechTokens tokens = net.tokenizer.encode(mel, net.workspace);
        const Frames expected = slow_states(slow, to_frames(mel));
        REQUIRE(tokens.codes.size() == static_cast<size_t>((n_frame + 3) / 4));
        REQUIRE(tokens.states.dim(1) == static_cast<int64_t>(expected.size()));
        const Frames digits = slow.linear("s3.quant", expected);
        for (size_t t = 0; t < expected.size(); ++t) {
            for (size_t i = 0; i < expected[t].size(); ++i)
                CHECK(tokens.states.row(static_cast<int64_t>(t))[i] ==
                      doctest::Approx(expected[t][i]).epsilon(2e-4));
            int code = 0, place = 1;
            for (const double digit : digits[t]) {
                code += place * (static_cast<int>(std::nearbyint(std::tanh(digit))) + 1);
                place *= 3;
            }
            CHECK(tokens.codes[t] == code);
        }
    }
}

TEST_CASE("the speaker encoder computes what its definition says, through several segments") {
    Loaded net;
    const Slow slow(net.voice);
    for (const int n_frame : {3, 19, 20, 57}) {  // 2, 10, 10 and 29 steps, 10 to a segment
        CAPTURE(n_frame);
        const Array<float> features = random_features(tiny_speaker_config().n_mel, n_frame);
        const Array<float> found = net.speaker.encode(features, net.workspace);
        const Frame expected = slow_speaker(slow, to_frames(features));
        REQUIRE(found.data.size() == expected.size());
        for (size_t i = 0; i < expected.size(); ++i)
            CHECK(found.data[i] == doctest::Approx(expected[i]).epsilon(2e-4));
    }
}

TEST_CASE("a code counts its digits from the first one, each rounded to a level") {
    const auto code = [](std::vector<float> digits) { return SpeechTokenizer::quantize(digits, 3); };
    CHECK(code({-9, -9, -9, -9, -9, -9, -9, -9}) == 0);
    CHECK(code({0, -9, -9, -9, -9, -9, -9, -9}) == 1);
    CHECK(code({9, -9, -9, -9, -9, -9, -9, -9}) == 2);
    CHECK(code({-9, 0, -9, -9, -9, -9, -9, -9}) == 3);
    CHECK(code({9, 9, 9, 9, 9, 9, 9, 9}) == 6560);
    CHECK(code({0.549F}) == 1);  // tanh is a half at 0.5493
    CHECK(code({0.550F}) == 2);
    CHECK(code({-0.549F}) == 1);
    CHECK(code({-0.550F}) == 0);
}

TEST_CASE("recordings too short or of other features are refused") {
    Loaded net;
    const int n_mel = tiny_tokenizer_config().n_mel;
    CHECK_THROWS_AS(net.tokenizer.encode(random_features(n_mel, 4), net.workspace), ArgumentError);
    CHECK_THROWS_AS(net.tokenizer.encode(random_features(n_mel, 1201), net.workspace), ArgumentError);
    CHECK_THROWS_AS(net.tokenizer.encode(random_features(n_mel + 1, 40), net.workspace), ArgumentError);
    CHECK_THROWS_AS(net.tokenizer.encode({}, net.workspace), ArgumentError);
    CHECK_THROWS_AS(net.speaker.encode(random_features(10, 2), net.workspace), ArgumentError);
    CHECK_THROWS_AS(net.speaker.encode(random_features(11, 40), net.workspace), ArgumentError);
    CHECK_THROWS_AS(net.speaker.encode({}, net.workspace), ArgumentError);
}

TEST_CASE("a voice that a decoder cannot read is refused") {
    const VoiceShape shape;
    check_voice(sound_voice(1), shape);
    check_voice(sound_voice(422), shape);
    CHECK_THROWS_AS(check_voice(sound_voice(0), shape), ArgumentError);
    CHECK_THROWS_AS(check_voice(sound_voice(423), shape), ArgumentError);
    const auto refused = [&](void (*damage)(Voice&)) {
        Voice voice = sound_voice(3);
        damage(voice);
        CHECK_THROWS_AS(check_voice(voice, shape), ArgumentError);
    };
    refused([](Voice& v) { v.codes[1] = 6561; });
    refused([](Voice& v) { v.codes[2] = -1; });
    refused([](Voice& v) { v.mel = Array<float>({80, 5}); });
    refused([](Voice& v) { v.mel = Array<float>({79, 6}); });
    refused([](Voice& v) { v.mel.data.pop_back(); });
    refused([](Voice& v) { v.mel.data[7] = std::numeric_limits<float>::quiet_NaN(); });
    refused([](Voice& v) { v.speaker = Array<float>({191}); });
    refused([](Voice& v) { v.speaker.data[7] = std::numeric_limits<float>::infinity(); });
}
