/** @file What FP8 did to the tensors of a run. */
import type { QuantizationRecord } from '../metrics/records.ts';
import { type Html, html } from './html.ts';
import { linePlot } from './line-plot.ts';
import { numberText, percentText } from './number-text.ts';
import type { Point } from './series.ts';

type Effect = 'saturated' | 'underflow';

/** What the two effects are called, and what their plots show. */
export const effects: readonly (readonly [effect: Effect, title: string])[] = [
  ['saturated', 'Saturation: elements clipped to the largest value of the format'],
  ['underflow', 'Underflow: elements that became zero'],
];

const mostCurves = 7;
const mostRows = 50;

interface TensorRecords {
  readonly tensor: string;
  readonly records: readonly QuantizationRecord[];
  readonly saturated: number;
  readonly underflow: number;
}

/** Table and plots by tensor, those with the largest shares first; `undefined` for a run without quantization. */
export function quantizationFigures(records: readonly QuantizationRecord[]): Html | undefined {
  if (records.length === 0) return undefined;
  const tensors = byTensor(records);
  const listed = worst(tensors, 'saturated', 'underflow').slice(0, mostRows);
  const rest =
    tensors.length > listed.length
      ? html`<p>The ${listed.length} of ${tensors.length} tensors with the largest shares.</p>`
      : undefined;
  return html`<h2>Quantization</h2>
${rest}<div class="wide"><table>
<thead><tr><th scope="col">tensor</th><th scope="col">amax, last</th><th scope="col">saturated, most</th><th scope="col">underflow, most</th></tr></thead>
<tbody>${listed.map(
    ({
      tensor,
      records,
      saturated,
      underflow,
    }) => html`<tr><th scope="row"><bdi>${tensor}</bdi></th><td>${numberText(records.at(-1)!.amax)}</td><td>${percentText(saturated)}</td><td>${percentText(underflow)}</td></tr>
`,
  )}</tbody></table></div>
${effects.map(([effect, title]) => plotOf(tensors, effect, title))}`;
}

function plotOf(tensors: readonly TensorRecords[], effect: Effect, title: string): Html | undefined {
  const shown = worst(tensors, effect).slice(0, mostCurves);
  const which = tensors.length > shown.length ? ` (the ${shown.length} tensors with most)` : '';
  return linePlot({
    title: `${title}${which}`,
    xLabel: 'step',
    yLabel: 'share of elements (%)',
    series: shown.map(({ tensor, records }, colour) => ({
      label: tensor,
      colour,
      points: records.map((record) => ({ x: record.step, y: record[effect] * 100 })),
    })),
  });
}

/** The largest share among the tensors in every step that was measured, in percent. */
export function largestShares(records: readonly QuantizationRecord[], effect: Effect): readonly Point[] {
  const shares = new Map<number, number>();
  for (const record of records) shares.set(record.step, Math.max(shares.get(record.step) ?? 0, record[effect]));
  return [...shares].map(([x, share]) => ({ x, y: share * 100 }));
}

function byTensor(records: readonly QuantizationRecord[]): readonly TensorRecords[] {
  const groups = new Map<string, QuantizationRecord[]>();
  for (const record of records) {
    const group = groups.get(record.tensor);
    if (group === undefined) groups.set(record.tensor, [record]);
    else group.push(record);
  }
  return [...groups].map(([tensor, records]) => ({
    tensor,
    records,
    saturated: largest(records, 'saturated'),
    underflow: largest(records, 'underflow'),
  }));
}

function largest(records: readonly QuantizationRecord[], effect: Effect): number {
  return records.reduce((most, record) => Math.max(most, record[effect]), 0);
}

function worst(tensors: readonly TensorRecords[], ...by: readonly Effect[]): readonly TensorRecords[] {
  const shares = (tensor: TensorRecords) => by.reduce((sum, effect) => sum + tensor[effect], 0);
  return [...tensors].sort((a, b) => shares(b) - shares(a));
}
