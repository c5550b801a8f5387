// SPDX-License-Identifier: Apache-2.0
#include "sha256.h"

#include "error.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace xqs {
namespace {

void require(int done) {
  if (done != 1) throw Error(Code::Internal, "libcrypto cannot compute SHA-256: check the OpenSSL installation");
}
EVP_MD_CTX *contextOf(void *context) { return static_cast<EVP_MD_CTX *>(context); }

} // namespace

Sha256::Sha256() : m_context(EVP_MD_CTX_new(), [](void *context) { EVP_MD_CTX_free(contextOf(context)); }) {
  require(EVP_DigestInit_ex(contextOf(m_context.get()), EVP_sha256(), nullptr));
}

void Sha256::add(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(contextOf(m_context.get()), bytes.data(), bytes.size()));
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  require(EVP_DigestFinal_ex(contextOf(m_context.get()), digest, &size));
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 15];
  }
  return text;
}

std::string sha256Hex(std::span<const std::byte> bytes) {
  Sha256 sha;
  sha.add(bytes);
  return sha.hex();
}

std::string sha256Hex(const InputFile &file) {
  Sha256 sha;
  std::vector<std::byte> buffer(std::min<std::uint64_t>(file.size(), 1 << 18));
  for (std::uint64_t offset = 0; offset < file.size(); offset += buffer.size()) {
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), file.size() - offset));
    file.read(offset, part);
    sha.add(part);
  }
  return sha.hex();
}

} // namespace xqs
