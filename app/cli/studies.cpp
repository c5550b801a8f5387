// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include <fmt/format.h>

namespace xqs::cli {

void addStudies(CLI::App &app) {
  const auto name = std::make_shared<std::string>();
  CLI::App *command = app.add_subcommand("studies", "List the built-in studies, or print one as JSON to start from");
  command->add_option("name", *name, "a built-in study")->type_name("NAME");
  command->footer(exitCodeHelp());
  command->callback([name] {
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
