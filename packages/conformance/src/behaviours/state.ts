/** @file State is read as it was when the call began, and replaced when it ends. */
import { Session } from '@quaver/executor';
import { parseModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour } from './behaviour.ts';
import { expectSameBits, f32 } from './expectations.ts';

const cache = `quaver 1 opset core@1
module "cache"
symbol B 1..4
state "cache": f32[B,4,2]

func @append(%x: f32[B,1,2], %at: i32[B], %cache: f32[B,4,2] state @"cache") -> (all: f32[B,4,2]) {
  %all = dynamic_update_slice(%cache, %x, %at) {axis=1} : f32[B,4,2]
  update "cache" = %all
  return %all
}

func @read(%cache: f32[B,4,2] state @"cache") -> (all: f32[B,4,2]) {
  return %cache
}
`;

const pages = `quaver 1 opset core@1
module "pages"
symbol P 1..8
symbol B 1..4
symbol N 1..4
state "cache": f32[P,2,1]

func @append(%x: f32[B,1,1], %pages: i32[B,N], %at: i32[B], %cache: f32[P,2,1] state @"cache") -> (all: f32[P,2,1]) {
  %all = paged_update(%cache, %x, %pages, %at) : f32[P,2,1]
  update "cache" = %all
  return %all
}

func @read(%cache: f32[P,2,1] state @"cache") -> (all: f32[P,2,1]) {
  return %cache
}
`;

const swap = `quaver 1 opset core@1
module "swap"
state "a": f32[3]
state "b": f32[3]

func @set(%x: f32[3], %y: f32[3]) -> () {
  update "a" = %x
  update "b" = %y
  return
}

func @swap(%a: f32[3] state @"a", %b: f32[3] state @"b") -> (a: f32[3], b: f32[3]) {
  update "a" = %b
  update "b" = %a
  return %a, %b
}
`;

export const stateCases: readonly ConformanceCase[] = [
  behaviour('state/an update in place is seen by the next call', async ({ executor, signal }) => {
    await using session = await Session.open(parseModule(cache), executor, { signal });
    const [state, untouched] = [session.createState({ B: 2 }), session.createState({ B: 2 })];
    const append = (x: number[], at: number[]) =>
      session.run(
        'append',
        { x: f32([2, 1, 2], x), at: { type: { dtype: 'i32', shape: [2] }, data: Int32Array.from(at) } },
        { state, signal },
      );
    await append([1, 2, 3, 4], [0, 3]);
    const { all } = await append([5, 6, 7, 8], [1, 0]);
    const expected = f32([2, 4, 2], [1, 2, 5, 6, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 3, 4]);
    expectSameBits('after two calls', all, expected);
    expectSameBits('read back', (await session.run('read', {}, { state, signal })).all, expected);
    const zeros = f32([2, 4, 2], new Float32Array(16));
    expectSameBits('another state', (await session.run('read', {}, { state: untouched, signal })).all, zeros);
  }),
  behaviour(
    'state/pages are shared by rows, and those that do not exist are no place',
    async ({ executor, signal }) => {
      await using session = await Session.open(parseModule(pages), executor, { signal });
      const state = session.createState({ P: 3 });
      const ints = (shape: number[], values: number[]) =>
        ({ type: { dtype: 'i32', shape }, data: Int32Array.from(values) }) as const;
      const append = (x: number[], table: number[], at: number[]) =>
        session.run(
          'append',
          {
            x: f32([x.length, 1, 1], x),
            pages: ints([x.length, table.length / x.length], table),
            at: ints([at.length], at),
          },
          { state, signal },
        );
      await append([1, 2], [2, 0, 2, 1], [0, 2]);
      await append([3, 4, 5, 6], [-1, 3, 2 ** 31 - 1, -(2 ** 31)], [0, 1, 0, 1]);
      const { all } = await append([7, 8], [2, 0, 2, 1], [1, 3]);
      const expected = f32([3, 2, 1], [0, 0, 2, 8, 1, 7]);
      expectSameBits('after three calls', all, expected);
      expectSameBits('read back', (await session.run('read', {}, { state, signal })).all, expected);
    },
  ),
  behaviour('state/two states are swapped', async ({ executor, signal }) => {
    await using session = await Session.open(parseModule(swap), executor, { signal });
    const state = session.createState({});
    const [x, y] = [f32([3], [1, 2, 3]), f32([3], [4, 5, 6])];
    await session.run('set', { x, y }, { state, signal });
    for (const [a, b] of [
      [x, y],
      [y, x],
      [x, y],
    ] as const) {
      const results = await session.run('swap', {}, { state, signal });
      expectSameBits('a', results.a, a);
      expectSameBits('b', results.b, b);
    }
  }),
];
