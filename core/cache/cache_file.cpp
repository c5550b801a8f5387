// SPDX-License-Identifier: Apache-2.0
#include "cache/cache_file.h"

#include "error.h"
#include "model/sha256.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace xqs {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "XQSCACHE";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kFixedBytes = 24, kDigestBytes = 64, kMaxHeaderBytes = 1 << 20;
constexpr std::size_t kPieceBytes = 1 << 20; ///< read and written at a time
static_assert(std::endian::native == std::endian::little, "cache files are little-endian");

[[noreturn]] void bad(const std::string &path, const std::string &what) {
  throw Error(Code::BadFile, fmt::format("cache file {}: {}; save it again", path, what));
}

template <typename T> std::span<std::byte> bytesOf(T &values) { return std::as_writable_bytes(std::span(values)); }

/// `bytes` in pieces: fn(offset, bytes of the piece).
template <typename Fn> void inPieces(std::uint64_t bytes, const Fn &fn) {
  for (std::uint64_t at = 0; at < bytes; at += kPieceBytes) fn(at, std::min<std::uint64_t>(kPieceBytes, bytes - at));
}

/// A file that takes its name when it is complete.
class NewFile {
public:
  explicit NewFile(const std::string &path)
      : m_path(path), m_temporary(fmt::format("{}.{}", path, getpid())), m_out(m_temporary, std::ios::binary) {
    if (!m_out) failed();
  }
  ~NewFile() {
    if (!m_done) discard();
  }
  NewFile(const NewFile &) = delete;
  NewFile &operator=(const NewFile &) = delete;

  void write(std::span<const std::byte> bytes) {
    m_sha.add(bytes);
    put(bytes);
  }
  std::uint64_t finish() {
    const std::string digest = m_sha.hex();
    put(std::as_bytes(std::span(digest)));
    m_out.close();
    if (!m_out) failed();
    std::error_code error;
    std::filesystem::rename(m_temporary, m_path, error);
    if (error) failed();
    m_done = true;
    return m_bytes;
  }

private:
  void put(std::span<const std::byte> bytes) {
    if (!m_out.write(reinterpret_cast<const char *>(bytes.data()), std::ssize(bytes))) failed();
    m_bytes += bytes.size();
  }
  void discard() {
    std::error_code ignored;
    std::filesystem::remove(m_temporary, ignored);
  }
  [[noreturn]] void failed() {
    discard();
    throw Error(Code::StoreUnwritable,
                fmt::format("cache file {} cannot be written; check its folder, its permissions and the disk", m_path));
  }

  std::string m_path, m_temporary;
  std::ofstream m_out;
  Sha256 m_sha;
  std::uint64_t m_bytes = 0;
  bool m_done = false;
};

} // namespace

std::uint64_t saveCache(const std::string &path, const Cache &cache, const Method &method, const CacheOrigin &origin) {
  Backend &backend = method.model().backend();
  XQS_ASSERT(std::ssize(origin.tokens) == cache.tokens());
  Index rows = 0;
  cache.visitState([&](const Buffer &, Index used) { rows += used; });
  XQS_ASSERT(rows == stateBytes(cacheLayout(method.spec(), method.model().shape()), cache.tokens(), origin.state));

  const std::string header = json{{"policy", origin.policy},          {"model", origin.model},
                                  {"model_name", origin.modelName},   {"calibration", origin.calibration},
                                  {"state", stateName(origin.state)}, {"tokens", origin.tokens.size()},
                                  {"next", origin.next.size()},       {"program", XQS_VERSION},
                                  {"backend", backend.name()}}
                                 .dump(-1, ' ', false, json::error_handler_t::replace);
  const std::uint32_t numbers[] = {kVersion, static_cast<std::uint32_t>(header.size())};
  const std::uint64_t payload[] = {(origin.tokens.size() + origin.next.size()) * sizeof(TokenId) +
                                   static_cast<std::uint64_t>(rows)};
  NewFile file(path);
  file.write(std::as_bytes(std::span(kMagic)));
  file.write(std::as_bytes(std::span(numbers)));
  file.write(std::as_bytes(std::span(payload)));
  file.write(std::as_bytes(std::span(header)));
  file.write(std::as_bytes(std::span(origin.tokens)));
  file.write(std::as_bytes(std::span(origin.next)));
  std::vector<std::byte> piece(kPieceBytes);
  cache.visitState([&](const Buffer &buffer, Index used) {
    inPieces(static_cast<std::uint64_t>(used), [&](std::uint64_t at, std::uint64_t bytes) {
      backend.download(Queue::Compute, piece.data(), buffer.data() + at, static_cast<Index>(bytes));
      backend.sync(Queue::Compute);
      file.write(std::span(piece).first(bytes));
    });
  });
  return file.finish();
}

CacheFile::CacheFile(const std::string &path) : m_file(path, "cache file") {
  readHeader();
  verify(); // before what it says is held against anything
  readTokens();
}

void CacheFile::readHeader() {
  const std::string &path = m_file.path();
  std::array<std::byte, kFixedBytes> fixed{};
  const std::size_t there = std::min<std::size_t>(m_file.size(), kMagic.size());
  m_file.read(0, std::span(fixed).first(there));
  if (std::memcmp(fixed.data(), kMagic.data(), there) != 0 || there == 0)
    throw Error(Code::BadFile, fmt::format("{}: is not a cache file; give one that --cache-save wrote", path));
  const auto truncated = [&](std::uint64_t whole) {
    bad(path, fmt::format("truncated: {} of {} bytes", m_file.size(), whole));
  };
  if (m_file.size() < kFixedBytes + kDigestBytes) truncated(kFixedBytes + kDigestBytes);
  m_file.read(0, fixed);
  std::uint32_t version = 0, header = 0;
  std::memcpy(&version, fixed.data() + 8, sizeof version);
  std::memcpy(&header, fixed.data() + 12, sizeof header);
  std::memcpy(&m_payloadBytes, fixed.data() + 16, sizeof m_payloadBytes);
  if (version != kVersion)
    throw Error(Code::Unsupported,
                fmt::format("cache file {}: is of version {}, this program reads version {}; save it again "
                            "with this program",
                            path, version, kVersion));
  m_headerBytes = header;
  if (m_headerBytes > kMaxHeaderBytes || m_payloadBytes > UINT64_MAX / 2) bad(path, "damaged: its sizes are absurd");
  const std::uint64_t whole = kFixedBytes + m_headerBytes + m_payloadBytes + kDigestBytes;
  if (m_file.size() < whole) truncated(whole);
  if (m_file.size() > whole) bad(path, fmt::format("damaged: {} bytes behind its end", m_file.size() - whole));
}

void CacheFile::verify() const {
  Sha256 sha;
  std::vector<std::byte> piece(std::min<std::uint64_t>(m_file.size(), kPieceBytes));
  inPieces(m_file.size() - kDigestBytes, [&](std::uint64_t at, std::uint64_t bytes) {
    m_file.read(at, std::span(piece).first(bytes));
    sha.add(std::span(piece).first(bytes));
  });
  std::string digest(kDigestBytes, '\0');
  m_file.read(m_file.size() - kDigestBytes, bytesOf(digest));
  if (sha.hex() != digest) bad(m_file.path(), "damaged: its SHA-256 is another one");
}

void CacheFile::readTokens() {
  const std::string &path = m_file.path();
  std::string header(m_headerBytes, '\0');
  m_file.read(kFixedBytes, bytesOf(header));
  std::uint64_t tokens = 0, next = 0;
  try {
    const json j = json::parse(header);
    j.at("policy").get_to(m_origin.policy), j.at("model").get_to(m_origin.model);
    j.at("model_name").get_to(m_origin.modelName), j.at("calibration").get_to(m_origin.calibration);
    m_origin.state = parseState(j.at("state").get<std::string>());
    j.at("tokens").get_to(tokens), j.at("next").get_to(next);
  } catch (const std::exception &error) {
    bad(path, fmt::format("its header is wrong ({})", error.what()));
  }
  const std::uint64_t most = m_payloadBytes / sizeof(TokenId);
  if (tokens > most || next > most - tokens) bad(path, "its header is wrong (more tokens than bytes)");
  // A canonical policy is all there is to it: it names no file.
  if (m_origin.policy.find('@') != std::string::npos) bad(path, "its header is wrong (its policy names a file)");
  try {
    m_policy = PolicySpec::parse(m_origin.policy);
  } catch (const Error &error) {
    bad(path, fmt::format("its header is wrong ({})", error.what()));
  }
  m_origin.tokens.resize(tokens);
  m_origin.next.resize(next);
  m_file.read(kFixedBytes + m_headerBytes, bytesOf(m_origin.tokens));
  m_file.read(kFixedBytes + m_headerBytes + tokens * sizeof(TokenId), bytesOf(m_origin.next));
}

std::unique_ptr<Cache> CacheFile::load(const Method &method, const std::string &calibration, Index capacity, Index maxStep,
                                       Placement placement) const {
  const std::string &path = m_file.path();
  const Model &model = method.model();
  const auto other = [&](const char *what, const std::string &has, const std::string &given, const char *remedy) {
    if (has == given) return;
    throw Error(Code::Usage, fmt::format("cache file {}: is of {} '{}', not '{}'; {}", path, what, has, given, remedy));
  };
  if (m_origin.model != model.hash())
    throw Error(Code::Usage,
                fmt::format("cache file {}: is of another model ({}, SHA-256 {:.12}, not {}, {:.12}); give that one", path,
                            m_origin.modelName, m_origin.model, model.config().name, model.hash()));
  other("policy", m_origin.policy, method.spec().canonical(), "give that one or none");
  other("the calibration text", m_origin.calibration, calibration, "give the text it was calibrated on");
  const std::uint64_t held = m_origin.tokens.size() + m_origin.next.size();
  for (const auto *const tokens : {&m_origin.tokens, &m_origin.next})
    for (const TokenId token : *tokens)
      if (token < 0 || token >= model.config().vocab) bad(path, fmt::format("token {} is not in the vocabulary", token));

  const auto count = std::ssize(m_origin.tokens);
  const std::uint64_t rows = m_payloadBytes - held * sizeof(TokenId);
  if (rows != static_cast<std::uint64_t>(stateBytes(cacheLayout(method.spec(), model.shape()), count, m_origin.state)))
    bad(path, fmt::format("{} bytes are not the rows of {} tokens", rows, count));
  auto cache = method.makeCache({std::max<Index>(capacity, count), maxStep, m_origin.state, placement});
  std::uint64_t offset = kFixedBytes + m_headerBytes + held * sizeof(TokenId);
  std::vector<std::byte> piece(std::min<std::uint64_t>(rows, kPieceBytes));
  cache->restore(count, [&](const Buffer &buffer, Index used) {
    inPieces(static_cast<std::uint64_t>(used), [&](std::uint64_t at, std::uint64_t bytes) {
      m_file.read(offset, std::span(piece).first(bytes));
      model.backend().upload(Queue::Compute, buffer.data() + at, piece.data(), static_cast<Index>(bytes));
      model.backend().sync(Queue::Compute);
      offset += bytes;
    });
  });
  return cache;
}

} // namespace xqs
