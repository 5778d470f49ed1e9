import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WasmHeap } from '../src/engine/wasm-heap.ts';

const page = 65536;
/** Not a multiple of 64: what the module needs for itself may end anywhere. */
const base = 70_001;
const first = 70_016;

function makeHeap(pages = 4096) {
  const memory = new WebAssembly.Memory({ initial: 4, maximum: pages });
  return { memory, heap: new WasmHeap(memory, base) };
}

test('blocks are aligned, inside of memory, and apart from each other; all of it can be had again', () => {
  const { memory } = makeHeap();
  const sizes = fc.array(fc.record({ bytes: fc.nat({ max: 5000 }), release: fc.nat({ max: 2 ** 30 }) }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(sizes, (steps) => {
      const heap = new WasmHeap(memory, base);
      const live: { readonly start: number; readonly bytes: number }[] = [];
      for (const [i, { bytes, release }] of steps.entries()) {
        const start = heap.allocate(bytes);
        expect(start % 64).toBe(0);
        expect(start).toBeGreaterThanOrEqual(base);
        expect(start + bytes).toBeLessThanOrEqual(memory.buffer.byteLength);
        for (const other of live) {
          expect(start + bytes <= other.start || other.start + other.bytes <= start).toBe(true);
        }
        live.push({ start, bytes: Math.max(1, bytes) });
        if (i % 2 === 1) heap.release(live.splice(release % live.length, 1)[0]!.start);
      }
      for (const { start } of live) heap.release(start);
      expect(heap.allocate(60 * 5064)).toBe(first);
    }),
    { numRuns: 200 },
  );
});

test('what is free at the end of memory grows instead of staying behind', () => {
  const { memory, heap } = makeHeap(64);
  heap.release(heap.allocate(20 * page));
  heap.release(heap.allocate(40 * page));
  expect(heap.allocate(55 * page)).toBe(first);
  expect(memory.buffer.byteLength).toBeLessThanOrEqual(64 * page);
});

test('a refused allocation changes nothing', () => {
  const { heap } = makeHeap(32);
  const start = heap.allocate(10 * page);
  expect(start).toBe(first);
  for (const bytes of [40 * page, 2 ** 40, Number.NaN]) {
    expect(() => heap.allocate(bytes)).toThrow(expect.objectContaining({ code: 'executor-out-of-memory' }));
  }
  heap.release(start);
  expect(heap.allocate(20 * page)).toBe(first);
});

test('growing keeps the contents, and views that are taken anew see them', () => {
  const { heap } = makeHeap();
  const start = heap.allocate(3);
  heap.view(start, 3).set([1, 2, 3]);
  heap.allocate(100 * page);
  expect([...heap.view(start, 3)]).toEqual([1, 2, 3]);
});

test('what is released twice, or was never there, is left alone', () => {
  const { heap } = makeHeap();
  const [one, two] = [heap.allocate(64), heap.allocate(64)];
  heap.release(one);
  heap.release(one);
  heap.release(two + 8);
  heap.release(-1);
  expect(heap.allocate(64)).toBe(one);
  expect(heap.allocate(64)).toBe(two + 64);
});

test('shared memory grows as well', () => {
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 64, shared: true });
  const heap = new WasmHeap(memory, base);
  const start = heap.allocate(3);
  heap.view(start, 3).set([1, 2, 3]);
  heap.allocate(40 * page);
  expect([...heap.view(start, 3)]).toEqual([1, 2, 3]);
  expect(() => heap.allocate(40 * page)).toThrow(expect.objectContaining({ code: 'executor-out-of-memory' }));
});
