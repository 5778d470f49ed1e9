/** @file Line plots as SVG: scales by d3-scale, paths by d3-shape, neither of which needs a DOM. */
import { type ScaleContinuousNumeric, scaleLinear, scaleLog } from 'd3-scale';
import { line } from 'd3-shape';
import { type Html, html } from './html.ts';
import { numberText } from './number-text.ts';
import { type Point, type Series, thin } from './series.ts';

export interface LinePlot {
  readonly title: string;
  /** With its unit. */
  readonly yLabel: string;
  readonly xLabel: string;
  readonly series: readonly Series[];
  /** A logarithmic axis where the values are positive and span more than two powers of ten. */
  readonly mayBeLogarithmic?: boolean;
}

const width = 760;
const height = 300;
const margin = { left: 88, right: 16, top: 12, bottom: 44 };
/** How many curves differ in colour; the next ones are dashed. */
const colours = 7;
/** Curves of fewer points show each of them. */
const mostMarkers = 40;

/** A figure with title, axes and legend; `undefined` where there is nothing finite to draw. */
export function linePlot(plot: LinePlot): Html | undefined {
  const drawn = plot.series.map((series) => ({ ...series, points: thin(series.points) }));
  const finite = drawn.flatMap(({ points }) => points.filter(({ y }) => Number.isFinite(y)));
  if (finite.length === 0) return undefined;
  const x = scaleLinear(extent(finite.map((point) => point.x)), [margin.left, width - margin.right]);
  const y = yScale(extent(finite.map((point) => point.y)), plot.mayBeLogarithmic ?? false);
  const described = `${plot.title}: ${plot.series.map(({ label, points }) => describe(label, points)).join('; ')}`;
  return html`<figure>
<figcaption>${plot.title}</figcaption>
${legend(plot.series)}
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${described}">
${axes(x, y, plot)}
${drawn.map((series) => curve(series, x, y))}
</svg>
</figure>
`;
}

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

type Scale = ScaleContinuousNumeric<number, number>;

function yScale([low, high]: [number, number], mayBeLogarithmic: boolean): Scale {
  const range = [height - margin.bottom, margin.top];
  if (mayBeLogarithmic && low > 0 && high / low > 100) return scaleLog([low, high], range).nice();
  // A level curve gets an axis around it.
  const pad = low === high ? Math.abs(low) / 10 || 1 : 0;
  return scaleLinear([low - pad, high + pad], range).nice(5);
}

function axes(x: Scale, y: Scale, { xLabel, yLabel }: LinePlot): Html {
  const [left, right] = [margin.left, width - margin.right];
  const bottom = height - margin.bottom;
  const format = y.tickFormat(5);
  const rows = y
    .ticks(5)
    .filter((value) => format(value) !== '') // a logarithmic axis names some of its ticks only
    .map((value) => {
      const at = y(value).toFixed(1);
      return html`<line class="grid" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/><text x="${left - 8}" y="${at}" dy="0.32em" text-anchor="end">${numberText(value)}</text>
`;
    });
  const columns = x
    .ticks(8)
    .filter(Number.isInteger)
    .map((value) => {
      const at = x(value).toFixed(1);
      return html`<line class="axis" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}"/><text x="${at}" y="${bottom + 18}" text-anchor="middle">${numberText(value, 9)}</text>
`;
    });
  const middle = (margin.top + bottom) / 2;
  return html`${rows}${columns}<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>
<text x="${(left + right) / 2}" y="${height - 8}" text-anchor="middle">${xLabel}</text>
<text transform="translate(12 ${middle}) rotate(-90)" text-anchor="middle">${yLabel}</text>`;
}

/** `c3` has a colour, `d1` a dash. */
function look({ colour, faint }: Series): string {
  return `curve c${colour % colours} d${Math.floor(colour / colours) % 3}${faint === true ? ' faint' : ''}`;
}

function curve(series: Series, x: Scale, y: Scale): Html {
  const path = line<Point>(
    (point) => x(point.x),
    (point) => y(point.y),
  ).digits(1);
  const { points, label } = series;
  const shown = points.filter((point) => Number.isFinite(point.y));
  const markers = points.length > mostMarkers || series.faint === true ? [] : shown;
  return html`<path class="${look(series)}" d="${path.defined((point) => Number.isFinite(point.y))(points) ?? ''}"><title>${label}</title></path>
${markers.map((point) => html`<circle class="${look(series)}" cx="${x(point.x).toFixed(1)}" cy="${y(point.y).toFixed(1)}" r="2.5"><title>${label}: ${numberText(point.y)} at ${numberText(point.x, 9)}</title></circle>`)}`;
}

function legend(series: readonly Series[]): Html {
  return html`<ul class="legend">${series.map(
    (one) =>
      html`<li><svg viewBox="0 0 28 8" width="28" height="8" aria-hidden="true"><line class="${look(one)}" x1="2" x2="26" y1="4" y2="4"/></svg> <bdi>${one.label}</bdi></li>`,
  )}</ul>`;
}

function describe(label: string, points: readonly Point[]): string {
  const last = points.findLast(({ y }) => Number.isFinite(y));
  return last === undefined ? `${label} has no finite value` : `${label} ends at ${numberText(last.y)}`;
}
