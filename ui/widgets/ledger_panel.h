// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QWidget>

#include <cstdint>

class QFormLayout;
class QLabel;

namespace xqs {

class PolicySpec;
enum class State : std::uint8_t;
struct ModelShape;

class SizeBar;

/// What a setting costs before anything runs: `footprint` of one window on a model's shape, part by part. Computed, not
/// measured, and says so.
class LedgerPanel : public QWidget {
  Q_OBJECT
public:
  explicit LedgerPanel(QWidget *parent = nullptr);

  /// Gives the sentence why the setting does not fit the model; empty where it does.
  QString showPolicy(const PolicySpec &policy, const ModelShape &shape, const QString &model, std::int64_t tokens,
                     State state);
  void clear(const QString &why);

private:
  QLabel *addRow(const char *name, const QString &title, const QString &toolTip);
  void setUpRows();
  void setValue(QLabel *label, std::int64_t bytes);

  QLabel *m_heading = nullptr;
  SizeBar *m_bar = nullptr;
  QFormLayout *m_form = nullptr;
  QLabel *m_codes = nullptr, *m_scales = nullptr, *m_outliers = nullptr, *m_residual = nullptr;
  QLabel *m_format = nullptr, *m_allocated = nullptr;
  QLabel *m_bits = nullptr, *m_relative = nullptr, *m_relativeMha = nullptr;
  QLabel *m_accumulator = nullptr, *m_scratch = nullptr;
};

} // namespace xqs
