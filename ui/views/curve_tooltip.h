// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "analysis/curve.h"
#include "models/run_data.h"

namespace xqs {

/// What hovering a point of the curve says: the policy, its quality with interval, its ledger by part, the protocol. Rich
/// text.
QString curveTooltip(const CurvePoint &point, const PolicyRow &row, const RunData::Run &run);

/// The series that a policy belongs to: its string without the parameters that only change the size (bits, rank), so that
/// one line joins a family's sizes and variants stay apart.
QString curveFamily(const QString &policy);

} // namespace xqs
