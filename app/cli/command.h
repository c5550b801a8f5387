// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
} // namespace CLI

/// The command line in this program's own few words. Only command.cpp knows CLI11, whose header is slow to compile.
namespace xqs::cli {

/// An option of a command. Setters return the option, so that they can be chained.
class Option {
public:
  explicit Option(CLI::Option *option) : m_option(option) {}
  Option &shown(); ///< its value before parsing, in the help
  Option &required();
  Option &range(Index least, Index most);
  Option &fraction(); ///< from 0 to 1
  Option &positive();
  Option &oneOf(const std::vector<std::string> &values);
  Option &count(int least, int most); ///< of values, for a list
  Option &excludes(const Option &other);

private:
  CLI::Option *m_option;
};

/// A handle on a command; the command lives until runCommandLine returns.
class Command {
public:
  explicit Command(CLI::App *app) : m_app(app) {}
  /// A command below this one, which then needs exactly one of them.
  Command add(const std::string &name, const std::string &what) const;
  /// A value of type std::string, int, Index, std::size_t, std::uint64_t, float, double, or std::optional<Index>; or a list:
  /// std::vector<std::string> (an option that may be repeated, or the positional arguments), or of Index or double (a,b,c).
  /// `names` without dashes: positional. `type` stands for the value in the help.
  template <typename Value>
  Option option(const std::string &names, Value &value, const std::string &type, const std::string &help) const;
  Option flag(const std::string &names, bool &value, const std::string &help) const;
  /// A group of options, exactly one of which must be given.
  Command exactlyOneOf(const std::string &name) const;
  void about(const std::string &text) const; ///< a paragraph below the options in the help, above the exit codes
  void does(std::function<void()> work) const;

private:
  CLI::App *m_app;
};

/// Lets each of `commands` add itself, then does what the arguments say. Throws Usage where they cannot be understood, and
/// what the command throws.
void runCommandLine(int argc, char **argv, std::span<void (*const)(const Command &)> commands);

} // namespace xqs::cli
