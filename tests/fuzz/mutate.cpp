// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target where there is no libFuzzer: every seed as it is, then COUNT inputs made from seeds by a fixed random
// sequence. An input that ends the process is left in ./crash-<target>.
//   fuzz_study COUNT SEED-FILE...
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size);

namespace {

std::string input;     // that the target is looking at
std::string crashFile; // made beforehand: a signal handler must not allocate

extern "C" void keepInput(int number) {
  const int fd = open(crashFile.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0 && write(fd, input.data(), input.size()) >= 0) close(fd);
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void run() { LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t *>(input.data()), input.size()); }

/// One to four small damages: bits, bytes, pieces left out, doubled, moved in from another seed, numbers made extreme.
std::string mutated(const std::vector<std::string> &seeds, std::mt19937 &random) {
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  static const char *const kPieces[] = {"-1",    "0",    "18446744073709551616",
                                        "1e999", "null", "{}",
                                        "[]",    "\"\"", "\"",
                                        "{",     "[",    "}",
                                        "]",     ":",    ";",
                                        ",",     "=",    "*",
                                        "-",     "@",    "\\u",
                                        "\n",    "\xff", ".k",
                                        ".v",    "4096"};
  std::string s = seeds[below(seeds.size())];
  for (std::size_t rounds = 1 + below(4); rounds > 0; --rounds) {
    const std::size_t at = below(s.size() + 1), length = std::min(below(16) + 1, s.size() - at);
    switch (below(6)) {
    case 0:
      if (at < s.size()) s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
      break;
    case 1:
      if (at < s.size()) s[at] = static_cast<char>(random());
      break;
    case 2: s.erase(at, length); break;
    case 3: s.insert(at, s.substr(at, length)); break;
    case 4: s.insert(at, kPieces[below(std::size(kPieces))]); break;
    default: {
      const std::string &other = seeds[below(seeds.size())];
      s.insert(at, other.substr(below(other.size() + 1), below(64)));
    }
    }
  }
  if (below(16) == 0) s.resize(below(s.size() + 1));
  return s;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s COUNT SEED-FILE...\n", argv[0]);
    return 2;
  }
  const char *slash = std::strrchr(argv[0], '/');
  crashFile = std::string("crash-") + (slash != nullptr ? slash + 1 : argv[0]);
  for (const int number : {SIGSEGV, SIGABRT, SIGILL, SIGTRAP, SIGFPE, SIGBUS}) std::signal(number, keepInput);
  std::vector<std::string> seeds;
  for (int i = 2; i < argc; ++i) {
    std::ifstream in(argv[i], std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>{});
    if (!in.good() && seeds.back().empty()) {
      std::fprintf(stderr, "seed %s cannot be read\n", argv[i]);
      return 2;
    }
  }
  for (const std::string &seed : seeds) input = seed, run();
  std::mt19937 random(20251125);
  const long count = std::atol(argv[1]);
  for (long i = 0; i < count; ++i) input = mutated(seeds, random), run();
  std::printf("%zu seeds and %ld inputs made from them: no crash\n", seeds.size(), count);
}
