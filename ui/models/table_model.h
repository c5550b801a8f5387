// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QAbstractTableModel>
#include <QString>

#include <functional>
#include <utility>
#include <vector>

namespace xqs {

/// The item-model contract once, for tables whose rows are plain values: a concrete model lists its columns and sets rows.
template <class Row> class TableModel : public QAbstractTableModel {
public:
  enum Role { SortRole = Qt::UserRole };
  struct Column {
    QString title, toolTip;                      ///< of the header; titles name the unit
    std::function<QString(const Row &)> text;    ///< what the cell shows
    std::function<QVariant(const Row &)> sort;   ///< empty: by the text; with one, the cell is a number and right-aligned
    std::function<QString(const Row &)> cellTip; ///< empty: the text
  };

  explicit TableModel(std::vector<Column> columns, QObject *parent = nullptr)
      : QAbstractTableModel(parent), m_columns(std::move(columns)) {}

  /// Replaces the rows; rows keep their place, so that a selection survives live updates.
  void setRows(std::vector<Row> rows) {
    const int before = static_cast<int>(m_rows.size()), after = static_cast<int>(rows.size());
    if (after < before) {
      beginRemoveRows({}, after, before - 1);
      m_rows.resize(static_cast<std::size_t>(after));
      endRemoveRows();
    }
    const int kept = static_cast<int>(m_rows.size());
    for (int i = 0; i < kept; ++i) m_rows[static_cast<std::size_t>(i)] = std::move(rows[static_cast<std::size_t>(i)]);
    if (kept > 0) Q_EMIT dataChanged(index(0, 0), index(kept - 1, columnCount() - 1));
    if (after > kept) {
      beginInsertRows({}, kept, after - 1);
      m_rows.insert(m_rows.end(), std::make_move_iterator(rows.begin() + kept), std::make_move_iterator(rows.end()));
      endInsertRows();
    }
  }
  const std::vector<Row> &rows() const { return m_rows; }
  const Row &row(int i) const { return m_rows[static_cast<std::size_t>(i)]; }

  int rowCount(const QModelIndex &parent = {}) const final { return parent.isValid() ? 0 : static_cast<int>(m_rows.size()); }
  int columnCount(const QModelIndex &parent = {}) const final {
    return parent.isValid() ? 0 : static_cast<int>(m_columns.size());
  }
  QVariant data(const QModelIndex &index, int role) const override {
    if (!checkIndex(index, CheckIndexOption::IndexIsValid | CheckIndexOption::ParentIsInvalid)) return {};
    const Row &r = row(index.row());
    const Column &c = m_columns[static_cast<std::size_t>(index.column())];
    switch (role) {
    case Qt::DisplayRole: return c.text(r);
    case Qt::ToolTipRole: return c.cellTip ? c.cellTip(r) : c.text(r);
    case Qt::TextAlignmentRole: return int((c.sort ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
    case SortRole: return c.sort ? c.sort(r) : QVariant(c.text(r));
    default: return {};
    }
  }
  QVariant headerData(int section, Qt::Orientation orientation, int role) const final {
    if (orientation != Qt::Horizontal || section < 0 || section >= columnCount()) return {};
    const Column &c = m_columns[static_cast<std::size_t>(section)];
    if (role == Qt::DisplayRole) return c.title;
    if (role == Qt::ToolTipRole) return c.toolTip;
    if (role == Qt::TextAlignmentRole) return int((c.sort ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
    return {};
  }

private:
  std::vector<Column> m_columns;
  std::vector<Row> m_rows;
};

} // namespace xqs
