// SPDX-License-Identifier: Apache-2.0
#include "curve.h"

#include "cache/policy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace xqs {
namespace {

using WindowMap = std::map<std::int64_t, const WindowRow *>;

CurvePoint pointOf(const PolicyRow &policy, const WindowMap &scored, const WindowMap &exact) {
  CurvePoint point;
  point.run = policy.run, point.policyIndex = policy.index, point.policy = policy.policy, point.method = policy.method;
  point.relativeSize = policy.relativeSize, point.relativeSizeMha = policy.relativeSizeMha;
  point.bitsPerElement = policy.bitsPerElement;
  std::vector<double> difference, nll, exactNll, kl, top1;
  for (const auto &[window, row] : scored) {
    const auto pair = exact.find(window);
    if (pair == exact.end()) continue;
    point.windows.push_back(window);
    difference.push_back(row->meanNll - pair->second->meanNll);
    nll.push_back(row->meanNll), exactNll.push_back(pair->second->meanNll);
    kl.push_back(row->meanKl), top1.push_back(row->top1);
  }
  point.ppl = std::exp(meanOf(nll).mean), point.exactPpl = std::exp(meanOf(exactNll).mean);
  point.nllDifference = meanOf(difference);
  point.ratio = expOf(point.nllDifference);
  point.kl = meanOf(kl);
  point.top1 = meanOf(top1).mean;
  return point;
}

} // namespace

std::vector<CurvePoint> curvePoints(const std::vector<PolicyRow> &policies, const std::vector<WindowRow> &windows) {
  std::map<std::pair<RowId, std::int64_t>, WindowMap> byPolicy; // exact: policy -1
  for (const WindowRow &row : windows) byPolicy[{row.run, row.policy}][row.window] = &row;
  std::vector<CurvePoint> points;
  for (const PolicyRow &policy : policies)
    points.push_back(pointOf(policy, byPolicy[{policy.run, policy.index}], byPolicy[{policy.run, -1}]));
  return points;
}

SeriesOf seriesOf(const std::string &policy) {
  SeriesOf result;
  const std::size_t colon = policy.find(':');
  if (policy.starts_with("plan:")) { // each plan is a series of its own
    result.settings = policy.substr(colon + 1);
    return result;
  }
  std::string settings = colon == std::string::npos ? "" : policy.substr(colon + 1);
  for (std::size_t begin = 0; begin < settings.size();) {
    const std::size_t end = std::min(settings.find(',', begin), settings.size());
    const std::string setting = settings.substr(begin, end - begin);
    begin = end + 1;
    if (setting.starts_with("bits="))
      result.bits = setting.substr(5);
    else
      result.settings += (result.settings.empty() ? "" : ", ") + setting;
  }
  return result;
}

std::string methodTitle(const std::string &method) {
  for (const MethodInfo &info : methodRegistry())
    if (info.name == method) return info.title;
  return method;
}

} // namespace xqs
