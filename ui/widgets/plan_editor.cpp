// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/plan_editor.h"

#include "error.h"
#include "models/plan_model.h"
#include "models/workspace.h"
#include "theme.h"
#include "widgets/policy_editor.h"
#include "widgets/size_bar.h"
#include "widgets/tables.h"

#include <QAction>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QIdentityProxyModel>
#include <QLabel>
#include <QLocale>
#include <QPixmap>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSaveFile>
#include <QScopedValueRollback>
#include <QScrollArea>
#include <QSplitter>
#include <QTabWidget>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>
#include <numeric>

namespace xqs {

namespace {

constexpr int kPreviewDelayMs = 30;
constexpr int kTextLines = 3;
constexpr qsizetype kMostUndo = 200;

QString fromStd(const std::string &text) { return QString::fromStdString(text); }

/// Gives each setting its method's colour.
class ColouredPlan : public QIdentityProxyModel {
public:
  using QIdentityProxyModel::QIdentityProxyModel;
  QVariant data(const QModelIndex &index, int role) const override {
    if (role != Qt::DecorationRole) return QIdentityProxyModel::data(index, role);
    const QString method = QIdentityProxyModel::data(index, PlanModel::MethodRole).toString();
    if (method.isEmpty()) return {};
    QPixmap pixmap(10, 10);
    pixmap.fill(methodColor(method));
    return pixmap;
  }
};

QString examplePlan() {
  for (const MethodInfo &method : methodRegistry())
    if (method.name == kPlanMethod) return fromStd(method.example);
  return {};
}

} // namespace

PlanEditor::PlanEditor(QWidget *sensitivity, QWidget *parent)
    : QDialog(parent), m_model(new PlanModel(this)), m_table(new QTableView(this)), m_tabs(new QTabWidget(this)) {
  setWindowTitle(tr("Plan: a setting for each layer"));
  setObjectName(QStringLiteral("planEditor"));
  setUpTable();
  m_tabs->setDocumentMode(true);
  m_tabs->addTab(setUpSetting(), tr("S&etting"));
  m_tabs->addTab(sensitivity, tr("Se&nsitivity"));
  m_tabs->setTabToolTip(1, tr("What each setting costs in each layer; a click gives the layer that setting"));
  auto *left = new QWidget(this);
  auto *leftColumn = new QVBoxLayout(left);
  leftColumn->setContentsMargins(0, 0, 0, 0);
  leftColumn->addWidget(setUpFileButtons());
  leftColumn->addWidget(m_table, 1);
  auto *split = new QSplitter(this);
  split->addWidget(left);
  split->addWidget(m_tabs);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 2);
  split->setChildrenCollapsible(false);
  split->setSizes({590, 400});
  auto *column = new QVBoxLayout(this);
  column->addWidget(split, 1);
  column->addWidget(setUpText());
  m_preview.setSingleShot(true);
  m_preview.setInterval(kPreviewDelayMs);
  connect(&m_preview, &QTimer::timeout, this, [this] { Q_EMIT previewWanted(plan()); });
  resize(1000, 700);
  setPlan(examplePlan());
  m_before.clear();
  m_undo->setEnabled(false);
  m_preview.stop(); // nobody asked yet
}

void PlanEditor::setUpTable() {
  auto *coloured = new ColouredPlan(this);
  coloured->setSourceModel(m_model);
  m_table->setModel(coloured);
  xqs::setUpTable(*m_table, tr("Layers of the plan"));
  m_table->setObjectName(QStringLiteral("planTable"));
  m_table->setSelectionMode(QAbstractItemView::ExtendedSelection);
  m_table->setToolTip({});
  setColumnWidths(*m_table, {50, 200, 170, 70});
  auto *header = m_table->horizontalHeader();
  header->setStretchLastSection(false);
  header->setSectionResizeMode(PlanModel::KColumn, QHeaderView::Stretch);
  header->setSectionResizeMode(PlanModel::VColumn, QHeaderView::Stretch);
  auto *clear = new QAction(tr("Back to FP16"), m_table);
  clear->setShortcut(QKeySequence::Delete);
  clear->setShortcutContext(Qt::WidgetShortcut);
  m_table->addAction(clear);
  m_table->setContextMenuPolicy(Qt::ActionsContextMenu);
  connect(clear, &QAction::triggered, this, [this] { change(selectedLayers(), {}, QStringLiteral("fp16")); });
  connect(m_table->selectionModel(), &QItemSelectionModel::selectionChanged, this, [this] { showSelection(); });
  connect(m_table, &QTableView::activated, this, [this](const QModelIndex &index) { takeRow(index.row()); });
}

QWidget *PlanEditor::setUpFileButtons() {
  auto *bar = new QWidget(this);
  auto *row = new QHBoxLayout(bar);
  row->setContentsMargins(0, 0, 0, 0);
  const auto button = [&](const QString &title, const QString &tip) {
    auto *made = new QPushButton(title, bar);
    made->setToolTip(tip);
    made->setAutoDefault(false);
    row->addWidget(made);
    return made;
  };
  const QString filter = tr("Plans (*.json *.txt);;All files (*)");
  connect(button(tr("&Load…"), tr("Reads a plan file: JSON, or a table with a line an entry")), &QPushButton::clicked, this,
          [this, filter] {
            const QString file = QFileDialog::getOpenFileName(this, tr("Load a plan"), {}, filter);
            if (!file.isEmpty()) loadFrom(file);
          });
  connect(button(tr("&Save…"), tr("Writes the plan as JSON, for the command line: plan:@FILE")), &QPushButton::clicked, this,
          [this] {
            const QString file =
                QFileDialog::getSaveFileName(this, tr("Save the plan"), QStringLiteral("plan.json"), tr("Plans (*.json)"));
            if (!file.isEmpty()) saveTo(file);
          });
  m_undo = button(tr("&Undo"), tr("Takes the last change back (Ctrl+Z)"));
  m_undo->setObjectName(QStringLiteral("undo"));
  m_undo->setShortcut(QKeySequence::Undo);
  connect(m_undo, &QPushButton::clicked, this, &PlanEditor::undo);
  auto *hint = new QLabel(tr("Select layers, then set them."), bar);
  hint->setForegroundRole(QPalette::PlaceholderText);
  hint->setMinimumWidth(10);
  row->addWidget(hint, 1, Qt::AlignRight);
  return bar;
}

QWidget *PlanEditor::setUpSetting() {
  auto *page = new QWidget(this);
  m_setting = new PolicyEditor(page);
  auto *scroll = new QScrollArea(page);
  auto *inner = new QWidget(scroll);
  auto *innerColumn = new QVBoxLayout(inner);
  innerColumn->addWidget(m_setting);
  innerColumn->addStretch();
  scroll->setWidget(inner);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setFocusPolicy(Qt::NoFocus);
  m_selected = new QLabel(page);
  m_selected->setObjectName(QStringLiteral("selectedLayers"));
  auto *row = new QHBoxLayout;
  struct Set {
    const char *name;
    QString title, tip;
    std::optional<Side> side;
  };
  for (const Set &set : {Set{"setBoth", tr("Set &K and V"), tr("Gives the selected layers this setting"), {}},
                         Set{"setK", tr("Only K"), tr("Gives the keys of the selected layers this setting"), Side::K},
                         Set{"setV", tr("Only V"), tr("Gives the values of the selected layers this setting"), Side::V}}) {
    auto *button = new QPushButton(set.title, page);
    button->setObjectName(QLatin1String(set.name));
    button->setToolTip(set.tip);
    button->setAutoDefault(false);
    connect(button, &QPushButton::clicked, this, [this, side = set.side] { setSelected(side); });
    row->addWidget(button);
    m_setButtons.push_back(button);
  }
  auto *column = new QVBoxLayout(page);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(scroll, 1);
  column->addWidget(m_selected);
  column->addLayout(row);
  return page;
}

QWidget *PlanEditor::setUpText() {
  auto *box = new QWidget(this);
  m_text = new QPlainTextEdit(box);
  m_text->setObjectName(QStringLiteral("planText"));
  m_text->setAccessibleName(tr("Plan as text"));
  m_text->setToolTip(tr("The plan as one string, as on the command line: paste or edit it here. plan:@FILE reads a file."));
  m_text->setTabChangesFocus(true);
  m_text->setFixedHeight(m_text->fontMetrics().lineSpacing() * kTextLines + 12);
  m_problem = new QLabel(box);
  m_problem->setObjectName(QStringLiteral("planProblem"));
  m_problem->setAccessibleName(tr("What is wrong with the plan"));
  m_problem->setWordWrap(true);
  m_problem->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_sizes = new QLabel(box);
  m_sizes->setObjectName(QStringLiteral("planSizes"));
  m_sizes->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_bar = new SizeBar(box);
  m_add = new QPushButton(tr("&Add to experiment"), box);
  m_add->setObjectName(QStringLiteral("addPlan"));
  m_add->setToolTip(tr("The next run measures this plan too"));
  m_add->setAutoDefault(false);
  auto *close = new QPushButton(tr("&Close"), box);
  close->setAutoDefault(false);
  auto *row = new QHBoxLayout;
  row->addWidget(m_sizes, 1);
  row->addWidget(m_add);
  row->addWidget(close);
  auto *column = new QVBoxLayout(box);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_text);
  column->addWidget(m_problem);
  column->addWidget(m_bar);
  column->addLayout(row);
  connect(m_text, &QPlainTextEdit::textChanged, this, &PlanEditor::textEdited);
  connect(m_add, &QPushButton::clicked, this, [this] { Q_EMIT addWanted(plan()); });
  connect(close, &QPushButton::clicked, this, &QDialog::close);
  connect(&Theme::current(), &Theme::changed, this, [this] { showSizes(); });
  return box;
}

void PlanEditor::takeShape(const Workspace &workspace, Index tokens, State state) {
  const auto shape = workspace.shape();
  if (!shape) return;
  m_name = workspace.shapeName();
  m_model->setModel(*shape, tokens, state);
  planChanged(plan(), false);
  m_preview.stop(); // the plan is the same
}

QString PlanEditor::plan() const { return fromStd(m_model->plan().canonical()); }
QString PlanEditor::problem() const { return m_problem->isHidden() ? QString() : m_problem->text(); }

void PlanEditor::setPlan(const QString &text) {
  const QString before = plan();
  try {
    m_model->setPlan(PolicySpec::parse(text.trimmed().toStdString()));
    planChanged(before, false);
  } catch (const Error &error) {
    setProblem(fromStd(error.what()));
  }
}

void PlanEditor::textEdited() {
  if (m_filling) return;
  const QString before = plan();
  try {
    m_model->setPlan(PolicySpec::parse(m_text->toPlainText().simplified().toStdString()));
    planChanged(before, true);
  } catch (const Error &error) {
    setProblem(fromStd(error.what()));
  }
}

void PlanEditor::change(const std::vector<int> &layers, std::optional<Side> side, const QString &policy) {
  const QString before = plan();
  try {
    m_model->setLayers(layers, side, PolicySpec::parse(policy.toStdString()));
    planChanged(before, false);
  } catch (const Error &error) {
    setProblem(fromStd(error.what()));
  }
}

void PlanEditor::choose(const LayerChoice &choice) {
  std::vector<int> layers(static_cast<std::size_t>(choice.last - choice.first + 1));
  std::iota(layers.begin(), layers.end(), choice.first);
  const std::optional<Side> side = choice.sides == LayerSides::Both ? std::nullopt
                                   : choice.sides == LayerSides::K  ? std::optional(Side::K)
                                                                    : std::optional(Side::V);
  change(layers, side, choice.policy);
  m_table->selectRow(choice.last);
  m_table->scrollTo(m_table->model()->index(choice.last, 0));
}

void PlanEditor::setSelected(std::optional<Side> side) { change(selectedLayers(), side, m_setting->text()); }

void PlanEditor::undo() {
  if (m_before.isEmpty()) return;
  m_model->setPlan(PolicySpec::parse(m_before.takeLast().toStdString()));
  planChanged(plan(), false);
}

/// After every change, with the plan that was there before it. What the user types stays as it is typed.
void PlanEditor::planChanged(const QString &before, bool textIsTyped) {
  if (before != plan()) m_before << before;
  if (m_before.size() > kMostUndo) m_before.removeFirst();
  m_undo->setEnabled(!m_before.isEmpty());
  if (!textIsTyped) {
    const QScopedValueRollback filling(m_filling, true);
    m_text->setPlainText(plan());
  }
  m_table->clearSpans();
  for (int row = 0; row < m_model->rowCount(); ++row)
    if (m_model->row(row).together()) m_table->setSpan(row, PlanModel::KColumn, 1, 2);
  showSizes();
  showSelection();
  if (m_model->problem().isEmpty()) m_preview.start();
}

void PlanEditor::showSizes() {
  setProblem(m_model->problem());
  const ModelShape &shape = m_model->shape();
  const bool fits = shape.layers > 0 && m_model->problem().isEmpty();
  m_add->setEnabled(fits);
  m_bar->setSizes(m_model->bytes(), fits ? fp16KvBytes(shape, m_model->tokens()) : 0, methodColor(QStringLiteral("plan")));
  if (!fits) return m_sizes->setText(shape.layers == 0 ? tr("Sizes are shown once a model is open.") : tr("No size."));
  m_sizes->setText(tr("<b>%1 B</b> · <b>%2</b> of FP16 · %3 bits per element — one window of %4 tokens on %5, computed")
                       .arg(QLocale(QLocale::English).toString(static_cast<qlonglong>(m_model->bytes().formatBytes())),
                            QString::number(m_model->relativeSize(), 'f', 4),
                            QString::number(16 * m_model->relativeSize(), 'f', 3))
                       .arg(m_model->tokens())
                       .arg(m_name.isEmpty() ? tr("this model") : m_name));
}

void PlanEditor::showSelection() {
  const std::vector<int> layers = selectedLayers();
  m_selected->setText(layers.empty() ? tr("No layer selected") : tr("Selected layers: %1").arg(layers.size()));
  for (QPushButton *button : m_setButtons) button->setEnabled(!layers.empty());
}

std::vector<int> PlanEditor::selectedLayers() const {
  std::vector<int> layers;
  for (const QModelIndex &index : m_table->selectionModel()->selectedRows()) layers.push_back(index.row());
  std::sort(layers.begin(), layers.end());
  return layers;
}

void PlanEditor::takeRow(int row) {
  m_setting->setPolicy(fromStd(planText(m_model->row(row).k)));
  m_tabs->setCurrentIndex(0);
}

void PlanEditor::setProblem(const QString &sentence) {
  QPalette palette = m_problem->palette();
  palette.setColor(QPalette::WindowText, Theme::current().colors().error);
  m_problem->setPalette(palette);
  m_problem->setText(sentence);
  m_problem->setVisible(!sentence.isEmpty());
}

bool PlanEditor::loadFrom(const QString &file) {
  const QString before = plan();
  try {
    m_model->setPlan(PolicySpec::parse("plan:@" + QFile::encodeName(file).toStdString()));
    planChanged(before, false);
    return true;
  } catch (const Error &error) {
    setProblem(fromStd(error.what()));
    return false;
  }
}

bool PlanEditor::saveTo(const QString &file) {
  QSaveFile out(file);
  const std::string json = planFile(m_model->plan());
  if (out.open(QIODevice::WriteOnly) && out.write(json.data(), static_cast<qint64>(json.size())) >= 0 && out.commit()) {
    setProblem(m_model->problem());
    return true;
  }
  setProblem(tr("%1 cannot be written; choose another folder or free disk space.").arg(file));
  return false;
}

} // namespace xqs
