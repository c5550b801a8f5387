// SPDX-License-Identifier: Apache-2.0
#include "model/json_text.h"

#include "error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace xqs {

nlohmann::json parseJson(std::string_view source, std::string_view name, std::string_view advice) {
  try {
    return nlohmann::json::parse(source);
  } catch (const nlohmann::json::parse_error &e) {
    throw Error(Code::Usage, fmt::format("'{}' is not JSON (at byte {}); {}", name, e.byte, advice));
  } catch (const nlohmann::json::out_of_range &) {
    throw Error(Code::Usage, fmt::format("'{}' has a number that is too large; {}", name, advice));
  }
}

} // namespace xqs
