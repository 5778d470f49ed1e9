import { referencePlugin, Session } from '@quaver/executor';
import { allocateHostArray, coreOps, type DType, type Value } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { cpuPlugin } from '../src/index.ts';
import { devices, expectSameBits, GraphCase, randomSource, randomTensor } from './same-bits.ts';

const rows = [
  [1, 1],
  [1, 5],
  [3, 1],
  [2, 17],
] as const;

describe('dot_general', () => {
  test.each(['f32', 'bf16'] as const)('%s weights, ragged shapes, as parameter and as input', async (dtype) => {
    const random = randomSource(1);
    for (const [b, t] of rows) {
      for (const [n, k] of [
        [1, 1],
        [33, 127],
        [64, 128],
        [70, 129],
        [96, 576],
      ] as const) {
        const graph = new GraphCase();
        const x = graph.input('x', randomTensor(random, dtype, [b, t, k]));
        const w = graph.parameter('w', randomTensor(random, dtype, [n, k]));
        const v = graph.input('v', randomTensor(random, dtype, [n, k]));
        const attributes = { lhs_contract: [2], rhs_contract: [1] };
        graph.g.output('y', graph.g.op('dot_general', [x, w], attributes));
        graph.g.output('z', graph.g.op('dot_general', [x, v], attributes));
        await expectSameBits(graph, ['dot_general']);
      }
    }
  });
});

describe('dot_general with batch axes', () => {
  const layouts = {
    'heads of attention': { lhs: [2, 3, 4, 16], rhs: [2, 5, 4, 16], lc: 3, rc: 3, lb: [0, 2], rb: [0, 2] },
    'probabilities times values': { lhs: [2, 4, 3, 140], rhs: [2, 140, 4, 9], lc: 3, rc: 1, lb: [0, 1], rb: [0, 2] },
    'the first axis contracted': { lhs: [130, 3, 7], rhs: [130, 3, 70], lc: 0, rc: 0, lb: [1], rb: [1] },
    'free axes that are no neighbours': { lhs: [4, 3, 5, 6], rhs: [3, 6, 2], lc: 3, rc: 1, lb: [1], rb: [0] },
    'batch axes in another order': {
      lhs: [2, 3, 4, 5, 6],
      rhs: [4, 3, 2, 6],
      lc: 4,
      rc: 3,
      lb: [0, 1, 2],
      rb: [2, 1, 0],
    },
    'one row each': { lhs: [5, 33], rhs: [5, 33], lc: 1, rc: 1, lb: [0], rb: [0] },
    'nothing to contract': { lhs: [2, 3, 0], rhs: [2, 4, 0], lc: 2, rc: 2, lb: [0], rb: [0] },
    'no batch': { lhs: [0, 3, 4], rhs: [0, 4, 4], lc: 2, rc: 2, lb: [0], rb: [0] },
  } as const;
  test.each(Object.entries(layouts))('%s', async (_, { lhs, rhs, lc, rc, lb, rb }) => {
    const random = randomSource(13);
    for (const [left, right] of [
      ['f32', 'f32'],
      ['bf16', 'bf16'],
      ['f8e4m3fn', 'f8e5m2'],
    ] as const) {
      const graph = new GraphCase();
      const a = graph.input('a', randomTensor(random, left, lhs));
      const b = graph.input('b', randomTensor(random, right, rhs));
      const attributes = { lhs_contract: [lc], rhs_contract: [rc], lhs_batch: lb, rhs_batch: rb };
      graph.g.output('y', graph.g.op('dot_general', [a, b], attributes));
      await expectSameBits(graph, ['dot_general']);
    }
  });
});

test('integers wrap, quotients are truncated, and truth values are combined', async () => {
  const random = randomSource(14);
  const numbers = randomTensor(random, 'i32', [3, 70], 9);
  const others = randomTensor(random, 'i32', [3, 70], 4);
  numbers.data.set([2 ** 31 - 1, -(2 ** 31), -7, 7, -7, 0, -(2 ** 31)]);
  others.data.set([1, -1, 2, -2, 0, 0, -(2 ** 31)]);
  const graph = new GraphCase();
  const { g } = graph;
  const [a, b] = [graph.input('a', numbers), graph.input('b', others)];
  const integerOps = ['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum'];
  for (const op of integerOps) g.output(op, g.op(op, [a, b]));
  const [less, equal] = ['LT', 'EQ'].map((direction) => g.op('compare', [a, b], { direction }));
  g.output('and', g.op('and', [g.op('not', [less!]), g.op('compare', [a, a], { direction: 'LE' })]));
  g.output('or', g.op('or', [less!, equal!]));
  await expectSameBits(graph, [...integerOps, 'and', 'or', 'not']);
});

/** Granularity of the scales of activations [B, T, K] and weights [N, K], as the recipes have them. */
const granularities = {
  block: { lhs: [1, 1, 128], rhs: [128, 128], scale: 'f32', rounding: 'pow2_up' },
  'block-f32': { lhs: [1, 1, 128], rhs: [128, 128], scale: 'f32', rounding: 'none' },
  row: { lhs: [1, 1, 0], rhs: [1, 0], scale: 'f32', rounding: 'none' },
  tensor: { lhs: [0, 0, 0], rhs: [0, 0], scale: 'f32', rounding: 'none' },
  mx: { lhs: [1, 1, 32], rhs: [1, 32], scale: 'f8e8m0fnu', rounding: 'pow2_up' },
} as const;

describe('scaled_dot', () => {
  test.each(Object.entries(granularities))('%s scales', async (_, { lhs, rhs, scale, rounding }) => {
    const random = randomSource(2);
    for (const [b, t] of rows) {
      for (const [n, k] of [
        [3, 7],
        [130, 200],
        [64, 576],
      ] as const) {
        for (const to of ['f8e4m3fn', 'f8e5m2'] as const) {
          const graph = new GraphCase();
          const { g } = graph;
          const max = to === 'f8e4m3fn' ? 448 : 57344;
          const x = graph.input('x', randomTensor(random, 'f32', [b, t, k]));
          const s = g.op('compute_scale', [g.op('amax', [x], { block: lhs })], { max, rounding, to: scale });
          const q = g.op('quantize', [x, s], { to, block: lhs });
          const w = graph.parameter('w', randomTensor(random, 'f8e4m3fn', [n, k]));
          const blocks = [n, k].map((dim, i) => (rhs[i] === 0 ? 1 : Math.ceil(dim / rhs[i]!)));
          const ws = graph.parameter('ws', randomTensor(random, scale, blocks));
          const attributes = { lhs_block: lhs, rhs_block: rhs, lhs_contract: [2], rhs_contract: [1] };
          g.output('y', g.op('scaled_dot', [q, w, s, ws], attributes));
          await expectSameBits(graph, ['scaled_dot']);
        }
      }
    }
  });
});

describe('dynamic_quantize', () => {
  test.each([
    ['block', [1, 1, 128], 'f32', 'pow2_up'],
    ['block-f32', [1, 1, 128], 'f32', 'none'],
    ['row', [1, 1, 0], 'f32', 'pow2_up'],
    ['KV cache', [1, 1, 0], 'f8e8m0fnu', 'pow2_up'],
  ] as const)('%s', async (_, block, scale_dtype, rounding) => {
    const random = randomSource(3);
    for (const k of [1, 64, 128, 300]) {
      for (const [to, max] of [
        ['f8e4m3fn', 448],
        ['f8e5m2', 57344],
      ] as const) {
        const graph = new GraphCase();
        const x = randomTensor(random, 'f32', [2, 5, k]);
        x.data.fill(0, 0, k);
        x.data[k] = Number.POSITIVE_INFINITY;
        x.data[2 * k] = Number.NaN;
        x.data[3 * k] = 1e-40;
        x.data[4 * k] = 3e38;
        const { g } = graph;
        const [q, s] = g.apply(coreOps.latest('core', 'dynamic_quantize'), [graph.input('x', x)], {
          to,
          block,
          max,
          rounding,
          scale_dtype,
        });
        g.output('q', q!);
        g.output('s', s!);
        await expectSameBits(graph, ['dynamic_quantize']);
      }
    }
  });
});

describe('amax, compute_scale, quantize and dequantize', () => {
  test.each([
    ['128×128 blocks of a weight', [200, 300], [128, 128]],
    ['rows', [2, 5, 300], [1, 1, 0]],
    ['blocks of rows', [2, 5, 300], [1, 1, 128]],
    ['small blocks', [7, 33], [1, 4]],
    ['columns', [70, 33], [0, 1]],
    ['a tensor', [3, 70, 40], [0, 0, 0]],
    ['all rows of a sequence', [3, 7, 40], [1, 0, 0]],
    ['a vector', [300], [0]],
    ['no rows', [0, 40], [0, 0]],
    ['no columns', [3, 0], [1, 0]],
  ] as const)('%s', async (_, shape, block) => {
    const random = randomSource(15);
    for (const [dtype, to] of [
      ['f32', 'f8e4m3fn'],
      ['bf16', 'f8e5m2'],
    ] as const) {
      const graph = new GraphCase();
      const { g } = graph;
      const values = randomTensor(random, 'f32', shape);
      values.data.set([0, 0, 3e38, 1e-40].slice(0, values.data.length));
      const x = g.convert(graph.input('x', values), dtype);
      const amax = g.op('amax', [x], { block });
      g.output('amax', amax);
      for (const rounding of ['none', 'pow2_up', 'pow2_nearest']) {
        for (const scaleType of rounding === 'none' ? (['f32'] as const) : (['f32', 'f8e8m0fnu'] as const)) {
          const scale = g.op('compute_scale', [amax], { max: 448, rounding, to: scaleType });
          const q = g.op('quantize', [x, scale], { to, block });
          g.output(
            `${rounding}_${scaleType}_unsaturated`,
            g.op('quantize', [x, scale], { to, block, saturate: false }),
          );
          g.output(`${rounding}_${scaleType}_codes`, q);
          for (const back of ['f32', 'bf16']) {
            const restored = g.op('dequantize', [q, scale], { to: back, block });
            g.output(`${rounding}_${scaleType}_${back}`, restored);
          }
        }
      }
      await expectSameBits(graph, ['amax', 'compute_scale', 'quantize', 'dequantize']);
    }
  });
});

test.each(['f32', 'f8e8m0fnu'] as const)(
  'dynamic_quantize of empty rows: %s scales, in used memory',
  async (scale_dtype) => {
    const graph = new GraphCase();
    const { g } = graph;
    const r = graph.input('r', randomTensor(randomSource(11), 'f32', [2, 1]));
    g.output('first', g.op('add', [g.op('multiply', [r, r]), r]));
    const x = graph.input('x', { type: { dtype: 'f32', shape: [2, 0] }, data: new Float32Array(0) });
    const attributes = { to: 'f8e4m3fn', block: [1, 0], max: 448, rounding: 'pow2_up', scale_dtype } as const;
    const [q, s] = g.apply(coreOps.latest('core', 'dynamic_quantize'), [x], attributes);
    g.output('q', q!);
    g.output('s', scale_dtype === 'f32' ? g.op('multiply', [s!, r]) : g.op('convert', [s!], { to: 'f32' }));
    await expectSameBits(graph, ['dynamic_quantize']);
  },
);

describe('attention', () => {
  const caches: readonly [DType, string][] = [
    ['f32', 'f32'],
    ['bf16', 'bf16'],
    ['f8e4m3fn', 'bf16'],
    ['f8e4m3fn', 'f8e4m3fn'],
  ];
  test.each(caches)('%s cache, %s probabilities', async (dtype, probs) => {
    const random = randomSource(4);
    for (const { b, t, s, hq, hkv, d, window } of [
      { b: 1, t: 1, s: 1, hq: 1, hkv: 1, d: 8, window: 0 },
      { b: 2, t: 1, s: 140, hq: 6, hkv: 2, d: 64, window: 0 },
      { b: 3, t: 9, s: 31, hq: 4, hkv: 4, d: 20, window: 0 },
      { b: 2, t: 40, s: 150, hq: 3, hkv: 1, d: 64, window: 13 },
    ]) {
      const graph = new GraphCase();
      const { g } = graph;
      const q = graph.input('q', randomTensor(random, dtype === 'f32' ? 'f32' : 'bf16', [b, t, hq, d]));
      const k = graph.input('k', randomTensor(random, dtype, [b, s, hkv, d]));
      const v = graph.input('v', randomTensor(random, dtype, [b, s, hkv, d]));
      const position = graph.input('position', randomTensor(random, 'i32', [b], s - t + 1));
      const scales =
        dtype === 'f8e4m3fn'
          ? (['ks', 'vs'] as const).map((name) => graph.input(name, randomTensor(random, 'f8e8m0fnu', [b, s, hkv, 1])))
          : [];
      g.output('y', g.op('attention', [q, k, v, position, ...scales], { scale: d ** -0.5, window, probs }));
      await expectSameBits(graph, ['attention']);
    }
  });
});

test.each(['f32', 'bf16', 'f8e4m3fn'] as const)('pages of %s: new tokens, and attention to all', async (dtype) => {
  const random = randomSource(13);
  for (const { b, t, slots, window, columns } of [
    { b: 3, t: 1, slots: 16, window: 0, columns: 4 },
    { b: 2, t: 30, slots: 32, window: 25, columns: 4 },
    { b: 2, t: 3, slots: 5, window: 0, columns: 4 },
    { b: 2, t: 3, slots: 16, window: 0, columns: 0 },
  ]) {
    const graph = new GraphCase();
    const { g } = graph;
    // Some pages are shared, and some are not there.
    const table = Int32Array.from({ length: b * columns }, () => Math.floor(14 * random()) - 2);
    const pages = graph.input('pages', { type: { dtype: 'i32', shape: [b, columns] }, data: table });
    const position = graph.input('position', randomTensor(random, 'i32', [b], 3 * slots));
    const updated = (name: string, of: DType, depth: number) => {
      const cache = graph.input(name, randomTensor(random, of, [10, slots, 2, depth]));
      const tokens = graph.input(`${name}_tokens`, randomTensor(random, of, [b, t, 2, depth]));
      const y = g.op('paged_update', [cache, tokens, pages, position]);
      g.output(`${name}_y`, y);
      return y;
    };
    const q = graph.input('q', randomTensor(random, dtype === 'f32' ? 'f32' : 'bf16', [b, t, 6, 24]));
    const caches = ['k', 'v'].map((name) => updated(name, dtype, 24));
    const scales = ['ks', 'vs'].map((name) => (dtype === 'f8e4m3fn' ? updated(name, 'f8e8m0fnu', 1) : undefined));
    const attributes = { scale: 0.25, window, probs: dtype === 'f32' ? 'f32' : 'bf16' };
    g.output('y', g.op('attention', [q, ...caches, position, ...scales, undefined, pages], attributes));
    await expectSameBits(graph, ['paged_update', 'attention']);
  }
});

describe('packed sequences', () => {
  test.each(['f32', 'bf16'] as const)('attention of %s, positions by token', async (dtype) => {
    const random = randomSource(12);
    for (const { b, t, window } of [
      { b: 2, t: 40, window: 0 },
      { b: 1, t: 300, window: 0 },
      { b: 2, t: 150, window: 20 },
    ]) {
      const graph = new GraphCase();
      const { g } = graph;
      // Sequences of random lengths, one after the other.
      const starts = Int32Array.from({ length: b * t }, () => 0);
      for (let i = 0; i < b * t; i++) starts[i] = i % t === 0 || random() < 0.03 ? i % t : starts[i - 1]!;
      const places = starts.map((first, i) => (i % t) - first);
      const firstKey = graph.input('first_key', { type: { dtype: 'i32', shape: [b, t] }, data: starts });
      const at = graph.input('places', { type: { dtype: 'i32', shape: [b, t] }, data: places });
      const table = (name: string) => graph.parameter(name, randomTensor(random, 'f32', [t, 8]));
      const [cos, sin] = [table('cos'), table('sin')];
      const x = (name: string, heads: number) => graph.input(name, randomTensor(random, 'f32', [b, t, heads, 16]));
      const rotated = (name: string, heads: number) => g.convert(g.op('rope', [x(name, heads), cos, sin, at]), dtype);
      const v = g.convert(x('v', 2), dtype);
      const zero = graph.input('zero', { type: { dtype: 'i32', shape: [b] }, data: new Int32Array(b) });
      const operands = [rotated('q', 6), rotated('k', 2), v, zero, undefined, undefined, firstKey];
      const attributes = { scale: 0.25, window, probs: dtype };
      g.output('y', g.apply(coreOps.latest('core', 'attention'), operands, attributes)[0]!);
      await expectSameBits(graph, ['attention', 'rope']);
    }
  });
});

test('row-wise ops: norms, softmax, rotation, products, bias', async () => {
  const random = randomSource(5);
  for (const [b, t] of rows) {
    const graph = new GraphCase();
    const { g } = graph;
    const x = graph.input('x', randomTensor(random, 'f32', [b, t, 3, 50]));
    const y = graph.input('y', randomTensor(random, 'f32', [b, t, 3, 50]));
    const weight = graph.parameter('weight', randomTensor(random, 'f32', [50]));
    const position = graph.input('position', randomTensor(random, 'i32', [b], 20));
    const table = (name: string) => graph.parameter(name, randomTensor(random, 'f32', [40, 25]));
    g.output('rms_norm', g.op('rms_norm', [x, weight], { eps: 1e-5 }));
    g.output('bias_add', g.op('bias_add', [x, weight]));
    g.output('softmax', g.op('softmax', [x], { axis: 3 }));
    g.output('log_softmax', g.op('log_softmax', [x], { axis: 3 }));
    const targets = graph.input('targets', randomTensor(random, 'i32', [b, t, 3], 50));
    g.output('log_softmax_gather', g.op('log_softmax_gather', [x, targets]));
    g.output('rope', g.op('rope', [x, table('cos'), table('sin'), position]));
    g.output('swiglu', g.op('swiglu', [x, y]));
    g.output('add', g.op('add', [x, y]));
    g.output('multiply', g.op('multiply', [x, y]));
    g.output('bf16', g.op('convert', [x], { to: 'bf16' }));
    g.output('fp8', g.op('convert', [g.op('convert', [x], { to: 'f8e4m3fn' })], { to: 'f32' }));
    const names = ['rms_norm', 'bias_add', 'softmax', 'log_softmax', 'log_softmax_gather', 'rope', 'swiglu', 'add'];
    await expectSameBits(graph, [...names, 'multiply', 'convert']);
  }
});

test('data movement: rows of a table, rows of a batch, cache updates that run past the end', async () => {
  const random = randomSource(6);
  const graph = new GraphCase();
  const { g } = graph;
  const table = graph.parameter('table', randomTensor(random, 'bf16', [30, 12]));
  g.output(
    'embedding',
    g.op('gather', [table, graph.input('ids', randomTensor(random, 'i32', [2, 7], 30))], { axis: 0 }),
  );
  const x = graph.input('x', randomTensor(random, 'f32', [2, 7, 12]));
  const last = graph.input('last', randomTensor(random, 'i32', [2, 1], 7));
  g.output('last', g.op('gather', [x, last], { axis: 1, batch_dims: 1 }));
  const cache = graph.input('cache', randomTensor(random, 'f32', [2, 9, 12]));
  const start = graph.input('start', { type: { dtype: 'i32', shape: [2] }, data: Int32Array.of(1, 5) });
  g.output('cache', g.op('dynamic_update_slice', [cache, x, start], { axis: 1 }));
  g.output('flat', g.op('reshape', [x], { shape: [14, 12] }));
  g.output('same', x);
  await expectSameBits(graph, ['gather', 'dynamic_update_slice', 'reshape']);
});

test('memory that grows while a step finds its operands: large parameters as outputs, reshaped, and as positions', async () => {
  // 1.2 MB is more than what a fresh executor's memory holds, so the first look at each parameter grows it.
  const random = randomSource(8);
  const large = randomTensor(random, 'f32', [600, 500]);
  const cases: Record<string, (graph: GraphCase) => void> = {
    output: (graph) => graph.g.output('y', graph.parameter('w', large)),
    reshape: (graph) =>
      graph.g.output('y', graph.g.op('reshape', [graph.parameter('w', large)], { shape: [500, 600] })),
    gather: (graph) => {
      const ids = graph.parameter('ids', randomTensor(random, 'i32', [300_000], 30));
      const table = graph.input('table', randomTensor(random, 'f32', [30, 1]));
      graph.g.output('y', graph.g.op('gather', [table, ids], { axis: 0 }));
    },
    dynamic_update_slice: (graph) => {
      const cache = graph.input('cache', randomTensor(random, 'f32', [300_000, 2, 1]));
      const start = graph.parameter('start', randomTensor(random, 'i32', [300_000], 2));
      const x = graph.parameter('x', randomTensor(random, 'f32', [300_000, 1, 1]));
      graph.g.output('y', graph.g.op('dynamic_update_slice', [cache, x, start], { axis: 1 }));
    },
    negate: (graph) => graph.g.output('y', graph.g.op('negate', [graph.parameter('w', large)])),
  };
  for (const [op, build] of Object.entries(cases)) {
    const graph = new GraphCase();
    build(graph);
    await expectSameBits(graph, op === 'output' || op === 'negate' ? [] : [op]);
  }
});

describe('a contraction over nothing is +0, in memory that held something else', () => {
  /** `y` [2, 5] lies where x · x was; adding −0 keeps its sign visible. */
  async function expectZeros(op: string, makeY: (graph: GraphCase) => Value): Promise<void> {
    const graph = new GraphCase();
    const { g } = graph;
    const x = graph.input('x', randomTensor(randomSource(9), 'f32', [2, 5]));
    const zero = graph.input('zero', { type: { dtype: 'f32', shape: [2, 5] }, data: new Float32Array(10).fill(-0) });
    g.output('first', g.op('add', [g.op('multiply', [x, x]), x]));
    g.output('second', g.op('add', [makeY(graph), zero]));
    await expectSameBits(graph, [op]);
  }

  test.each(['f32', 'bf16'] as const)('dot_general of %s', async (dtype) => {
    await expectZeros('dot_general', (graph) => {
      const x = graph.input('a', { type: { dtype, shape: [2, 0] }, data: allocateHostArray(dtype, 0) });
      const w = graph.parameter('w', { type: { dtype, shape: [5, 0] }, data: allocateHostArray(dtype, 0) });
      return graph.g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] });
    });
  });

  test('scaled_dot', async () => {
    await expectZeros('scaled_dot', (graph) => {
      const empty = { type: { dtype: 'f8e4m3fn', shape: [2, 0] }, data: new Uint8Array(0) } as const;
      const x = graph.input('a', empty);
      const w = graph.parameter('w', { ...empty, type: { dtype: 'f8e4m3fn', shape: [5, 0] } });
      const scale = (name: string, rows: number) => graph.input(name, randomTensor(randomSource(1), 'f32', [rows, 1]));
      const attributes = { lhs_block: [1, 0], rhs_block: [1, 0], lhs_contract: [1], rhs_contract: [1] };
      return graph.g.op('scaled_dot', [x, w, scale('as', 2), scale('ws', 5)], attributes);
    });
  });
});

describe('an index out of range is the same error as on the reference', () => {
  test.each([
    ['gather', [30], { axis: 0 }],
    ['log_softmax_gather', [2, 30], {}],
    ['rope', [1, 2, 1, 8], {}],
  ] as const)('%s', async (op, shape, attributes) => {
    const random = randomSource(10);
    for (const index of [-1, 40]) {
      const graph = new GraphCase();
      const x = graph.input('x', randomTensor(random, 'f32', shape));
      const count = op === 'log_softmax_gather' ? 2 : 1;
      const indices = { type: { dtype: 'i32', shape: [count] }, data: new Int32Array(count).fill(index) } as const;
      const tables = op === 'rope' ? ['cos', 'sin'] : [];
      const operands = tables.map((name) => graph.parameter(name, randomTensor(random, 'f32', [40, 4])));
      graph.g.output('y', graph.g.op(op, [x, ...operands, graph.input('indices', indices)], attributes));
      const module = graph.module();
      const reference = () => referencePlugin().open();
      for (const open of [reference, ...devices.map((options) => () => cpuPlugin.open(options))]) {
        await using executor = await open();
        await using session = await Session.open(module, executor);
        const what = `${executor.id} ${executor.device.id}`;
        await expect(session.run('main', graph.inputs), what).rejects.toMatchObject({ code: 'gather-index' });
      }
    }
  });
});

test('primitives without a kernel run by their definition', async () => {
  const random = randomSource(7);
  const graph = new GraphCase();
  const x = graph.input('x', randomTensor(random, 'f32', [3, 19]));
  const { g } = graph;
  g.output('sum', g.op('reduce', [g.op('exp', [x])], { kind: 'sum', axes: [1] }));
  g.output('silu', g.op('silu', [g.op('transpose', [x], { permutation: [1, 0] })]));
  await expectSameBits(graph, []);
});

test.each(devices)('two executors do not share buffers: %o', async (options) => {
  await using a = await cpuPlugin.open(options);
  await using b = await cpuPlugin.open(options);
  const buffer = a.allocate(4, 'input');
  await a.upload(buffer, Uint8Array.of(1, 2, 3, 4));
  await expect(b.download(buffer)).rejects.toMatchObject({ code: 'buffer-foreign' });
  expect([...(await a.download(buffer))]).toEqual([1, 2, 3, 4]);
});

test('elements move as the definition says, over up to six axes', async () => {
  const random = randomSource(31);
  const whole = (most: number) => Math.floor(random() * (most + 1));
  for (let trial = 0; trial < 30; trial++) {
    const rank = 1 + (trial % 6);
    const shape = Array.from({ length: rank }, () => 1 + whole(3));
    const graph = new GraphCase();
    const x = graph.input('x', randomTensor(random, (['f32', 'bf16', 'f8e4m3fn'] as const)[trial % 3]!, shape));
    const order = shape.map((_, axis) => axis).sort(() => random() - 0.5);
    graph.g.output('moved', graph.g.op('transpose', [x], { permutation: order }));
    const start = shape.map((dim) => whole(dim - 1));
    const limit = shape.map((dim, axis) => start[axis]! + whole(dim - start[axis]!));
    graph.g.output('cut', graph.g.op('slice', [x], { start, limit, stride: shape.map(() => 1 + whole(1)) }));
    graph.g.output('joined', graph.g.op('concatenate', [x, x], { axis: whole(rank - 1) }));
    if (rank < 6) {
      const dims = shape.map((_, axis) => axis + 1);
      graph.g.output('spread', graph.g.op('broadcast_in_dim', [x], { shape: [3, ...shape], dims }));
    }
    await expectSameBits(graph, ['transpose', 'slice', 'concatenate']);
  }
});
