// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

#include <QString>

#include <string_view>
#include <vector>

/// How views find rows: in one place, so that all of them show the same runs and the same policy.
namespace xqs {

using RunList = std::vector<const RunData::Run *>;

/// The selected runs but for generations and profiles; without a selection the latest run of kind "eval" that has policies,
/// else the latest such run of "layers".
RunList shownRuns(const ViewContext &context);
/// The latest run of kind "preview"; null where there is none.
const RunData::Run *previewRun(const ViewContext &context);
/// The first selected run of kind "generate", else the latest; null where there is none.
const RunData::Run *shownGeneration(const ViewContext &context);
/// `shownRuns`, then `previewRun`: where rows of a policy are looked for.
RunList sourceRuns(const ViewContext &context);

/// The policy's latest row in a run; null where the run does not have it.
const PolicyRow *findPolicy(const RunData::Run &run, std::string_view policy);
/// The selected policy; without one the latest preview's, else the last of the shown runs. Empty: there is none.
QString shownPolicy(const ViewContext &context);
/// The policy that was previewed last; empty: none.
QString previewedPolicy(const ViewContext &context);

/// What stands in a legend for a run: its title, with "(preview)" or "(running)" where that is so.
QString runTitle(const RunData::Run &run);
/// Layers of the model of a run.
int layerCount(const RunData::Run &run);

/// A site of SummaryRow and SimilarityRow for people: "X after the norm", ...
QString siteTitle(const QString &site);

/// Legend text of a policy: method's title and its settings, "XQuant-CL · bits 2, domain residual".
QString policyTitle(const QString &policy);
/// The same where there is no room: "XQuant-CL 2".
QString shortPolicyTitle(const QString &policy);

} // namespace xqs
