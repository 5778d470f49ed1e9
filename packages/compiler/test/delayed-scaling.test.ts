import { findFunction, GraphBuilder, type HostTensor, type Module, verifyModule } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import {
  builtInRecipes,
  compile,
  gradientOutput,
  type QuantizedLinear,
  type Recipe,
  shiftAmaxHistories,
} from '../src/index.ts';
import { f32Parameter, linearGradientModule } from './fixtures/gradient-modules.ts';
import { firstDifference, runModule } from './fixtures/run-module.ts';
import { floatTensor, randomNumbers } from './fixtures/small-llama.ts';

const [tokens, outputs, depth] = [6, 5, 7];
const length = 3;

/** `fp8-delayed` with a short history. */
function recipe(): Recipe {
  const base = builtInRecipes.get('fp8-delayed')!;
  const linear = base.train.linear as QuantizedLinear;
  const history = { length, algorithm: 'max', margin: 0 } as const;
  const short: QuantizedLinear = {
    ...linear,
    input: { ...linear.input, history },
    grad_output: { ...linear.grad_output, history },
  };
  return { ...base, generate: { ...base.generate, linear: short }, train: { ...base.train, linear: short } };
}

/** The layer with its gradients, a function that generates with it, and `update`, which ends a step. */
async function trainable(): Promise<Module> {
  const weight = f32Parameter('layer.weight', [outputs, depth], randomNumbers(outputs * depth, 3));
  const module = linearGradientModule(weight);
  const generate = new GraphBuilder('generate');
  const x = generate.input('x', 'f32', ['L', depth]);
  const w = generate.parameter(weight);
  const axes = { lhs_contract: [1], rhs_contract: [1] };
  generate.output(
    'y',
    generate.scope('layer', () => generate.op('dot_general', [x, w], axes)),
  );
  const update = new GraphBuilder('update');
  update.output('step', update.constant(1));
  const metadata = { ...module.metadata, 'phase.generate': 'generate', 'phase.update': 'train' };
  const functions = [...module.functions, generate.finish(), update.finish()];
  const compiled = await compile({ ...module, functions, metadata }, { recipe: recipe(), strict: true });
  return shiftAmaxHistories(compiled.module, 'update');
}

type States = Record<string, HostTensor>;

const states = (module: Module): States =>
  Object.fromEntries(
    module.states.map(({ name, type }) => {
      const shape = type.shape as number[];
      return [name, floatTensor(shape, new Float32Array(shape[0]!))];
    }),
  );

const inputsOf = (xMax: number, dyMax: number) => {
  const x = randomNumbers(tokens * depth, 4).map((value) => value / 4);
  const c = randomNumbers(tokens * outputs, 5).map((value) => value / 4);
  x[3] = -xMax;
  c[4] = dyMax;
  return { x: floatTensor([tokens, depth], x), c: floatTensor([tokens, outputs], c) };
};

async function microBatch(module: Module, before: States, xMax: number, dyMax: number) {
  const { outputs: found, states: after } = await runModule(module, 'loss', inputsOf(xMax, dyMax), before);
  return { found, states: { ...before, ...after } };
}

const endStep = async (module: Module, before: States): Promise<States> => ({
  ...before,
  ...(await runModule(module, 'update', {}, before)).states,
});

const read = (from: States, role: string, kind: string) => [...from[`layer.${role}_amax_${kind}`]!.data];

describe('amax histories', () => {
  it('are states of the layer, for its input and the gradient of its output', async () => {
    const module = await trainable();
    verifyModule(module);
    expect(module.states.map(({ name, type }) => `${name} ${type.dtype}[${type.shape}]`).sort()).toEqual([
      'layer.grad_output_amax_history f32[3]',
      'layer.grad_output_amax_running f32[1]',
      'layer.input_amax_history f32[3]',
      'layer.input_amax_running f32[1]',
    ]);
    const updates = (name: string) =>
      findFunction(module, name)!
        .updates.map((update) => update.name)
        .sort();
    expect(updates('generate')).toEqual([]);
    expect(updates('loss')).toEqual(['layer.grad_output_amax_running', 'layer.input_amax_running']);
    expect(updates('update')).toHaveLength(4);
    expect(findFunction(module, 'update')!.plan).toBeDefined();
  });

  it('take the largest amax of the micro-batches of a step, and forget the oldest', async () => {
    const module = await trainable();
    let now = states(module);
    const steps = [
      [
        [3, 8],
        [5, 2],
        [4, 4],
      ],
      [[2, 1]],
      [
        [7, 6],
        [6, 7],
      ],
      [[1, 9]],
    ];
    const histories: unknown[] = [];
    for (const step of steps) {
      for (const [xMax, dyMax] of step) now = (await microBatch(module, now, xMax!, dyMax!)).states;
      now = await endStep(module, now);
      histories.push([read(now, 'input', 'history'), read(now, 'grad_output', 'history')]);
      expect(read(now, 'input', 'running')).toEqual([0]);
    }
    expect(histories).toEqual([
      [
        [0, 0, 5],
        [0, 0, 8],
      ],
      [
        [0, 5, 2],
        [0, 8, 1],
      ],
      [
        [5, 2, 7],
        [8, 1, 7],
      ],
      [
        [2, 7, 1],
        [1, 7, 9],
      ],
    ]);
  });

  it('decide the scales, also of generation; what a step collects does not change it', async () => {
    const module = await trainable();
    const fresh = states(module);
    const collected = { ...fresh, 'layer.input_amax_running': floatTensor([1], Float32Array.of(1000)) };
    const [a, b] = [await microBatch(module, fresh, 3, 3), await microBatch(module, collected, 3, 3)];
    for (const name of ['x', 'layer.weight'].map(gradientOutput)) {
      expect(firstDifference(a.found[name]!, b.found[name]!), name).toBeUndefined();
    }
    const generate = async (given: States) =>
      (await runModule(module, 'generate', { x: inputsOf(3, 3).x }, given)).outputs.y!;
    const before = await generate(a.states);
    expect(firstDifference(before, await generate(fresh))).toBeUndefined();
    const after = await generate(await endStep(module, a.states));
    expect(firstDifference(before, after)).toMatch(/./);
  });

  it('repeat their newest entry instead of an amax that is not finite', async () => {
    const module = await trainable();
    let now = await endStep(module, (await microBatch(module, states(module), 3, 8)).states);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      now = await endStep(module, (await microBatch(module, now, 2, bad)).states);
    }
    expect(read(now, 'input', 'history')).toEqual([3, 2, 2]);
    expect(read(now, 'grad_output', 'history')).toEqual([8, 8, 8]);
    expect(read(now, 'grad_output', 'running')).toEqual([0]);
  });
});

describe('shiftAmaxHistories', () => {
  it('gives a module without delayed scales back', async () => {
    const module = linearGradientModule(f32Parameter('layer.weight', [4, 4], randomNumbers(16, 1)));
    const compiled = await compile(module, { recipe: 'fp8-block' });
    expect(shiftAmaxHistories(compiled.module, 'loss')).toBe(compiled.module);
  });

  it('names a function that is not there', async () => {
    const module = await trainable();
    expect(() => shiftAmaxHistories(module, 'step')).toThrow(
      expect.objectContaining({ code: 'function-unknown', hint: expect.stringContaining('update') }),
    );
  });
});
