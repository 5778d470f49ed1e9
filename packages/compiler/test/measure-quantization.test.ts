/** @file Counts of what FP8 loses, against counts on the arrays themselves. */
import { GraphBuilder, type GraphFunction, type HostTensor, type Module, verifyModule } from '@quaver/ir';
import { floatFormats } from '@quaver/numerics';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { measureQuantization, quantizationOutput } from '../src/index.ts';
import { runModule } from './fixtures/run-module.ts';

type Format = 'f8e4m3fn' | 'f8e5m2';

function moduleOf(fn: GraphFunction): Module {
  const nothing = { symbols: [], parameters: [], states: [], attachments: new Map(), metadata: {} };
  return { name: 'm', ...nothing, functions: [fn] };
}

function quantizing(rows: number, columns: number, block: readonly [number, number], to: Format): Module {
  const g = new GraphBuilder('f');
  const x = g.input('x', 'f32', [rows, columns]);
  const scales = [Math.ceil(rows / (block[0] || rows)), Math.ceil(columns / (block[1] || columns))];
  const scale = g.input('scale', 'f32', scales);
  const codes = g.scope('layer', () => g.op('quantize', [x, scale], { to, block }));
  g.output('y', g.op('dequantize', [codes, scale], { to: 'f32', block }));
  return moduleOf(g.finish());
}

async function measured(module: Module, inputs: Record<string, HostTensor>): Promise<number[]> {
  const added = measureQuantization(module, 'f')!;
  verifyModule(added.module);
  const { outputs } = await runModule(added.module, added.measure.functionName, inputs);
  expect(Object.keys(outputs)).toEqual([quantizationOutput]);
  return [...outputs[quantizationOutput]!.data];
}

const tensor = (shape: number[], data: Float32Array): HostTensor => ({ type: { dtype: 'f32', shape }, data });

/** The same by the casts of numerics, element by element: a cast without saturation says what is out of range. */
function counted(x: Float32Array, scaleOf: (i: number) => number, to: Format): number[] {
  let [amax, saturated, underflow] = [0, 0, 0];
  for (const [i, value] of x.entries()) {
    if (!Number.isFinite(value)) continue;
    amax = Math.max(amax, Math.abs(value));
    const scaled = Math.fround(value / scaleOf(i));
    const format = floatFormats[to];
    if (!Number.isFinite(format.decode(format.encode(scaled, false)))) saturated++;
    if (value !== 0 && format.decode(format.encode(scaled)) === 0) underflow++;
  }
  return [amax, saturated, underflow];
}

const special = [
  0,
  -0,
  1,
  -448,
  449,
  464,
  -464.0001,
  465,
  57344,
  61439,
  61440,
  2 ** -9,
  2 ** -10,
  -(2 ** -10.5),
  2 ** -17,
]
  .concat([2 ** -149, 3.4e38, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
  .map(Math.fround);

describe.each(['f8e4m3fn', 'f8e5m2'] as const)('%s', (to) => {
  test('every kind of number counts as the cast says', async () => {
    const x = Float32Array.from(special);
    const found = await measured(quantizing(1, x.length, [1, 0], to), {
      x: tensor([1, x.length], x),
      scale: tensor([1, 1], Float32Array.of(1)),
    });
    expect(found).toEqual(counted(x, () => 1, to));
    expect(found[1]).toBeGreaterThan(1);
    expect(found[2]).toBeGreaterThan(1);
  });

  test('any numbers, blocks and scales', async () => {
    const numbers = fc.oneof(fc.constantFrom(...special), fc.float({ noDefaultInfinity: false }));
    const cases = fc.record({
      rows: fc.integer({ min: 1, max: 5 }),
      columns: fc.integer({ min: 1, max: 9 }),
      block: fc.constantFrom<[number, number]>([0, 0], [1, 4], [2, 3], [1, 0]),
    });
    const scales = fc.oneof(
      fc.constantFrom(1, 2 ** -20, 2 ** 30),
      fc.float({ min: Math.fround(1e-30), max: Math.fround(1e30), noNaN: true }),
    );
    const property = fc.asyncProperty(
      cases,
      fc.infiniteStream(numbers),
      fc.infiniteStream(scales),
      async (shape, x, s) => {
        const { rows, columns, block } = shape;
        const [blockRows, blockColumns] = [block[0] || rows, block[1] || columns];
        const grid = [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)];
        const values = Float32Array.from({ length: rows * columns }, () => x.next().value);
        const scale = Float32Array.from({ length: grid[0]! * grid[1]! }, () => s.next().value);
        const scaleOf = (i: number) =>
          scale[Math.floor(Math.floor(i / columns) / blockRows) * grid[1]! + Math.floor((i % columns) / blockColumns)]!;
        const found = await measured(quantizing(rows, columns, block, to), {
          x: tensor([rows, columns], values),
          scale: tensor(grid, scale),
        });
        expect(found).toEqual(counted(values, scaleOf, to));
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });
});

test('functions that quantize nothing, or are not there, have no measure', () => {
  const g = new GraphBuilder('f');
  g.output('y', g.op('negate', [g.input('x', 'f32', [2])]));
  expect(measureQuantization(moduleOf(g.finish()), 'f')).toBeUndefined();
  expect(measureQuantization(moduleOf(g.finish()), 'g')).toBeUndefined();
});
