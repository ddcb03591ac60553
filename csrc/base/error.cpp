#include "base/error.h"

namespace minicpmo::detail {

std::string_view format_until_slot(std::ostringstream& out, std::string_view pattern) {
    const size_t slot = pattern.find("{}");
    if (slot == std::string_view::npos) {
        out << pattern << ' ';
        return {};
    }
    out << pattern.substr(0, slot);
    return pattern.substr(slot + 2);
}

}  // namespace minicpmo::detail
