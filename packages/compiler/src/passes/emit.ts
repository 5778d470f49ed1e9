import { type Module, memoryData, type Parameter, updatedNames } from '@quaver/ir';
import { bytesOf, FoldedData } from '../folding/folded-data.ts';
import { weightStatistics } from '../folding/weight-statistics.ts';
import { dropUnusedTensors } from '../graph/edit-module.ts';
import type { Pass, PassContext } from '../pass.ts';

/** Folded weights up to this many bytes stay in memory once they are evaluated; more are evaluated again when read. */
const KEPT_BYTES = 1024 ** 3;

/** How long the pass works, in milliseconds, before it lets timers and signals run. */
const TURN_MS = 50;

export const emit: Pass = emitKeeping(KEPT_BYTES);

/** The pass with another limit on what stays in memory. */
export function emitKeeping(keptBytes: number): Pass {
  return {
    name: 'emit',
    description:
      'Evaluates folded weights one after another, measures what quantizing them cost, and drops unused tensors.',
    run: (module, context) => emitModule(module, keptBytes, context),
  };
}

async function emitModule(module: Module, keptBytes: number, context: PassContext): Promise<Module> {
  const used = dropUnusedTensors(module);
  // What a function computes anew is not needed as bytes in the file.
  const computed = new Set(used.functions.flatMap((fn) => [...updatedNames(fn, 'parameter')]));
  const folded = used.parameters.filter(({ name, data }) => data instanceof FoldedData && !computed.has(name));
  if (folded.length === 0) return used;
  const bytes = folded.reduce((total, { data }) => total + data!.byteLength, 0);
  const evaluated = await evaluateAll(folded, bytes <= keptBytes, context);
  return {
    ...used,
    parameters: used.parameters.map((parameter) => evaluated.get(parameter) ?? parameter),
  } satisfies Module;
}

async function evaluateAll(
  folded: readonly Parameter[],
  keep: boolean,
  { signal, onProgress, weightStatistics: statistics }: PassContext,
): Promise<Map<Parameter, Parameter>> {
  const evaluated = new Map<Parameter, Parameter>();
  let turn = performance.now();
  for (const [done, parameter] of folded.entries()) {
    onProgress?.({ type: 'weights', name: parameter.name, done, total: folded.length });
    if (performance.now() - turn > TURN_MS) {
      await nextTask();
      turn = performance.now();
    }
    signal?.throwIfAborted();
    const bytes = await evaluateOne(parameter, keep, statistics, signal);
    if (keep) evaluated.set(parameter, { ...parameter, data: memoryData(bytes) });
  }
  onProgress?.({ type: 'weights', name: '', done: folded.length, total: folded.length });
  return evaluated;
}

async function evaluateOne(
  { name, data }: Parameter,
  keep: boolean,
  statistics: PassContext['weightStatistics'],
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const { expression, tensors } = data as FoldedData;
  if (expression.op.name !== 'quantize') return keep ? data!.read(signal) : new Uint8Array(0);
  const evaluation = await tensors.evaluate(expression, signal);
  const measured = weightStatistics(expression, evaluation);
  if (measured) statistics.set(name, measured);
  return bytesOf(evaluation.get(expression)!);
}

function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
