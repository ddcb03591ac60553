#include <memory>

#include "api/arguments.h"
#include "api/handles.h"
#include "engine/audio_stream.h"
#include "include/minicpmo_audio.h"

using namespace minicpmo;
using namespace minicpmo::api;

struct minicpmo_audio_stream {
    minicpmo_audio_stream(std::shared_ptr<const Model> model, AudioStreamMode mode)
        : stream(std::move(model), mode) {}
    AudioStream stream;
    Array<float> rows;  // shown to C
};

namespace {

AudioStreamMode to_mode(int32_t mode) {
    check<ArgumentError>(mode == MINICPMO_AUDIO_HALF_DUPLEX || mode == MINICPMO_AUDIO_DUPLEX,
                         "[api] expected a mode of {} or {}, got {}", int{MINICPMO_AUDIO_HALF_DUPLEX},
                         int{MINICPMO_AUDIO_DUPLEX}, mode);
    return mode == MINICPMO_AUDIO_DUPLEX ? AudioStreamMode::duplex : AudioStreamMode::half_duplex;
}

void show(minicpmo_audio_stream& stream, Array<float> rows, const float*& data, size_t& n_row) {
    stream.rows = std::move(rows);
    data = stream.rows.data.data();
    n_row = static_cast<size_t>(stream.rows.dim(1));
}

}  // namespace

minicpmo_status minicpmo_audio_stream_create(const minicpmo_model* model, int32_t mode,
                                             minicpmo_audio_stream** stream) {
    return guard([&] {
        minicpmo_audio_stream*& out = not_null(stream, "stream");
        out =
            std::make_unique<minicpmo_audio_stream>(not_null(model, "model").model, to_mode(mode)).release();
    });
}

void minicpmo_audio_stream_free(minicpmo_audio_stream* stream) {
    const std::unique_ptr<minicpmo_audio_stream> owned(stream);
}

minicpmo_status minicpmo_audio_stream_push(minicpmo_audio_stream* stream, const float* samples,
                                           size_t n_sample, const float** rows, size_t* n_row) {
    return guard([&] {
        minicpmo_audio_stream& handle = not_null(stream, "stream");
        const float*& data = not_null(rows, "rows");
        size_t& n = not_null(n_row, "n_row");
        show(handle, handle.stream.push(checked_span(samples, n_sample, "samples")), data, n);
    });
}

minicpmo_status minicpmo_audio_stream_finish(minicpmo_audio_stream* stream, const float** rows,
                                             size_t* n_row) {
    return guard([&] {
        minicpmo_audio_stream& handle = not_null(stream, "stream");
        const float*& data = not_null(rows, "rows");
        size_t& n = not_null(n_row, "n_row");
        show(handle, handle.stream.finish(), data, n);
    });
}
