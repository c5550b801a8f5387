// SPDX-License-Identifier: Apache-2.0
// The microscope of a profile: kernels that CUPTI counts one by one are the launches of the traced step.
#include "instruments_test.h"
#include "run/profile_point.h"
#include "support/small_model.h"

#include <map>

namespace xqs::test {
namespace {

constexpr PointKey kPoint{1, 0, 66, 2}; ///< KIVI closes no group of 16 before all is counted

class CudaMicroscope : public CudaInstruments {
protected:
  void SetUp() override {
    CudaInstruments::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) m_model = std::make_unique<SmallModel>(kGqaModel, s_module);
  }
  void TearDown() override {
    m_model.reset();
    CudaInstruments::TearDown();
  }
  bool without(Instrument instrument) {
    const InstrumentStatus s = m_model->backend->instruments().status().at(static_cast<std::size_t>(instrument));
    if (!kEmulated) std::cout << instrumentName(instrument) << ": " << s.sentence << '\n';
    return !kEmulated && s.state != InstrumentState::Ready;
  }
  PointRows profiled(const char *policy, DecodeForm form, bool drop = false) {
    ProfileRequest request;
    request.microscope = true, request.costs = false, request.samplingMicroseconds = 0, request.steps = 1;
    const auto method = prepareMethod(PolicySpec::parse(policy), *m_model->model, m_model->calibration);
    DecodePoint point;
    point.context = kPoint.context, point.batch = kPoint.batch, point.steps = profiledSteps(request), point.form = form;
    const std::stop_token stop;
    DecodeSequences sequences(*method, point, stop);
    ProfileInstruments instruments(*m_model->backend);
    if (drop) set("XQS_FAKE_CUPTI_DROPPED", "3");
    return PointProfiler(sequences, request, instruments, kPoint, stop, [](const std::string &) {}).measure();
  }
  static bool isCopy(const KernelRow &row) { return row.launch.starts_with("mem"); }

  std::unique_ptr<SmallModel> m_model;
};

TEST_F(CudaMicroscope, EveryKernelOfTheTracedStepIsMeasured) {
  if (without(Instrument::Counters) || without(Instrument::Timeline)) GTEST_SKIP();
  const std::pair<const char *, DecodeForm> cases[] = {{"fp16", DecodeForm::Fused},
                                                       {"xquant:bits=2,group=32,source=x", DecodeForm::Pipelined},
                                                       {"kivi:bits=2,group=16,residual=16", DecodeForm::Fused}};
  for (const auto &[policy, form] : cases) {
    SCOPED_TRACE(policy);
    const PointRows rows = profiled(policy, form);
    EXPECT_TRUE(rows.problems.empty()) << rows.problems.front().text;
    std::map<std::string, int> functions;
    for (const KernelRow &row : rows.kernels) {
      EXPECT_EQ(std::isnan(row.measuredRead), isCopy(row)) << row.launch;
      EXPECT_EQ(std::isnan(row.cacheHitRate), isCopy(row)) << row.launch;
      if (!isCopy(row)) ++functions[row.launch];
    }
    EXPECT_GT(functions.size(), 5u);
    EXPECT_GT(rows.step.measuredRead, 0) << "counters of ranges go on";
    if (!kEmulated) continue; // there a kernel's bytes are its threads', whatever is cached
    std::map<std::pair<std::int64_t, std::string>, double> sums;
    for (const KernelRow &row : rows.kernels) {
      if (isCopy(row)) continue;
      EXPECT_EQ(row.cacheHitRate, 0.25);
      sums[{row.layer, row.part}] += row.measuredRead;
    }
    // The range of a part holds its copies too, and is of a step that is some tokens further.
    int compared = 0;
    for (const TrafficRow &traffic : rows.traffic) {
      if (traffic.part.empty()) continue;
      const auto ofPart = [&](const KernelRow &row) { return row.layer == traffic.layer && row.part == traffic.part; };
      if (std::any_of(rows.kernels.begin(), rows.kernels.end(), [&](auto &row) { return ofPart(row) && isCopy(row); }))
        continue;
      ++compared;
      EXPECT_NEAR((sums[{traffic.layer, traffic.part}]), traffic.measuredRead, 0.1 * traffic.measuredRead)
          << traffic.layer << " " << traffic.part;
    }
    EXPECT_GT(compared, 10);
  }
}

TEST_F(CudaMicroscope, TheLastKernelsThatWereDroppedHaveNoFigures) {
  if (!kEmulated) GTEST_SKIP() << "a fake CUPTI drops when it is told to";
  const PointRows rows = profiled("xquant:bits=2,group=32,source=x", DecodeForm::Fused, true);
  const auto missing = std::count_if(rows.kernels.begin(), rows.kernels.end(),
                                     [](const KernelRow &row) { return !isCopy(row) && std::isnan(row.measuredRead); });
  EXPECT_EQ(missing, 3);
  EXPECT_THAT(rows.problems.at(0).text, HasSubstr("3 were dropped"));
}

} // namespace
} // namespace xqs::test
