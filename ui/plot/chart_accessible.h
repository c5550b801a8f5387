// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

namespace xqs {

/// Makes every ChartCanvas known to screen readers as a chart: its name, its description and, as the value, what its cursor
/// stands on. Safe to call again.
void installChartAccessibility();

} // namespace xqs
