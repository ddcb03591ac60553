#pragma once
// Leveled messages to one sink. The library itself writes nowhere else; the default sink prints warnings to
// stderr.

#include <functional>
#include <string>
#include <string_view>

namespace minicpmo {

enum class LogLevel { debug, info, warn, error };
using LogSink = std::function<void(LogLevel, std::string_view message)>;

void set_log_sink(LogSink sink);  // an empty sink restores the default
void log(LogLevel level, const std::string& message);

}  // namespace minicpmo
