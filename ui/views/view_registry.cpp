// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/curve_view.h"
#include "views/distribution_view.h"
#include "views/generation_view.h"
#include "views/layer_error_view.h"
#include "views/log_view.h"
#include "views/roofline_view.h"
#include "views/sensitivity_view.h"
#include "views/similarity_view.h"
#include "views/throughput_view.h"
#include "views/timeline_view.h"
#include "views/traffic_view.h"
#include "views/verdict_view.h"

#include <QtGlobal>

namespace xqs {

namespace {

template <class T> View *make(const ViewContext &context, QWidget *parent) { return new T(context, parent); }

constexpr ViewInfo kViews[] = {
    {"curve", QT_TRANSLATE_NOOP("Views", "Size and quality"), "curve", make<CurveView>},
    {"similarity", QT_TRANSLATE_NOOP("Views", "Similarity of layers"), "heatmap", make<SimilarityView>},
    {"distribution", QT_TRANSLATE_NOOP("Views", "Distributions"), "histogram", make<DistributionView>},
    {"layer-error", QT_TRANSLATE_NOOP("Views", "Error by layer"), "curve", make<LayerErrorView>},
    {"sensitivity", QT_TRANSLATE_NOOP("Views", "Sensitivity"), "heatmap", make<SensitivityView>},
    {"generation", QT_TRANSLATE_NOOP("Views", "Generation"), "log", make<GenerationView>},
    {"timeline", QT_TRANSLATE_NOOP("Views", "Timeline of a step"), "timeline", make<TimelineView>},
    {"traffic", QT_TRANSLATE_NOOP("Views", "Traffic"), "traffic", make<TrafficView>},
    {"throughput", QT_TRANSLATE_NOOP("Views", "Throughput"), "throughput", make<ThroughputView>},
    {"verdict", QT_TRANSLATE_NOOP("Views", "Verdict"), "verdict", make<VerdictView>},
    {"roofline", QT_TRANSLATE_NOOP("Views", "Roofline"), "roofline", make<RooflineView>},
    {"log", QT_TRANSLATE_NOOP("Views", "Log"), "log", make<LogView>},
};

} // namespace

std::span<const ViewInfo> viewRegistry() { return kViews; }

} // namespace xqs
