// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QColor>
#include <QString>

namespace xqs {

/// Colour of a part of a decoding step (Tag::op: "attend") in the current theme, the same in every view. A part that the
/// table does not know is grey.
QColor partColor(const QString &part);
/// The part for people: "Q, K, V"; one without a name is "other".
QString partTitle(const QString &part);

} // namespace xqs
