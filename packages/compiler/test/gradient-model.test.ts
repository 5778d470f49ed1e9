/** @file Gradients of a whole decoder in every recipe: near those in f32, with the forward pass that `logprobs` has alone. */
import { findFunction, type HostTensor, type Module, type Node, verifyModule } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import { builtInRecipes, compile, withKvCache, withOptions } from '../src/index.ts';
import { llamaGradientModule } from './fixtures/gradient-modules.ts';
import { firstDifference, runModule } from './fixtures/run-module.ts';
import { floatTensor, intTensor, randomNumbers, shape } from './fixtures/small-llama.ts';

const [rows, columns] = [3, 14];
const ids = (seed: number) => {
  const numbers = randomNumbers(rows * columns, seed);
  return intTensor(
    [rows, columns],
    [...numbers].map((x) => Math.floor(((x + 1) / 2) * shape.vocabulary)),
  );
};
const inputs = { tokens: ids(5), targets: ids(11) };
const source = await llamaGradientModule({ dtype: 'f32', tied: false });
const exact = (await runModule((await compile(source, { recipe: 'f32' })).module, 'loss', inputs)).outputs;

/** 10 · log10 of signal over noise, of whole tensors. */
function snr(found: HostTensor, expected: HostTensor): number {
  let [noise, signal] = [0, 0];
  for (const [i, x] of expected.data.entries()) {
    noise += (found.data[i]! - x) ** 2;
    signal += x ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

/** Amax histories that hold what a first step saw. */
async function histories(module: Module): Promise<Record<string, HostTensor>> {
  const zeros = Object.fromEntries(
    module.states.map(({ name, type }) => {
      const [length] = type.shape as [number];
      return [name, floatTensor([length], new Float32Array(length))];
    }),
  );
  const { states } = await runModule(module, 'loss', inputs, zeros);
  const filled = Object.entries(states).map(([name, { data }]) => {
    const entries = new Float32Array(1024);
    entries[1023] = data[0]!;
    return [name.replace('_running', '_history'), floatTensor([1024], entries)] as const;
  });
  return { ...zeros, ...Object.fromEntries(filled) };
}

describe('gradients of a decoder with two layers', () => {
  // Of the worst weight. Measured: bf16 38.3, fp8-block 18.7, fp8-block-f32 19.7, fp8-tensor 15.2, fp8-delayed 15.4, fp8-row
  // 16.5, mxfp8 16.7 dB. Rounding is exact arithmetic, so the only margin is for another order of additions somewhere.
  const bounds: Record<string, number> = {
    f32: Number.POSITIVE_INFINITY,
    bf16: 37.5,
    'fp8-generate-only': 37.5,
    'fp8-block': 18,
    'fp8-block-f32': 19,
    'fp8-tensor': 14.5,
    'fp8-delayed': 14.5,
    'fp8-row': 15.5,
    mxfp8: 16,
  };
  for (const recipe of builtInRecipes.keys()) {
    it(`in ${recipe} stay near those in f32`, async () => {
      const { module, report } = await compile(source, { recipe, strict: true });
      verifyModule(module);
      expect(report.not_lowered).toEqual([]);
      const { outputs } = await runModule(module, 'loss', inputs, await histories(module));
      const found = Object.entries(exact)
        .filter(([name]) => name.startsWith('gradient.'))
        .map(([name, expected]) => [name, snr(outputs[name]!, expected)] as const)
        .sort(([, a], [, b]) => a - b);
      expect(found).toHaveLength(source.parameters.filter(({ trainable }) => trainable).length);
      expect(found[0]![1], found[0]![0]).toBeGreaterThanOrEqual(bounds[recipe]!);
      if (recipe !== 'f32') expect(found.at(-1)![1]).toBeLessThan(60);
    });
  }
});

describe('the forward pass of a function with gradients', () => {
  const options = [
    ...[...builtInRecipes.keys()].map((name) => [name, {}] as const),
    ['fp8-block', { kvCache: 'fp8' }] as const,
    ['fp8-block', { attention: 'fp8', lmHead: 'fp8' }] as const,
  ];
  for (const [name, change] of options) {
    it(`is that of logprobs alone, in nodes and bits (${name} ${JSON.stringify(change)})`, async () => {
      const recipe = withOptions(name, change);
      const { module } = await compile(source, { recipe, strict: true });
      const states = await histories(module);
      const [alone, trained] = [
        await runModule(module, 'logprobs', inputs, states),
        await runModule(module, 'loss', inputs, states),
      ];
      expect(firstDifference(alone.outputs.logprobs!, trained.outputs.logprobs!)).toBeUndefined();
      expect(forwardNodes(module, 'loss')).toEqual(forwardNodes(module, 'logprobs'));
    });
  }

  it('and its gradient take another cache precision after compiling', async () => {
    const { module } = await compile(source, { recipe: 'fp8-block', strict: true });
    const changed = await withKvCache(module, 'fp8');
    const { module: direct } = await compile(source, { recipe: withOptions('fp8-block', { kvCache: 'fp8' }) });
    const [a, b] = [await runModule(changed, 'loss', inputs), await runModule(direct, 'loss', inputs)];
    for (const [name, expected] of Object.entries(b.outputs)) {
      expect(firstDifference(a.outputs[name]!, expected), name).toBeUndefined();
    }
    const before = (await runModule(module, 'loss', inputs)).outputs;
    expect(firstDifference(a.outputs.logprobs!, before.logprobs!)).toMatch(/./);
  });

  /** The nodes that log-probabilities come from: op, attributes, location, and the operands by number. */
  function forwardNodes(module: Module, name: string): unknown[] {
    const fn = findFunction(module, name)!;
    const producers = new Map(fn.nodes.flatMap((node) => node.results.map((value) => [value, node] as const)));
    const needed = new Set<Node>();
    const pending = [fn.outputs.find((output) => output.name === 'logprobs')!.value];
    for (let value = pending.pop(); value; value = pending.pop()) {
      const node = producers.get(value);
      if (!node || needed.has(node)) continue;
      needed.add(node);
      pending.push(...node.operands.filter((operand) => operand !== undefined));
    }
    const numbers = new Map<unknown, string>();
    return fn.nodes
      .filter((node) => needed.has(node))
      .map((node, index) => {
        for (const [i, value] of node.results.entries()) numbers.set(value, `${index}.${i}`);
        const operands = node.operands.map((value) => value && (numbers.get(value) ?? value.ref ?? value.name));
        return [node.op, node.location, JSON.stringify(node.attributes), operands];
      });
  }
});
