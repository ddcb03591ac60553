#pragma once
// What the handles of the C API hold that several of its files use. Reference: csrc/include/minicpmo.h.

#include <memory>
#include <string>

#include "engine/session.h"
#include "include/minicpmo.h"
#include "models/speech/voice.h"

struct minicpmo_model {
    std::shared_ptr<const minicpmo::Model> model;
    std::string name;  // shown to C, so kept with a closing zero byte and as UTF-8
    std::string device;
};

struct minicpmo_session {
    minicpmo_session(std::shared_ptr<const minicpmo::Model> of, const minicpmo::SessionOptions& options)
        : model(std::move(of)), session(model, options) {}
    std::shared_ptr<const minicpmo::Model> model;
    minicpmo::Session session;
    std::string piece;
    bool is_lent = false;  // to a spoken answer
};

struct minicpmo_voice {
    minicpmo::Voice voice;
};
