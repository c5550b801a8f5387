// SPDX-License-Identifier: GPL-3.0-or-later
// The views of a profile: what they show is what the rows say.
#include "analysis/kernel_sums.h"
#include "analysis/traffic.h"
#include "plot/format.h"
#include "plot/part_style.h"
#include "plot/strip_chart.h"
#include "theme.h"
#include "ui/support/qt_messages.h"
#include "ui/views/sample_profile.h"
#include "ui/views/sample_store.h"
#include "views/profile_lookup.h"
#include "views/run_lookup.h"
#include "views/throughput_view.h"
#include "views/timeline_view.h"
#include "views/traffic_view.h"
#include "widgets/instrument_badge.h"

#include <QAccessible>
#include <QCheckBox>
#include <QComboBox>
#include <QLabel>
#include <QTableView>
#include <QTest>
#include <QToolButton>
#include <QWheelEvent>

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

namespace xqs {
namespace {

constexpr test::ProfileOptions kGpu{.gpu = true, .layers = 8}, kCpu{.gpu = false, .layers = 6};

template <class V> class ProfileView : public testing::Test {
protected:
  void open() {
    m_store.store().flush();
    ASSERT_TRUE(m_data.open(m_store.path()));
    m_data.poll();
    m_view = std::make_unique<V>(ViewContext{&m_data, &m_selection}, nullptr);
    m_view->resize(1000, 560);
    m_view->show();
    ASSERT_TRUE(QTest::qWaitForWindowExposed(m_view.get()));
  }
  const RunData::Run &run() const { return *m_data.runs().back(); }
  template <class W> W *part(const char *name) const { return m_view->template findChild<W *>(QLatin1String(name)); }
  std::string note(const char *name = "note") const { return part<QLabel>(name)->text().toStdString(); }
  void choose(const char *box, int index) { part<QComboBox>(box)->setCurrentIndex(index); }
  void choose(const char *box, const QString &text) {
    const int index = part<QComboBox>(box)->findText(text, Qt::MatchContains);
    ASSERT_GE(index, 0) << text.toStdString();
    choose(box, index);
    QTest::qWait(60); // a shared selection comes back through a timer
  }

  test::SampleStore m_store;
  RunData m_data;
  Selection m_selection;
  std::unique_ptr<V> m_view;
  const test::ExpectMessage m_tooltip{QStringLiteral("raise()")}; // the offscreen platform, of every tooltip
};

// Timeline ----------------------------------------------------------------------------------------------------------------

class TimelineOf : public ProfileView<TimelineView> {
protected:
  TimelineChart &chart() { return const_cast<TimelineChart &>(m_view->chart()); }
  using Kind = TimelineChart::Lane::Kind;
  Kind kind(const TimelineChart::Bar &bar) { return chart().timeline().lanes[static_cast<std::size_t>(bar.lane)].kind; }
  /// Bars of launches, without the spans of layers.
  std::vector<int> launches() {
    std::vector<int> found;
    for (int i = 0; i < chart().itemCount(); ++i)
      if (kind(bar(i)) == Kind::Queue) found.push_back(i);
    return found;
  }
  const TimelineChart::Bar &bar(int item) { return chart().timeline().bars[static_cast<std::size_t>(item)]; }
  int lanes(Kind kind) {
    const auto &all = chart().timeline().lanes;
    return static_cast<int>(std::ranges::count(all, kind, &TimelineChart::Lane::kind));
  }
  double nsAt(double x) {
    const QRectF lanes = chart().lanesRect();
    return chart().visible().min + (x - lanes.left()) / lanes.width() * chart().visible().span();
  }
  void wheel(QPointF at, int notches) {
    QWheelEvent event(at, chart().mapToGlobal(at), {}, {0, 120 * notches}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase,
                      false);
    QApplication::sendEvent(&chart(), &event);
  }
};

TEST_F(TimelineOf, SaysThatNothingComesAnyMoreOfARunThatFailed) {
  const RowId id = test::beginProfile(m_store.store(), kCpu);
  open();
  EXPECT_THAT(chart().emptyText().toStdString(), testing::HasSubstr("They come when"));
  RunEndRow end;
  end.run = id, end.status = "failed", end.message = "no point fits";
  m_store.store().append(end);
  m_store.store().flush();
  m_data.poll();
  m_view->refresh();
  EXPECT_THAT(chart().emptyText().toStdString(), testing::HasSubstr("the run is over: failed.\nno point fits"));
}

TEST_F(TimelineOf, EveryLaunchOfTheStepIsABarWhereItsRowSays) {
  test::addProfile(m_store.store(), kGpu);
  open();
  choose("against", QStringLiteral("nothing"));
  const StepKernels step = stepKernels(run().kernels, 0, 2048, 1);
  const std::vector<int> bars = launches();
  ASSERT_EQ(bars.size(), step.size());
  for (std::size_t i = 0; i < step.size(); ++i) {
    EXPECT_EQ(bar(bars[i]).startNs, static_cast<double>(step[i]->startNs));
    EXPECT_EQ(bar(bars[i]).durationNs, static_cast<double>(step[i]->durationNs));
    const auto &part = chart().timeline().parts[static_cast<std::size_t>(bar(bars[i]).part)];
    EXPECT_EQ(part.title, partTitle(QString::fromStdString(step[i]->part)));
    EXPECT_EQ(part.color, partColor(QString::fromStdString(step[i]->part)));
  }
  EXPECT_EQ(lanes(Kind::Queue), 1) << "FP16 has nothing to rebuild";
  EXPECT_DOUBLE_EQ(chart().visible().max, static_cast<double>(stepLength(step)));
}

TEST_F(TimelineOf, TheLegendHasTimeAndShareOfEachPart) {
  test::addProfile(m_store.store(), kGpu);
  open();
  const auto &parts = chart().timeline().parts;
  QStringList titles;
  for (const auto &each : parts) titles << each.title;
  EXPECT_EQ(titles.join(u'|'), QStringLiteral("Q, K, V|cache|attend|output projection|feed forward|logits"));
  for (const PartTime &time : partTimes(stepKernels(run().kernels, 0, 2048, 1))) {
    const auto &shown = parts[static_cast<std::size_t>(titles.indexOf(partTitle(QString::fromStdString(time.part))))];
    EXPECT_EQ(shown.time, formatNanoseconds(static_cast<double>(time.nanoseconds)));
    EXPECT_NEAR(shown.share.chopped(2).toDouble(), 100 * time.share, 0.051);
  }
}

TEST_F(TimelineOf, HoverSaysOperationFunctionPlaceTimeAndCountedBytesAgainstThePeak) {
  test::addProfile(m_store.store(), kGpu);
  open();
  choose("against", QStringLiteral("nothing"));
  choose("policy", QStringLiteral("XQuant · "));
  EXPECT_EQ(lanes(Kind::Queue), 2) << "compute and rebuild";
  int rebuild = -1;
  for (const int item : launches())
    if (chart().itemText(item).contains(QLatin1String("rebuild_keys")) && rebuild < 0) rebuild = item;
  ASSERT_GE(rebuild, 0);
  const std::string text = chart().itemText(rebuild).toStdString();
  const double bytes = 0.4 * 1152 * 2048; // of the operation, not of one of its four launches
  for (const std::string &part : {std::string("<b>rebuild</b> for attend"), std::string("rebuild_keys&lt;2, 64&gt;"),
                                  std::string("layer 0"), std::string("rebuild queue"), std::string("One of 4 launches"),
                                  "Counted: " + formatBytes(static_cast<std::int64_t>(bytes)).toStdString(),
                                  std::string("of the memory peak, 4.10 TB/s measured")})
    EXPECT_THAT(text, testing::HasSubstr(part));
}

TEST_F(TimelineOf, HoverSaysWhatTheMicroscopeMeasured) {
  auto options = kGpu;
  options.microscope = true;
  test::addProfile(m_store.store(), options);
  open();
  choose("policy", QStringLiteral("XQuant · "));
  std::string rebuild, quantize;
  for (const int item : launches()) {
    const std::string text = chart().itemText(item).toStdString();
    if (rebuild.empty() && text.find("rebuild_keys") != std::string::npos) rebuild = text;
    if (quantize.empty() && text.find("pack_rows") != std::string::npos) quantize = text;
  }
  const double bytes = 1.04 * 0.4 * 1152 * 2048 / 4; // of one of four launches
  EXPECT_THAT(rebuild,
              testing::AllOf(testing::HasSubstr("Counted: "),
                             testing::HasSubstr("Measured, this launch by itself: " +
                                                formatBytes(std::llround(0.9 * bytes)).toStdString() + " read"),
                             testing::HasSubstr("of the memory peak"), testing::HasSubstr("L2 hit rate: 25.0 %, measured")));
  EXPECT_THAT(quantize, testing::Not(testing::HasSubstr("by itself"))) << "layer 0's was not";
  EXPECT_THAT(note("source"), testing::HasSubstr("measured by the microscope"));
}

TEST_F(TimelineOf, SaysWhereTimesComeFromAndWhatWasDropped) {
  test::addProfile(m_store.store(), kGpu);
  open();
  EXPECT_THAT(note("source"), testing::HasSubstr("CUPTI 13.0: activity records"));
  EXPECT_THAT(note("source"), testing::HasSubstr("3 records were dropped"));
  EXPECT_THAT(note("source"), testing::HasSubstr("Tracing cost 3.40 %"));
}

TEST_F(TimelineOf, OnlyAFinishedRunKnowsThatNothingWasDropped) {
  const RowId profile = test::beginProfile(m_store.store(), kCpu);
  test::addProfilePoint(m_store.store(), profile, kCpu, 0, 512, 1);
  open();
  EXPECT_THAT(note("source"), testing::HasSubstr("Times: steady clock"));
  EXPECT_THAT(note("source"), testing::Not(testing::HasSubstr("dropped")));
  test::endProfile(m_store.store(), profile);
  m_data.poll();
  EXPECT_TRUE(QTest::qWaitFor([&] { return note("source").find("No record was dropped.") != std::string::npos; }, 5000));
}

TEST_F(TimelineOf, ALayerLeavesItsOwnLaunchesAndFillsTheAxisWithThem) {
  test::addProfile(m_store.store(), kGpu);
  open();
  choose("against", QStringLiteral("nothing"));
  choose("layer", QStringLiteral("layer 3"));
  const StepKernels step = stepKernels(run().kernels, 0, 2048, 1);
  int left = 0;
  Range range;
  for (const int item : launches()) {
    if (!bar(item).matches) continue;
    ++left;
    range.include(bar(item).startNs), range.include(bar(item).endNs());
  }
  EXPECT_EQ(left, std::ranges::count(step, 3, [](const KernelRow *row) { return row->layer; }));
  EXPECT_TRUE(chart().visible().contains(range.min) && chart().visible().contains(range.max));
  EXPECT_LT(chart().visible().span(), 1.2 * range.span());
  const int pale = launches().front();
  chart().setVisible(bar(pale).startNs, bar(pale).endNs());
  EXPECT_EQ(chart().itemAt(chart().itemPixel(pale)), -1) << "what is filtered out is no item";
}

TEST_F(TimelineOf, PoliciesStandBelowEachOtherOnOneAxis) {
  test::addProfile(m_store.store(), kGpu);
  open();
  EXPECT_EQ(lanes(Kind::Heading), 4) << "few policies: all of them";
  double longest = 0;
  for (std::int64_t policy = 0; policy < 4; ++policy)
    longest = std::max(longest, static_cast<double>(stepLength(stepKernels(run().kernels, policy, 2048, 1))));
  EXPECT_DOUBLE_EQ(chart().visible().max, longest);
  choose("against", QStringLiteral("KIVI"));
  EXPECT_EQ(lanes(Kind::Heading), 2);
  choose("point", QStringLiteral("32768 tokens · batch 4"));
  EXPECT_EQ(launches().size(),
            stepKernels(run().kernels, 0, 32768, 4).size() + stepKernels(run().kernels, 1, 32768, 4).size());
}

TEST_F(TimelineOf, TheWheelZoomsAroundTheMouse) {
  test::addProfile(m_store.store(), kGpu);
  open();
  const Range all = chart().visible();
  const QPointF at = chart().lanesRect().center() + QPointF(90, 0);
  const double under = nsAt(at.x());
  wheel(at, 5);
  EXPECT_NEAR(chart().visible().span(), all.span() / std::pow(1.25, 5), 1);
  EXPECT_NEAR(nsAt(at.x()), under, 1) << "what was under the mouse stays there";
  for (int i = 0; i < 60; ++i) wheel(at, 3);
  EXPECT_GT(chart().visible().span(), 10) << "never nothing";
  for (int i = 0; i < 60; ++i) wheel(at, -3);
  EXPECT_EQ(chart().visible(), all) << "never more than everything";
}

TEST_F(TimelineOf, DraggingMovesMarkingZoomsAndEscapeFits) {
  test::addProfile(m_store.store(), kGpu);
  open();
  const Range all = chart().visible();
  const QPoint at = chart().lanesRect().center().toPoint();
  wheel(at, 6);
  const Range zoomed = chart().visible();
  const double perPixel = zoomed.span() / chart().lanesRect().width();
  QTest::mousePress(&chart(), Qt::LeftButton, {}, at);
  QTest::mouseMove(&chart(), at + QPoint(-30, 0));
  QTest::mouseMove(&chart(), at + QPoint(-60, 0));
  QTest::mouseRelease(&chart(), Qt::LeftButton, {}, at + QPoint(-60, 0));
  EXPECT_NEAR(chart().visible().min, zoomed.min + 60 * perPixel, perPixel);
  EXPECT_NEAR(chart().visible().span(), zoomed.span(), 1e-6);
  chart().setFocus();
  QTest::keyClick(&chart(), Qt::Key_Escape);
  EXPECT_EQ(chart().visible(), all);
  QTest::keyClick(&chart(), Qt::Key_Plus);
  EXPECT_LT(chart().visible().span(), all.span());
  const double before = chart().visible().min;
  QTest::keyClick(&chart(), Qt::Key_Right, Qt::ShiftModifier);
  EXPECT_GT(chart().visible().min, before);
  QTest::mouseDClick(&chart(), Qt::LeftButton, {}, at);
  EXPECT_EQ(chart().visible(), all);
}

TEST_F(TimelineOf, KeysGoOverLaunchesAndLanesAndScreenReadersHearThem) {
  test::addProfile(m_store.store(), kGpu);
  m_selection.setPolicy(QStringLiteral("xquant:bits=2,source=x"));
  open();
  chart().setFocus();
  QTest::keyClick(&chart(), Qt::Key_Right);
  const int first = chart().cursor();
  ASSERT_GE(first, 0);
  EXPECT_EQ(bar(first).startNs, 0);
  QTest::keyClick(&chart(), Qt::Key_Right);
  EXPECT_EQ(chart().cursor(), first + 1);
  QTest::keyClick(&chart(), Qt::Key_Down);
  EXPECT_EQ(bar(chart().cursor()).lane, bar(first).lane + 1);
  QAccessibleInterface *interface = QAccessible::queryAccessibleInterface(&chart());
  ASSERT_NE(interface, nullptr);
  EXPECT_THAT(interface->text(QAccessible::Value).toStdString(), testing::HasSubstr("rebuild queue"));
  QTest::keyClick(&chart(), Qt::Key_End); // the last bar of the last lane: it comes into view
  chart().setVisible(0, 1000);
  QTest::keyClick(&chart(), Qt::Key_Left);
  EXPECT_LE(bar(chart().cursor()).startNs, chart().visible().max);
  EXPECT_GE(bar(chart().cursor()).endNs(), chart().visible().min);
  QTest::keyClick(&chart(), Qt::Key_Return);
  EXPECT_EQ(m_selection.layer(), 7) << "Enter selects the launch's layer for every view";
}

TEST_F(TimelineOf, FiftyThousandLaunchesAreDrawnAsAHandfulOfBars) {
  const RowId profile = test::beginProfile(m_store.store(), {});
  test::addLaunches(m_store.store(), profile, 50000);
  open();
  while (run().kernels.size() < 50000) m_data.poll();
  m_view->refresh();
  chart().grab();
  ASSERT_EQ(launches().size(), 50000u);
  EXPECT_GT(chart().paintedBars(), 100);
  EXPECT_LE(chart().paintedBars(), chart().lanesRect().width() * 2 + 100) << "merged, a pixel and lane at a time";
  chart().setVisible(1e6, 1.02e6); // 20 launches of 1 µs
  chart().grab();
  EXPECT_GE(chart().paintedBars(), 20);
  EXPECT_LE(chart().paintedBars(), 24);
  EXPECT_EQ(bar(chart().itemAt(chart().laneRect(2).center())).startNs, 1.01e6);
}

TEST_F(TimelineOf, APointThatIsNotTracedYetSaysSo) {
  test::beginProfile(m_store.store(), kGpu);
  open();
  EXPECT_THAT(chart().emptyText().toStdString(), testing::HasSubstr("No launches"));
  test::addProfilePoint(m_store.store(), run().key.run, kGpu, 0, 2048, 1);
  m_data.poll();
  ASSERT_TRUE(QTest::qWaitFor([&] { return chart().emptyText().isEmpty(); }, 5000));
  EXPECT_FALSE(launches().empty());
}

TEST_F(TimelineOf, LightAndDarkHaveTheirColours) {
  test::addProfile(m_store.store(), kGpu);
  open();
  for (const Theme::Mode mode : {Theme::Mode::Dark, Theme::Mode::Light}) {
    Theme::current().apply(mode);
    const QImage image = chart().toImage();
    const QColor wanted = partColor(QStringLiteral("feed forward"));
    int found = 0;
    for (int x = 0; x < image.width(); ++x)
      for (int y = 0; y < image.height(); ++y) found += image.pixelColor(x, y) == wanted;
    EXPECT_GT(found, 500) << Theme::modeName(mode).toStdString();
    EXPECT_EQ(image.pixelColor(1, 1), Theme::current().colors().background);
  }
}

// Traffic -----------------------------------------------------------------------------------------------------------------

class TrafficOf : public ProfileView<TrafficView> {
protected:
  const BarChart &chart() const { return m_view->chart(); }
  QString cell(int row, const QString &column) const {
    const auto *table = m_view->findChild<QTableView *>();
    for (int c = 0; c < table->model()->columnCount(); ++c)
      if (table->model()->headerData(c, Qt::Horizontal).toString() == column)
        return table->isColumnHidden(c) ? QStringLiteral("hidden") : table->model()->index(row, c).data().toString();
    return QStringLiteral("no such column");
  }
};

TEST_F(TrafficOf, BarsOfALayerAreItsRowsCountedBesideMeasured) {
  test::addProfile(m_store.store(), kGpu);
  open();
  const auto layers = trafficByLayer(run().traffic, {0, 2048, 1});
  const auto &groups = chart().bars().groups;
  ASSERT_EQ(groups.size(), 9u) << "8 layers and the rest";
  EXPECT_EQ(groups.back().name, QStringLiteral("rest"));
  for (int layer = 0; layer < 8; ++layer) {
    const auto &bars = groups[static_cast<std::size_t>(layer)].bars;
    ASSERT_EQ(bars.size(), 2u);
    EXPECT_TRUE(bars[0].hatched);
    EXPECT_FALSE(bars[1].hatched);
    EXPECT_EQ(bars[0].segments.size(), 5u) << "parts";
    EXPECT_NEAR(bars[0].sum(), layers.at(layer).countedBytes, 1);
    EXPECT_NEAR(bars[1].sum(), layers.at(layer).measuredBytes(), 1);
  }
  EXPECT_THAT(groups[3].bars[0].text.toStdString(), testing::HasSubstr("<b>Layer 3</b>, counted"));
  EXPECT_THAT(groups[3].bars[1].text.toStdString(), testing::HasSubstr("written"));
  part<QCheckBox>("parts")->setChecked(false);
  ASSERT_EQ(chart().bars().groups[3].bars[1].segments.size(), 1u);
  EXPECT_NEAR(chart().bars().groups[3].bars[1].sum(), layers.at(3).measuredBytes(), 1);
  EXPECT_THAT(note(), testing::HasSubstr("Measured by CUPTI 13.0"));
}

TEST_F(TrafficOf, BarsOfAMethodAreItsWholeStep) {
  test::addProfile(m_store.store(), kGpu);
  open();
  choose("by", 1);
  choose("point", QStringLiteral("32768 tokens · batch 1"));
  const auto totals = trafficByPolicy(run().traffic, 32768, 1);
  ASSERT_EQ(chart().bars().groups.size(), 4u);
  for (std::int64_t policy = 0; policy < 4; ++policy) {
    const auto &group = chart().bars().groups[static_cast<std::size_t>(policy)];
    EXPECT_NEAR(group.bars[0].sum(), totals.at(policy).countedBytes, 10);
    EXPECT_NEAR(group.bars[1].sum(), totals.at(policy).measuredBytes(), 10);
  }
  EXPECT_EQ(chart().bars().groups[1].name, QStringLiteral("KIVI* 2"));
  EXPECT_GT(chart().bars().groups[0].bars[0].sum(), chart().bars().groups[2].bars[0].sum()) << "XQuant moves less than FP16";
  QTest::mouseClick(&const_cast<BarChart &>(chart()), Qt::LeftButton, {}, chart().barRect(2).center().toPoint());
  EXPECT_EQ(m_selection.policy(), QStringLiteral("kivi-star:bits=2"));
}

TEST_F(TrafficOf, TheTableHasEachPolicysFigures) {
  test::addProfile(m_store.store(), kGpu);
  open();
  const StepRow &step = run().steps[0];
  EXPECT_EQ(cell(0, QStringLiteral("Step (ms)")), formatNumber(step.seconds * 1e3));
  EXPECT_EQ(cell(0, QStringLiteral("Counted")), formatBytes(std::llround(step.countedBytes)));
  EXPECT_EQ(cell(0, QStringLiteral("Measured")), formatBytes(std::llround(step.measuredRead + step.measuredWrite)));
  EXPECT_EQ(cell(0, QStringLiteral("Layers / step")), QStringLiteral("-0.398 %")); // 1 / (0.973 + 0.031) - 1
  EXPECT_EQ(cell(0, QStringLiteral("L2 hit rate")), QStringLiteral("13.1 %"));
  EXPECT_EQ(cell(0, QStringLiteral("Beyond FP16 (ms)")), QStringLiteral("0")) << "FP16 beside itself";
  EXPECT_GT(cell(2, QStringLiteral("Beyond FP16 (ms)")).toDouble(), 0);
  const double ratio = trafficByPolicy(run().traffic, 2048, 1).at(0).ratio();
  EXPECT_EQ(cell(0, QStringLiteral("Measured / counted")), formatRatio(ratio));
  EXPECT_NEAR(ratio, 1.02, 0.02);
}

/// By kernel: a table in the place of bars.
class KernelsOf : public TrafficOf {
protected:
  void openKernels() {
    open();
    choose("by", 2);
    ASSERT_TRUE(table().isVisible());
    EXPECT_FALSE(chart().isVisible());
    EXPECT_EQ(static_cast<View *>(m_view.get())->picture(), nullptr) << "there is no chart to save";
  }
  QTableView &table() const { return *part<QTableView>("kernels"); }
  int column(const QString &title) const {
    for (int c = 0; c < table().model()->columnCount(); ++c)
      if (table().model()->headerData(c, Qt::Horizontal).toString() == title) return c;
    return -1;
  }
  QString figure(const QString &function, const QString &title) const {
    if (table().isColumnHidden(column(title))) return QStringLiteral("hidden");
    for (int r = 0; r < table().model()->rowCount(); ++r)
      if (table().model()->index(r, 0).data().toString().contains(function))
        return table().model()->index(r, column(title)).data().toString();
    return QStringLiteral("no such kernel");
  }
};

TEST_F(KernelsOf, AFunctionIsARowCountedBesideMeasured) {
  auto options = kGpu;
  options.microscope = true, options.spec = R"({"microscope": true})";
  test::addProfile(m_store.store(), options);
  openKernels();
  choose("policy", QStringLiteral("XQuant · "));
  const std::vector<KernelSum> sums = kernelSums(stepKernels(run().kernels, 2, 2048, 1));
  ASSERT_EQ(table().model()->rowCount(), static_cast<int>(sums.size()));
  EXPECT_EQ(table().model()->index(0, 0).data().toString().toStdString(), sums[0].function) << "the longest first";
  EXPECT_EQ(figure(QStringLiteral("rebuild_keys"), QStringLiteral("Launches")), QStringLiteral("32"));
  const KernelSum &rebuild = *std::ranges::find_if(sums, [](auto &s) { return s.function.starts_with("void rebuild"); });
  EXPECT_EQ(figure(QStringLiteral("rebuild_keys"), QStringLiteral("Counted")),
            formatBytes(std::llround(rebuild.countedBytes)));
  EXPECT_EQ(figure(QStringLiteral("rebuild_keys"), QStringLiteral("Measured")),
            formatBytes(std::llround(1.04 * rebuild.countedBytes)));
  EXPECT_EQ(figure(QStringLiteral("rebuild_keys"), QStringLiteral("Measured / peak")),
            formatPercent(rebuild.measuredRate() / 4.1e12));
  EXPECT_EQ(figure(QStringLiteral("rebuild_keys"), QStringLiteral("L2 hit rate")), QStringLiteral("25.0 %"));
  EXPECT_THAT(figure(QStringLiteral("pack_rows"), QStringLiteral("Measured")).toStdString(), testing::EndsWith(" of 7"))
      << "layer 0's was not measured";
  EXPECT_THAT(note("kernelNote"), testing::HasSubstr("Measured by the microscope"));
  table().sortByColumn(column(QStringLiteral("Measured")), Qt::AscendingOrder);
  EXPECT_LT(table().model()->index(0, column(QStringLiteral("Measured"))).data(Qt::UserRole).toDouble(),
            table().model()->index(1, column(QStringLiteral("Measured"))).data(Qt::UserRole).toDouble());
  choose("by", 0);
  EXPECT_TRUE(chart().isVisible());
  EXPECT_FALSE(table().isVisible());
}

TEST_F(KernelsOf, WithoutAMicroscopeBytesAreCountedAndThatIsSaid) {
  test::addProfile(m_store.store(), kCpu);
  openKernels();
  EXPECT_EQ(figure(QStringLiteral("matmul"), QStringLiteral("Launches")), QString::number(6 * 4 + 1));
  EXPECT_NE(figure(QStringLiteral("matmul"), QStringLiteral("Counted")), QStringLiteral("hidden"));
  for (const char *title : {"Measured", "Measured rate", "Measured / peak", "L2 hit rate", "Tensor instr."})
    EXPECT_EQ(figure(QStringLiteral("matmul"), QLatin1String(title)), QStringLiteral("hidden")) << title;
  EXPECT_EQ(note("kernelNote"), "Bytes are counted only: not asked for; tick “Microscope” in the form of the next profile.");
}

TEST_F(KernelsOf, WhatTheMicroscopeCouldNotMeasureIsSaidAtItsPoint) {
  auto options = kGpu;
  options.spec = R"({"microscope": true})";
  const RowId profile = test::beginProfile(m_store.store(), options);
  test::addProfilePoint(m_store.store(), profile, options, 0, 2048, 1);
  test::addProfilePoint(m_store.store(), profile, options, 0, 4096, 1);
  ProblemRow problem;
  problem.run = profile, problem.policy = 0, problem.code = "kernels-not-measured";
  problem.text = "4096 tokens x 1: 7 of 80 kernels of the traced step have no measured bytes";
  m_store.store().append(problem);
  openKernels();
  EXPECT_THAT(note("kernelNote"), testing::HasSubstr("profile this point again"));
  choose("point", QStringLiteral("4096 tokens"));
  EXPECT_THAT(note("kernelNote"), testing::HasSubstr("7 of 80 kernels"));
}

TEST_F(TrafficOf, WhereNothingWasMeasuredTheInstrumentSaysWhy) {
  test::addProfile(m_store.store(), kCpu);
  open();
  for (const BarChart::Group &group : chart().bars().groups) {
    ASSERT_EQ(group.bars.size(), 1u);
    EXPECT_TRUE(group.bars[0].hatched);
  }
  EXPECT_THAT(note(), testing::HasSubstr("Bytes are counted only: perf: "));
  EXPECT_THAT(note(), testing::HasSubstr("perf_event_paranoid"));
  EXPECT_THAT(chart().bars().yTitle.toStdString(), testing::EndsWith("a step, counted"));
  EXPECT_EQ(cell(0, QStringLiteral("Measured")), QStringLiteral("hidden"));
  EXPECT_EQ(cell(0, QStringLiteral("L2 hit rate")), QStringLiteral("hidden"));
  const TrafficSum all = trafficByPolicy(run().traffic, 512, 1).at(0);
  EXPECT_EQ(cell(0, QStringLiteral("Cache misses")), formatCount(all.cacheMisses));
  EXPECT_EQ(cell(0, QStringLiteral("Cycles")), formatCount(all.cycles));
}

TEST_F(TrafficOf, PartsOfLayersThatWereMeasuredAsAWholeSaySo) {
  auto options = kGpu;
  options.measured = test::Measured::Layers;
  test::addProfile(m_store.store(), options);
  open();
  EXPECT_EQ(chart().bars().groups[0].bars.size(), 1u);
  EXPECT_THAT(note(), testing::HasSubstr("untick “parts”"));
  EXPECT_THAT(note(), testing::Not(testing::HasSubstr("CUPTI")));
  choose("by", 1);
  EXPECT_THAT(note(), testing::HasSubstr("untick “parts”"));
  part<QCheckBox>("parts")->setChecked(false);
  EXPECT_EQ(chart().bars().groups[0].bars.size(), 2u);
  EXPECT_THAT(note(), testing::HasSubstr("Measured by CUPTI 13.0"));
}

TEST_F(TrafficOf, ARunWithoutMeasuredBytesSaysWhetherItWasAskedForThem) {
  auto options = kGpu;
  options.measured = test::Measured::Nothing, options.spec = R"({"counters": false, "sampling_us": 100})";
  test::addProfile(m_store.store(), options);
  open();
  EXPECT_EQ(note(), "Bytes are counted only: not asked for; tick “measured bytes” in the form of the next profile.");
}

TEST_F(TrafficOf, ARunThatLostItsCountersSaysHow) {
  auto options = kGpu;
  options.measured = test::Measured::Nothing, options.spec = R"({"counters": true})";
  const RowId profile = test::addProfile(m_store.store(), options);
  for (const char *text : {"2048 tokens x 1: counting bytes failed, and is not tried again in this run: taken by a profiler",
                           "2048 tokens x 1: sampling failed, and is not tried again in this run: counters are in use"}) {
    ProblemRow problem;
    problem.run = profile, problem.code = "instrument-lost", problem.text = text;
    m_store.store().append(problem);
  }
  open();
  EXPECT_THAT(note(), testing::StartsWith("Bytes are counted only: 2048 tokens x 1: counting bytes failed"));
  EXPECT_THAT(note(), testing::Not(testing::HasSubstr("CUPTI")));
}

TEST_F(TrafficOf, WhatIsNotCountedIsNoZero) {
  auto options = kGpu;
  options.timeline = false;
  test::addProfile(m_store.store(), options);
  open();
  for (const BarChart::Group &group : chart().bars().groups) {
    ASSERT_EQ(group.bars.size(), 1u);
    EXPECT_FALSE(group.bars[0].hatched) << "measured alone";
    EXPECT_GT(group.bars[0].sum(), 0);
  }
  EXPECT_EQ(cell(0, QStringLiteral("Counted")), QStringLiteral("hidden"));
  EXPECT_NE(cell(0, QStringLiteral("Measured")), QStringLiteral("hidden"));
}

// Throughput --------------------------------------------------------------------------------------------------------------

class ThroughputOf : public ProfileView<ThroughputView> {
protected:
  StripChart &strip() { return *m_view->findChild<StripChart *>(); }
  BarChart &bars() { return *m_view->findChild<BarChart *>(); }
};

TEST_F(ThroughputOf, SamplesGrowWhileTheRunGoesOn) {
  const RowId profile = test::beginProfile(m_store.store(), kGpu);
  test::addProfilePoint(m_store.store(), profile, kGpu, 0, 2048, 1);
  open();
  ASSERT_TRUE(strip().isVisible());
  EXPECT_EQ(strip().itemCount(), 400);
  const Range before = strip().xSpec().range;
  const std::string first = strip().itemText(20).toStdString();
  EXPECT_THAT(first, testing::HasSubstr("FP16 KV · 2048 × 1"));
  EXPECT_THAT(first, testing::HasSubstr("Measured: "));
  EXPECT_THAT(first, testing::HasSubstr("of the memory peak"));
  test::addProfilePoint(m_store.store(), profile, kGpu, 1, 2048, 1);
  m_data.poll();
  ASSERT_TRUE(QTest::qWaitFor([&] { return strip().itemCount() == 800; }, 5000));
  EXPECT_GT(strip().xSpec().range.max, before.max);
  EXPECT_EQ(strip().itemText(20).toStdString(), first);
  EXPECT_THAT(strip().itemText(799).toStdString(), testing::HasSubstr("KIVI* 2"));
  EXPECT_THAT(note(), testing::HasSubstr("other processes"));
}

TEST_F(ThroughputOf, ASampleIsWhereItsTimeAndItsBytesSay) {
  test::addProfile(m_store.store(), kGpu);
  open();
  float read = 0, write = 0;
  std::memcpy(&read, run().throughput[0].read.data() + 50 * sizeof(float), sizeof read);
  std::memcpy(&write, run().throughput[0].write.data() + 50 * sizeof(float), sizeof write);
  EXPECT_THAT(strip().itemText(50).toStdString(),
              testing::HasSubstr(formatRate(static_cast<double>(read)).toStdString() + " read, " +
                                 formatRate(static_cast<double>(write)).toStdString() + " written"));
  EXPECT_NEAR(strip().itemPixel(50).x(), strip().xAxis().toPixel(0.0505), 1e-6);
  EXPECT_NEAR(strip().itemPixel(50).y(),
              strip().yAxis().toPixel((static_cast<double>(read) + static_cast<double>(write)) / 1e12), 1e-3);
  EXPECT_EQ(strip().itemAt(strip().itemPixel(50)), 50);
}

TEST_F(ThroughputOf, MomentsStandBehindEachOtherOrWhereTheRunHadThem) {
  test::addProfile(m_store.store(), kGpu);
  open();
  EXPECT_EQ(strip().itemCount(), 16 * 400);
  EXPECT_NEAR(strip().xSpec().range.max, 16 * 0.4, 1e-9) << "no gaps";
  EXPECT_THAT(strip().itemText(400).toStdString(), testing::HasSubstr("0.521 s after the first sample"));
  choose("span", 2);
  EXPECT_GT(strip().xSpec().range.max, 15 * 0.52) << "with the time between points";
  choose("span", 1);
  choose("point", QStringLiteral("32768 tokens · batch 4"));
  choose("policy", QStringLiteral("KIVI"));
  EXPECT_EQ(strip().itemCount(), 400);
  EXPECT_THAT(strip().itemText(0).toStdString(), testing::HasSubstr("KIVI* 2 · 32768 × 4"));
}

TEST_F(ThroughputOf, WithoutSamplesCountedThroughputIsShownAndCalledSo) {
  test::addProfile(m_store.store(), kCpu);
  open();
  ASSERT_TRUE(bars().isVisible());
  EXPECT_THAT(note(), testing::HasSubstr("nothing was sampled: "));
  EXPECT_THAT(note(), testing::HasSubstr("perf_event_paranoid"));
  ASSERT_EQ(bars().bars().groups.size(), 2u);
  ASSERT_EQ(bars().itemCount(), 8);
  const StepRow &step = run().steps[1];
  EXPECT_DOUBLE_EQ(bars().bars().groups[0].bars[1].segments[0].value, step.countedBytes / step.seconds);
  EXPECT_TRUE(bars().bars().groups[0].bars[1].hatched);
  EXPECT_THAT(bars().itemText(1).toStdString(), testing::HasSubstr("Counted: "));
  EXPECT_EQ(bars().bars().yTitle, QStringLiteral("GB/s, counted"));
  EXPECT_DOUBLE_EQ(bars().bars().limit, 2.1e10);
}

TEST_F(ThroughputOf, SamplingThatWasSwitchedOffIsNoSourceOfAnything) {
  auto options = kGpu;
  options.measured = test::Measured::Nothing, options.spec = R"({"counters": true, "sampling_us": 0})";
  test::addProfile(m_store.store(), options);
  open();
  EXPECT_THAT(note(), testing::EndsWith("nothing was sampled: not asked for; set a time between samples in the form of the "
                                        "next profile."));
}

TEST_F(ThroughputOf, AStepWithoutCountedBytesHasNoBar) {
  const RowId profile = test::beginProfile(m_store.store(), kCpu);
  auto lost = kCpu;
  lost.timeline = false;
  test::addProfilePoint(m_store.store(), profile, lost, 0, 512, 1);
  open();
  EXPECT_EQ(bars().itemCount(), 0);
  EXPECT_THAT(bars().emptyText().toStdString(), testing::HasSubstr("the timeline was lost"));
  test::addProfilePoint(m_store.store(), profile, kCpu, 1, 512, 1);
  m_data.poll();
  ASSERT_TRUE(QTest::qWaitFor([&] { return bars().itemCount() == 1; }, 5000));
  EXPECT_THAT(bars().itemText(0).toStdString(), testing::HasSubstr("KIVI"));
}

/// A generation whose traffic is sampled: a step's samples a row.
class SampledGeneration : public ThroughputOf {
protected:
  RowId begin(const char *state, const char *sentence) {
    RunRow run;
    run.uuid = "sampled generation", run.kind = "generate", run.title = "SmolLM2-135M, text generated";
    run.spec = R"({"prompt": "a", "sampling_us": 1000})";
    const RowId id = m_store.store().beginRun(run);
    InstrumentRow row;
    row.run = id, row.instrument = "sampling", row.state = state, row.sentence = sentence, row.source = "CUPTI 13.0";
    m_store.store().append(row);
    return id;
  }
  void addStep(RowId run, int step) {
    std::vector<float> read(20, 8e11f), write(20, 2e10f);
    ThroughputRow row;
    row.run = run, row.policy = -1, row.context = 0, row.batch = 4;
    row.startNs = step * 20'000'000, row.intervalNs = 1'000'000;
    row.read.resize(read.size() * sizeof(float)), row.write.resize(write.size() * sizeof(float));
    std::memcpy(row.read.data(), read.data(), row.read.size());
    std::memcpy(row.write.data(), write.data(), row.write.size());
    m_store.store().append(row);
    m_store.store().flush();
  }
};

TEST_F(SampledGeneration, TheStripGrowsWithItsTokens) {
  const RowId generation = begin("ready", "DRAM bytes of the whole GPU");
  open();
  ASSERT_TRUE(strip().isVisible());
  EXPECT_THAT(strip().emptyText().toStdString(), testing::HasSubstr("first samples"));
  EXPECT_THAT(note(), testing::HasSubstr("no measured figures have come yet"));
  for (int step = 0; step < 3; ++step) {
    addStep(generation, step);
    m_data.poll();
    ASSERT_TRUE(QTest::qWaitFor([&] { return strip().itemCount() == 20 * (step + 1); }, 5000));
    EXPECT_NEAR(strip().xSpec().range.max, 0.02 * (step + 1), 1e-6) << "seconds of the run";
  }
  EXPECT_TRUE(strip().emptyText().isEmpty());
  const std::string text = strip().itemText(45).toStdString();
  EXPECT_THAT(text, testing::HasSubstr("4 sequences together"));
  EXPECT_THAT(text, testing::HasSubstr("Measured: 800 GB/s read, 20.0 GB/s written"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("peak"))) << "a generation measures none";
  EXPECT_THAT(note(), testing::StartsWith("Measured, of the whole device, other processes' traffic included. CUPTI 13.0: "));
  EXPECT_FALSE(part<QComboBox>("span")->isVisible()) << "it has no points to choose from";
  strip().grab(); // without a peak
}

TEST_F(SampledGeneration, ARefusalIsTheInstrumentsSentence) {
  begin("no-permission", "counters are kept for administrators");
  open();
  EXPECT_TRUE(strip().isVisible());
  EXPECT_EQ(strip().itemCount(), 0);
  EXPECT_THAT(strip().emptyText().toStdString(), testing::HasSubstr("No memory traffic was sampled"));
  EXPECT_EQ(note(), "Nothing was sampled: CUPTI 13.0: counters are kept for administrators.");
}

TEST_F(SampledGeneration, LostSamplesAreSaid) {
  const RowId generation = begin("ready", "DRAM bytes");
  addStep(generation, 0);
  InstrumentRow row;
  row.run = generation, row.instrument = "sampling", row.state = "ready", row.sentence = "DRAM bytes", row.dropped = 3;
  m_store.store().append(row);
  ProblemRow problem;
  problem.run = generation, problem.code = "instrument-lost";
  problem.text = "sampling failed, and is not tried again in this run: taken by a profiler";
  m_store.store().append(problem);
  open();
  EXPECT_THAT(note(), testing::HasSubstr("Times that samples were lost: 3. Not to the end: sampling failed"));
}

TEST_F(SampledGeneration, TheSelectedRunIsShownWhereItWasSampled) {
  addStep(begin("ready", "DRAM bytes"), 0);
  m_store.addGeneration(); // not sampled
  test::addProfile(m_store.store(), kGpu);
  open();
  EXPECT_EQ(strip().itemCount(), 16 * 400) << "without a selection the latest";
  const ViewContext context{&m_data, &m_selection};
  for (const RunData::Run *each : m_data.runs())
    if (!each->throughput.empty() && each->row.kind == "generate") m_selection.setRuns({each->key});
  EXPECT_EQ(shownProfile(context)->row.kind, "profile") << "other views of profiles stay";
  ASSERT_TRUE(QTest::qWaitFor([&] { return strip().itemCount() == 20; }, 5000));
  for (const RunData::Run *each : m_data.runs())
    if (each->throughput.empty()) m_selection.setRuns({each->key});
  ASSERT_TRUE(QTest::qWaitFor([&] { return strip().itemCount() == 16 * 400; }, 5000)) << "there is nothing to see of it";
  EXPECT_TRUE(part<QComboBox>("span")->isVisible());
}

// Which run ---------------------------------------------------------------------------------------------------------------

/// Counters that were lost between two policies: what is measured is not said of all.
TEST_F(TrafficOf, SaysHowManyPoliciesAreMeasuredWhereNotAllAre) {
  test::ProfileOptions lost = kGpu;
  lost.measured = test::Measured::Nothing;
  const RowId run = test::beginProfile(m_store.store(), kGpu);
  test::addProfilePoint(m_store.store(), run, kGpu, 0, 2048, 1);
  test::addProfilePoint(m_store.store(), run, lost, 1, 2048, 1);
  test::addProfilePoint(m_store.store(), run, lost, 2, 2048, 1);
  open();
  choose("by", 1);
  EXPECT_THAT(note(), testing::HasSubstr("1 of 3 are measured, the others counted only"));
}

TEST_F(TrafficOf, AProfileHidesNoCurveAndIsHiddenByNone) {
  m_store.addRun({.captures = false});
  test::addProfile(m_store.store(), kGpu);
  open();
  const ViewContext context{&m_data, &m_selection};
  const RunData::Run *profile = nullptr, *scores = nullptr;
  for (const RunData::Run *each : m_data.runs()) (each->row.kind == "profile" ? profile : scores) = each;
  m_selection.setRuns({profile->key});
  EXPECT_EQ(shownRuns(context), RunList{scores});
  m_selection.setRuns({scores->key});
  QTest::qWait(60);
  EXPECT_FALSE(chart().bars().groups.empty());
}

TEST(StatusBadge, SaysWhetherBytesAreMeasuredAndWhyNot) {
  for (const bool gpu : {true, false}) {
    test::SampleStore store;
    RunData data;
    Selection selection;
    InstrumentBadge status({&data, &selection});
    EXPECT_TRUE(status.isHidden()) << "no profile";
    test::addProfile(store.store(), gpu ? kGpu : kCpu);
    ASSERT_TRUE(data.open(store.path()));
    data.poll();
    EXPECT_FALSE(status.isHidden());
    const auto *badge = status.findChild<QToolButton *>();
    EXPECT_THAT(badge->text().toStdString(), testing::HasSubstr(gpu ? "measured" : "counted"));
    EXPECT_THAT(badge->accessibleName().toStdString(), testing::HasSubstr(gpu ? "are measured" : "not measured"));
    for (const QString &text : {badge->toolTip(), badge->accessibleDescription()}) {
      EXPECT_THAT(text.toStdString(), testing::HasSubstr(gpu ? "Counters (CUPTI 13.0)" : "Sampling (no-permission)"));
      EXPECT_THAT(text.toStdString(), testing::HasSubstr(gpu ? "3 records were dropped" : "perf_event_paranoid"));
    }
  }
}

/// Counters that another profiler took in the middle: what came before stays measured, and nothing else is called that.
TEST(StatusBadge, SaysHowManyStepsAreMeasuredWhereNotAllAre) {
  test::SampleStore store;
  const test::ProfileOptions lost{.measured = test::Measured::Nothing};
  const RowId run = test::beginProfile(store.store(), kGpu);
  test::addProfilePoint(store.store(), run, kGpu, 0, 2048, 1);
  test::addProfilePoint(store.store(), run, lost, 1, 2048, 1);
  test::addProfilePoint(store.store(), run, lost, 2, 2048, 1);
  store.store().flush();
  RunData data;
  Selection selection;
  const InstrumentBadge status({&data, &selection});
  ASSERT_TRUE(data.open(store.path()));
  data.poll();
  const auto *badge = status.findChild<QToolButton *>();
  EXPECT_THAT(badge->text().toStdString(), testing::HasSubstr("1 of 3 measured"));
  EXPECT_THAT(badge->accessibleName().toStdString(), testing::HasSubstr("those of the others counted"));
}

} // namespace
} // namespace xqs
