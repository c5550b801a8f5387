// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace xqs {

/// --m0...: the methods of kMethodColors (report_curve.cpp) in order, then spare ones; Okabe and Ito's palette, darkened on
/// white and lightened on black until each keeps a contrast of at least 3 to its ground (the same as the window's).
inline constexpr const char *kReportStyle = R"css(
:root { color-scheme: light dark; --bg: #fff; --surface: #f4f5f7; --text: #1d232b; --muted: #5d6774; --grid: #e2e6ea;
  --border: #c9cfd6; --accent: #1f6fb8; --good: #1c7c47; --warning: #955f00; --error: #b3261e;
  --m0: #5f6b7a; --m1: #c44e00; --m2: #b57900; --m3: #0067a8; --m4: #00806a; --m5: #ae4f8f; --m6: #6a4fbf; --m7: #8a5a2b; }
@media (prefers-color-scheme: dark) { :root { --bg: #181b20; --surface: #22262c; --text: #e4e8ed; --muted: #9aa4b1;
  --grid: #31373f; --border: #3d444e; --accent: #4f9de6; --good: #5cc48a; --warning: #e3ac4a; --error: #f28079;
  --m0: #b4bcc8; --m1: #ff8648; --m2: #f5b841; --m3: #58aaf2; --m4: #35cfa4; --m5: #e79bc8; --m6: #a894f0; --m7: #cf9c6a; } }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 72rem; background: var(--bg); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.3rem; margin: 3rem 0 .25rem; } h3 { font-size: 1.05rem;
  margin: 2.25rem 0 .5rem; } p { margin: .4rem 0; max-width: 52rem; } .muted, figcaption { color: var(--muted); }
section + section { border-top: 1px solid var(--border); } a { color: var(--accent); }
.status { display: inline-block; padding: 0 .55em; border-radius: 1em; border: 1px solid currentColor; font-size: .8rem; }
.finished { color: var(--good); } .cancelled, .running, .warning { color: var(--warning); }
.failed, .crashed, .error { color: var(--error); }
.scroll { overflow-x: auto; width: max-content; max-width: min(calc(100vw - 3rem), 110rem); } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { color: var(--muted); font-weight: 600; vertical-align: bottom; } thead tr:last-child th { border-bottom-color: var(--border); }
.group { text-align: center; } td.name, th.name { text-align: left; } td.name code { display: inline-block; max-width: 26rem; min-width: 9rem; white-space: normal; } td.wrap { white-space: normal; text-align: left; }
.facts th { text-align: left; vertical-align: top; } .facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
code, pre { font: .85em/1.5 ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", monospace; }
pre { background: var(--surface); border: 1px solid var(--grid); border-radius: 6px; padding: .75rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin: .75rem 0; }
figure { margin: .75rem 0; } figcaption { font-size: .85rem; max-width: 52rem; } svg { max-width: 100%; height: auto; display: block; }
svg text { fill: var(--text); font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg .tick { fill: var(--muted); font-size: 11px; } svg .small { font-size: 10.5px; } svg .bits { fill: var(--bg); font-size: 8px; font-weight: 700; pointer-events: none; } svg .grid { stroke: var(--grid); }
svg .frame { fill: none; stroke: var(--border); } svg .one { stroke: var(--muted); stroke-dasharray: 5 4; }
svg .halo { paint-order: stroke; stroke: var(--bg); stroke-width: 3px; stroke-linejoin: round; }
.keys { display: flex; flex-wrap: wrap; gap: .15rem 1.4rem; margin: .5rem 0; padding: 0; list-style: none; font-size: .85rem; }
.keys li { display: flex; align-items: center; gap: .45rem; } .keys svg { flex: none; }
.maps { display: flex; flex-wrap: wrap; gap: 1.5rem; margin-bottom: .75rem; } .maps figure { margin: 0; width: 250px; }
@media print { body { max-width: none; padding: 0; } section { break-inside: auto; } figure, tr { break-inside: avoid; } }
)css";

} // namespace xqs
