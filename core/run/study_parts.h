// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/study.h"

/// What reading and expanding a study share.
namespace xqs {

[[noreturn]] void studyError(const std::string &what); ///< Usage: "study: ..."
/// The method that a policy's text names; null where there is none of that name.
const MethodInfo *studyMethod(std::string_view policy);
/// True where a policy's text sets the parameter itself.
bool namesParameter(std::string_view policy, std::string_view parameter);

} // namespace xqs
