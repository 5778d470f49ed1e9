import { GraphBuilder, type HostTensor, interpretFunction, type Module } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import { builtInRecipes, compile, type RecipeOptions, withOptions } from '../src/index.ts';
import { runModule, zeroStates } from './fixtures/run-module.ts';
import { floatTensor, intTensor, shape, smallLlama } from './fixtures/small-llama.ts';

const tokens = [3, 17, 9, 0, 39, 21, 5, 11];
const neighbours = [8, 8, 30, 2, 14, 33, 1, 6];

/** Logits of the first row after each of its tokens, decoded one at a time. */
async function decodeLogits(module: Module, rows: readonly (readonly number[])[]): Promise<Float32Array[]> {
  let states = withHistories(zeroStates(module, 'decode', { B: rows.length, C: 12 }));
  const logits: Float32Array[] = [];
  for (let step = 0; step < rows[0]!.length; step++) {
    const inputs = {
      tokens: intTensor(
        [rows.length, 1],
        rows.map((row) => row[step]!),
      ),
      position: intTensor(
        [rows.length],
        rows.map(() => step),
      ),
    };
    const result = await runModule(module, 'decode', inputs, states);
    states = { ...states, ...result.states };
    logits.push((result.outputs.logits!.data as Float32Array).slice(0, shape.vocabulary));
  }
  return logits;
}

/** A history as training leaves it, so that delayed scales are not all 1. */
function withHistories(states: Record<string, HostTensor>): Record<string, HostTensor> {
  const filled = Object.entries(states).map(([name, tensor]) => {
    if (!name.endsWith('_amax_history')) return [name, tensor] as const;
    return [name, floatTensor(tensor.type.shape, new Float32Array(tensor.data.length).fill(37))] as const;
  });
  return Object.fromEntries(filled);
}

async function prefillLogits(
  module: Module,
  rows: readonly (readonly number[])[],
  chunk: number,
): Promise<Float32Array[]> {
  let states = withHistories(zeroStates(module, 'prefill', { B: rows.length, C: 12 }));
  const logits: Float32Array[] = [];
  for (let from = 0; from < rows[0]!.length; from += chunk) {
    const parts = rows.map((row) => row.slice(from, from + chunk));
    const inputs = {
      tokens: intTensor([rows.length, parts[0]!.length], parts.flat()),
      position: intTensor(
        [rows.length],
        rows.map(() => from),
      ),
    };
    const result = await runModule(module, 'prefill', inputs, states);
    states = { ...states, ...result.states };
    const data = result.outputs.logits!.data as Float32Array;
    for (let t = 0; t < parts[0]!.length; t++)
      logits.push(data.slice(t * shape.vocabulary, (t + 1) * shape.vocabulary));
  }
  return logits;
}

/** Log-probabilities of row[1…] from the whole sequence at once, without a cache. */
async function trainingLogprobs(module: Module, row: readonly number[]): Promise<number[]> {
  const targets = [...row.slice(1), 0];
  const inputs = { tokens: intTensor([1, row.length], row), targets: intTensor([1, row.length], targets) };
  const { outputs } = await runModule(module, 'logprobs', inputs, withHistories(zeroStates(module, 'logprobs', {})));
  return Array.from(outputs.logprobs!.data);
}

/** The log-probability of a target from logits that a generating function gave, by the op that `logprobs` ends in. */
function logprobOf(logits: Float32Array, target: number): number {
  const g = new GraphBuilder('logprob');
  const x = g.input('x', 'f32', [1, shape.vocabulary]);
  g.output('y', g.op('log_softmax_gather', [x, g.input('target', 'i32', [1])]));
  const inputs = { x: floatTensor([1, shape.vocabulary], logits), target: intTensor([1], [target]) };
  return interpretFunction(g.finish(), { inputs }).outputs.y!.data[0]!;
}

const cases: [recipe: string, options: RecipeOptions][] = [
  ...[...builtInRecipes.keys()]
    .filter((name) => name !== 'fp8-tensor' && name !== 'fp8-generate-only')
    .map((name): [string, RecipeOptions] => [name, {}]),
  ['fp8-block', { kvCache: 'fp8' }],
  ['fp8-block', { attention: 'fp8' }],
  ['mxfp8', { kvCache: 'fp8', lmHead: 'fp8' }],
];

describe('decode, prefill in any chunks, any batch, and logprobs: the same bits', () => {
  for (const [name, options] of cases) {
    it(withOptions(name, options).name, async () => {
      const { module, report } = await compile(smallLlama(), { recipe: withOptions(name, options), strict: true });
      expect(report.rowInvariant).toBe(true);
      const alone = await decodeLogits(module, [tokens]);
      expect(await decodeLogits(module, [tokens, neighbours, neighbours])).toEqual(alone);
      expect(await prefillLogits(module, [tokens], tokens.length)).toEqual(alone);
      expect(await prefillLogits(module, [tokens, neighbours], 3)).toEqual(alone);
      const training = await trainingLogprobs(module, tokens);
      expect(training.slice(0, -1)).toEqual(tokens.slice(1).map((target, t) => logprobOf(alone[t]!, target)));
      expect(alone.some((row) => row.some((x) => x !== 0 && Number.isFinite(x)))).toBe(true);
    });
  }
});

describe('where the same bits are not promised', () => {
  it('fp8-tensor: a neighbour with large activations changes a row, as the report says', async () => {
    const { module, report } = await compile(smallLlama(), { recipe: 'fp8-tensor' });
    expect(report).toMatchObject({ rowInvariant: false, row_invariance: expect.stringContaining('per tensor') });
    const alone = await decodeLogits(module, [tokens]);
    expect(await decodeLogits(module, [tokens, neighbours])).not.toEqual(alone);
  });

  it('fp8-generate-only: training sees other numbers than generation', async () => {
    const { module } = await compile(smallLlama(), { recipe: 'fp8-generate-only' });
    const generated = await decodeLogits(module, [tokens]);
    const training = await trainingLogprobs(module, tokens);
    const differences = training.slice(0, -1).map((p, t) => Math.abs(p - logprobOf(generated[t]!, tokens[t + 1]!)));
    expect(Math.max(...differences)).toBeGreaterThan(1e-3);
  });
});
