import { type Attributes, coreOps, type DType, GraphBuilder, type HostTensor } from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { along, bitsOf, floats, numbersOf, randomNumbers, runOne, runOp, stored } from './op-runner.ts';

const HEADS = 4;
const KEY_HEADS = 2;
const DEPTH = 8;

interface Sequence {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly kScale: HostTensor | undefined;
  readonly vScale: HostTensor | undefined;
}

function sequence(dtype: DType, batch: number, tokens: number, seed: number): Sequence {
  const values = (heads: number, s: number) => randomNumbers(batch * tokens * heads * DEPTH, s).map((x) => 3 * x);
  const q = floats(dtype === 'f32' ? 'f32' : 'bf16', [batch, tokens, HEADS, DEPTH], values(HEADS, seed));
  const [k, v] = [1, 2].map((s) => floats('f32', [batch, tokens, KEY_HEADS, DEPTH], values(KEY_HEADS, seed + s)));
  if (!dtype.startsWith('f8')) {
    return { q, k: cast(k!, dtype), v: cast(v!, dtype), kScale: undefined, vScale: undefined };
  }
  const attributes = { to: dtype, block: [1, 1, 1, 0], max: 448, rounding: 'pow2_up', scale_dtype: 'f8e8m0fnu' };
  const [kq, kScale] = runOp('dynamic_quantize', [k], attributes);
  const [vq, vScale] = runOp('dynamic_quantize', [v], attributes);
  return { q, k: kq!, v: vq!, kScale, vScale };
}

const cast = (x: HostTensor, to: DType) => (to === 'f32' ? x : runOne('convert', [x], { to }));

/** A cache of `capacity` keys that holds the first `filled` ones; the rest is finite junk. */
function cacheOf(source: HostTensor, filled: number, capacity: number, seed: number): HostTensor {
  const { dtype, shape } = source.type;
  const full = [shape[0]!, capacity, ...shape.slice(2)];
  const count = full.reduce((product, dim) => product * dim, 1);
  const positive = dtype === 'f8e8m0fnu';
  const junk = floats(
    dtype,
    full,
    randomNumbers(count, seed).map((x) => (positive ? 2 ** Math.round(20 * x) : 400 * x)),
  );
  return runOne(
    'dynamic_update_slice',
    [junk, along(source, 1, 0, filled), stored('i32', [shape[0]!], Array(shape[0]!).fill(0))],
    {
      axis: 1,
    },
  );
}

/** Outputs of queries `from` to `to`, computed against a cache with junk behind them. */
function attend(
  s: Sequence,
  from: number,
  to: number,
  capacity: number,
  attributes: Attributes,
  seed: number,
): HostTensor {
  const cached = (x: HostTensor | undefined, salt: number) => x && cacheOf(x, to, capacity, seed + salt);
  const batch = s.q.type.shape[0]!;
  const position = stored('i32', [batch], Array(batch).fill(from));
  return runOne(
    'attention',
    [along(s.q, 1, from, to), cached(s.k, 1), cached(s.v, 2), position, cached(s.kScale, 3), cached(s.vScale, 4)],
    attributes,
  );
}

const variants: [DType, Attributes][] = [
  ['f32', { scale: 0.35, probs: 'f32' }],
  ['bf16', { scale: 0.35, probs: 'bf16' }],
  ['bf16', { scale: 0.35, probs: 'f8e4m3fn' }],
  ['bf16', { scale: 0.35, probs: 'bf16', window: 5 }],
  ['f8e4m3fn', { scale: 0.35, probs: 'bf16' }],
  ['f8e5m2', { scale: 0.35, probs: 'f8e4m3fn', window: 3 }],
];

describe.each(variants)('attention over a %s cache, %j', (dtype, attributes) => {
  test('decode, chunked prefill and the whole sequence give the same bits, whatever lies behind in the cache', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer(),
        (chunks, spare, batch, seed) => {
          const tokens = chunks.reduce((sum, chunk) => sum + chunk, 0);
          const s = sequence(dtype, batch, tokens, seed);
          const whole = attend(s, 0, tokens, tokens, attributes, seed);
          let from = 0;
          for (const chunk of chunks) {
            const part = attend(s, from, from + chunk, tokens + spare, attributes, seed + from);
            expect(bitsOf(part)).toBe(bitsOf(along(whole, 1, from, from + chunk)));
            from += chunk;
          }
          const last = attend(s, tokens - 1, tokens, tokens + spare, attributes, seed + 7);
          expect(bitsOf(last)).toBe(bitsOf(along(whole, 1, tokens - 1, tokens)));
        },
      ),
      { numRuns: 12 },
    );
  });

  test('over the boundary of 128 keys', () => {
    const s = sequence(dtype, 1, 262, 99);
    const whole = attend(s, 0, 262, 262, attributes, 1);
    for (const at of [126, 127, 128, 129, 255, 256, 261]) {
      const decoded = attend(s, at, at + 1, 300, attributes, at);
      expect(bitsOf(decoded)).toBe(bitsOf(along(whole, 1, at, at + 1)));
    }
  });
});

test('the first query sees its own key alone: its output is its value', () => {
  const s = sequence('f32', 2, 3, 5);
  const y = numbersOf(along(attend(s, 0, 3, 3, { scale: 1, probs: 'f32' }, 0), 1, 0, 1));
  const v = numbersOf(along(s.v, 1, 0, 1));
  const expected = [0, 1].flatMap((b) =>
    [0, 0, 1, 1].flatMap((head) => v.slice((b * KEY_HEADS + head) * DEPTH, (b * KEY_HEADS + head + 1) * DEPTH)),
  );
  expect(y).toEqual(expected);
});

test('a window hides what lies before it, and only that', () => {
  const s = sequence('f32', 1, 12, 8);
  const windowed = (sequence: Sequence, window: number) =>
    attend(sequence, 11, 12, 12, { scale: 1, probs: 'f32', window }, 0);
  const changed = (key: number): Sequence => {
    const data = s.v.data.slice();
    data[key * KEY_HEADS * DEPTH] = 100;
    return { ...s, v: { ...s.v, data } };
  };
  expect(bitsOf(windowed(s, 12))).toBe(bitsOf(windowed(s, 0)));
  expect(bitsOf(windowed(changed(7), 4))).toBe(bitsOf(windowed(s, 4)));
  expect(bitsOf(windowed(changed(8), 4))).not.toBe(bitsOf(windowed(s, 4)));
});

test('an FP8 cache gives the bits of the bf16 cache that holds its restored values', () => {
  const s = sequence('f8e4m3fn', 2, 9, 21);
  const restore = (x: HostTensor, scale: HostTensor) =>
    runOne('dequantize', [x, scale], { to: 'bf16', block: [1, 1, 1, 0] });
  const plain = {
    q: s.q,
    k: restore(s.k, s.kScale!),
    v: restore(s.v, s.vScale!),
    kScale: undefined,
    vScale: undefined,
  };
  const attributes = { scale: 0.5, probs: 'bf16' };
  expect(bitsOf(attend(s, 0, 9, 9, attributes, 0))).toBe(bitsOf(attend(plain, 0, 9, 9, attributes, 0)));
});

/** Two sequences in one row, the second from key `at` on: each query sees the keys of its own. */
function packed(first: Sequence, second: Sequence, at: number, attributes: Attributes): HostTensor {
  const joined = (a: HostTensor | undefined, b: HostTensor | undefined) =>
    a && b && runOne('concatenate', [along(a, 1, 0, at), b], { axis: 1 });
  const [q, k, v] = [joined(first.q, second.q), joined(first.k, second.k), joined(first.v, second.v)];
  const tokens = q!.type.shape[1]!;
  const firstKey = stored(
    'i32',
    [1, tokens],
    Array.from({ length: tokens }, (_, t) => (t < at ? 0 : at)),
  );
  const scales = [joined(first.kScale, second.kScale), joined(first.vScale, second.vScale)];
  return runOne('attention', [q, k, v, stored('i32', [1], [0]), ...scales, firstKey], attributes);
}

describe.each(variants)('packed sequences in a %s cache, %j', (dtype, attributes) => {
  test.each([128, 256])('the second one from key %i on has the bits that it has alone', (at) => {
    const [first, second] = [sequence(dtype, 1, at, 31), sequence(dtype, 1, 21, 41)];
    const y = packed(first, second, at, attributes);
    const alone = (s: Sequence, tokens: number) => bitsOf(attend(s, 0, tokens, tokens, attributes, 0));
    expect(bitsOf(along(y, 1, 0, at))).toBe(alone(first, at));
    expect(bitsOf(along(y, 1, at, at + 21))).toBe(alone(second, 21));
  });
});

test('packed anywhere else, the second sequence is the same up to the order of additions', () => {
  const attributes = { scale: 0.35, probs: 'f32' };
  const [first, second] = [sequence('f32', 1, 37, 31), sequence('f32', 1, 21, 41)];
  const y = numbersOf(along(packed(first, second, 37, attributes), 1, 37, 58));
  const alone = numbersOf(attend(second, 0, 21, 21, attributes, 0));
  y.forEach((value, i) => {
    expect(Math.abs(value - alone[i]!)).toBeLessThan(1e-5);
  });
});

test('a first key before the cache hides nothing, one past the query leaves it its own key', () => {
  const s = sequence('f32', 1, 5, 12);
  const attributes = { scale: 1, probs: 'f32' };
  const from = (...first: number[]) =>
    runOne(
      'attention',
      [s.q, s.k, s.v, stored('i32', [1], [0]), undefined, undefined, stored('i32', [1, 5], first)],
      attributes,
    );
  expect(bitsOf(from(-5, -(2 ** 31), 0, -1, 0))).toBe(bitsOf(attend(s, 0, 5, 5, attributes, 0)));
  const own = from(1, 2 ** 31 - 1, 3, 9, 5);
  const v = numbersOf(s.v);
  const expected = [0, 1, 2, 3, 4].flatMap((t) =>
    [0, 0, 1, 1].flatMap((head) => v.slice((t * KEY_HEADS + head) * DEPTH, (t * KEY_HEADS + head + 1) * DEPTH)),
  );
  expect(numbersOf(own)).toEqual(expected);
});

/** [B,S,...] cut into pages of `slots` tokens that go where `table` says, row by row; no page is in it twice. */
function inPages(source: HostTensor, slots: number, table: readonly number[], pages: number, seed: number): HostTensor {
  const { dtype, shape } = source.type;
  const [batch, tokens, ...rest] = shape as readonly [number, number, ...number[]];
  const columns = table.length / batch;
  const whole = cacheOf(source, tokens, columns * slots, seed).data;
  const page = slots * rest.reduce((product, dim) => product * dim, 1);
  const junk = randomNumbers(pages * page, seed).map((x) => 2 + x);
  const { data } = floats(dtype, [pages * page], junk);
  for (const [i, at] of table.entries()) data.set(whole.subarray(i * page, (i + 1) * page), at * page);
  return { type: { dtype, shape: [pages, slots, ...rest] }, data };
}

describe.each(variants)('a %s cache in pages, %j', (dtype, attributes) => {
  test('gives the bits that it gives in one piece, whatever the order of its pages', () => {
    const sizes = fc.record({
      batch: fc.integer({ min: 1, max: 3 }),
      tokens: fc.integer({ min: 1, max: 12 }),
      spare: fc.integer({ min: 0, max: 9 }),
      slots: fc.integer({ min: 1, max: 7 }),
      chunk: fc.integer({ min: 1, max: 12 }),
      packed: fc.boolean(),
      seed: fc.integer(),
    });
    const setting = sizes.chain((size) => {
      const length = size.batch * Math.ceil((size.tokens + size.spare) / size.slots);
      const all = Array.from({ length: length + 2 }, (_, i) => i);
      const table = fc.shuffledSubarray(all, { minLength: length, maxLength: length });
      return fc.record({ size: fc.constant(size), table });
    });
    fc.assert(
      fc.property(setting, ({ size, table }) => {
        const { batch, tokens, slots, seed } = size;
        const columns = table.length / batch;
        const s = sequence(dtype, batch, tokens, seed);
        const from = Math.max(0, tokens - size.chunk);
        const firstKeys = Array.from({ length: batch * (tokens - from) }, (_, i) => (i * 7) % 5);
        const attendTo = (cache: (x: HostTensor, salt: number) => HostTensor, pages: HostTensor | undefined) =>
          runOne(
            'attention',
            [
              along(s.q, 1, from, tokens),
              ...[cache(s.k, 1), cache(s.v, 2), stored('i32', [batch], Array(batch).fill(from))],
              ...[s.kScale && cache(s.kScale, 3), s.vScale && cache(s.vScale, 4)],
              size.packed ? stored('i32', [batch, tokens - from], firstKeys) : undefined,
              pages,
            ],
            attributes,
          );
        const inOnePiece = attendTo((x, salt) => cacheOf(x, tokens, columns * slots, seed + salt), undefined);
        const paged = attendTo(
          (x, salt) => inPages(x, slots, table, table.length + 2, seed - salt),
          stored('i32', [batch, columns], table),
        );
        expect(bitsOf(paged)).toBe(bitsOf(inOnePiece));
      }),
      { numRuns: 25 },
    );
  });
});

test('a page that does not exist is keys and values of zero', () => {
  const s = sequence('f32', 1, 4, 3);
  const pagesOf = (x: HostTensor) => ({ ...x, type: { ...x.type, shape: [2, 2, KEY_HEADS, DEPTH] } });
  const zeroed = (x: HostTensor) => ({ ...x, data: x.data.slice().fill(0, x.data.length / 2) });
  const attributes = { scale: 1, probs: 'f32' };
  const position = stored('i32', [1], [0]);
  const expected = runOne('attention', [s.q, zeroed(s.k), zeroed(s.v), position], attributes);
  for (const page of [-1, 2, 2 ** 31 - 1, -(2 ** 31)]) {
    const table = stored('i32', [1, 2], [0, page]);
    const operands = [s.q, pagesOf(s.k), pagesOf(s.v), position, undefined, undefined, undefined, table];
    expect(bitsOf(runOne('attention', operands, attributes))).toBe(bitsOf(expected));
  }
});

test('pages have no gradient', () => {
  const g = new GraphBuilder('main');
  const [q, k] = [g.input('q', 'f32', ['B', 'T', 2, 4]), g.input('k', 'f32', ['P', 16, 2, 4])];
  const [position, pages] = [g.input('position', 'i32', ['B']), g.input('pages', 'i32', ['B', 'N'])];
  g.op('attention', [q, k, k, position, undefined, undefined, undefined, pages], { scale: 1, probs: 'f32' });
  const { gradient } = coreOps.latest('core', 'attention');
  expect(() => gradient(g, g.nodes[0]!, [q])).toThrow(expect.objectContaining({ code: 'op-type' }));
});

test('a batch or a chunk of nothing gives nothing', () => {
  const s = sequence('bf16', 0, 4, 1);
  expect(attend(s, 0, 4, 6, { scale: 1, probs: 'bf16' }, 0).type.shape).toEqual([0, 4, HEADS, DEPTH]);
  const t = sequence('bf16', 2, 4, 1);
  expect(attend(t, 4, 4, 6, { scale: 1, probs: 'bf16' }, 0).type.shape).toEqual([2, 0, HEADS, DEPTH]);
});
