// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QMetaType>
#include <QString>
#include <QStringList>

#include <cstdint>
#include <string>
#include <vector>

namespace xqs {

class RunData;

enum class LayerSides : std::uint8_t { Both, K, V };

/// One setting in one layer; in two for an xquant-cl delta with its base.
struct LayerChoice {
  int first = 0, last = 0;
  LayerSides sides = LayerSides::Both;
  QString policy; ///< as a plan names it
};

/// A matrix of core/analysis/sensitivity as texts and values, row-major, cells.size() = rows.size() * layers.
struct SensitivityTable {
  struct Cell {
    double kl = 0; ///< nats a token; NaN: not measured
    QString text;  ///< rich: everything that is known of the cell
    LayerChoice choice;
  };
  QString title;    ///< model, text and windows
  QStringList rows; ///< what is set, the side first: a short label keeps it
  int layers = 0;
  std::vector<Cell> cells;
  int measured = 0;  ///< cells
  double fp16Kl = 0; ///< of FP16 in every layer; NaN: not measured
};

/// A plan that quantizes one layer only: a cell of such a table.
bool isolatesLayer(const std::string &policy);
/// What the open files have, the newest last.
std::vector<SensitivityTable> sensitivityTables(const RunData &data);

} // namespace xqs

Q_DECLARE_METATYPE(xqs::LayerChoice)
