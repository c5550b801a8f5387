// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "error.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <type_traits>

namespace xqs::cli {

namespace {

template <typename T> constexpr bool kIsList = false;
template <typename T> constexpr bool kIsList<std::vector<T>> = true;

/// CLI11 calls an unknown command an unexpected argument; this names it and what there is.
void checkCommand(const CLI::App &root, const std::string &name) {
  std::vector<std::string> names;
  for (const CLI::App *command : root.get_subcommands({})) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), name) == names.end())
    throw Error(Code::Usage, fmt::format("there is no command '{}'; there are {}", name, fmt::join(names, ", ")));
}

} // namespace

Option &Option::shown() { return m_option->capture_default_str(), *this; }
Option &Option::required() { return m_option->required(), *this; }
Option &Option::range(Index least, Index most) { return m_option->check(CLI::Range(least, most)), *this; }
Option &Option::fraction() { return m_option->check(CLI::Range(0.0, 1.0)), *this; }
Option &Option::positive() { return m_option->check(CLI::PositiveNumber), *this; }
Option &Option::oneOf(const std::vector<std::string> &values) { return m_option->check(CLI::IsMember(values)), *this; }
Option &Option::count(int least, int most) { return m_option->expected(least, most), *this; }
Option &Option::excludes(const Option &other) { return m_option->excludes(other.m_option), *this; }

Command Command::add(const std::string &name, const std::string &what) const {
  m_app->require_subcommand(1);
  CLI::App *command = m_app->add_subcommand(name, what);
  command->footer(exitCodeHelp());
  return Command(command);
}

template <typename Value>
Option Command::option(const std::string &names, Value &value, const std::string &type, const std::string &help) const {
  CLI::Option *option = m_app->add_option(names, value, help)->type_name(type);
  if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
    if (!option->get_positional()) option->allow_extra_args(false); // else it takes the positional arguments after it
  } else if constexpr (kIsList<Value>) {
    option->delimiter(',');
  }
  return Option(option);
}

template Option Command::option(const std::string &, std::string &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, int &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, Index &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, std::uint64_t &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, float &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, double &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, std::optional<Index> &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, std::vector<std::string> &, const std::string &,
                                const std::string &) const;
template Option Command::option(const std::string &, std::vector<Index> &, const std::string &, const std::string &) const;
template Option Command::option(const std::string &, std::vector<double> &, const std::string &, const std::string &) const;

Option Command::flag(const std::string &names, bool &value, const std::string &help) const {
  return Option(m_app->add_flag(names, value, help));
}

Command Command::exactlyOneOf() const {
  CLI::Option_group *group = m_app->add_option_group("limit", "one of");
  group->require_option(1);
  return Command(group);
}

void Command::about(const std::string &text) const { m_app->footer(text + "\n" + exitCodeHelp()); }
void Command::does(std::function<void()> work) const { m_app->callback(std::move(work)); }

void runCommandLine(int argc, char **argv, std::span<void (*const)(const Command &)> commands) {
  CLI::App app("XQScope: what compressing a language model's KV cache does to it", "xqscope-cli");
  app.set_version_flag("--version", std::string("xqscope-cli ") + XQS_VERSION);
  app.footer(exitCodeHelp());
  app.get_formatter()->column_width(36);
  for (const auto add : commands) add(Command(&app));
  if (argc > 1 && argv[1][0] != '-') checkCommand(app, argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    print(app.help());
  } catch (const CLI::CallForAllHelp &) {
    print(app.help("", CLI::AppFormatMode::All));
  } catch (const CLI::CallForVersion &version) {
    print(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError &error) {
    throw Error(Code::Usage, std::string(error.what()) + "; see xqscope-cli --help");
  }
}

} // namespace xqs::cli
