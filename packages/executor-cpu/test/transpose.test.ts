import { Session } from '@quaver/executor';
import { type DType, GraphBuilder, type HostArray, type Module } from '@quaver/ir';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpuPlugin } from '../src/index.ts';
import { devices } from './same-bits.ts';

const dtypes = [
  ['f8e4m3fn', Uint8Array],
  ['bf16', Uint16Array],
  ['f32', Float32Array],
] as const;

function moduleOf(dtype: DType): Module {
  const g = new GraphBuilder('main');
  const x = g.input('x', dtype, ['M', 'N']);
  g.output('y', g.op('transpose', [x], { permutation: [1, 0] }));
  const symbols = ['M', 'N'].map((name) => ({ name, min: 1, max: 2 ** 20, multiple: 1 }));
  return {
    name: 'transpose',
    symbols,
    parameters: [],
    states: [],
    functions: [g.finish()],
    metadata: {},
    attachments: new Map(),
  };
}

/** As large as it takes for several cache lines of every element size, and for several threads. */
const side = fc.integer({ min: 1, max: 300 });

test.each(
  devices.flatMap((options) => dtypes.map(([dtype, Elements]) => [options.device, dtype, Elements, options] as const)),
)('%s: every element of a transposed matrix of %s is where it belongs', async (_, dtype, Elements, options) => {
  await using executor = await cpuPlugin.open(options);
  await using session = await Session.open(moduleOf(dtype), executor);
  await fc.assert(
    fc.asyncProperty(side, side, async (m, n) => {
      const data: HostArray = Elements.from(Array.from({ length: m * n }, (_, i) => (i * 7919) % 251));
      const { y } = await session.run('main', { x: { type: { dtype, shape: [m, n] }, data } });
      const expected = Elements.from(Array.from({ length: m * n }, (_, i) => data[(i % m) * n + Math.floor(i / m)]!));
      expect(Buffer.compare(Buffer.from(y!.data.buffer), Buffer.from(expected.buffer))).toBe(0);
    }),
    {
      numRuns: 40,
      examples: [
        [1, 1],
        [65, 129],
        [300, 17],
      ],
    },
  );
});
