/** @file Several sessions use one executor at the same time, and an error in one call leaves the others alone. */
import { Session } from '@quaver/executor';
import { type HostTensor, parseModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour } from './behaviour.ts';
import { expectCode, expectSameBits } from './expectations.ts';
import { randomTensor } from './random.ts';

const product = `quaver 1 opset core@1
module "product"
symbol B 1..64

func @main(%x: f32[B,96], %w: f32[80,96]) -> (y: f32[B,80]) {
  %h = dot_general(%x, %w) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[], promote=128} : f32[B,80]
  %y = softmax(%h) {axis=1} : f32[B,80]
  return %y
}
`;

const lookup = `quaver 1 opset core@1
module "lookup"

func @main(%table: f32[5,3], %ids: i32[2]) -> (y: f32[2,3]) {
  %y = gather(%table, %ids) {axis=0, batch_dims=0} : f32[2,3]
  return %y
}
`;

const rounds = 6;

export const sessionCases: readonly ConformanceCase[] = [
  behaviour('two sessions at once', async ({ executor, signal }) => {
    await using first = await Session.open(parseModule(product), executor, { signal });
    await using second = await Session.open(parseModule(product), executor, { signal });
    const w = randomTensor(1, 'f32', [80, 96]);
    const inputs = Array.from({ length: rounds }, (_, i) => ({ w, x: randomTensor(i + 2, 'f32', [i * 7 + 1, 96]) }));
    const alone: HostTensor[] = [];
    for (const each of inputs) alone.push((await first.run('main', each, { signal })).y!);
    const together = inputs.flatMap((each, i) =>
      [first, second].map(async (session) => [i, (await session.run('main', each, { signal })).y] as const),
    );
    for (const [i, y] of await Promise.all(together)) expectSameBits(`call ${i}`, y, alone[i]!);
  }),
  behaviour(
    'an index out of range is an error, and the next call works',
    async ({ executor, signal }) => {
      await using session = await Session.open(parseModule(lookup), executor, { signal });
      const table = randomTensor(1, 'f32', [5, 3]);
      const call = (...ids: number[]) =>
        session.run(
          'main',
          { table, ids: { type: { dtype: 'i32', shape: [2] }, data: Int32Array.from(ids) } },
          { signal },
        );
      for (const index of [-1, 5, 2 ** 31 - 1]) {
        await expectCode(`index ${index}`, 'gather-index', () => call(0, index));
      }
      const rows = { type: { dtype: 'f32', shape: [2, 3] } as const, data: table.data.slice(6, 12) };
      expectSameBits('rows 2 and 3', (await call(2, 3)).y, rows);
    },
    'gather',
  ),
];
