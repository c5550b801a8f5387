// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "model/input_file.h"

#include <string>
#include <vector>

namespace xqs {

/// What a cache in a file is of. It is of use only where all of this is the same: its rows are read through the matrices of
/// model, policy and calibration.
struct CacheOrigin {
  std::string policy;      ///< canonical
  std::string model;       ///< Model::hash
  std::string modelName;   ///< for messages
  std::string calibration; ///< names the text that conditioning was measured on; empty where it needs none
  State state = State::Stream;
  std::vector<TokenId> tokens; ///< whose rows are held, in order
  std::vector<TokenId> next;   ///< drawn and not fed yet: they come next
};

/// The whole state of a cache as a file, exact: a cache that was saved and loaded goes on with the same bits.
///
///   8 bytes   "XQSCACHE"
///   u32, u32  version, bytes of the header
///   u64       bytes of the payload
///   header    JSON: CacheOrigin without its tokens, and their numbers
///   payload   tokens, next: int32 each; then what `Cache::visitState` calls used, behind each other
///   64 bytes  SHA-256, in hex, of everything before it
///
/// Little-endian. Nothing of a file is believed: sizes are held against the file's before anything is allocated, and the
/// rows' size against what policy and model make of the number of tokens.
class CacheFile {
public:
  /// Opens and checks a file. Throws NotFound, Unreadable; BadFile: not a cache file, truncated, damaged; Unsupported: of
  /// another version.
  explicit CacheFile(const std::string &path);
  const CacheOrigin &origin() const { return m_origin; }
  const PolicySpec &policy() const { return m_policy; }
  /// The cache, with memory for `capacity` tokens at once (at least those it holds) and steps of `maxStep`. Throws Usage
  /// where method, model or calibration are not those of the file, BadFile.
  std::unique_ptr<Cache> load(const Method &method, const std::string &calibration, Index capacity, Index maxStep,
                              Placement placement = Placement::Device) const;

private:
  void readHeader();
  void readTokens();
  void verify() const;

  InputFile m_file;
  CacheOrigin m_origin;
  PolicySpec m_policy;
  std::uint64_t m_headerBytes = 0, m_payloadBytes = 0;
};

/// Writes a cache between two steps; `origin.tokens` are those it holds. Written beside its place and renamed, so that there
/// is never half a file. Gives the file's size in bytes. Throws StoreUnwritable.
std::uint64_t saveCache(const std::string &path, const Cache &cache, const Method &method, const CacheOrigin &origin);

} // namespace xqs
