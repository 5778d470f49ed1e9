/** @file The report that compares runs, all with the first. */
import { type Html, html } from './html.ts';
import { linePlot } from './line-plot.ts';
import { differenceText, numberText } from './number-text.ts';
import { page } from './page.ts';
import { phaseBars } from './phase-bars.ts';
import { effects, largestShares } from './quantization-figures.ts';
import { plots, type ReportedRun } from './run-report.ts';
import { pointsOf, smooth } from './series.ts';
import { type RunSummary, summarize } from './summary.ts';

/** A run beside the first one. Differences are shares of the first run's value: 0.01 is one percent more. */
export interface ComparedRun extends RunSummary {
  readonly name: string;
  readonly lossDifference: number | undefined;
  readonly valLossDifference: number | undefined;
}

/** @param runs at least one */
export function compareRuns(runs: readonly ReportedRun[]): readonly ComparedRun[] {
  const summaries = runs.map(({ name, steps }) => ({ name, ...summarize(steps) }));
  const first = summaries[0]!;
  return summaries.map((summary) => ({
    ...summary,
    lossDifference: relative(summary.loss, first.loss),
    valLossDifference: relative(summary.valLoss, first.valLoss),
  }));
}

function relative(value: number | undefined, base: number | undefined): number | undefined {
  if (value === undefined || base === undefined) return undefined;
  return value === base ? 0 : (value - base) / Math.abs(base);
}

/** A self-contained HTML page. @param runs at least one */
export function renderComparison(runs: readonly ReportedRun[]): string {
  const colours = runs.map((run, colour) => ({ ...run, colour }));
  return page(`Comparison of ${runs.length} training runs`, [
    table(compareRuns(runs)),
    ...plots.map(({ of, title, ...plot }) =>
      linePlot({
        ...plot,
        title: of === 'loss' ? `${title}, smoothed` : title,
        xLabel: 'step',
        series: colours.map(({ name: label, steps, colour }) => {
          const points = pointsOf(steps, of);
          return { label, colour, points: of === 'loss' ? smooth(points) : points };
        }),
      }),
    ),
    ...effects.map(([effect, title]) =>
      linePlot({
        title: `${title} (of each run the tensor with most)`,
        xLabel: 'step',
        yLabel: 'share of elements (%)',
        series: colours
          .filter(({ quantization }) => quantization.length > 0)
          .map(({ name: label, quantization, colour }) => ({
            label,
            colour,
            points: largestShares(quantization, effect),
          })),
      }),
    ),
    phaseBars(runs.map(({ name: label, steps }) => ({ label, steps }))),
  ]);
}

function table(runs: readonly ComparedRun[]): Html {
  const heads = ['run', 'steps', 'final loss', 'to first', 'final val_loss', 'to first', 'best val_loss', 'tokens/s'];
  return html`<div class="wide"><table>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${runs.map(
    (
      run,
      i,
    ) => html`<tr><th scope="row"><bdi>${run.name}</bdi></th><td>${numberText(run.steps, 12)}</td><td>${numberText(run.loss)}</td><td>${i === 0 ? '–' : differenceText(run.lossDifference)}</td><td>${numberText(run.valLoss)}</td><td>${i === 0 ? '–' : differenceText(run.valLossDifference)}</td><td>${numberText(run.best?.valLoss)}</td><td>${numberText(run.tokensPerSecond)}</td></tr>
`,
  )}</tbody></table></div>
<p>“To first” is the relative difference to the first run; tokens/s is the median over the steps.</p>`;
}
