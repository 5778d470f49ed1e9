/** @file Optimizers against optax in float64 (see data/ORIGIN.md), and what holds for all of them. */
import { readFileSync } from 'node:fs';
import { GraphBuilder, type HostTensor, interpretFunction, type Value } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import {
  adafactor,
  adamw,
  clipByGlobalNorm,
  globalNorm,
  keepUnlessFinite,
  muon,
  type Optimizer,
  sgd,
} from '../src/index.ts';

type Tensors = Readonly<Record<string, readonly number[]>>;

interface Golden {
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly rate: number;
  readonly parameters: Tensors;
  readonly gradients: readonly Tensors[];
  readonly steps: Readonly<Record<string, readonly Tensors[]>>;
}

const golden: Golden = JSON.parse(readFileSync(new URL('./data/optimizers.json', import.meta.url), 'utf8'));

const real = (shape: readonly number[], data: ArrayLike<number>): HostTensor => ({
  type: { dtype: 'f32', shape: [...shape] },
  data: Float64Array.from(data),
});

/** One step of all parameters as a graph. */
function stepOf(optimizer: Optimizer, shapes: Readonly<Record<string, readonly number[]>>, largestNorm?: number) {
  const g = new GraphBuilder('step');
  const f32 = (name: string, shape: readonly number[]) => g.input(name, 'f32', shape);
  const rate = f32('rate', [1]);
  const scalars = Object.fromEntries(Object.keys(optimizer.scalars(1)).map((name) => [name, f32(name, [1])]));
  const names = Object.keys(shapes);
  const parameters = names.map((name) => f32(name, shapes[name]!));
  const given = names.map((name) => f32(`${name}.gradient`, shapes[name]!));
  const norm = globalNorm(g, given);
  g.output('norm', norm);
  const gradients: readonly Value[] = largestNorm === undefined ? given : clipByGlobalNorm(g, given, norm, largestNorm);
  const states = names.flatMap((name) => {
    return Object.entries(optimizer.states(shapes[name]!)).map(([state, shape]) => ({ name, state, shape }));
  });
  const inputs = states.map(({ name, state, shape }) => f32(`${name}.${state}`, shape));
  names.forEach((name, i) => {
    const own = states.flatMap((item, at) => (item.name === name ? [[item.state, inputs[at]!] as const] : []));
    const result = optimizer.step(g, {
      ...{ parameter: parameters[i]!, gradient: gradients[i]!, rate, scalars },
      states: Object.fromEntries(own),
    });
    g.output(name, keepUnlessFinite(g, norm, result.parameter, parameters[i]!));
    for (const [state, value] of Object.entries(result.states)) {
      g.output(`${name}.${state}`, keepUnlessFinite(g, norm, value, Object.fromEntries(own)[state]!));
    }
  });
  return { fn: g.finish(), states };
}

const cases: readonly [string, Optimizer, number?][] = [
  ['adamw', adamw({ beta2: 0.99, eps: 1e-6, weightDecay: 0.1 })],
  ['sgd', sgd()],
  ['sgd with momentum', sgd({ momentum: 0.9, weightDecay: 0.1 })],
  ['sgd with nesterov', sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.1 })],
  ['adafactor', adafactor({ weightDecay: 0.1 })],
  ['muon', muon({ weightDecay: 0.1 })],
  ['adamw, clipped', adamw({ beta2: 0.99, eps: 1e-6 }), 0.5],
];

describe('against optax', () => {
  test.each(cases)('%s', (name, optimizer, largestNorm) => {
    const expected = golden.steps[name]!;
    const shapes = Object.fromEntries(Object.keys(expected[0]!).map((key) => [key, golden.shapes[key]!]));
    const { fn, states } = stepOf(optimizer, shapes, largestNorm);
    let held: Record<string, HostTensor> = {
      ...Object.fromEntries(Object.keys(shapes).map((key) => [key, real(shapes[key]!, golden.parameters[key]!)])),
      ...Object.fromEntries(
        states.map(({ name: key, state, shape }) => {
          return [`${key}.${state}`, real(shape, new Float64Array(shape.reduce((product, dim) => product * dim, 1)))];
        }),
      ),
    };
    expected.forEach((after, i) => {
      const scalars = { rate: golden.rate, ...optimizer.scalars(i + 1) };
      const inputs = {
        ...held,
        ...Object.fromEntries(Object.entries(scalars).map(([key, value]) => [key, real([1], [value])])),
        ...Object.fromEntries(
          Object.keys(shapes).map((key) => [`${key}.gradient`, real(shapes[key]!, golden.gradients[i]![key]!)]),
        ),
      };
      const { norm: _, ...outputs } = interpretFunction(fn, { inputs }).outputs;
      held = outputs;
      for (const key of Object.keys(shapes)) {
        const error = Math.max(...after[key]!.map((value, at) => Math.abs(value - held[key]!.data[at]!)));
        // Constants such as 1 - beta2 are f32.
        expect(error, `${key} after step ${i + 1}`).toBeLessThan(2e-6);
      }
    });
  });
});

test('parameters of a stack keep row and column moments of each matrix', () => {
  expect(adafactor().states([2, 3, 4])).toEqual({ rows: [2, 3], columns: [2, 4] });
  expect(adafactor().states([6])).toEqual({ v: [6] });
  expect(muon().states([6])).toEqual({ m: [6], v: [6] });
});

test.each([
  ['adamw', adamw()],
  ['sgd', sgd({ momentum: 0.9 })],
  ['adafactor', adafactor()],
  ['muon', muon()],
] as const)('%s: a gradient that is not finite changes nothing', (_, optimizer) => {
  const shapes = { a: [3, 4], b: [4] };
  const { fn, states } = stepOf(optimizer, shapes, 1);
  const f32 = (shape: readonly number[], data: ArrayLike<number>): HostTensor => ({
    type: { dtype: 'f32', shape: [...shape] },
    data: Float32Array.from(data),
  });
  const ramp = (shape: readonly number[]) => f32(shape, new Array(shape.reduce((a, b) => a * b, 1)).fill(0.5));
  const held = {
    ...{ a: ramp([3, 4]), b: ramp([4]) },
    ...Object.fromEntries(states.map(({ name, state, shape }) => [`${name}.${state}`, ramp(shape)])),
  };
  const scalars = Object.entries({ rate: 0.1, ...optimizer.scalars(2) }).map(([key, value]) => [
    key,
    f32([1], [value]),
  ]);
  for (const broken of [Number.NaN, Number.POSITIVE_INFINITY, 1e30]) {
    const inputs = {
      ...held,
      ...Object.fromEntries(scalars),
      'a.gradient': ramp([3, 4]),
      'b.gradient': f32([4], [1, broken, 1, 1]),
    };
    const { norm, ...outputs } = interpretFunction(fn, { inputs }).outputs;
    expect(Number.isFinite(norm!.data[0]!)).toBe(false);
    for (const [key, { data }] of Object.entries(held)) expect(outputs[key]!.data, key).toEqual(data);
  }
});

test.each([
  ['adamw: beta1 is 1', () => adamw({ beta1: 1 })],
  ['adamw: eps is -1', () => adamw({ eps: -1 })],
  ['sgd: momentum is NaN', () => sgd({ momentum: Number.NaN })],
  ['adafactor: clip is 0', () => adafactor({ clip: 0 })],
  ['muon: iterations is 2.5', () => muon({ iterations: 2.5 })],
  ['muon: weightDecay is Infinity', () => muon({ weightDecay: Number.POSITIVE_INFINITY })],
])('%s is refused', (message, make) => {
  expect(make).toThrow(
    expect.objectContaining({ code: 'optimizer-option', message: expect.stringContaining(message) }),
  );
});
