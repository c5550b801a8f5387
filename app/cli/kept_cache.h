// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli.h"

#include "cache/cache_file.h"
#include "engine/generate.h"

/// A cache that one generation leaves in a file and another goes on from.
namespace xqs::cli {

struct KeptCacheOptions {
  std::string save, load;
  Index keep = -1; ///< of the loaded tokens; -1: all
};
/// --cache-save, --cache-load, --cache-keep.
void addKeptCacheOptions(const Command &command, KeptCacheOptions &options);
/// Throws Usage where they do not go together.
void checkKeptCacheOptions(const KeptCacheOptions &options, std::size_t policies);

/// A file to go on from: what it holds and what it is of.
class KeptCache {
public:
  explicit KeptCache(const KeptCacheOptions &options);
  const PolicySpec &policy() const { return m_file.policy(); }
  const std::vector<TokenId> &tokens() const { return m_tokens; } ///< held, after --cache-keep
  const std::vector<TokenId> &next() const { return m_next; }     ///< drawn and not fed; none after --cache-keep
  /// The cache of `tokens()`, for steps of at most `maxStep`. Throws what CacheFile::load and Cache::truncate throw.
  std::unique_ptr<Cache> load(const Session &session, const Method &method, Index maxStep, Placement placement) const;

private:
  CacheFile m_file;
  std::vector<TokenId> m_tokens, m_next;
};

/// Writes a sequence's cache; `before`: all tokens that were fed before the first one it drew. Gives the file's bytes.
std::uint64_t keepCache(const std::string &path, const Session &session, const Generator::Sequence &sequence,
                        std::vector<TokenId> before);

} // namespace xqs::cli
