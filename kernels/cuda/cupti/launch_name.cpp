// SPDX-License-Identifier: Apache-2.0
#include "launch_name.h"

#include <cxxabi.h>

#include <cctype>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace xqs::cuda::cupti {
namespace {

constexpr std::string_view kUnnamed = "(anonymous namespace)";
constexpr std::size_t kLongArguments = 48;

struct Free {
  void operator()(char *text) const { std::free(text); }
};

/// Up to the parameter list: the first parenthesis outside of template arguments that opens no unnamed namespace.
std::string_view withoutParameters(std::string_view name) {
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] != '(' || depth > 0) continue;
    if (!name.substr(i).starts_with(kUnnamed)) return name.substr(0, i);
    i += kUnnamed.size() - 1;
  }
  return name;
}

/// Takes the last scope off the end of `text`, which stands before "::": an identifier with its template arguments.
void dropScope(std::string &text) {
  if (text.ends_with(kUnnamed)) return text.erase(text.size() - kUnnamed.size()), void();
  int depth = 0;
  while (!text.empty()) {
    const char c = text.back();
    if (depth == 0 && c != '>' && c != '_' && std::isalnum(static_cast<unsigned char>(c)) == 0) return;
    depth += c == '>' ? 1 : c == '<' ? -1 : 0;
    text.pop_back();
  }
}

/// Names without their scopes, enumerators without the cast before their number.
std::string withoutScopes(std::string_view name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i).starts_with("::")) {
      dropScope(text), ++i;
      continue;
    }
    const bool number = std::isdigit(static_cast<unsigned char>(name[i])) != 0 || name[i] == '-';
    if (number && text.ends_with(')')) text.erase(text.rfind('('));
    if (name[i] == '>' && text.ends_with(' ')) text.pop_back();
    text += name[i];
  }
  return text;
}

} // namespace

std::string launchName(const std::string &mangled) {
  int status = 0;
  const std::unique_ptr<char, Free> demangled(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status));
  if (status != 0 || !mangled.starts_with("_Z")) return mangled;
  std::string name = withoutScopes(withoutParameters(demangled.get()));
  const std::size_t arguments = name.find('<'), type = name.find(' ');
  if (type < arguments) name.erase(0, type + 1); // of the result
  if (const std::size_t at = name.find('<'); at != std::string::npos && name.size() - at > kLongArguments)
    name.replace(at, std::string::npos, "<...>");
  return name;
}

} // namespace xqs::cuda::cupti
