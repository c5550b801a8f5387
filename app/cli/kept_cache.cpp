// SPDX-License-Identifier: Apache-2.0
#include "kept_cache.h"

#include "cache/layer_plan.h"
#include "error.h"

#include <fmt/format.h>

namespace xqs::cli {

namespace {

/// Names the text that a policy's conditioning is measured on; empty where it needs none.
std::string calibrationOf(const Session &session, const PolicySpec &policy) {
  if (!needsCalibration(policy, session.model().shape())) return "";
  return fmt::format("{}/{}", session.inputs().calibrationHash(), session.inputs().calibrationWindow());
}

} // namespace

void addKeptCacheOptions(const Command &command, KeptCacheOptions &options) {
  command.option("--cache-save", options.save, "F", "keep the policy's packed cache, exact, for --cache-load");
  command.option("--cache-load", options.load, "F",
                 "go on from a kept cache, without prefill and without the exact model; a prompt is the next turn");
  command
      .option("--cache-keep", options.keep, "N",
              "of the loaded cache only the first N tokens, where its groups allow that exactly")
      .range(1, 1 << 30);
}

void checkKeptCacheOptions(const KeptCacheOptions &options, std::size_t policies) {
  if ((!options.load.empty() || !options.save.empty()) && policies > 1)
    throw Error(Code::Usage, "a cache file holds one cache: give one --policy with --cache-save or --cache-load");
  if (options.keep >= 0 && options.load.empty()) throw Error(Code::Usage, "--cache-keep needs --cache-load");
}

KeptCache::KeptCache(const KeptCacheOptions &options)
    : m_file(options.load), m_tokens(m_file.origin().tokens), m_next(m_file.origin().next) {
  if (m_file.origin().state != State::Stream)
    throw Error(Code::Usage,
                fmt::format("cache file {}: is of state all; generating needs one of state stream", options.load));
  if (options.keep < 0) return;
  if (options.keep > std::ssize(m_tokens))
    throw Error(Code::Usage, fmt::format("cache file {}: holds {} tokens; --cache-keep {} asks for more", options.load,
                                         m_tokens.size(), options.keep));
  m_tokens.resize(static_cast<std::size_t>(options.keep));
  m_next.clear();
}

std::unique_ptr<Cache> KeptCache::load(const Session &session, const Method &method, Index maxStep,
                                       Placement placement) const {
  auto cache = m_file.load(method, calibrationOf(session, method.spec()), 0, maxStep, placement);
  cache->truncate(std::ssize(m_tokens));
  return cache;
}

std::uint64_t keepCache(const std::string &path, const Session &session, const Generator::Sequence &sequence,
                        std::vector<TokenId> before) {
  before.insert(before.end(), sequence.tokens.begin(), sequence.tokens.end());
  const auto held = before.begin() + sequence.cache->tokens(); // all but the last drawn token are in the cache
  const PolicySpec &policy = sequence.method->spec();
  return saveCache(path, *sequence.cache, *sequence.method,
                   {policy.canonical(),
                    session.model().hash(),
                    session.model().config().name,
                    calibrationOf(session, policy),
                    State::Stream,
                    {before.begin(), held},
                    {held, before.end()}});
}

} // namespace xqs::cli
