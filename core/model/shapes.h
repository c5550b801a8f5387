// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model_reader.h"

namespace xqs {

/// The shape of a published model, without its weights. RMS epsilon is 1e-5 in all of them.
struct BuiltInShape {
  const char *name; ///< "llama-2-7b"
  ModelShape shape;
  Index ffn, vocab, context;
  double ropeBase; ///< scaling of the frequencies is left out: the numbers are not the model's anyway
  bool tiedOutput;
};
std::span<const BuiltInShape> builtInShapes();
/// Throws Usage, naming the shapes there are.
const BuiltInShape &builtInShape(std::string_view name);
/// The model that ShapeReader makes of it; `layers` 0: all.
ModelConfig shapeConfig(const BuiltInShape &shape, Index layers = 0);

/// A model of a built-in shape with seeded numbers, to be timed and counted: what it computes means nothing. Every layer has
/// the same numbers, each in memory of its own, and a matrix repeats one short table: so 7e9 parameters are there in
/// seconds, and no host memory is needed but where they are written. A location is "shape:NAME", then ",layers=N" (a part of
/// the depth) and ",seed=N" where wanted.
class ShapeReader final : public ModelReader {
public:
  /// Throws Usage, naming what is valid.
  explicit ShapeReader(const std::string &location);

  const ModelConfig &config() const override { return m_config; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return m_tokenizer; }
  const std::string &hash() const override { return m_hash; }
  void read(Weight weight, Index layer, std::span<float> out) const override;

  static bool matches(const std::string &location) { return location.starts_with("shape:"); }

private:
  ModelConfig m_config;
  std::shared_ptr<const Tokenizer> m_tokenizer;
  std::string m_hash;
  std::vector<float> m_table; ///< near-normal
};

} // namespace xqs
