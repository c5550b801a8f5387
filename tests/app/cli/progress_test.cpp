// SPDX-License-Identifier: Apache-2.0
// Progress of a command whose stderr is a file: of run.sh without a terminal, of a job on a cluster.
#include "progress.h"

#include <gmock/gmock.h>

#include <memory>

namespace xqs::cli {
namespace {

std::string written(std::chrono::milliseconds every) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::tmpfile(), std::fclose);
  {
    ProgressLine line(file.get(), every);
    line.show(0.25, "window 1 of 4");
    line.show("");
    line.show(0.5, "window 2 of 4");
  }
  std::rewind(file.get());
  std::string text(1000, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  return text;
}

TEST(ProgressOfALog, IsALineOnceInAWhile) {
  EXPECT_EQ(written(std::chrono::milliseconds(0)), " 25 %  window 1 of 4\n 50 %  window 2 of 4\n");
  EXPECT_EQ(written(std::chrono::hours(1)), "") << "short commands say nothing on stderr";
}

} // namespace
} // namespace xqs::cli
