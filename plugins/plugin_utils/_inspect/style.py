# Copyright: the homelab.loadbalancer authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The style of the inspection page, and its short optional script.

Neither contains data of an inspected node, or `<`, `&`, `{{`, `{%` or `{#`. So the page stays well-formed XML and is
not a template.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1d2733; --muted: #566270; --rule: #d5dbe2; --panel: #f5f7f9; --accent: #0b5cad;
  --host: #f5f7f9; --edge: #b3bdc8; --space: #ffffff; --link: #e6eff9; --link-edge: #7ba0c9;
  --bridge: #e4f3ea; --bridge-edge: #6aa584; --tunnel: #f0eaf8; --tunnel-edge: #9c82c4;
  --pod: #fbfcfd; --pod-edge: #a9b5c2; --vip: #fdf0d8; --vip-edge: #c28a1c; --wire: #7f8c9a;
  --warn: #8a3b00; --warn-paper: #fff3e6; --bad: #a5182b;
  --net0: #0b5cad; --net1: #16794c; --net2: #8a4b08; --net3: #6f3fa8; --net4: #a5185f; --net5: #4b5d0c;
}
@media (prefers-color-scheme: dark) { :root {
  --paper: #14191f; --ink: #e3e8ee; --muted: #9fabb8; --rule: #323c47; --panel: #1b222a; --accent: #7fb8f5;
  --host: #1b222a; --edge: #465463; --space: #161c23; --link: #1d3047; --link-edge: #4a7bb0;
  --bridge: #1b3528; --bridge-edge: #4c8b68; --tunnel: #2c2440; --tunnel-edge: #8069ab;
  --pod: #222b35; --pod-edge: #546373; --vip: #3d2f12; --vip-edge: #c9963a; --wire: #7d8b9a;
  --warn: #f5b27a; --warn-paper: #33241a; --bad: #ff8c95;
  --net0: #7fb8f5; --net1: #6cc99a; --net2: #e0a35e; --net3: #bd9bed; --net4: #f08fc0; --net5: #b6cc63;
} }
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(0.75rem, 2vw, 2rem) 4rem; max-width: 100rem; background: var(--paper);
  color: var(--ink); font: 0.9375rem/1.5 system-ui, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.5rem; margin: 0 0 0.25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.75rem; }
h3 { font-size: 1.05rem; margin: 0; }
a { color: var(--accent); }
p { margin: 0.25rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.muted, figcaption { color: var(--muted); }
.bad { color: var(--bad); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0.75rem 0; padding: 0; list-style: none; }
.find {
  position: sticky; top: 0; z-index: 1; display: flex; gap: 0.75rem; align-items: center; padding: 0.5rem 0;
  background: var(--paper); border-bottom: 1px solid var(--rule);
}
.find[hidden] { display: none; }
.find input {
  flex: 0 1 24rem; padding: 0.35rem 0.6rem; font: inherit; color: inherit; background: var(--panel);
  border: 1px solid var(--edge); border-radius: 6px;
}
figure { margin: 1rem 0; }
.picture { overflow-x: auto; }
.picture svg { display: block; max-width: 100%; height: auto; }
.picture svg.wide { min-width: 1180px; }
.about, .cluster { margin: 0 0 1rem; padding: 0.75rem 1rem; border: 1px solid var(--rule); border-radius: 8px; }
summary { cursor: pointer; margin: 0.25rem 0; color: var(--accent); }
.notes {
  margin: 0.5rem 0; padding: 0.5rem 0.75rem 0.5rem 2rem; color: var(--warn); background: var(--warn-paper);
  border-radius: 6px; overflow-wrap: anywhere;
}
.rows { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.8125rem; line-height: 1.35; }
caption { text-align: left; font-weight: 600; font-size: 0.9375rem; padding: 0.25rem 0; }
caption span { font-weight: 400; color: var(--muted); }
th, td {
  text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid var(--rule);
  overflow-wrap: break-word; unicode-bidi: isolate;
}
thead th { color: var(--muted); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; }
td, tbody th { font-family: "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; font-size: 0.75rem; }
td.long { min-width: 16em; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tbody tr:hover { background: var(--panel); }
tr[hidden], .rows[hidden], .about[hidden] { display: none; }
svg { font: 11px "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; }
svg text { fill: var(--ink); }
svg .quiet { fill: var(--muted); }
svg .name { font-weight: 700; }
svg .title { font-size: 14px; font-weight: 700; }
svg a .title { fill: var(--accent); }
svg .warn { fill: var(--warn); }
svg .wrong { fill: var(--bad); }
svg rect { stroke-width: 1; }
svg rect.host { fill: var(--host); stroke: var(--edge); }
svg rect.space { fill: var(--space); stroke: var(--edge); }
svg rect.pod { fill: var(--pod); stroke: var(--pod-edge); }
svg rect.other { fill: var(--pod); stroke: var(--pod-edge); stroke-dasharray: 4 3; }
svg rect.link, svg rect.end { fill: var(--link); stroke: var(--link-edge); }
svg rect.bridge { fill: var(--bridge); stroke: var(--bridge-edge); }
svg rect.tunnel { fill: var(--tunnel); stroke: var(--tunnel-edge); }
svg rect.down { stroke-dasharray: 3 2; }
svg rect.vip { fill: var(--vip); stroke: var(--vip-edge); }
svg path, svg circle { stroke: var(--wire); }
svg path { fill: none; stroke-width: 1.5; }
svg circle { stroke: none; fill: var(--wire); }
svg path.vip { stroke: var(--vip-edge); }
svg path.member { stroke: var(--bridge-edge); }
svg path.net0 { stroke: var(--net0); } svg text.net0, svg circle.net0 { fill: var(--net0); }
svg path.net1 { stroke: var(--net1); } svg text.net1, svg circle.net1 { fill: var(--net1); }
svg path.net2 { stroke: var(--net2); } svg text.net2, svg circle.net2 { fill: var(--net2); }
svg path.net3 { stroke: var(--net3); } svg text.net3, svg circle.net3 { fill: var(--net3); }
svg path.net4 { stroke: var(--net4); } svg text.net4, svg circle.net4 { fill: var(--net4); }
svg path.net5 { stroke: var(--net5); } svg text.net5, svg circle.net5 { fill: var(--net5); }
@page { size: landscape; margin: 10mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 8pt; }
  .find { display: none; }
  .picture, .rows { overflow: visible; }
  .picture svg, .picture svg.wide { min-width: 0; max-width: 100%; }
  details::details-content { content-visibility: visible; block-size: auto; }
  summary { display: none; }
  td, th { overflow-wrap: anywhere; padding-right: 0.6em; }
  td { min-width: 9ch; }
  td.long { min-width: 22ch; }
  caption, thead { break-after: avoid; }
  tr, figure { break-inside: avoid; }
}
"""

# Comparisons are written without `<` and `&`.
SCRIPT = """
'use strict';
(function () {
  const form = document.querySelector('.find');
  const field = form.querySelector('input');
  const count = form.querySelector('output');
  const tables = Array.from(document.querySelectorAll('.rows'), function (box) {
    const rows = Array.from(box.querySelectorAll('tbody tr'));
    return {box: box, rows: rows, texts: null, home: box.closest('details')};
  });
  const homes = new Set(tables.map(function (table) { return table.home; }));
  let before = null;
  let timer = 0;
  function texts(table) {
    table.texts = table.texts || table.rows.map(function (row) {
      return Array.from(row.children, function (cell) { return cell.textContent; }).join(' ').toLowerCase();
    });
    return table.texts;
  }
  function filter() {
    const wanted = field.value.trim().toLowerCase();
    const found = new Map();
    let total = 0;
    if (before === null) {
      before = new Map();
      homes.forEach(function (home) { before.set(home, home.open); });
    }
    tables.forEach(function (table) {
      const said = texts(table);
      let seen = 0;
      table.rows.forEach(function (row, index) {
        const fits = said[index].includes(wanted);
        row.hidden = !fits;
        seen += fits ? 1 : 0;
      });
      table.box.hidden = seen === 0;
      total += seen;
      found.set(table.home, (found.get(table.home) || 0) + seen);
    });
    homes.forEach(function (home) { home.open = wanted ? found.get(home) !== 0 : before.get(home); });
    if (!wanted) { before = null; }
    count.textContent = wanted ? total + (total === 1 ? ' row' : ' rows') : '';
  }
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) { target.open = true; }
  }
  field.addEventListener('input', function () { clearTimeout(timer); timer = setTimeout(filter, 150); });
  form.addEventListener('submit', function (event) { event.preventDefault(); });
  window.addEventListener('hashchange', reveal);
  document.addEventListener('click', function (event) {
    const link = event.target.closest('a');
    if (link) { setTimeout(reveal, 0); }
  });
  form.hidden = false;
  reveal();
}());
"""
