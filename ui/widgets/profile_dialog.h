// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QDialog>

class QCheckBox;
class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;
class QSpinBox;

namespace xqs {

struct ProfileRequest;
class Workspace;

/// What a profile of decoding does: model or built-in shape, contexts, batches, policies, how K and V are rebuilt, and what
/// is recorded. A window of its own that leaves the others usable; the views show the run while it goes on.
class ProfileDialog : public QDialog {
  Q_OBJECT
public:
  explicit ProfileDialog(Workspace &workspace, QWidget *parent = nullptr);

  /// What "From the experiment" takes.
  void setExperiment(const QStringList &policies);
  /// The form as the command's JSON (core/run/profile_request.h), and back; false where that is none.
  QString spec() const;
  bool setSpec(const QString &spec);
  /// Why nothing can be started, one sentence; empty: it can.
  QString problem() const;
  /// Sends the request and hides, where there is no problem.
  void start();

Q_SIGNALS:
  void started();

private:
  void setUpWhat(QFormLayout &form);
  void setUpHow(QFormLayout &form);
  QWidget *setUpRecords();
  QWidget *setUpPolicies();
  QWidget *setUpFoot();
  void showShapes();
  void showRequest(const ProfileRequest &request);
  /// Throws Usage.
  ProfileRequest request() const;
  QString requestProblem() const;
  QString obstacle() const;
  void showProblem();

  Workspace &m_workspace;
  QStringList m_experiment;
  QComboBox *m_shape = nullptr, *m_rebuild = nullptr, *m_placement = nullptr;
  QSpinBox *m_layers = nullptr, *m_steps = nullptr, *m_sampling = nullptr;
  QLineEdit *m_contexts = nullptr, *m_batches = nullptr;
  QPlainTextEdit *m_policies = nullptr;
  QCheckBox *m_kernels = nullptr, *m_counters = nullptr, *m_hitRate = nullptr, *m_microscope = nullptr, *m_costs = nullptr;
  QLabel *m_problem = nullptr, *m_backend = nullptr;
  QPushButton *m_start = nullptr;
};

} // namespace xqs
