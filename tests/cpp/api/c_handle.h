#pragma once
// Handles of the C API that free what they own, and structs that know their size.

#include <memory>

namespace minicpmo {

template <class T, void (*free_)(T*)>
struct Free {
    void operator()(T* handle) const { free_(handle); }
};
template <class T, void (*free_)(T*)>
using Handle = std::unique_ptr<T, Free<T, free_>>;

template <class T>
T sized() {
    T value{};
    value.struct_size = sizeof value;
    return value;
}

}  // namespace minicpmo
