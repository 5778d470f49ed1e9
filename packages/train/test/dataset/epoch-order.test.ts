import fc from 'fast-check';
import { expect, test } from 'vitest';
import { shuffledOrder, splitExamples, streams } from '../../src/data/epoch-order.ts';

test('an order holds every example once, and depends on nothing but seed and stream', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(300), fc.nat(), fc.nat(1000), async (count, seed, epoch) => {
      const order = await shuffledOrder(count, seed, streams.order(epoch));
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, index) => index));
      expect(await shuffledOrder(count, seed, streams.order(epoch))).toEqual(order);
    }),
  );
});

test('all orders are alike: chi-square over the 24 orders of four', async () => {
  const draws = 4800;
  const counts = new Map<string, number>();
  for (let epoch = 0; epoch < draws; epoch++) {
    const order = (await shuffledOrder(4, 5, streams.order(epoch))).join();
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  expect(counts.size).toBe(24);
  const expected = draws / 24;
  const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  // 23 degrees of freedom: 49.7 is exceeded once in a thousand times (tables of the distribution).
  expect(chiSquare).toBeLessThan(49.7);
});

test('an abort is noticed between the draws of a long one', async () => {
  const controller = new AbortController();
  const order = shuffledOrder(200_000, 0, 1, controller.signal);
  controller.abort();
  await expect(order).rejects.toMatchObject({ code: 'aborted' });
});

test('a split is disjoint and complete, in the order of the source, with at least one example on each side', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 300 }),
      fc.double({ min: 0.001, max: 0.999, noNaN: true }),
      fc.nat(),
      async (count, fraction, seed) => {
        const { training, validation } = await splitExamples(count, fraction, seed);
        expect([...training, ...validation].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
        for (const part of [training, validation]) expect([...part]).toEqual([...part].sort((a, b) => a - b));
        expect(validation.length).toBe(Math.min(count - 1, Math.max(1, Math.round(fraction * count))));
      },
    ),
  );
});
