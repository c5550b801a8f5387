// SPDX-License-Identifier: Apache-2.0
#include "sha256.h"

#include "error.h"

#include <openssl/evp.h>

namespace xqs {

std::string sha256Hex(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1)
    throw Error(Code::Internal, "libcrypto cannot compute SHA-256: check the OpenSSL installation");
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kHex[digest[i] >> 4];
    text += kHex[digest[i] & 15];
  }
  return text;
}

} // namespace xqs
