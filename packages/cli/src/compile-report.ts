/** @file The FP8 report in short: layers that are alike in all but their number share a line. */
import type { CompileReport } from '@quaver/compiler';
import type { Style } from './terminal/style.ts';
import { formatTable } from './terminal/table.ts';
import { formatBytes, formatDuration } from './terminal/units.ts';

type LinearReport = CompileReport['linears'][number];

export function shortReport(report: CompileReport, style: Style): string {
  const {
    bytes,
    fp8_weights: weights,
    linear_weights: linear,
    linears,
    attention,
    kept,
    not_lowered: refused,
  } = report;
  const sections = [
    [
      `${style('bold', report.recipe)}: ${linears.length} linear layers, ${kept.length} kept in high precision, ${refused.length} not lowered`,
      `row-invariant: ${report.rowInvariant ? 'yes' : 'no'} (${report.row_invariance})`,
      `parameters: ${formatBytes(bytes.before.total)} before, ${formatBytes(bytes.after.total)} after`,
      ...(weights
        ? [
            `FP8 weights: ${weights.count}, ${formatBytes(weights.bytes)} with scales, ${weights.ratio.toFixed(3)} of their BF16 size`,
          ]
        : []),
      ...(linear ? [`linear weights, those kept included: ${linear.ratio.toFixed(3)} of their BF16 size`] : []),
    ].join('\n'),
    linearTable(linears),
    attentionLines(attention),
    keptLines(kept),
    refused
      .map(({ location, op, code, reason, hint }) => {
        const title = style('yellow', `not lowered [${code}]:`);
        return `${title} ${op} at ${location}: ${reason}. ${hint}`;
      })
      .join('\n'),
  ];
  return sections.filter((text) => text !== '').join('\n\n');
}

function linearTable(linears: readonly LinearReport[]): string {
  const groups = grouped(linears, ({ location, precision, functions }) =>
    [anyLayer(location), precision, functions.join(' ')].join('\n'),
  );
  if (groups.length === 0) return '';
  const rows = groups.map((group) => {
    const { location, precision, functions } = group[0]!;
    return [anyLayer(location), group.length, precision, functions.join(' '), ...statisticsCells(group)];
  });
  const head = ['linear layers', 'count', 'precision (input x weight)', 'in', 'amax', 'saturated', 'underflow', 'SNR'];
  return formatTable(head, rows, [1, 4, 5, 6, 7]);
}

/** Of the weights: the largest amax, the largest shares, the range of SNR. Codes that came with the model were not measured. */
function statisticsCells(group: readonly LinearReport[]): string[] {
  const all = group.flatMap(({ statistics }) => (statistics ? [statistics] : []));
  if (all.length === 0) return Array(4).fill('–');
  const most = (values: readonly number[]) => Math.max(...values);
  const snr = all.map(({ snr_db }) => snr_db);
  const [low, high] = [Math.min(...snr).toFixed(1), most(snr).toFixed(1)];
  return [
    most(all.map(({ amax }) => amax)).toPrecision(3),
    `${most(all.map(({ saturated_percent }) => saturated_percent)).toFixed(2)} %`,
    `${most(all.map(({ underflow_percent }) => underflow_percent)).toFixed(2)} %`,
    low === high ? `${low} dB` : `${low}–${high} dB`,
  ];
}

function attentionLines(attention: CompileReport['attention']): string {
  const groups = grouped(attention, ({ precision, functions }) => `${precision} in ${functions.join(' ')}`);
  return groups
    .map((group) => `attention: ${group[0]!.precision}, ${group.length} nodes in ${group[0]!.functions.join(' ')}`)
    .join('\n');
}

function keptLines(kept: CompileReport['kept']): string {
  const groups = grouped(kept, ({ location, precision, rule }) => [anyLayer(location), precision, rule].join('\n'));
  return groups
    .map((group) => {
      const { location, precision, rule } = group[0]!;
      const place = group.length === 1 ? location : `${anyLayer(location)} (${group.length})`;
      return `kept: ${place} in ${precision} (rule: ${rule})`;
    })
    .join('\n');
}

function anyLayer(location: string): string {
  return location.replaceAll(/(^|\.)\d+(?=\.|$)/g, '$1*');
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups.values()];
}

/** Phases of a compile, with the passes that took longest. */
export function timeLine(phases: Readonly<Record<string, number>>, report: CompileReport): string {
  const total = Object.values(phases).reduce((sum, milliseconds) => sum + milliseconds, 0);
  const parts = Object.entries(phases).map(([name, milliseconds]) => `${name} ${formatDuration(milliseconds)}`);
  const slowest = report.passes
    .toSorted((a, b) => b.ms - a.ms)
    .slice(0, 3)
    .map(({ name, ms }) => `${name} ${formatDuration(ms)}`);
  return `time: ${formatDuration(total)} (${parts.join(', ')}; slowest passes: ${slowest.join(', ')})`;
}
