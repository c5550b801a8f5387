// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/part_style.h"

#include "theme.h"

#include <QCoreApplication>

#include <iterator>

namespace xqs {

namespace {

/// Fills with black or white text on them; neighbours of a step differ in lightness too, for people who see few colours.
struct PartStyle {
  const char *part;
  const char *title;
  QRgb light, dark;
};
constexpr PartStyle kParts[] = {
    {"embedding", QT_TRANSLATE_NOOP("PartStyle", "embedding"), 0xff5f6b7a, 0xffb4bcc8},
    {"qkv", QT_TRANSLATE_NOOP("PartStyle", "Q, K, V"), 0xff3b7ebf, 0xff5b9fe0},
    {"cache", QT_TRANSLATE_NOOP("PartStyle", "cache"), 0xffe8a33d, 0xfff0b456},
    {"attend", QT_TRANSLATE_NOOP("PartStyle", "attend"), 0xff0f8a6c, 0xff2fae8c},
    {"output projection", QT_TRANSLATE_NOOP("PartStyle", "output projection"), 0xff9bc9ee, 0xff9ccdf2},
    {"feed forward", QT_TRANSLATE_NOOP("PartStyle", "feed forward"), 0xff7c6bb5, 0xff9a89d6},
    {"logits", QT_TRANSLATE_NOOP("PartStyle", "logits"), 0xffc9537f, 0xffdf7ba2},
    {"", QT_TRANSLATE_NOOP("PartStyle", "other"), 0xff8b94a0, 0xff7f8997},
};

const PartStyle &styleOf(const QString &part) {
  for (const PartStyle &style : kParts)
    if (part == QLatin1String(style.part)) return style;
  return kParts[std::size(kParts) - 1];
}

} // namespace

QColor partColor(const QString &part) {
  const PartStyle &style = styleOf(part);
  return QColor::fromRgb(Theme::current().isDark() ? style.dark : style.light);
}

QString partTitle(const QString &part) {
  const PartStyle &style = styleOf(part);
  const bool known = part == QLatin1String(style.part);
  return known ? QCoreApplication::translate("PartStyle", style.title) : part;
}

} // namespace xqs
