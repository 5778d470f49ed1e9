import fc from 'fast-check';
import { expect, test } from 'vitest';
import { loadKernels } from '../src/kernels.ts';
import { WasmHeap } from '../src/wasm-heap.ts';

const page = 65536;

async function makeHeap(pages = 4096) {
  const memory = new WebAssembly.Memory({ initial: 4, maximum: pages });
  const kernels = await loadKernels(memory);
  return { memory, base: kernels.heapBase, heap: new WasmHeap(kernels) };
}

test('blocks are aligned, inside of memory, and apart from each other; all of it can be had again', async () => {
  const { memory, base } = await makeHeap();
  const sizes = fc.array(fc.record({ bytes: fc.nat({ max: 5000 }), release: fc.nat({ max: 2 ** 30 }) }), {
    maxLength: 60,
  });
  const kernels = await loadKernels(memory);
  fc.assert(
    fc.property(sizes, (steps) => {
      const heap = new WasmHeap(kernels);
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
      expect(heap.allocate(60 * 5064)).toBe(base);
    }),
    { numRuns: 200 },
  );
});

test('what is free at the end of memory grows instead of staying behind', async () => {
  const { memory, base, heap } = await makeHeap(64);
  heap.release(heap.allocate(20 * page));
  heap.release(heap.allocate(40 * page));
  expect(heap.allocate(55 * page)).toBe(base);
  expect(memory.buffer.byteLength).toBeLessThanOrEqual(64 * page);
});

test('a refused allocation changes nothing', async () => {
  const { base, heap } = await makeHeap(32);
  const first = heap.allocate(10 * page);
  expect(first).toBe(base);
  for (const bytes of [40 * page, 2 ** 40, Number.NaN]) {
    expect(() => heap.allocate(bytes)).toThrow(expect.objectContaining({ code: 'executor-out-of-memory' }));
  }
  heap.release(first);
  expect(heap.allocate(20 * page)).toBe(base);
});

test('growing keeps the contents, and views that are taken anew see them', async () => {
  const { heap } = await makeHeap();
  const start = heap.allocate(3);
  heap.view(start, 3).set([1, 2, 3]);
  heap.allocate(100 * page);
  expect([...heap.view(start, 3)]).toEqual([1, 2, 3]);
});
