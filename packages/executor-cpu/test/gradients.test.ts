/** @file Gradient composites: the bits of their bodies on the reference executor, on every engine. */
import { coreOps, type DType, type Value } from '@quaver/ir';
import { describe, test } from 'vitest';
import { expectSameBits, GraphCase, randomSource, randomTensor } from './same-bits.ts';

const i32 = (shape: readonly number[], data: ArrayLike<number>) => ({
  type: { dtype: 'i32' as const, shape },
  data: Int32Array.from(data),
});

function outputs(graph: GraphCase, op: string, operands: readonly (Value | undefined)[], attributes = {}): void {
  const definition = coreOps.latest('core', op);
  graph.g.apply(definition, operands, attributes).forEach((value, i) => {
    graph.g.output(definition.results[i]!, value);
  });
}

interface Shape {
  readonly b: number;
  readonly t: number;
  readonly s: number;
  readonly hq: number;
  readonly hkv: number;
  readonly d: number;
  readonly window?: number;
  /** Sequences of random lengths, one after the other. */
  readonly packed?: true;
  readonly positions: readonly number[];
}

const shapes: Readonly<Record<string, Shape>> = {
  'one token': { b: 1, t: 1, s: 1, hq: 1, hkv: 1, d: 8, positions: [0] },
  'whole sequences, grouped heads': { b: 2, t: 70, s: 70, hq: 6, hkv: 2, d: 16, positions: [0, 0] },
  'more rows than a partial sum, keys past a block of 128': {
    b: 1,
    t: 150,
    s: 150,
    hq: 3,
    hkv: 1,
    d: 20,
    positions: [0],
  },
  'a chunk at the end of a longer cache': { b: 2, t: 9, s: 140, hq: 4, hkv: 4, d: 12, positions: [131, 17] },
  'a window': { b: 1, t: 90, s: 150, hq: 2, hkv: 1, d: 8, window: 13, positions: [40] },
  'packed sequences': { b: 2, t: 140, s: 140, hq: 4, hkv: 2, d: 8, packed: true, positions: [0, 0] },
  'packed sequences with a window': {
    b: 1,
    t: 60,
    s: 60,
    hq: 2,
    hkv: 2,
    d: 8,
    packed: true,
    window: 7,
    positions: [0],
  },
  'heads of more than 128 elements': { b: 1, t: 5, s: 20, hq: 2, hkv: 1, d: 130, positions: [7] },
  'no queries': { b: 1, t: 0, s: 5, hq: 2, hkv: 1, d: 8, positions: [0] },
  'no sequences': { b: 0, t: 3, s: 5, hq: 2, hkv: 1, d: 8, positions: [] },
};

describe.each([
  ['f32', 'f32'],
  ['bf16', 'bf16'],
  ['bf16', 'f8e4m3fn'],
  ['f8e4m3fn', 'bf16'],
] as const)('attention_grad: %s keys, %s probabilities', (dtype: DType, probs) => {
  test.each(Object.entries(shapes))('%s', async (_, { b, t, s, hq, hkv, d, window = 0, packed, positions }) => {
    const random = randomSource(21);
    const graph = new GraphCase();
    const input = (name: string, type: DType, shape: readonly number[]) =>
      graph.input(name, randomTensor(random, type, shape));
    const [q, dy] = [input('q', dtype === 'f32' ? 'f32' : 'bf16', [b, t, hq, d]), input('dy', 'f32', [b, t, hq, d])];
    const [k, v] = [input('k', dtype, [b, s, hkv, d]), input('v', dtype, [b, s, hkv, d])];
    const position = graph.input('position', i32([b], positions));
    const scales = ['ks', 'vs'].map((name) =>
      dtype === 'f8e4m3fn' ? input(name, 'f8e8m0fnu', [b, s, hkv, 1]) : undefined,
    );
    const starts: number[] = [];
    for (let i = 0; i < b * t; i++) starts.push(i % t === 0 || random() < 0.04 ? i % t : starts[i - 1]!);
    const firstKey = packed && graph.input('first_key', i32([b, t], starts));
    const attributes = { scale: d ** -0.5, window, probs };
    outputs(graph, 'attention_grad', [q, k, v, position, dy, ...scales, firstKey], attributes);
    await expectSameBits(graph, ['attention_grad']);
  });
});

test('rms_norm_grad, within and beyond one partial sum of rows', async () => {
  const random = randomSource(22);
  const shapes: readonly (readonly number[])[] = [
    [1],
    [3, 1],
    [2, 5, 50],
    [64, 17],
    [65, 33],
    [200, 130],
    [0, 9],
    [2, 0, 4],
  ];
  for (const shape of shapes) {
    const graph = new GraphCase();
    const input = (name: string, own: readonly number[]) => graph.input(name, randomTensor(random, 'f32', own));
    const operands = [input('x', shape), input('weight', shape.slice(-1)), input('dy', shape)];
    outputs(graph, 'rms_norm_grad', operands, { eps: 1e-5 });
    await expectSameBits(graph, ['rms_norm_grad']);
  }
});

test('swiglu_grad, extreme gates among them', async () => {
  const random = randomSource(23);
  for (const shape of [[1], [5, 33], [2, 3, 100], [0, 4]]) {
    const graph = new GraphCase();
    const gate = randomTensor(random, 'f32', shape);
    (gate.data as Float32Array).set([0, -0, 200, -200, 88.8, -88.8, 1e-40].slice(0, gate.data.length));
    const input = (name: string) => graph.input(name, randomTensor(random, 'f32', shape));
    outputs(graph, 'swiglu_grad', [graph.input('gate', gate), input('up'), input('dy')]);
    await expectSameBits(graph, ['swiglu_grad']);
  }
});

test('log_softmax_gather_grad, targets out of range among them', async () => {
  const random = randomSource(24);
  const sizes: readonly (readonly [rows: readonly number[], n: number])[] = [
    [[1], 1],
    [[2, 9], 50],
    [[3], 1000],
    [[0], 7],
  ];
  for (const [rows, n] of sizes) {
    const graph = new GraphCase();
    const count = rows.reduce((product, dim) => product * dim, 1);
    const x = graph.input('x', randomTensor(random, 'f32', [...rows, n]));
    const indices = Array.from({ length: count }, (_, i) => (i === 2 ? -1 : i === 4 ? n : Math.floor(random() * n)));
    const dy = graph.input('dy', randomTensor(random, 'f32', rows));
    outputs(graph, 'log_softmax_gather_grad', [x, graph.input('targets', i32(rows, indices)), dy]);
    await expectSameBits(graph, ['log_softmax_gather_grad']);
  }
});
