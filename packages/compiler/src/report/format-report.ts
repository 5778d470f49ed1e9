import type { CompileReport, LinearReport } from './report.ts';

/** The report as text: a few lines, then tables. Layers that are alike in every shown figure are not merged. */
export function formatReport(report: CompileReport): string {
  const sections = [
    summary(report),
    section('Linear layers', linearTable(report.linears)),
    section('Attention', groupByPrecision(report.attention)),
    section(
      'Kept in high precision',
      report.kept.map(({ location, role, precision, rule }) => [location, role, precision, `rule: ${rule}`]),
      ['location', 'role', 'precision', 'why'],
    ),
    section(
      'Not lowered',
      report.not_lowered.map(({ location, op, code, reason, hint }) => [location, op, code, `${reason}. ${hint}`]),
      ['location', 'op', 'code', 'reason and hint'],
    ),
    section(
      'Target',
      report.assignments.map((row) => [row.function, row.op, String(row.nodes), row.answer, row.reason]),
      ['function', 'op', 'nodes', 'answer', 'reason'],
    ),
    section(
      'Passes',
      report.passes.map((pass) => [pass.name, pass.ms.toFixed(1), String(pass.nodes_before), String(pass.nodes_after)]),
      ['pass', 'ms', 'nodes before', 'nodes after'],
    ),
  ];
  return `${sections.filter((text) => text !== '').join('\n\n')}\n`;
}

function summary(report: CompileReport): string {
  const { bytes, fp8_weights: weights, linear_weights: linear } = report;
  const lines = [
    `recipe ${report.recipe}; ${counts(report.linears)}, ${report.kept.length} kept, ${report.not_lowered.length} not lowered`,
    `row-invariant: ${report.rowInvariant ? 'yes' : 'no'} (${report.row_invariance})`,
    `parameters: ${megabytes(bytes.before.total)} before, ${megabytes(bytes.after.total)} after (${dtypeShares(report)})`,
  ];
  if (weights) {
    const { count, ratio } = weights;
    lines.push(
      `FP8 weights: ${count} tensors, ${megabytes(weights.bytes)} with scales, ${ratio.toFixed(3)} of their BF16 size`,
    );
  }
  if (linear) lines.push(`linear weights: ${linear.count} tensors, ${linear.ratio.toFixed(3)} of their BF16 size`);
  return lines.join('\n');
}

function counts(linears: readonly LinearReport[]): string {
  const layers = linears.filter(({ product }) => product === 'fprop').length;
  const gradients = linears.length - layers;
  return `${layers} linear layers${gradients === 0 ? '' : ` and ${gradients} of their gradient products`}`;
}

function dtypeShares({ bytes }: CompileReport): string {
  return Object.entries(bytes.after.by_dtype)
    .map(([dtype, count]) => `${dtype} ${megabytes(count)}`)
    .join(', ');
}

function megabytes(bytes: number): string {
  return bytes < 1e5 ? `${bytes} B` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function linearTable(linears: readonly LinearReport[]): readonly (readonly string[])[] {
  if (linears.length === 0) return [];
  // Without gradients there is one product of each layer, which needs no name.
  const named = linears.some(({ product }) => product !== 'fprop');
  const label = (product: string) => (named ? [product] : []);
  const header = [
    'location',
    ...label('product'),
    'precision',
    'input',
    'amax',
    'scale',
    'saturated',
    'underflow',
    'SNR',
  ];
  const rows = linears.map(({ location, product, precision, input_scale, statistics: s }) => [
    location,
    ...label(product),
    precision,
    input_scale,
    ...(s
      ? [
          s.amax.toPrecision(3),
          `${s.scale_min.toExponential(1)} to ${s.scale_max.toExponential(1)}`,
          `${s.saturated_percent.toFixed(2)} %`,
          `${s.underflow_percent.toFixed(2)} %`,
          `${s.snr_db.toFixed(1)} dB${s.non_finite > 0 ? `, ${s.non_finite} not finite` : ''}`,
        ]
      : []),
  ]);
  return [header, ...rows];
}

function groupByPrecision(attention: CompileReport['attention']): readonly (readonly string[])[] {
  const nodes = new Map<string, number>();
  for (const { role, precision, functions } of attention) {
    const key = `${role === 'attention' ? '' : 'gradient: '}${precision}\n${functions.join(', ')}`;
    nodes.set(key, (nodes.get(key) ?? 0) + 1);
  }
  return [...nodes].map(([key, count]) => [`${count} nodes`, ...key.split('\n')]);
}

/** A title and rows in aligned columns; nothing when there are no rows. */
function section(title: string, rows: readonly (readonly string[])[], header?: readonly string[]): string {
  if (rows.length === 0) return '';
  const all = header ? [header, ...rows] : rows;
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines.map((line) => `  ${line}`)].join('\n');
}
