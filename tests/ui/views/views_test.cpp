// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/chart_canvas.h"
#include "theme.h"
#include "ui/support/qt_messages.h"
#include "ui/views/sample_profile.h"
#include "ui/views/sample_store.h"
#include "views/curve_view.h"
#include "views/generation_column.h"
#include "views/generation_view.h"

#include <QAccessible>
#include <QComboBox>
#include <QJsonDocument>
#include <QLabel>
#include <QTest>
#include <QTextBlock>
#include <QTextEdit>
#include <QToolButton>

#include <gmock/gmock.h>

#include <algorithm>

// Every registered view on stores of 0, 1 and 3 runs. A Qt warning fails the test (tests/ui/support/test_main.cpp).
namespace xqs {
namespace {

struct Desk {
  RunData data;
  Selection selection;
  ViewContext context{&data, &selection};

  void open(const test::SampleStore &store) {
    ASSERT_TRUE(data.open(store.path()));
    data.poll();
  }
};

std::unique_ptr<View> shown(const ViewInfo &info, const ViewContext &context, QSize size = {640, 420}) {
  std::unique_ptr<View> view(info.create(context, nullptr));
  view->resize(size);
  view->show();
  EXPECT_TRUE(QTest::qWaitForWindowExposed(view.get()));
  return view;
}

class EveryView : public testing::TestWithParam<int> {
protected:
  const ViewInfo &info() const { return viewRegistry()[static_cast<std::size_t>(GetParam())]; }
};

std::string nameOf(const testing::TestParamInfo<int> &p) {
  std::string name = viewRegistry()[static_cast<std::size_t>(p.param)].id;
  std::ranges::replace(name, '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Registry, EveryView, testing::Range(0, static_cast<int>(viewRegistry().size())), nameOf);

TEST_P(EveryView, OpensWithoutRunsAndSaysWhatToDo) {
  Desk desk;
  const auto view = shown(info(), desk.context);
  EXPECT_FALSE(view->grab().isNull());
  for (const ChartCanvas *chart : view->findChildren<ChartCanvas *>()) {
    if (chart->itemCount() > 0) continue; // predictions need no run
    EXPECT_THAT(chart->emptyText().toStdString(), testing::HasSubstr("\n"));
  }
}

TEST_P(EveryView, SurvivesThemesSizesMouseAndKeys) {
  const test::ExpectMessage tooltip(QStringLiteral("raise()")); // the offscreen platform, of every tooltip
  for (const int runs : {1, 3}) {
    test::SampleStore store;
    Desk desk;
    std::vector<RunData::Key> keys;
    const RowId isolated = store.addSensitivity();
    for (int i = 0; i < runs; ++i) store.addRun({.windows = 1 + i, .scale = 1 + 0.2 * i, .finished = i > 0});
    store.addPreview("xquant:bits=3,group=64");
    store.addGeneration();
    test::addProfile(store.store(), {.layers = 4});
    desk.open(store);
    for (const RunData::Run *run : desk.data.runs())
      if (run->row.kind == "eval" && run->row.id != isolated) keys.push_back(run->key);
    ASSERT_EQ(keys.size(), static_cast<std::size_t>(runs));
    if (runs > 1) desk.selection.setRuns(keys);
    desk.selection.setPolicy(QStringLiteral("xquant:bits=2"));
    const auto view = shown(info(), desk.context);
    for (const Theme::Mode mode : {Theme::Mode::Dark, Theme::Mode::Light}) {
      Theme::current().apply(mode);
      for (const QSize size : {QSize(400, 300), QSize(1600, 1000), QSize(120, 90)}) {
        view->resize(size);
        EXPECT_EQ(view->grab().isNull(), false);
      }
    }
    view->resize(800, 600);
    QTest::qWait(20);
    for (ChartCanvas *chart : view->findChildren<ChartCanvas *>()) {
      for (double x : {0.2, 0.5, 0.9})
        for (double y : {0.2, 0.5, 0.8}) {
          const QPoint at(static_cast<int>(chart->width() * x), static_cast<int>(chart->height() * y));
          QTest::mouseMove(chart, at);
          QTest::mouseClick(chart, Qt::LeftButton, {}, at);
        }
      chart->setFocus();
      for (Qt::Key key : {Qt::Key_Home, Qt::Key_Right, Qt::Key_Up, Qt::Key_Down, Qt::Key_Left, Qt::Key_End, Qt::Key_Return,
                          Qt::Key_Escape})
        QTest::keyClick(chart, key);
    }
    for (QComboBox *box : view->findChildren<QComboBox *>())
      for (int i = 0; i < box->count(); ++i) box->setCurrentIndex(i), view->refresh(), view->grab();
  }
}

TEST_P(EveryView, FollowsANewRun) {
  test::SampleStore store;
  store.addRun({.windows = 1, .finished = false});
  Desk desk;
  desk.open(store);
  const auto view = shown(info(), desk.context);
  const QImage before = view->grab().toImage();
  store.addRun({.windows = 2, .scale = 1.4, .captures = true});
  desk.data.poll();
  QTest::qWait(120);
  EXPECT_FALSE(view->grab().isNull());
}

TEST_P(EveryView, ChartsHaveANameAndARoleForScreenReaders) {
  test::SampleStore store;
  store.addSensitivity();
  store.addRun();
  store.addGeneration();
  test::addProfile(store.store(), {.layers = 4});
  Desk desk;
  desk.open(store);
  const auto view = shown(info(), desk.context);
  for (ChartCanvas *chart : view->findChildren<ChartCanvas *>()) {
    QAccessibleInterface *interface = QAccessible::queryAccessibleInterface(chart);
    ASSERT_NE(interface, nullptr);
    EXPECT_EQ(interface->role(), QAccessible::Chart);
    EXPECT_FALSE(interface->text(QAccessible::Name).isEmpty());
    EXPECT_FALSE(interface->text(QAccessible::Description).isEmpty());
    chart->setCursorItem(0);
    EXPECT_FALSE(interface->text(QAccessible::Value).isEmpty());
  }
}

class Generation : public testing::Test {
protected:
  void open() {
    m_desk.open(m_store);
    m_view = std::make_unique<GenerationView>(m_desk.context, nullptr);
    m_view->resize(900, 500);
    m_view->show();
    ASSERT_TRUE(QTest::qWaitForWindowExposed(m_view.get()));
  }
  std::string text(std::size_t column) const { return m_view->columns().at(column)->text().toStdString(); }
  std::string verdict(std::size_t column) const { return m_view->columns().at(column)->verdict().toStdString(); }
  /// What is written with a background: the mark.
  QString marked(std::size_t column) const {
    const QTextDocument *document = m_view->columns().at(column)->findChild<QTextEdit *>()->document();
    QString result;
    for (QTextBlock block = document->begin(); block.isValid(); block = block.next())
      for (auto part = block.begin(); !part.atEnd(); ++part)
        if (part.fragment().charFormat().background().style() != Qt::NoBrush) result += part.fragment().text();
    return result;
  }
  test::SampleStore m_store;
  Desk m_desk;
  std::unique_ptr<GenerationView> m_view;
};

TEST_F(Generation, TextsStandSideBySideAndTheFirstOtherTokenIsMarked) {
  m_store.addGeneration(6, 4);
  open();
  ASSERT_EQ(m_view->columns().size(), 3u);
  EXPECT_EQ(text(0), "w0 w1 w2 w3 w4 w5 ");
  EXPECT_EQ(text(1), text(0));
  EXPECT_EQ(text(2), "w0 w1 w2 w3 other4 other5 ");
  EXPECT_EQ(marked(0), QString());
  EXPECT_EQ(marked(1), QString());
  EXPECT_EQ(marked(2), QStringLiteral("other4 "));
  EXPECT_THAT(verdict(1), testing::HasSubstr("same text, 6 tokens"));
  EXPECT_THAT(verdict(2), testing::HasSubstr("token 5")) << "counted from 1";
  QStringList said;
  for (const QLabel *label : m_view->columns()[2]->findChildren<QLabel *>()) said << label->text();
  EXPECT_TRUE(said.filter(QStringLiteral("Noise floor")).isEmpty() == false);
  EXPECT_TRUE(said.join(u' ').contains(QLatin1String("120 KiB"))) << said.join(u'|').toStdString(); // 35 * 3510 bytes
  EXPECT_TRUE(said.join(u' ').contains(QLatin1String("15.2 %"))) << said.join(u'|').toStdString();  // 3510 / 23040
}

TEST_F(Generation, TokensAreAppendedAsTheyCome) {
  const RowId run = m_store.addGeneration(3, 4, false);
  open();
  EXPECT_EQ(text(2), "w0 w1 w2 ");
  EXPECT_THAT(verdict(2), testing::HasSubstr("for 3 tokens"));
  m_store.addTokens(run, 3, 8, 4);
  m_desk.data.poll();
  ASSERT_TRUE(QTest::qWaitFor([&] { return text(2).size() > 9; }, 5000));
  EXPECT_EQ(text(2), "w0 w1 w2 w3 other4 other5 other6 other7 ");
  EXPECT_EQ(marked(2), QStringLiteral("other4 "));
  Theme::current().apply(Theme::Mode::Dark); // written anew
  EXPECT_EQ(text(2), "w0 w1 w2 w3 other4 other5 other6 other7 ");
  EXPECT_EQ(marked(2), QStringLiteral("other4 "));
  Theme::current().apply(Theme::Mode::Light);
}

TEST_F(Generation, TheSelectedOneIsShownElseTheLatest) {
  const RowId first = m_store.addGeneration(2, 9);
  m_store.addGeneration(5, 9);
  open();
  EXPECT_EQ(text(0), "w0 w1 w2 w3 w4 ");
  m_desk.selection.setRuns({{0, first}});
  ASSERT_TRUE(QTest::qWaitFor([&] { return text(0) == "w0 w1 "; }, 5000));
}

TEST_F(Generation, ItsRequestCanBeUsedAgain) {
  m_store.addGeneration();
  open();
  QStringList prompts;
  QObject::connect(m_view.get(), &GenerationView::requestWanted, m_view.get(), [&](const QString &spec) {
    prompts << QJsonDocument::fromJson(spec.toUtf8())[QLatin1String("prompt")].toString();
  });
  for (QToolButton *button : m_view->findChildren<QToolButton *>())
    if (button->text() == QLatin1String("Use again")) button->click();
  EXPECT_EQ(prompts, QStringList{QStringLiteral("What is a cache?")});
}

class Curve : public testing::Test {
protected:
  void SetUp() override {
    m_store.addRun();
    m_desk.open(m_store);
    m_view = std::make_unique<CurveView>(m_desk.context, nullptr);
    m_view->resize(900, 600);
    m_view->show();
    ASSERT_TRUE(QTest::qWaitForWindowExposed(m_view.get()));
  }
  int itemOf(const QString &policy) const {
    for (int i = 0; i < m_view->chart()->itemCount(); ++i)
      if (m_view->chart()->point(i).policy == policy) return i;
    return -1;
  }
  test::SampleStore m_store;
  Desk m_desk;
  std::unique_ptr<CurveView> m_view;
};

TEST_F(Curve, PointsLieWhereTheirValuesSay) {
  const CurveChart &chart = *m_view->chart();
  const int item = itemOf("xquant:bits=4");
  ASSERT_GE(item, 0);
  EXPECT_DOUBLE_EQ(chart.point(item).x, 0.2656);
  EXPECT_NEAR(chart.point(item).y, 1.017, 0.01);
  EXPECT_NEAR(chart.itemPixel(item).x(), chart.xAxis().toPixel(0.2656), 1e-9);
  EXPECT_NEAR(chart.itemPixel(item).y(), chart.yAxis().toPixel(chart.point(item).y), 1e-9);
  EXPECT_LT(chart.itemPixel(item).x(), chart.itemPixel(itemOf("fp16")).x());
  EXPECT_LT(chart.point(item).low, chart.point(item).y);
  EXPECT_GT(chart.point(item).high, chart.point(item).y);
}

TEST_F(Curve, PointsBeyondTheFrameAreClampedToItsEdge) {
  const CurveChart &chart = *m_view->chart();
  const int item = itemOf("xquant:bits=2,source=x"); // 3534 times FP16's ppl
  ASSERT_GE(item, 0);
  EXPECT_EQ(chart.beyond(item), 1);
  EXPECT_EQ(chart.beyond(itemOf("kivi-star:bits=4")), 0);
  EXPECT_TRUE(chart.plotRect().contains(chart.itemPixel(item)));
  EXPECT_LT(chart.itemPixel(item).y(), chart.plotRect().top() + 20);
}

TEST_F(Curve, AClickSelectsThePolicy) {
  CurveChart &chart = *m_view->chart();
  QTest::mouseClick(&chart, Qt::LeftButton, {}, chart.itemPixel(itemOf("kivi-star:bits=2")).toPoint());
  EXPECT_EQ(m_desk.selection.policy(), QString("kivi-star:bits=2"));
}

TEST_F(Curve, HoverSaysPolicyLedgerAndProtocol) {
  const std::string text = m_view->chart()->itemText(itemOf("xquant-cl:bits=2,source=x,domain=residual")).toStdString();
  for (const char *part :
       {"xquant-cl:bits=2,source=x,domain=residual", "codes", "Accumulator", "Bits an element", "Teacher forcing", "4 of 4"})
    EXPECT_THAT(text, testing::HasSubstr(part));
}

TEST_F(Curve, EveryPolicyIsAnItemOnce) {
  QComboBox *published = nullptr;
  for (QComboBox *box : m_view->findChildren<QComboBox *>())
    if (box->accessibleName() == QLatin1String("Published curves")) published = box;
  ASSERT_NE(published, nullptr);
  EXPECT_GT(published->currentIndex(), 0); // the paper's points are items beside the run's
  EXPECT_GT(m_view->chart()->itemCount(), static_cast<int>(test::samplePolicies().size()));
  published->setCurrentIndex(0);
  EXPECT_EQ(m_view->chart()->itemCount(), static_cast<int>(test::samplePolicies().size()));
  for (const test::SamplePolicy &p : test::samplePolicies())
    EXPECT_GE(itemOf(QString::fromStdString(p.policy)), 0) << p.policy;
}

TEST(CurveFrame, HoldsTheBestPointAndStopsAtTheLimit) {
  using Metric = CurveView::Metric;
  const Range usual = CurveView::frameFor({1, 1.02, 2.5, 3500}, Metric::Ratio, 13, 4);
  EXPECT_TRUE(usual.contains(1));
  EXPECT_TRUE(usual.contains(2.5));
  EXPECT_FALSE(usual.contains(3500));
  EXPECT_LT(usual.max, 4.5);
  EXPECT_TRUE(CurveView::frameFor({1, 40, 3500}, Metric::Ratio, 13, 4).contains(40)); // all are bad: the best is shown
  EXPECT_TRUE(CurveView::frameFor({1, 3500}, Metric::Ratio, 13, 0).contains(3500));
  EXPECT_TRUE(CurveView::frameFor({13, 20}, Metric::Perplexity, 13, 4).contains(20));
  EXPECT_TRUE(CurveView::frameFor({0, 0.02, 8}, Metric::Divergence, 13, 4).contains(8));
  EXPECT_GT(CurveView::frameFor({0, 0.02, 8}, Metric::Divergence, 13, 4).min, 0);
}

} // namespace
} // namespace xqs
