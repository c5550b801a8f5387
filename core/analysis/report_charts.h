// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "curve.h"
#include "published.h"

/// The pictures of the report, each an HTML fragment; empty where there is nothing to draw.
namespace xqs {

/// Relative cache size (logarithmic) against ppl / ppl of the exact model, one series a method and settings, 95 % intervals;
/// points above the frame are drawn at its edge with an arrow and their value. `published` is drawn faint behind it.
std::string curveChart(const std::vector<CurvePoint> &points, const std::vector<PublishedRow> &published);

/// L x L cosines as squares, one a site; rows of several windows are averaged. A blob of the wrong size is left out.
std::string similarityMaps(const std::vector<SimilarityRow> &rows);

/// Relative error of K and of V by layer (logarithmic), a line a policy; rows of several windows are averaged.
/// `loop`: which rows, "open" or "closed".
std::string layerErrorCharts(const std::vector<PolicyRow> &policies, const std::vector<LayerErrorRow> &rows,
                             const std::string &loop);

/// Number of a method's colour: the CSS variable --m<n>. One table with report_style.h.
int methodColor(const std::string &method);

} // namespace xqs
