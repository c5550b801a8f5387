// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QStringList>
#include <QWidget>

#include <cstdint>
#include <vector>

class QCheckBox;
class QComboBox;
class QDoubleSpinBox;
class QHBoxLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;
class QSpinBox;

namespace xqs {

class Workspace;
struct GenerationRequest;

/// What to generate: a prompt, up to four policies beside the exact model, and how tokens are chosen. Says below what is
/// missing before it can start.
class GenerationForm : public QWidget {
  Q_OBJECT
public:
  static constexpr int kPolicies = 4;

  explicit GenerationForm(QWidget *parent = nullptr);

  /// The request as JSON (core/run, GenerationRequest). Only where `problem` is empty.
  QString spec() const;
  /// False, and nothing changed, where it cannot be read.
  bool setSpec(const QString &spec);
  void generateOn(Workspace &workspace) const;
  /// Offered in the lists of policies, the setting under study first.
  void setSuggestions(const QStringList &policies);
  /// `obstacle`: why the engine cannot start now; empty: it can. `generating`: it is at it.
  void setEngine(const QString &obstacle, bool generating);
  bool samplesTraffic() const; ///< memory traffic is sampled on the way: the throughput view shows it
  QString problem() const;     ///< of the request, or the engine's obstacle; empty: none

Q_SIGNALS:
  void generateWanted();
  void stopWanted();

private:
  GenerationRequest request() const;
  void setRequest(const GenerationRequest &request);
  void setUpPrompt();
  void setUpSampling();
  void setUpPolicies();
  void setUpLayout();
  QSpinBox *spinBox(const QString &prefix, const QString &name, const QString &tip, int min, int max);
  QStringList policies() const;
  QString requestProblem() const;
  void start();
  void showProblem();
  void showModes();

  QPlainTextEdit *m_prompt = nullptr;
  QPushButton *m_generate = nullptr, *m_stop = nullptr;
  QComboBox *m_mode = nullptr, *m_sampling = nullptr;
  QLineEdit *m_system = nullptr;
  QSpinBox *m_tokens = nullptr, *m_topK = nullptr, *m_seed = nullptr;
  QDoubleSpinBox *m_temperature = nullptr, *m_topP = nullptr;
  QCheckBox *m_noise = nullptr, *m_traffic = nullptr;
  std::int64_t m_samplingMicroseconds; ///< where it is asked for; of the last request that had one
  std::vector<QComboBox *> m_policies;
  QLabel *m_problem = nullptr;
  QString m_obstacle;
  bool m_generating = false;
};

} // namespace xqs
