// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace xqs {

/// JSON that a person wrote. Throws Usage, "'<name>' is not JSON (at byte N); <advice>", also for numbers that no double
/// holds.
nlohmann::json parseJson(std::string_view source, std::string_view name, std::string_view advice);

} // namespace xqs
