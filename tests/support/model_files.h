// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

namespace xqs::test {

/// A folder that is removed with everything in it.
class TempDir {
public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "xqscope-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    m_path = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(m_path, ignored);
  }
  TempDir(const TempDir &) = delete;
  TempDir &operator=(const TempDir &) = delete;
  std::string operator/(const std::string &name) const { return m_path + "/" + name; }

private:
  std::string m_path;
};

inline std::string writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

/// Writes GGUF files, right ones and, field by field, wrong ones. Setting a key or a tensor again replaces it.
class GgufBuilder {
public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;                   ///< of tensor data; not written as a key
  std::int64_t extraTensors = 0, extraValues = 0; ///< lies in the header's counts

  GgufBuilder &set(const std::string &key, std::uint32_t v) { return put(key, 4, raw(v)); }
  GgufBuilder &set(const std::string &key, std::int32_t v) { return put(key, 5, raw(v)); }
  GgufBuilder &set(const std::string &key, std::uint64_t v) { return put(key, 10, raw(v)); }
  GgufBuilder &set(const std::string &key, float v) { return put(key, 6, raw(v)); }
  GgufBuilder &set(const std::string &key, bool v) { return put(key, 7, raw(static_cast<std::uint8_t>(v))); }
  GgufBuilder &set(const std::string &key, const char *v) { return put(key, 8, text(v)); }
  GgufBuilder &set(const std::string &key, const std::string &v) { return put(key, 8, text(v)); }
  GgufBuilder &set(const std::string &key, const std::vector<std::string> &list) {
    std::string payload = raw(std::uint32_t{8}) + raw(std::uint64_t{list.size()});
    for (const std::string &item : list) payload += text(item);
    return put(key, 9, payload);
  }
  GgufBuilder &set(const std::string &key, const std::vector<float> &list) { return putArray(key, 6, list); }
  GgufBuilder &set(const std::string &key, const std::vector<std::int32_t> &list) { return putArray(key, 5, list); }
  /// Any type and payload.
  GgufBuilder &put(const std::string &key, std::uint32_t type, const std::string &payload) {
    remove(key);
    m_values.push_back({key, raw(type) + payload});
    return *this;
  }
  GgufBuilder &remove(const std::string &key) {
    std::erase_if(m_values, [&](const Value &v) { return v.key == key; });
    return *this;
  }
  GgufBuilder &duplicate(const std::string &key) {
    for (const Value &v : std::vector(m_values))
      if (v.key == key) m_values.push_back(v);
    return *this;
  }

  /// dims: innermost first. type: GGUF's number. data: the blocks.
  GgufBuilder &tensor(const std::string &name, std::vector<std::uint64_t> dims, std::uint32_t type,
                      const std::string &data) {
    removeTensor(name);
    m_tensors.push_back({name, std::move(dims), type, data, -1});
    return *this;
  }
  /// An F32 tensor of small values that differ from element to element.
  GgufBuilder &tensor(const std::string &name, std::vector<std::uint64_t> dims) {
    std::uint64_t elements = 1;
    for (const std::uint64_t size : dims) elements *= size;
    std::string data;
    std::uint32_t state = 1;
    for (const char c : name) state = state * 31 + static_cast<unsigned char>(c);
    for (std::uint64_t i = 0; i < elements; ++i) {
      state = state * 1664525u + 1013904223u;
      data += raw(static_cast<float>(state >> 8) * 0x1p-24f - 0.5f);
    }
    return tensor(name, std::move(dims), 0, data);
  }
  GgufBuilder &removeTensor(const std::string &name) {
    std::erase_if(m_tensors, [&](const Tensor &t) { return t.name == name; });
    return *this;
  }
  /// Lies about where the tensor's data are.
  GgufBuilder &offset(const std::string &name, std::int64_t value) {
    for (Tensor &t : m_tensors)
      if (t.name == name) t.forcedOffset = value;
    return *this;
  }

  std::string header() const {
    std::string out = "GGUF" + raw(version) +
                      raw(static_cast<std::uint64_t>(static_cast<std::int64_t>(m_tensors.size()) + extraTensors)) +
                      raw(static_cast<std::uint64_t>(static_cast<std::int64_t>(m_values.size()) + extraValues));
    for (const Value &v : m_values) out += text(v.key) + v.typeAndPayload;
    std::uint64_t at = 0;
    for (const Tensor &t : m_tensors) {
      out += text(t.name) + raw(static_cast<std::uint32_t>(t.dims.size()));
      for (const std::uint64_t size : t.dims) out += raw(size);
      out += raw(t.type) + raw(t.forcedOffset >= 0 ? static_cast<std::uint64_t>(t.forcedOffset) : at);
      at = aligned(at + t.data.size());
    }
    return out;
  }
  /// The whole file; it ends with the last tensor's last byte.
  std::string bytes() const {
    std::string out = header();
    for (const Tensor &t : m_tensors) {
      out.resize(aligned(out.size()));
      out += t.data;
    }
    return out;
  }

  template <typename T> static std::string raw(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return {reinterpret_cast<const char *>(&value), sizeof value};
  }
  static std::string text(const std::string &v) { return raw(std::uint64_t{v.size()}) + v; }

private:
  struct Value {
    std::string key, typeAndPayload;
  };
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> dims;
    std::uint32_t type;
    std::string data;
    std::int64_t forcedOffset;
  };
  template <typename T> GgufBuilder &putArray(const std::string &key, std::uint32_t type, const std::vector<T> &list) {
    std::string payload = raw(type) + raw(std::uint64_t{list.size()});
    for (const T &item : list) payload += raw(item);
    return put(key, 9, payload);
  }
  std::uint64_t aligned(std::uint64_t at) const { return (at + alignment - 1) / alignment * alignment; }

  std::vector<Value> m_values;
  std::vector<Tensor> m_tensors;
};

/// GPT-2's spelling of a byte in a byte-level vocabulary.
inline std::string spelledByte(int byte) {
  const auto plain = [](int b) { return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae; };
  int point = byte;
  if (!plain(byte)) {
    point = 0x100;
    for (int b = 0; b < byte; ++b) point += plain(b) ? 0 : 1;
  }
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  return {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
}

/// A complete Llama model: 2 layers, d 8, 2 heads on 1 key/value head, ffn 12, tied output, 261 tokens: <unk>, the 256 bytes
/// (id = 1 + byte), then "he" 257, "ll" 258, "hell" 259, "hello" 260.
inline GgufBuilder tinyLlama() {
  std::vector<std::string> tokens{"<unk>"};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(spelledByte(byte));
  for (const char *word : {"he", "ll", "hell", "hello"}) tokens.emplace_back(word);
  std::vector<std::int32_t> types(tokens.size(), 1);
  types[0] = 2;
  const std::uint64_t vocab = tokens.size();
  GgufBuilder b;
  b.set("general.architecture", "llama").set("general.name", "tiny");
  b.set("llama.block_count", 2u).set("llama.context_length", 128u).set("llama.embedding_length", 8u);
  b.set("llama.feed_forward_length", 12u).set("llama.attention.head_count", 2u).set("llama.attention.head_count_kv", 1u);
  b.set("llama.attention.layer_norm_rms_epsilon", 1e-5f).set("llama.rope.freq_base", 10000.0f);
  b.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "gpt-2").set("tokenizer.ggml.tokens", tokens);
  b.set("tokenizer.ggml.token_type", types);
  b.set("tokenizer.ggml.merges", std::vector<std::string>{"h e", "l l", "he ll", "hell o"});
  b.tensor("token_embd.weight", {8, vocab}).tensor("output_norm.weight", {8});
  for (const char *block : {"blk.0.", "blk.1."}) {
    const std::string p = block;
    b.tensor(p + "attn_norm.weight", {8}).tensor(p + "ffn_norm.weight", {8});
    b.tensor(p + "attn_q.weight", {8, 8}).tensor(p + "attn_k.weight", {8, 4}).tensor(p + "attn_v.weight", {8, 4});
    b.tensor(p + "attn_output.weight", {8, 8}).tensor(p + "ffn_gate.weight", {8, 12}).tensor(p + "ffn_up.weight", {8, 12});
    b.tensor(p + "ffn_down.weight", {12, 8});
  }
  return b;
}

} // namespace xqs::test
