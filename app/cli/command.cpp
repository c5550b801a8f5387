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

/// CLI11 asks for what is missing before it names what it does not know, and calls an unknown command an argument.
std::string reason(const CLI::App &app, const CLI::ParseError &error) {
  const std::vector<std::string> unknown = app.remaining(true);
  std::vector<std::string> names;
  for (const CLI::App *command : app.get_subcommands({}))
    if (!command->get_name().empty()) names.push_back(command->get_name()); // a group of options has none
  if (!names.empty() && app.get_subcommands().empty())
    return fmt::format("{}; there are {}",
                       unknown.empty() || unknown.front().starts_with('-')
                           ? "a command is missing"
                           : fmt::format("there is no command '{}'", unknown.front()),
                       fmt::join(names, ", "));
  return unknown.empty() ? error.what() : fmt::format("the argument '{}' is not known", unknown.front());
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

Command Command::exactlyOneOf(const std::string &name) const {
  CLI::Option_group *group = m_app->add_option_group(name, "one of");
  group->require_option(1);
  return Command(group);
}

void Command::about(const std::string &text) const { m_app->footer(text + "\n\n" + exitCodeHelp()); }
void Command::does(std::function<void()> work) const { m_app->callback(std::move(work)); }

void runCommandLine(int argc, char **argv, std::span<void (*const)(const Command &)> commands) {
  CLI::App app("XQScope: what compressing a language model's KV cache does to it", "xqscope-cli");
  app.set_version_flag("--version", std::string("xqscope-cli ") + XQS_VERSION);
  app.footer(exitCodeHelp());
  app.get_formatter()->column_width(36);
  for (const auto add : commands) add(Command(&app));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    print(app.help());
  } catch (const CLI::CallForVersion &version) {
    print(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError &error) {
    const CLI::App *command = &app;
    std::string name = app.get_name();
    while (!command->get_subcommands().empty()) {
      command = command->get_subcommands().front();
      name += " " + command->get_name();
    }
    throw Error(Code::Usage, fmt::format("{}; see {} --help", reason(*command, error), name));
  }
}

} // namespace xqs::cli
