/** @file How the time of runs is shared among the phases of a step: a bar a run, and the same as a table. */
import type { StepRecord } from '../metrics/records.ts';
import { type Html, html } from './html.ts';
import { numberText, percentText } from './number-text.ts';

interface PhaseTimes {
  readonly label: string;
  readonly steps: readonly StepRecord[];
}

const width = 760;
const barHeight = 26;

/** A figure; `undefined` where no time was measured. */
export function phaseBars(runs: readonly PhaseTimes[]): Html | undefined {
  const totals = runs.map(({ label, steps }) => ({ label, seconds: sumPhases(steps) }));
  const phases = [...new Set(totals.flatMap(({ seconds }) => [...seconds.keys()]))];
  if (phases.length === 0) return undefined;
  const bars = totals.map(({ label, seconds }) => {
    const total = [...seconds.values()].reduce((sum, value) => sum + value, 0);
    return { label, total, shares: phases.map((phase) => (seconds.get(phase) ?? 0) / total) };
  });
  const described = bars.map(
    ({ label, shares }) => `${label}: ${phases.map((phase, i) => `${phase} ${percentText(shares[i])}`).join(', ')}`,
  );
  return html`<figure>
<figcaption>Share of time per phase</figcaption>
<svg viewBox="0 0 ${width} ${bars.length * (barHeight + 6)}" role="img" aria-label="Share of time per phase. ${described.join('. ')}">
${bars.map(({ label, shares }, row) => bar(label, shares, phases, row * (barHeight + 6)))}
</svg>
<div class="wide"><table>
<thead><tr><th scope="col">run</th><th scope="col">seconds</th>${phases.map(
    (phase, i) => html`<th scope="col"><span class="swatch b${i % 7}"></span> ${phase}</th>`,
  )}</tr></thead>
<tbody>${bars.map(
    ({
      label,
      total,
      shares,
    }) => html`<tr><th scope="row"><bdi>${label}</bdi></th><td>${numberText(total)}</td>${shares.map(
      (share) => html`<td>${percentText(share)}</td>`,
    )}</tr>
`,
  )}</tbody></table></div>
</figure>
`;
}

function bar(label: string, shares: readonly number[], phases: readonly string[], top: number): Html {
  let left = 0;
  return html`${shares.map((share, i) => {
    const x = left * width;
    left += share;
    return html`<rect class="b${i % 7}" x="${x.toFixed(1)}" y="${top}" width="${(share * width).toFixed(1)}" height="${barHeight}"><title>${label}, ${phases[i]}: ${percentText(share)}</title></rect>`;
  })}
`;
}

function sumPhases(steps: readonly StepRecord[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const { seconds } of steps) {
    for (const [phase, value] of Object.entries(seconds)) {
      if (value > 0 && Number.isFinite(value)) sums.set(phase, (sums.get(phase) ?? 0) + value);
    }
  }
  return sums;
}
