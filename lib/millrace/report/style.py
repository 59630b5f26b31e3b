"""The page's style: light and dark by the reader's setting, from a phone to paper.

Every pair of colours that meet has a contrast of at least 4.5 for text and 3 for lines (WCAG 2.2, AA).
"""

CSS = """
:root { color-scheme: light dark; --accent: #0b6e99; --second: #a8480f; --third: #5b3fb0; --fourth: #2f6f2f;
  --quiet: #565e6a; --line: #d4d8de; --soft: #f3f5f7; --good: #196c31; --bad: #b42318; --paper: #fff;
  --ink: #1c2024; }
@media (prefers-color-scheme: dark) {
  :root { --accent: #5cc1e8; --second: #f0a171; --third: #b9a6f5; --fourth: #86d086; --quiet: #a3abb6;
    --line: #3a414a; --soft: #1e2329; --good: #62c983; --bad: #ff8f80; --paper: #14171a; --ink: #e6e8eb; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem clamp(1rem, 4vw, 2.5rem) 3rem;
  background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { position: static; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line);
} h3 { font-size: 1.02rem; margin: 1.4rem 0 .3rem; }
p, li, dd, td, th { overflow-wrap: break-word; }
p.where { color: var(--quiet); margin: 0 0 1rem; overflow-wrap: anywhere; }
p.summary { font-size: 1.1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: 1rem 0; list-style: none;
  font-size: .92rem; }
nav li { line-height: 1.9; }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; min-width: min(100%, 16rem); font-size: .92rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { padding: .3rem .65rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  max-width: 22rem; }
thead th { background: var(--soft); vertical-align: bottom; }
.number { text-align: right; white-space: nowrap; }
.better { color: var(--good); }
.worse { color: var(--bad); }
tbody th { font-weight: 400; }
tr.marked > * { font-weight: 650; }
tbody th { min-width: 8rem; }
.matrix tbody th { min-width: 0; }
td:not(.long) { white-space: nowrap; }
.long { min-width: 11rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .6rem; padding: 0;
} .facts > div { background: var(--soft); border-radius: .5rem; padding: .55rem .75rem; }
.facts dt { color: var(--quiet); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 0
1.5rem; } figure { margin: .8rem 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
figcaption { color: var(--quiet); font-size: .92rem; }
.call { border-left: 4px solid var(--bad); background: var(--soft); padding: .5rem .9rem; margin: .6rem 0; }
.call p { margin: .2rem 0; }
.matrix td { text-align: right;
  background: color-mix(in srgb, var(--accent) var(--share), transparent); }
footer { margin-top: 3rem; color: var(--quiet); font-size: .92rem; }
@media print {
  :root { --accent: #0b6e99; --second: #a8480f; --third: #5b3fb0; --fourth: #2f6f2f; --quiet: #444;
    --line: #bbb; --soft: #f3f5f7; --good: #196c31; --bad: #b42318; --paper: #fff; --ink: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, .skip { display: none; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .facts, .call { break-inside: avoid; }
  thead { display: table-header-group; }
  table { font-size: 8.5pt; }
  .figures { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; } }
"""
