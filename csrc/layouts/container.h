#pragma once
// Container: the files of one model put together as if they were one file in our schema. Nothing is copied
// but what is rewritten.

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf_file.h"
#include "layouts/rewritten_tensor.h"

namespace minicpmo {

class Container {
public:
    explicit Container(const GgufFile& base);  // all its keys and tensors, under their own names

    void set(std::string_view key, MetaValue value);             // replaces
    int64_t count(std::string_view key) const;                   // an integer; 0 if there is none
    double number(std::string_view key, double fallback) const;  // of a key that may be absent
    // A tensor of a file, under another name. `file` must live as long as this object does.
    void link(const GgufFile& file, const TensorInfo& tensor, std::string_view name);
    void add(RewrittenTensor tensor, std::string_view name);

    GgufFile build() &&;  // throws ModelFileError if two tensors have one name

private:
    size_t first_region(const GgufFile& file);

    std::filesystem::path path_;
    Metadata metadata_;
    std::vector<TensorInfo> tensors_;
    std::vector<MemoryRegion> regions_;
    std::map<const GgufFile*, size_t> first_regions_;
};

// The tensor of that name; throws ModelFileError if the file has none, or one of other dimensions.
const TensorInfo& find_tensor(const GgufFile& file, std::string_view name, int n_dims);

}  // namespace minicpmo
