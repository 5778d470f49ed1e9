/**
 * @file The page around figures and tables. It loads nothing and runs no script, and its policy says so to the browser. Colours are those
 * of Okabe and Ito, which people with any colour vision tell apart; the yellow, orange and black among them are darker or lighter where
 * the background would swallow them.
 */
import { Html, html } from './html.ts';

const light = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b07a00', '#4a4a4a', '#3a9bd0'];
const dark = ['#56b4e9', '#ff8c3a', '#2fc79b', '#e29cc4', '#e69f00', '#d0d0d0', '#f0e442'];
const variables = (colours: readonly string[]) => colours.map((colour, i) => `--c${i}:${colour}`).join(';');
const classes = light
  .map((_, i) => `.c${i}{stroke:var(--c${i})}.b${i}{fill:var(--c${i});background:var(--c${i})}`)
  .join('');

/** No text of a run gets in here. */
const styles = new Html(`
:root{color-scheme:light dark;--ink:#1c1c1c;--pale:#5c5c5c;--rule:#dcdcdc;--paper:#fff;${variables(light)}}
@media (prefers-color-scheme:dark){:root{--ink:#ececec;--pale:#a8a8a8;--rule:#3a3a3a;--paper:#161616;${variables(dark)}}}
body{margin:2rem auto;padding:0 1rem;max-width:60rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem}p{color:var(--pale)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
th,td{padding:.25rem .75rem;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th:first-child{text-align:left}
figure{margin:2rem 0}figcaption{font-weight:600}
svg text{fill:var(--pale);font-size:12px}
figure>svg{width:100%;height:auto}
.grid,.axis{stroke:var(--rule)}.axis{stroke:var(--pale)}
.curve{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
circle.curve{stroke-width:1.5;fill:var(--paper)}
.faint{stroke-width:1;opacity:.35}
.d1{stroke-dasharray:7 5}.d2{stroke-dasharray:2 5}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.25rem 0;padding:0;list-style:none;font-size:.9rem}
.swatch{display:inline-block;width:.8em;height:.8em}
${classes}
@media print{body{max-width:none}figure{break-inside:avoid}}
`);

/** A whole document with one heading. */
export function page(title: string, content: readonly (Html | undefined)[]): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${styles}</style>
</head>
<body>
<h1>${title}</h1>
${content}
</body>
</html>
`.text;
}
