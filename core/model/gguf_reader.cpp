// SPDX-License-Identifier: Apache-2.0
// Keys and tensor names: ggml docs/gguf.md, section "LLM", and llama.cpp's names for the llama architecture.
#include "gguf_reader.h"

#include "gguf_tokenizer.h"
#include "sha256.h"
#include "utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

namespace xqs {
namespace {

constexpr Index kMostLayers = 4096;
constexpr Index kMostWidth = Index{1} << 24; // of anything: keeps every product of two widths far from overflow

struct WeightName {
  Weight weight;
  const char *name; ///< {} = layer
};
constexpr WeightName kWeightNames[] = {
    {Weight::TokenEmbedding, "token_embd.weight"},
    {Weight::OutputNorm, "output_norm.weight"},
    {Weight::Output, "output.weight"},
    {Weight::AttentionNorm, "blk.{}.attn_norm.weight"},
    {Weight::Wq, "blk.{}.attn_q.weight"},
    {Weight::Wk, "blk.{}.attn_k.weight"},
    {Weight::Wv, "blk.{}.attn_v.weight"},
    {Weight::Wo, "blk.{}.attn_output.weight"},
    {Weight::FfnNorm, "blk.{}.ffn_norm.weight"},
    {Weight::WGate, "blk.{}.ffn_gate.weight"},
    {Weight::WUp, "blk.{}.ffn_up.weight"},
    {Weight::WDown, "blk.{}.ffn_down.weight"},
};
constexpr const char *kRopeFactors = "rope_freqs.weight";

/// Keys under "llama." that are read, or that change nothing here. Any other key that is not 0 or false is refused: it may
/// be a feature that is not computed.
constexpr std::string_view kKnownKeys[] = {
    "llama.block_count",
    "llama.context_length",
    "llama.embedding_length",
    "llama.feed_forward_length",
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.attention.causal",
    "llama.rope.freq_base",
    "llama.rope.dimension_count",
    "llama.rope.scaling.type",
    "llama.rope.scaling.factor",
    "llama.rope.scale_linear",
    "llama.vocab_size",                           // the embedding's rows decide
    "llama.tensor_data_layout",                   // a note of the converter
    "llama.rope.scaling.original_context_length", // a note: the factors are in rope_freqs.weight
    "llama.rope.scaling.finetuned",               // a note
};

constexpr const char *kOtherModel = "use a Llama-family model that does without it";

} // namespace

GgufReader::GgufReader(const std::string &path) : m_file(path) {
  const auto architecture = m_file.string("general.architecture");
  if (!architecture) m_file.bad("metadata 'general.architecture' is missing", 0, "convert the model again");
  if (*architecture != "llama")
    m_file.unsupported("the architecture '" + printable(*architecture) + "' is not known",
                       "use a model of the Llama family (architecture 'llama')");
  m_config.architecture = "llama";
  m_config.name = printable(m_file.string("general.name").value_or(""), 200);
  refuseForeignSettings();
  readShape();
  bindTensors();
  readRope();
  summarizeTypes();
  m_config.chatTemplate = m_file.string("tokenizer.chat_template").value_or("");
  m_tokenizer = openGgufTokenizer(m_file);
  if (m_tokenizer->vocabSize() != m_config.vocab)
    m_file.bad(
        fmt::format("the tokenizer has {} tokens and the embedding {} rows", m_tokenizer->vocabSize(), m_config.vocab),
        m_global[static_cast<std::size_t>(Weight::TokenEmbedding)]->infoOffset);
}

void GgufReader::refuseForeignSettings() const {
  for (const auto &[key, value] : m_file.values()) {
    if (!key.starts_with("llama.") || std::ranges::find(kKnownKeys, key) != std::end(kKnownKeys)) continue;
    const bool text = value.type == GgufType::String || value.type == GgufType::Array;
    const bool off = !text && (value.type == GgufType::Bool ? !*m_file.boolean(key) : *m_file.number(key) == 0);
    if (!off) m_file.unsupported("the setting '" + printable(key) + "' is not implemented", kOtherModel);
  }
  if (!m_file.boolean("llama.attention.causal").value_or(true))
    m_file.unsupported("attention is not causal ('llama.attention.causal')", kOtherModel);
}

Index GgufReader::optional(const char *key, Index otherwise, Index most) const {
  const auto it = m_file.values().find(key);
  if (it == m_file.values().end()) return otherwise;
  if (it->second.type == GgufType::Array)
    m_file.unsupported(fmt::format("'{}' differs from layer to layer", key), kOtherModel);
  const std::int64_t number = *m_file.integer(key);
  if (number < 1 || number > most)
    m_file.bad(fmt::format("metadata '{}' is {} (1 to {} are possible)", key, number, most), it->second.offset);
  return number;
}

Index GgufReader::required(const char *key, Index most) const {
  const Index number = optional(key, 0, most);
  if (number == 0) m_file.bad(fmt::format("metadata '{}' is missing", key), 0, "convert the model again");
  return number;
}

void GgufReader::readShape() {
  ModelShape &s = m_config.shape;
  s.layers = required("llama.block_count", kMostLayers);
  s.d = required("llama.embedding_length", kMostWidth);
  s.heads = required("llama.attention.head_count", kMostWidth);
  s.kvHeads = optional("llama.attention.head_count_kv", s.heads, kMostWidth);
  m_config.ffn = required("llama.feed_forward_length", kMostWidth);
  m_config.contextLength = required("llama.context_length", kMostWidth * 64);
  if (s.heads % s.kvHeads != 0)
    m_file.bad(fmt::format("{} query heads cannot share {} key/value heads evenly", s.heads, s.kvHeads),
               m_file.values().find("llama.attention.head_count")->second.offset);
  s.dh = optional("llama.attention.key_length", s.d / s.heads, kMostWidth);
  if (m_file.values().find("llama.attention.key_length") == m_file.values().end() && s.d % s.heads != 0)
    m_file.bad(fmt::format("the width {} is not a multiple of {} heads", s.d, s.heads),
               m_file.values().find("llama.attention.head_count")->second.offset);
  if (s.dh < 1 || s.dh % 2 != 0 || s.heads > kMostWidth / s.dh)
    m_file.bad(fmt::format("{} heads of {} channels are impossible", s.heads, s.dh),
               m_file.values().find("llama.attention.head_count")->second.offset);
  if (optional("llama.attention.value_length", s.dh, kMostWidth) != s.dh)
    m_file.unsupported("value heads are not as wide as key heads ('llama.attention.value_length')", kOtherModel);
  const double eps = m_file.number("llama.attention.layer_norm_rms_epsilon").value_or(-1);
  if (!(eps >= 0 && eps < 1))
    m_file.bad("metadata 'llama.attention.layer_norm_rms_epsilon' is missing or not in [0, 1)", 0,
               "convert the model again");
  m_config.rmsEps = static_cast<float>(eps);
}

// base^(-2j/dh) / factor_j: linear scaling has one factor, Llama 3.1 stores dh / 2 of them as a tensor.
void GgufReader::readRope() {
  const Index dh = m_config.shape.dh;
  if (const Index rotated = optional("llama.rope.dimension_count", dh, kMostWidth); rotated != dh)
    m_file.unsupported(
        fmt::format("only {} of {} channels of a head are rotated ('llama.rope.dimension_count')", rotated, dh),
        kOtherModel);
  m_config.ropeBase = m_file.number("llama.rope.freq_base").value_or(10000);
  if (!(m_config.ropeBase >= 1 && std::isfinite(m_config.ropeBase)))
    m_file.bad(fmt::format("metadata 'llama.rope.freq_base' is {}", m_config.ropeBase),
               m_file.values().find("llama.rope.freq_base")->second.offset);
  const std::string_view scaling = m_file.string("llama.rope.scaling.type").value_or("");
  if (!scaling.empty() && scaling != "none" && scaling != "linear")
    m_file.unsupported("the RoPE scaling '" + printable(scaling) + "' ('llama.rope.scaling.type') is not implemented",
                       "use a model with linear or Llama-3 scaling");
  // The factor stood under an older key before scaling had a type; "none" switches it off.
  const double old = m_file.number("llama.rope.scale_linear").value_or(1);
  const double factor = scaling == "none" ? 1 : m_file.number("llama.rope.scaling.factor").value_or(old);
  if (!(factor > 0 && std::isfinite(factor)))
    m_file.bad(fmt::format("the RoPE scaling factor is {}", factor), 0, "convert the model again");
  m_config.ropeFrequency = ropeFrequencies(m_config.ropeBase, dh);
  for (double &frequency : m_config.ropeFrequency) frequency /= factor;

  const GgufTensor *factors = m_file.find(kRopeFactors);
  if (factors == nullptr) return;
  if (factors->dims[0] != dh / 2 || factors->elements != dh / 2)
    m_file.bad(fmt::format("tensor '{}' has {} elements, not {}", kRopeFactors, factors->elements, dh / 2),
               factors->infoOffset);
  std::vector<float> values(m_config.ropeFrequency.size());
  m_file.dequantize(*factors, values);
  for (std::size_t j = 0; j < values.size(); ++j) {
    if (!(values[j] > 0 && std::isfinite(values[j])))
      m_file.bad(fmt::format("tensor '{}' holds {} at {}", kRopeFactors, values[j], j), factors->infoOffset);
    m_config.ropeFrequency[j] /= static_cast<double>(values[j]);
  }
}

const GgufTensor *GgufReader::bind(Weight weight, const std::string &name) {
  const GgufTensor *tensor = m_file.find(name);
  if (tensor == nullptr) m_file.bad("tensor '" + name + "' is missing", 0, "convert or download the model again");
  const WeightShape want = weightShape(m_config, weight);
  if (tensor->dims != std::array<Index, 4>{want.cols, want.rows, 1, 1})
    m_file.bad(fmt::format("tensor '{}' is {} x {}, not {} x {} as the metadata say", name, tensor->dims[0], tensor->dims[1],
                           want.cols, want.rows),
               tensor->infoOffset);
  return tensor;
}

void GgufReader::bindTensors() {
  const GgufTensor *embedding = m_file.find("token_embd.weight");
  if (embedding == nullptr) m_file.bad("tensor 'token_embd.weight' is missing", 0, "convert or download the model again");
  m_config.vocab = std::min(embedding->dims[1], kMostWidth);
  m_config.tiedOutput = m_file.find("output.weight") == nullptr;
  std::set<const GgufTensor *> used{m_file.find(kRopeFactors)};
  for (const WeightName &entry : kWeightNames) {
    if (isPerLayer(entry.weight) || (entry.weight == Weight::Output && m_config.tiedOutput)) continue;
    used.insert(m_global[static_cast<std::size_t>(entry.weight)] = bind(entry.weight, entry.name));
  }
  for (Index layer = 0; layer < m_config.shape.layers; ++layer) {
    LayerTensors &tensors = m_layers.emplace_back();
    for (const WeightName &entry : kWeightNames)
      if (isPerLayer(entry.weight))
        used.insert(tensors[static_cast<std::size_t>(entry.weight)] =
                        bind(entry.weight, fmt::format(fmt::runtime(entry.name), layer)));
  }
  for (const GgufTensor &tensor : m_file.tensors()) {
    if (used.contains(&tensor)) continue;
    const char *what = tensor.name.ends_with(".bias")                   ? "a bias"
                       : tensor.name.find("_exps") != std::string::npos ? "a mixture of experts"
                       : tensor.name.find("_norm") != std::string::npos ? "an additional norm"
                                                                        : "not part of a Llama layer";
    m_file.unsupported(fmt::format("tensor '{}' ({}) is not implemented", printable(tensor.name), what), kOtherModel);
  }
}

void GgufReader::summarizeTypes() {
  std::vector<std::pair<Index, std::string>> counts;
  for (const GgufTensor &tensor : m_file.tensors()) {
    auto it = std::ranges::find(counts, tensor.type->name, &std::pair<Index, std::string>::second);
    if (it == counts.end()) it = counts.insert(it, {0, tensor.type->name});
    ++it->first;
  }
  std::ranges::stable_sort(counts, std::greater{}, &std::pair<Index, std::string>::first);
  for (const auto &[count, name] : counts)
    m_config.weightTypes += fmt::format("{}{} ({})", m_config.weightTypes.empty() ? "" : ", ", name, count);
}

const std::string &GgufReader::hash() const {
  std::call_once(m_hashOnce, [this] { m_hash = sha256Hex(m_file.file()); });
  return m_hash;
}

void GgufReader::read(Weight weight, Index layer, std::span<float> out) const {
  XQS_ASSERT(isPerLayer(weight) ? layer >= 0 && layer < m_config.shape.layers : layer < 0);
  const LayerTensors &tensors = isPerLayer(weight) ? m_layers[static_cast<std::size_t>(layer)] : m_global;
  const GgufTensor *tensor = tensors[static_cast<std::size_t>(weight)];
  XQS_ASSERT(tensor != nullptr && static_cast<Index>(out.size()) == tensor->elements);
  m_file.dequantize(*tensor, out);
  constexpr std::uint32_t kExponent = 0x7f800000; // all ones: infinity or NaN
  for (std::size_t i = 0; i < out.size(); ++i)
    if ((std::bit_cast<std::uint32_t>(out[i]) & kExponent) == kExponent)
      m_file.bad(fmt::format("tensor '{}' holds a value that is not finite (element {})", tensor->name, i),
                 tensor->dataOffset);
}

} // namespace xqs
