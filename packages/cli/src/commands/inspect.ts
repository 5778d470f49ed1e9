import { stat } from 'node:fs/promises';
import {
  dtypeBytes,
  findFunction,
  formatType,
  type GraphFunction,
  type Module,
  printFunction,
  printModule,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { type ModuleFile, recipeOf } from '@quaver/sdk/node';
import { Command } from 'commander';
import { openModel } from '../model-file.ts';
import { UsageError } from '../report-error.ts';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import type { Style } from '../terminal/style.ts';
import { formatTable } from '../terminal/table.ts';
import { formatBytes, formatCount } from '../terminal/units.ts';

interface InspectFlags extends OutputFlags {
  readonly text?: true;
  readonly function?: string;
  readonly verify?: true;
}

export function inspectCommand(environment: Environment): Command {
  const command = new Command('inspect')
    .description('Show what is in a module: functions, parameters, state, recipe; or the graph as text.')
    .argument('<model>', 'a .qvr file')
    .option('--text', 'print the whole graph as text')
    .option('--function <name>', 'print one function as text')
    .option('--verify', 'read all tensors and attachments and compare them with the stored sha256 digests');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  quaver inspect model.fp8.qvr
  quaver inspect model.fp8.qvr --function decode
  quaver inspect model.fp8.qvr --verify --json`,
    )
    .action((model: string, flags: InspectFlags) => inspect(new Run(environment, flags), model, flags));
}

async function inspect(run: Run, file: string, flags: InspectFlags): Promise<void> {
  if (flags.text && run.json) throw new UsageError('--text and --json exclude each other');
  await using module = await openModel(run, file);
  const verified = flags.verify ? await verify(run, module) : undefined;
  if (flags.function !== undefined) {
    const fn = requireFunction(module, flags.function);
    run.result({ ...describeFunction(fn, module), text: printFunction(fn) }, () => printFunction(fn));
  } else if (flags.text) run.result({}, () => printModule(module));
  else {
    const { size } = await stat(file);
    const summary = { path: file, bytes: size, ...summarize(module), ...(verified ? { verified } : {}) };
    run.result(summary, () => readable(summary, run.style));
  }
}

/** @throws QuaverError `module-digest` */
async function verify(run: Run, module: ModuleFile) {
  const { checked, unchecked, bytes } = await module.verifyData({
    signal: run.signal,
    onProgress: (progress) => run.progress.update('Checking', progress.bytes, progress.totalBytes),
  });
  run.note(`${checked} tensors and attachments have the bytes that were written (${formatBytes(bytes)}).`);
  return { checked, unchecked, bytes };
}

function requireFunction(module: Module, name: string): GraphFunction {
  const fn = findFunction(module, name);
  if (fn) return fn;
  throw new QuaverError('function-unknown', `module '${module.name}' has no function '${name}'`, {
    hint: `It has: ${module.functions.map((item) => item.name).join(', ')}.`,
    where: { function: name },
  });
}

function describeFunction(fn: GraphFunction, module: Module) {
  const ops = new Map<string, number>();
  for (const { op } of fn.nodes) ops.set(op, (ops.get(op) ?? 0) + 1);
  return {
    name: fn.name,
    phase: module.metadata[`phase.${fn.name}`] ?? null,
    inputs: fn.inputs.map(({ name, type }) => ({ name, type: formatType(type) })),
    outputs: fn.outputs.map(({ name, value }) => ({ name, type: formatType(value.type) })),
    states: fn.updates.length,
    nodes: fn.nodes.length,
    ops: Object.fromEntries([...ops].sort(([, a], [, b]) => b - a)),
  };
}

function summarize(module: ModuleFile) {
  const byDType = new Map<string, { tensors: number; elements: number; bytes: number }>();
  for (const { type } of module.parameters) {
    const elements = type.shape.reduce((product, dim) => product * dim, 1);
    const known = byDType.get(type.dtype) ?? { tensors: 0, elements: 0, bytes: 0 };
    byDType.set(type.dtype, {
      tensors: known.tensors + 1,
      elements: known.elements + elements,
      bytes: known.bytes + elements * dtypeBytes[type.dtype],
    });
  }
  const states = new Map<string, number>();
  for (const { type } of module.states) states.set(formatType(type), (states.get(formatType(type)) ?? 0) + 1);
  return {
    name: module.name,
    format_version: module.info.formatVersion,
    producer: module.info.producer,
    recipe: recipeOf(module)?.name ?? null,
    symbols: module.symbols.map(({ name, min, max, multiple }) => ({
      name,
      min,
      max: Number.isFinite(max) ? max : null,
      multiple,
    })),
    functions: module.functions.map((fn) => describeFunction(fn, module)),
    parameters: [...byDType].map(([dtype, counts]) => ({ dtype, ...counts })),
    states: [...states].map(([type, count]) => ({ type, count })),
    attachments: [...module.attachments].map(([name, { byteLength }]) => ({ name, bytes: byteLength })),
    metadata: module.metadata,
  };
}

type Summary = ReturnType<typeof summarize> & { readonly path: string; readonly bytes: number };

function readable(summary: Summary, style: Style): string {
  const { name, recipe, bytes, functions, parameters, states, attachments, symbols, metadata } = summary;
  const heading = (text: string) => style('bold', text);
  const signature = (items: readonly { readonly name: string; readonly type: string }[]) =>
    items.map((item) => `${item.name}: ${item.type}`).join(', ');
  const sections = [
    [
      `${heading(name)}  ${formatBytes(bytes)}, ${recipe === null ? 'not compiled' : `recipe ${recipe}`}`,
      `${metadata['model.family'] ?? 'unknown family'}, ${metadata['model.layers'] ?? '?'} layers, vocabulary ` +
        `${metadata['model.vocab_size'] ?? '?'}, context ${metadata['model.context'] ?? '?'}; ` +
        symbols.map((symbol) => `${symbol.name} from ${symbol.min} to ${symbol.max ?? 'any'}`).join(', '),
    ].join('\n'),
    [
      heading('Functions'),
      ...functions.map(
        (fn) =>
          `  ${style('cyan', fn.name)}(${signature(fn.inputs)}) → ${signature(fn.outputs)}\n` +
          `      ${formatCount(fn.nodes)} nodes, ${fn.states === 0 ? 'no state' : `updates ${fn.states} states`}` +
          (fn.phase === null ? '' : `, phase ${fn.phase}`),
      ),
    ].join('\n'),
    `${heading('Parameters')}\n${indented(
      formatTable(
        ['dtype', 'tensors', 'elements', 'bytes'],
        parameters.map((row) => [row.dtype, row.tensors, formatCount(row.elements), formatBytes(row.bytes)]),
        [1, 2, 3],
      ),
    )}`,
    states.length === 0
      ? ''
      : `${heading('State')}\n${states.map(({ type, count }) => `  ${count} × ${type}`).join('\n')}`,
    attachments.length === 0
      ? ''
      : `${heading('Attachments')}\n${attachments.map((item) => `  ${item.name} (${formatBytes(item.bytes)})`).join('\n')}`,
  ];
  return sections.filter((text) => text !== '').join('\n\n');
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
