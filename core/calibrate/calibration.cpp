// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibration.h"

#include "calibrate/float_file.h"
#include "model/matrices.h"

#include <fmt/format.h>
#include <lapacke.h>

#include <array>
#include <cmath>
#include <cstdlib>

namespace xqs {
namespace {

/// W [d, w] in double, row-major: the transpose of what the model stores, Wk and Wv side by side for SvdOf::WkWv.
std::vector<double> weightColumns(const Model &model, SvdOf what, Index layer) {
  const Index d = model.shape().d;
  const Index dkv = model.shape().dkv();
  const Index width = what == SvdOf::WkWv ? 2 * dkv : dkv;
  std::vector<double> w(static_cast<std::size_t>(d * width));
  Index column = 0;
  const auto take = [&](ConstView weight) {
    const std::vector<float> host = downloadMatrix(model.backend(), weight);
    for (Index o = 0; o < dkv; ++o, ++column)
      for (Index i = 0; i < d; ++i)
        w[static_cast<std::size_t>(i * width + column)] = host[static_cast<std::size_t>(o * d + i)];
  };
  if (what != SvdOf::Wv) take(model.layer(layer).wk);
  if (what != SvdOf::Wk) take(model.layer(layer).wv);
  return w;
}

Svd decompose(std::vector<double> w, Index d, Index width, Index layer) {
  const Index r = std::min(d, width);
  std::vector<double> s(static_cast<std::size_t>(r)), u(static_cast<std::size_t>(d * r)),
      bt(static_cast<std::size_t>(r * width));
  const auto info = LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', static_cast<lapack_int>(d), static_cast<lapack_int>(width),
                                   w.data(), static_cast<lapack_int>(width), s.data(), u.data(), static_cast<lapack_int>(r),
                                   bt.data(), static_cast<lapack_int>(width));
  if (info != 0)
    throw Error(Code::BadFile,
                fmt::format("layer {}: the SVD of Wk, Wv did not converge (LAPACK dgesdd: {}); the weights are "
                            "not finite or the file is damaged",
                            layer, info));
  Svd svd{d, width, r, std::vector<float>(u.size()), std::vector<float>(s.begin(), s.end()), std::vector<float>(bt.size())};
  for (Index c = 0; c < r; ++c) {
    double largest = 0;
    for (Index i = 0; i < d; ++i) {
      const double x = u[static_cast<std::size_t>(i * r + c)];
      if (std::abs(x) > std::abs(largest)) largest = x;
    }
    const double sign = largest < 0 ? -1 : 1;
    for (Index i = 0; i < d; ++i)
      svd.u[static_cast<std::size_t>(i * r + c)] = static_cast<float>(sign * u[static_cast<std::size_t>(i * r + c)]);
    for (Index o = 0; o < width; ++o)
      svd.bt[static_cast<std::size_t>(c * width + o)] =
          static_cast<float>(sign * bt[static_cast<std::size_t>(c * width + o)]);
  }
  return svd;
}

constexpr std::string_view kMagic = "XQSSVD01";

/// False where the file is absent or not this decomposition: it is then computed anew.
bool readSvd(const std::filesystem::path &file, Svd &svd) {
  svd.u.resize(static_cast<std::size_t>(svd.d * svd.rank));
  svd.singular.resize(static_cast<std::size_t>(svd.rank));
  svd.bt.resize(static_cast<std::size_t>(svd.rank * svd.width));
  std::array<std::int64_t, 3> shape{};
  return readFloatFile(file, kMagic, shape, std::array{&svd.u, &svd.singular, &svd.bt}) &&
         shape == std::array<std::int64_t, 3>{svd.d, svd.width, svd.rank};
}

bool writeSvd(const std::filesystem::path &file, const Svd &svd) {
  return writeFloatFile(file, kMagic, std::array<std::int64_t, 3>{svd.d, svd.width, svd.rank},
                        std::array{&svd.u, &svd.singular, &svd.bt});
}

} // namespace

std::vector<float> Svd::uTransposed(Index columns) const {
  std::vector<float> m(static_cast<std::size_t>(columns * d));
  for (Index c = 0; c < columns; ++c)
    for (Index i = 0; i < d; ++i) m[static_cast<std::size_t>(c * d + i)] = u[static_cast<std::size_t>(i * rank + c)];
  return m;
}

std::vector<float> Svd::bTimesS(Index columns) const {
  std::vector<float> m(static_cast<std::size_t>(width * columns));
  for (Index o = 0; o < width; ++o)
    for (Index c = 0; c < columns; ++c)
      m[static_cast<std::size_t>(o * columns + c)] =
          singular[static_cast<std::size_t>(c)] * bt[static_cast<std::size_t>(c * width + o)];
  return m;
}

Calibration::Calibration(const Model &model, std::filesystem::path folder) : m_model(model), m_folder(std::move(folder)) {}

/// What FP16 weights give is not what FP32 ones give.
std::filesystem::path Calibration::folder() const {
  const bool half = m_model.backend().weightType() == DType::F16;
  return m_folder / (m_model.hash().substr(0, 16) + (half ? "-fp16" : ""));
}

std::filesystem::path Calibration::fileOf(SvdOf what, Index layer) const {
  const char *name = what == SvdOf::Wk ? "wk" : what == SvdOf::Wv ? "wv" : "wkwv";
  return folder() / fmt::format("{}-{}.svd", name, layer);
}

const Svd &Calibration::svd(SvdOf what, Index layer) {
  if (m_model.config().layersAlike) layer = 0;
  const auto key = std::pair(what, layer);
  if (const auto found = m_svd.find(key); found != m_svd.end()) return found->second;
  if (m_stop.stop_requested()) throw Error(Code::Cancelled, "cancelled while decomposing the weights");
  const Index d = m_model.shape().d;
  const Index width = (what == SvdOf::WkWv ? 2 : 1) * m_model.shape().dkv();
  Svd svd;
  svd.d = d, svd.width = width, svd.rank = std::min(d, width);
  if (m_folder.empty() || !readSvd(fileOf(what, layer), svd)) {
    svd = decompose(weightColumns(m_model, what, layer), d, width, layer);
    if (!m_folder.empty() && !writeSvd(fileOf(what, layer), svd) && m_warning.empty())
      m_warning =
          fmt::format("decompositions cannot be kept in {}: they are computed again in every run", m_folder.string());
  }
  return m_svd.emplace(key, std::move(svd)).first->second;
}

std::filesystem::path Calibration::defaultFolder() {
  if (const char *xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg == '/')
    return std::filesystem::path(xdg) / "xqscope" / "calibration";
  const char *home = std::getenv("HOME");
  return home == nullptr ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "xqscope" / "calibration";
}

} // namespace xqs
