// SPDX-License-Identifier: Apache-2.0
#include "gguf_reader.h"
#include "shapes.h"
#include "synthetic_reader.h"

namespace xqs {
namespace {

template <typename Reader> std::unique_ptr<ModelReader> open(const std::string &location) {
  return std::make_unique<Reader>(location);
}
bool anything(const std::string &) { return true; }

constexpr ModelFormat kFormats[] = {
    {"synthetic", "synthetic:layers=4,d=64,heads=4,...: a seeded random model", SyntheticReader::matches,
     open<SyntheticReader>},
    {"shape", "shape:llama-2-7b,layers=2: a known model's shape without its weights, for timing", ShapeReader::matches,
     open<ShapeReader>},
    {"gguf", "a GGUF file of the Llama family", anything, open<GgufReader>},
};

} // namespace

std::span<const ModelFormat> modelFormats() { return kFormats; }

std::unique_ptr<ModelReader> openModel(const std::string &location) {
  for (const ModelFormat &format : kFormats)
    if (format.matches(location)) return format.open(location);
  XQS_ASSERT(!"the last format takes everything");
  return nullptr;
}

} // namespace xqs
