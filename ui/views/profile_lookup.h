// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

#include <QString>

#include <string_view>
#include <vector>

/// How the views of a profile find its rows: in one place, so that all of them show the same run, point and policy.
namespace xqs {

/// The first selected run of kind "profile", else the latest; null where there is none.
const RunData::Run *shownProfile(const ViewContext &context);

/// The first selected run whose traffic was to be sampled, a profile or a generation, else the latest; null where there is
/// none.
const RunData::Run *shownThroughput(const ViewContext &context);

/// Points of a run in ascending order: of its steps, and of launches that arrived before their step.
std::vector<ProfilePoint> profilePoints(const RunData::Run &run);
/// The selected point where the run has it, else its first; 0 where it has none.
ProfilePoint shownPoint(const ViewContext &context, const RunData::Run &run);
/// The selected policy where the run has it, else its first; null where it has none.
const PolicyRow *shownProfilePolicy(const ViewContext &context, const RunData::Run &run);
/// "2048 tokens · batch 4".
QString pointTitle(ProfilePoint point);

/// The latest row, null where there is none.
const StepRow *findStep(const RunData::Run &run, std::int64_t policy, ProfilePoint point);
const InstrumentRow *findInstrument(const RunData::Run &run, std::string_view instrument);

/// Said by every view of a profile while there is none.
QString noProfileText();
/// What the instrument says of itself, with its source; what is to be said where the run has no row of it.
QString instrumentSentence(const RunData::Run &run, std::string_view instrument);
/// The last problem of the run that took figures of the instrument away; empty: none. An instrument that was lost is told
/// by what it was doing: "... counting bytes failed, ...".
QString lossOf(const RunData::Run &run, std::string_view instrument);
/// Why a run has no bytes of "counters" or "sampling": the instrument cannot, was not asked, or failed during the run.
QString whyNotMeasured(const RunData::Run &run, std::string_view instrument);
/// What went wrong with the microscope on a policy's step; empty: nothing.
QString microscopeProblem(const RunData::Run &run, std::int64_t policy, ProfilePoint point);
/// Why launches of a policy's step have no figures of it.
QString whyNotMagnified(const RunData::Run &run, std::int64_t policy, ProfilePoint point);
/// The run has ended as finished: only then is known what its instruments dropped.
bool hasFinished(const RunData::Run &run);
/// What an empty view says: `yet` while the run goes on, else that it is over, and why.
QString nothingRecorded(const ViewContext &context, const RunData::Run &run, const QString &yet);

} // namespace xqs
