/** @file Ops that move bytes: what they read, what they write, and what they leave alone. */
import { bf16, canonicalSum, f8e4m3fn } from '@quaver/numerics';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { formatCode } from '../src/engine/engine.ts';
import { engineKinds } from './engines.ts';
import { Arena, expectSameBits, Random } from './kernels-arena.ts';

const f = Math.fround;

describe.each(engineKinds)('$name', (kind) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(kind);
  });
  afterAll(() => arena.close());
  beforeEach(() => arena.reset());

  it('copy and fill', async () => {
    const random = new Random(1);
    for (const [rows, bytes] of [
      [1, 1],
      [7, 13],
      [300, 1024],
      [1, 100_000],
    ] as const) {
      const data = random.bytes(rows * bytes);
      const [from, to] = [arena.put(data), arena.bytes(data.length)];
      await arena.run(['copy', [from, to], [rows, bytes]], ['copy', [from, from], [rows, bytes]]);
      expect(Buffer.compare(arena.u8(to, data.length), data)).toBe(0);
      expect(Buffer.compare(arena.u8(from, data.length), data)).toBe(0);
    }
    for (const [count, bytes] of [
      [1, 1],
      [77, 1],
      [1001, 2],
      [50_001, 4],
    ] as const) {
      const out = arena.bytes(count * bytes);
      await arena.run(['fill', [out], [1, count, bytes, 0x9abcdef1]]);
      const element = Uint8Array.of(0xf1, 0xde, 0xbc, 0x9a).slice(0, bytes);
      const expected = Uint8Array.from({ length: count * bytes }, (_, i) => element[i % bytes]!);
      expect(Buffer.compare(arena.u8(out, count * bytes), expected)).toBe(0);
    }
    arena.expectCanariesIntact();
  });

  it('gather copies rows, of one table or of one for each batch', async () => {
    const random = new Random(2);
    for (const [batches, count, bound, bytes] of [
      [1, 1, 1, 1],
      [1, 50, 9, 7],
      [3, 4, 5, 130],
      [2, 300, 40, 512],
    ] as const) {
      const table = random.bytes(batches * bound * bytes);
      const indices = Int32Array.from({ length: batches * count }, () => random.integer(0, bound - 1));
      const out = arena.bytes(batches * count * bytes);
      await arena.run(['gather', [arena.put(table), arena.put(indices), out], [batches, count, bound, bytes]]);
      const expected = Buffer.concat(
        [...indices].map((index, i) => {
          const row = Math.floor(i / count) * bound + index;
          return table.subarray(row * bytes, (row + 1) * bytes);
        }),
      );
      expect(Buffer.compare(arena.u8(out, expected.length), expected)).toBe(0);
    }
    arena.expectCanariesIntact();
  });

  it('gather_packed gives the rows of a table that is only there packed', async () => {
    const random = new Random(3);
    for (const [format, encode] of [
      ['f32', f],
      ['bf16', bf16.encode],
      ['f8e4m3fn', f8e4m3fn.encode],
    ] as const) {
      for (const [n, k] of [
        [1, 1],
        [70, 33],
        [200, 128],
      ] as const) {
        const codes = Array.from({ length: n * k }, () => encode(random.normal() + 3));
        const array = { f32: Float32Array, bf16: Uint16Array, f8e4m3fn: Uint8Array }[format];
        const table = array.from(codes);
        const indices = Int32Array.from({ length: 45 }, () => random.integer(0, n - 1));
        const packed = await arena.kernels.packWeights(format, arena.put(table), n, k);
        const out = arena.bytes(45 * k * table.BYTES_PER_ELEMENT);
        const numbers = [1, 45, n, k, formatCode[format]];
        await arena.run(['gather_packed', [packed, arena.put(indices), out], numbers]);
        const rows = array.from([...indices].flatMap((index) => codes.slice(index * k, (index + 1) * k)));
        const found = arena.u8(out, rows.byteLength);
        expect(Buffer.compare(found, new Uint8Array(rows.buffer)), `${format} ${n}×${k}`).toBe(0);
      }
    }
    arena.expectCanariesIntact();
  });

  it('an index that is out of range is named, and nothing outside of the table is read', async () => {
    const table = arena.put(new Uint8Array(40));
    const packed = await arena.kernels.packWeights('f8e4m3fn', arena.put(new Uint8Array(40)), 10, 4);
    const out = arena.bytes(3 * 4);
    for (const id of [10, -1, 2 ** 31 - 1, -(2 ** 31)]) {
      const indices = arena.put(Int32Array.of(9, 0, id));
      const failure = { instruction: 0, position: 2, found: id, limit: 10 };
      expect(await arena.attempt(['gather', [table, indices, out], [1, 3, 10, 4]])).toEqual(failure);
      expect(await arena.attempt(['gather_packed', [packed, indices, out], [1, 3, 10, 4, 2]])).toEqual(failure);
    }
    arena.expectCanariesIntact();
  });

  it('update_slice writes rows at the position of each batch, and drops what falls outside', async () => {
    const random = new Random(4);
    for (const [batch, capacity, rows, bytes] of [
      [1, 1, 1, 1],
      [3, 8, 3, 10],
      [2, 4, 6, 24],
      [5, 100, 7, 512],
    ] as const) {
      const operand = random.bytes(batch * capacity * bytes);
      const update = random.bytes(batch * rows * bytes);
      for (const at of [0, 1, capacity - 1, capacity, capacity + 3, -1, -rows, -(2 ** 31), 2 ** 31 - 1]) {
        const start = Int32Array.from({ length: batch }, (_, b) => at + (at > 0 && at < capacity ? b % 2 : 0));
        const expected = operand.slice();
        for (let b = 0; b < batch; b++)
          for (let r = 0; r < rows; r++) {
            const row = start[b]! + r;
            if (row < 0 || row >= capacity) continue;
            const source = update.subarray((b * rows + r) * bytes, (b * rows + r + 1) * bytes);
            expected.set(source, (b * capacity + row) * bytes);
          }
        const refs = [arena.put(operand), arena.put(update), arena.put(start)] as const;
        const out = arena.bytes(operand.length);
        const numbers = [batch, capacity, rows, bytes];
        await arena.run(['update_slice', [...refs, out], numbers]);
        expect(Buffer.compare(arena.u8(out, operand.length), expected), `start ${at}`).toBe(0);
        expect(Buffer.compare(arena.u8(refs[0], operand.length), operand), `start ${at}: the operand`).toBe(0);
        await arena.run(['update_slice', [...refs, refs[0]], numbers]);
        expect(Buffer.compare(arena.u8(refs[0], operand.length), expected), `start ${at}, in place`).toBe(0);
        arena.expectCanariesIntact();
        arena.reset();
      }
    }
  });

  it('update_pages writes tokens where pages say, the later of two for one slot, and drops what has no place', async () => {
    const random = new Random(6);
    for (const [pages, slots, rows, tokens, columns, bytes] of [
      [1, 1, 1, 1, 1, 1],
      [7, 16, 3, 20, 2, 24],
      [40, 16, 9, 1, 4, 512],
      [3, 5, 6, 11, 3, 7],
      [300, 4, 50, 30, 8, 64],
    ] as const) {
      for (let trial = 0; trial < 5; trial++) {
        const cache = random.bytes(pages * slots * bytes);
        const update = random.bytes(rows * tokens * bytes);
        const far = [-1, -(2 ** 31), pages, 2 ** 31 - 1];
        const page = () => (random.integer(0, 9) === 0 ? random.pick(far) : random.integer(0, pages - 1));
        const table = Int32Array.from({ length: rows * columns }, page);
        const place = () => random.pick([...far, -3, random.integer(0, columns * slots), random.integer(0, slots)]);
        const position = Int32Array.from({ length: rows }, place);
        const expected = cache.slice();
        for (let token = 0; token < rows * tokens; token++) {
          const row = Math.floor(token / tokens);
          const n = position[row]! + (token % tokens);
          const to = n < 0 || n >= columns * slots ? -1 : table[row * columns + Math.floor(n / slots)]!;
          if (to < 0 || to >= pages) continue;
          expected.set(update.subarray(token * bytes, (token + 1) * bytes), (to * slots + (n % slots)) * bytes);
        }
        const refs = [arena.put(cache), arena.put(update), arena.put(table), arena.put(position)] as const;
        const out = arena.bytes(cache.length);
        const numbers = [pages, slots, rows, tokens, columns, bytes];
        await arena.run(['update_pages', [...refs, out], numbers]);
        expect(Buffer.compare(arena.u8(out, cache.length), expected), `${numbers}`).toBe(0);
        expect(Buffer.compare(arena.u8(refs[0], cache.length), cache), `${numbers}: the cache`).toBe(0);
        await arena.run(['update_pages', [...refs, refs[0]], numbers]);
        expect(Buffer.compare(arena.u8(refs[0], cache.length), expected), `${numbers}, in place`).toBe(0);
        arena.expectCanariesIntact();
        arena.reset();
      }
    }
  });

  it('strided_copy permutes, slices and spreads axes', async () => {
    const random = new Random(5);
    for (const bytes of [1, 2, 4]) {
      for (let trial = 0; trial < 10; trial++) {
        arena.reset();
        const sizes = Array.from({ length: 6 }, () => random.integer(1, 4));
        const strides = (order: readonly number[], gap: number) => {
          const result = [0, 0, 0, 0, 0, 0];
          let next = random.integer(1, gap);
          for (const axis of order) {
            result[axis] = next;
            next *= sizes[axis]!;
          }
          return result;
        };
        const order = [0, 1, 2, 3, 4, 5].sort(() => random.unit() - 0.5);
        const [from, to] = [strides(order, 2), strides([5, 4, 3, 2, 1, 0], 3)];
        const [first, second] = [random.integer(0, 5), random.integer(0, 5)];
        const last = (s: readonly number[]) => sizes.reduce((sum, size, axis) => sum + (size - 1) * s[axis]!, 0) + 1;
        const source = random.bytes((first + last(from)) * bytes);
        const length = (second + last(to)) * bytes;
        const out = arena.bytes(length);
        const expected = arena.u8(out, length);
        for (let i = 0; i < sizes.reduce((product, size) => product * size); i++) {
          let [rest, a, b] = [i, first, second];
          for (let axis = 5; axis >= 0; axis--) {
            const at = rest % sizes[axis]!;
            rest = Math.floor(rest / sizes[axis]!);
            a += at * from[axis]!;
            b += at * to[axis]!;
          }
          expected.set(source.subarray(a * bytes, (a + 1) * bytes), b * bytes);
        }
        await arena.run(['strided_copy', [arena.put(source), out], [bytes, ...sizes, ...from, ...to, first, second]]);
        expect(Buffer.compare(arena.u8(out, length), expected), `${sizes} ${from} → ${to}`).toBe(0);
        arena.expectCanariesIntact();
      }
    }
  });

  it('reduce adds in the canonical order along any axis, and finds extremes', async () => {
    const random = new Random(11);
    for (const [outer, length, inner] of [
      [3, 1, 1],
      [5, 37, 1],
      [2, 0, 3],
      [2, 16, 7],
      [3, 41, 300],
      [1, 100, 513],
    ] as const) {
      arena.reset();
      const x = random.f32s(outer * length * inner, () => random.normal() * 2 ** random.integer(-12, 12));
      const input = arena.put(x);
      for (const [operation, pick] of [undefined, Math.max, Math.min].entries()) {
        const expected = new Float32Array(outer * inner);
        for (let o = 0; o < outer; o++) {
          for (let i = 0; i < inner; i++) {
            const start = o * length * inner + i;
            const column = Array.from({ length }, (_, l) => x[start + l * inner]!);
            expected[o * inner + i] = pick ? pick(...column) : canonicalSum(x, start, length, inner);
          }
        }
        const out = arena.bytes(4 * outer * inner);
        await arena.run(['reduce', [input, out], [operation, outer, length, inner]]);
        expect(Buffer.compare(arena.u8(out, 4 * outer * inner), new Uint8Array(expected.buffer))).toBe(0);
        arena.expectCanariesIntact();
      }
    }
  });

  it('scatter_add adds updates in their order', async () => {
    const random = new Random(6);
    for (const [rows, count, width] of [
      [1, 1, 1],
      [5, 40, 7],
      [9, 200, 200],
    ] as const) {
      const operand = random.f32s(rows * width, () => random.normal());
      const updates = random.f32s(count * width, () => random.normal() * 2 ** random.integer(-8, 8));
      const indices = Int32Array.from({ length: count }, () => random.integer(0, rows - 1));
      const expected = operand.slice();
      for (let i = 0; i < count * width; i++) {
        const at = indices[Math.floor(i / width)]! * width + (i % width);
        expected[at] = f(expected[at]! + updates[i]!);
      }
      const refs = [arena.put(operand), arena.put(indices), arena.put(updates)] as const;
      const out = arena.bytes(operand.byteLength);
      await arena.run(['scatter_add', [...refs, out], [rows, count, width]]);
      expectSameBits(arena.f32(out, operand.length), expected, 'scatter_add');
      await arena.run(['scatter_add', [...refs, refs[0]], [rows, count, width]]);
      expectSameBits(arena.f32(refs[0], operand.length), expected, 'scatter_add, in place');
      for (const id of [rows, -1]) {
        const bad = arena.put(indices.with(count - 1, id));
        const failure = await arena.attempt(['scatter_add', [refs[0], bad, refs[2], out], [rows, count, width]]);
        expect(failure).toEqual({ instruction: 0, position: count - 1, found: id, limit: rows });
      }
    }
    arena.expectCanariesIntact();
  });
});
