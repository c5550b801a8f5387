// SPDX-License-Identifier: Apache-2.0
#include "sha256.h"

#include "error.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace xqs {
namespace {

class Sha256 {
public:
  Sha256() : m_context(EVP_MD_CTX_new(), EVP_MD_CTX_free) { require(EVP_DigestInit_ex(context(), EVP_sha256(), nullptr)); }
  void add(std::span<const std::byte> bytes) { require(EVP_DigestUpdate(context(), bytes.data(), bytes.size())); }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    require(EVP_DigestFinal_ex(context(), digest, &size));
    static constexpr char kHex[] = "0123456789abcdef";
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += kHex[digest[i] >> 4];
      text += kHex[digest[i] & 15];
    }
    return text;
  }

private:
  EVP_MD_CTX *context() const { return m_context.get(); }
  static void require(int done) {
    if (done != 1) throw Error(Code::Internal, "libcrypto cannot compute SHA-256: check the OpenSSL installation");
  }
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)> m_context;
};

} // namespace

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
