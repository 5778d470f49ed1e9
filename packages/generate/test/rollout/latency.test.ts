import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LatencyHistogram } from '../../src/rollout/latency.ts';

test('quantiles are those of the sorted durations, to 1.1 %', () => {
  const duration = fc.double({ min: 2e-6, max: 1e4, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(duration, { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (durations, share) => {
        const histogram = new LatencyHistogram();
        for (const each of durations) histogram.add(each);
        const sorted = durations.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!;
        expect(Math.abs(histogram.quantile(share) / exact - 1)).toBeLessThan(0.011);
      },
    ),
  );
});

test('without durations they are 0', () => {
  expect(new LatencyHistogram().quantile(0.5)).toBe(0);
});
