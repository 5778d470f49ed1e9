/** @file Small plots as SVG that needs nothing else: points with their straight line, and curves. */
import { fitLine } from './statistics.mjs';

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 64;
const RIGHT = 16;
const TOP = 36;
const BOTTOM = 48;

/** A round step that gives about five ticks up to `most`. */
function tickStep(most) {
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

function ticks(most) {
  const step = tickStep(most);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

const figure = (value) => `${Number(value.toPrecision(4))}`;

/** @param points `[x, y]`; both axes start at 0 */
export function plot({ title, xTitle, yTitle, points }) {
  const mostX = Math.max(...points.map(([x]) => x));
  const mostY = 1.1 * Math.max(...points.map(([, y]) => y));
  const x = (value) => (LEFT + (value / mostX) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value) => (HEIGHT - BOTTOM - (value / mostY) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const { slope, intercept, r2 } = fitLine(points);
  const text = (at, down, anchor, words) => `<text x="${at}" y="${down}" text-anchor="${anchor}">${words}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(LEFT, 20, 'start', `${title} (R² ${r2.toFixed(4)})`),
    ...ticks(mostY).flatMap((value) => [
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>`,
      text(LEFT - 6, Number(y(value)) + 4, 'end', figure(value)),
    ]),
    ...ticks(mostX).map((value) => text(x(value), HEIGHT - BOTTOM + 18, 'middle', figure(value))),
    text((WIDTH + LEFT) / 2, HEIGHT - 8, 'middle', xTitle),
    `<text transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${yTitle}</text>`,
    `<line x1="${x(0)}" y1="${y(intercept)}" x2="${x(mostX)}" y2="${y(intercept + slope * mostX)}" stroke="#c50" stroke-dasharray="5 4"/>`,
    ...points.map(([px, py]) => `<circle cx="${x(px)}" cy="${y(py)}" r="4" fill="#05a"/>`),
    '</svg>\n',
  ].join('\n');
}

/** Colours that people with any colour vision tell apart (Okabe and Ito, 2008). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];

/** Curves with a legend. @param series `{ label, points: [x, y][] }`; x starts at 0 */
export function linePlot({ title, xTitle, yTitle, series }) {
  const all = series.flatMap(({ points }) => points);
  const mostX = Math.max(...all.map(([x]) => x));
  const mostY = 1.05 * Math.max(...all.map(([, y]) => y));
  const x = (value) => (LEFT + (value / mostX) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value) => (HEIGHT - BOTTOM - (value / mostY) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const text = (at, down, anchor, words) => `<text x="${at}" y="${down}" text-anchor="${anchor}">${words}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(LEFT, 20, 'start', title),
    ...ticks(mostY).flatMap((value) => [
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>`,
      text(LEFT - 6, Number(y(value)) + 4, 'end', figure(value)),
    ]),
    ...ticks(mostX).map((value) => text(x(value), HEIGHT - BOTTOM + 18, 'middle', figure(value))),
    text((WIDTH + LEFT) / 2, HEIGHT - 8, 'middle', xTitle),
    `<text transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${yTitle}</text>`,
    ...series.flatMap(({ label, points }, i) => {
      const colour = COLOURS[i % COLOURS.length];
      const path = points.map(([px, py]) => `${x(px)},${y(py)}`).join(' ');
      const down = TOP + 16 * (i + 1);
      return [
        `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
        `<line x1="${WIDTH - 170}" x2="${WIDTH - 146}" y1="${down - 4}" y2="${down - 4}" stroke="${colour}" stroke-width="2"/>`,
        text(WIDTH - 138, down, 'start', label),
      ];
    }),
    '</svg>\n',
  ].join('\n');
}
