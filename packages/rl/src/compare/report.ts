/** @file The report over runs of several recipes: one table, and a plot of every number over the steps. */
import {
  type Html,
  html,
  type LinePlot,
  linePlot,
  numberText,
  page,
  percentText,
  phaseBars,
  smooth,
} from '@quaver/train';
import type { RlRecord } from '../loop/records.ts';
import { type Roofline, rooflineText } from '../roofline/roofline.ts';
import type { RlRow } from './rows.ts';

export interface ReportedRl {
  readonly row: RlRow;
  /** At least one. */
  readonly records: readonly RlRecord[];
  readonly roofline: Roofline;
  /** See `Policy.memoryBytes`. */
  readonly memoryBytes: number;
}

interface RlPlot extends Pick<LinePlot, 'title' | 'yLabel' | 'mayBeLogarithmic'> {
  readonly of: keyof RlRecord & string;
  readonly smoothed?: boolean;
}

const plots: readonly RlPlot[] = [
  { of: 'reward', title: 'Reward, smoothed', yLabel: 'mean of a step', smoothed: true },
  { of: 'heldout_accuracy', title: 'Accuracy on held-out problems', yLabel: 'share right' },
  { of: 'token_mult_prob_error', title: 'Token multiplicative probability error', yLabel: '1 is perfect' },
  { of: 'gen_kl_error', title: 'KL error of generation', yLabel: 'nats', mayBeLogarithmic: true },
  { of: 'policy_kl_error', title: 'KL error of the policy', yLabel: 'nats', mayBeLogarithmic: true },
  { of: 'js_divergence_error', title: 'Jensen–Shannon error', yLabel: 'nats', mayBeLogarithmic: true },
  { of: 'mismatched_tokens', title: 'Mismatched tokens', yLabel: 'in a step' },
  {
    of: 'max_abs_logprob_diff',
    title: 'Largest difference of log-probabilities',
    yLabel: 'nats',
    mayBeLogarithmic: true,
  },
  { of: 'entropy', title: 'Entropy, estimated from the samples', yLabel: 'nats per token', smoothed: true },
  { of: 'response_tokens', title: 'Length of responses', yLabel: 'tokens', smoothed: true },
  { of: 'rollout_tokens_per_s', title: 'Speed of generation', yLabel: 'tokens per second' },
  { of: 'train_tokens_per_s', title: 'Speed of training', yLabel: 'tokens per second' },
];

/** A self-contained HTML page. The same records give the same page. @param runs at least one */
export function renderRlComparison(runs: readonly ReportedRl[]): string {
  const labels = runs.map(({ row }) => labelOf(row));
  const title = runs.length === 1 ? labels[0]! : `${runs.length} runs`;
  return page(`Reinforcement learning: ${title}`, [
    table(runs),
    rooflines(runs),
    ...plots.map(({ of, smoothed, ...plot }) =>
      linePlot({
        ...plot,
        xLabel: 'step',
        series: runs.map(({ records }, colour) => {
          const points = records.flatMap((record) => {
            const y = record[of];
            return typeof y === 'number' ? [{ x: record.step, y }] : [];
          });
          return { label: labels[colour]!, colour, points: smoothed ? smooth(points) : points };
        }),
      }),
    ),
    phaseBars(runs.map(({ records: steps }, i) => ({ label: labels[i]!, steps }))),
  ]);
}

function labelOf({ recipe, mode, seed }: RlRow): string {
  return `${recipe}, ${mode}, seed ${seed}`;
}

const heads = [
  ...['recipe', 'mode', 'seed', 'tokens', 'token_mult_prob_error', 'gen_kl_error', 'mismatched tokens', 'of'],
  ...[
    'held-out accuracy',
    'reward',
    's per step',
    'rollout tokens/s',
    'train tokens/s',
    'bytes per parameter',
    'memory, MB',
  ],
];

function table(runs: readonly ReportedRl[]): Html {
  return html`<div class="wide"><table>
<thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${runs.map(
    (run) => html`<tr><th scope="row">${run.row.recipe}</th>${cells(run).map((cell) => html`<td>${cell}</td>`)}</tr>
`,
  )}</tbody></table></div>
<p>token_mult_prob_error is the mean of exp(|log p of generation − log p of training|) over the tokens that were learned from: 1 is perfect.
Speeds and seconds are medians over the steps, the reward is the mean of the last fifth of them.</p>
`;
}

function rooflines(runs: readonly ReportedRl[]): Html {
  return html`${runs.map(({ row, roofline }) => html`<p>${labelOf(row)}. ${rooflineText(roofline)}</p>\n`)}`;
}

function cells({ row, memoryBytes }: ReportedRl): readonly (string | number)[] {
  const share = row.heldout_accuracy === null ? undefined : row.heldout_accuracy;
  return [
    ...[row.mode, row.seed, numberText(row.tokens, 12), numberText(row.token_mult_prob_error ?? undefined, 7)],
    ...[numberText(row.gen_kl_error ?? undefined), numberText(row.mismatched_tokens, 12)],
    ...[numberText(row.compared_tokens, 12), percentText(share)],
    ...[numberText(row.reward), numberText(row.step_seconds, 3), numberText(row.rollout_tokens_per_s, 4)],
    ...[numberText(row.train_tokens_per_s, 4), numberText(row.bytes_per_parameter, 3)],
    ...[numberText(memoryBytes / 1e6, 4)],
  ];
}
