/** @file The report of one run. */
import type { QuantizationRecord, StepRecord } from '../metrics/records.ts';
import { type Html, html } from './html.ts';
import { type LinePlot, linePlot } from './line-plot.ts';
import { numberText } from './number-text.ts';
import { page } from './page.ts';
import { phaseBars } from './phase-bars.ts';
import { quantizationFigures } from './quantization-figures.ts';
import { pointsOf, type Series, smooth, smoothing, spread } from './series.ts';
import { summarize } from './summary.ts';

/** A run under the name that the report calls it. */
export interface ReportedRun {
  readonly name: string;
  /** At least one. */
  readonly steps: readonly StepRecord[];
  readonly quantization: readonly QuantizationRecord[];
}

/** Titles and units of the numbers that reports plot, in their order. */
export const plots: readonly (Pick<LinePlot, 'title' | 'yLabel' | 'mayBeLogarithmic'> & {
  readonly of: 'loss' | 'val_loss' | 'lr' | 'grad_norm' | 'tokens_per_s';
})[] = [
  { of: 'loss', title: 'Training loss', yLabel: 'loss (nats per token)' },
  { of: 'val_loss', title: 'Validation loss', yLabel: 'loss (nats per token)' },
  { of: 'lr', title: 'Learning rate', yLabel: 'learning rate' },
  { of: 'grad_norm', title: 'Gradient norm, before clipping', yLabel: 'L2 norm', mayBeLogarithmic: true },
  { of: 'tokens_per_s', title: 'Speed', yLabel: 'tokens per second' },
];

/** A self-contained HTML page. The same records give the same page. */
export function renderRunReport({ name, steps, quantization }: ReportedRun): string {
  return page(`Training run ${name}`, [
    figures(steps),
    html`<h2>Course</h2>
${course(steps)}`,
    ...plots.map(({ of, ...plot }) => linePlot({ ...plot, xLabel: 'step', series: curves(steps, of) })),
    phaseBars([{ label: name, steps }]),
    quantizationFigures(quantization),
  ]);
}

function curves(steps: readonly StepRecord[], of: (typeof plots)[number]['of']): readonly Series[] {
  const points = pointsOf(steps, of);
  if (of !== 'loss') return [{ label: of, points, colour: 0 }];
  return [
    { label: 'loss', points, colour: 0, faint: true },
    { label: `smoothed (moving average, ${smoothing})`, points: smooth(points), colour: 0 },
  ];
}

function figures(steps: readonly StepRecord[]): Html {
  const summary = summarize(steps);
  const { best } = summary;
  const rows: readonly (readonly [string, string])[] = [
    ['steps', numberText(summary.steps, 12)],
    ['tokens', numberText(summary.tokens, 12)],
    ['training loss, last step', numberText(summary.loss)],
    ['validation loss, last', numberText(summary.valLoss)],
    [
      'validation loss, best',
      best === undefined ? '–' : `${numberText(best.valLoss)} (step ${numberText(best.step, 12)})`,
    ],
    ['tokens per second, median', numberText(summary.tokensPerSecond)],
    ['skipped steps (gradient not finite)', numberText(summary.skipped)],
    ['steps whose loss is not finite', numberText(summary.notFiniteLosses)],
  ];
  return html`<table><tbody>${rows.map(
    ([what, value]) => html`<tr><th scope="row">${what}</th><td>${value}</td></tr>
`,
  )}</tbody></table>`;
}

/** Some of the steps, and some of those with an evaluation, as a table. */
function course(steps: readonly StepRecord[]): Html {
  const evaluated = steps.filter(({ val_loss }) => val_loss !== undefined);
  const chosen = new Set([...spread(steps, 12), ...spread(evaluated, 12)]);
  const shown = steps.filter((record) => chosen.has(record));
  const columns = plots.map(({ of }) => of);
  return html`<div class="wide"><table>
<thead><tr><th scope="col">step</th>${columns.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${shown.map(
    (
      record,
    ) => html`<tr><th scope="row">${numberText(record.step, 12)}</th>${columns.map((name) => html`<td>${numberText(record[name])}</td>`)}</tr>
`,
  )}</tbody></table></div>
`;
}
