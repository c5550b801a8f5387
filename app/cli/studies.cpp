// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <fmt/format.h>

namespace xqs::cli {

void addStudies(const Command &app) {
  const auto name = std::make_shared<std::string>();
  const Command command = app.add("studies", "List the built-in studies, or print one as JSON to start from");
  command.option("name", *name, "NAME", "a built-in study");
  command.does([name] {
    if (!name->empty()) {
      Study::builtIn(*name); // names the others where there is none
      const std::string_view source = builtInStudy(*name);
      return print(source.empty() ? toJson(defaultExperiment()).dump(2) + "\n" : std::string(source));
    }
    std::string text;
    for (const std::string &one : Study::builtInNames()) {
      const std::string about = Study::builtIn(one).about();
      text +=
          fmt::format("{:<18} {}\n", one, about.empty() ? "what the window shows first: every family of methods" : about);
    }
    print(text);
  });
}

} // namespace xqs::cli
