import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Decay, type ScheduleOptions, schedule } from '../src/index.ts';

const rates = (options: ScheduleOptions) => Array.from({ length: options.steps }, (_, i) => schedule(options)(i + 1));

describe('schedule', () => {
  test.each<[string, ScheduleOptions, readonly number[]]>([
    ['constant', { decay: 'constant', peak: 2, steps: 3 }, [2, 2, 2]],
    ['warm-up', { decay: 'constant', peak: 4, steps: 5, warmup: 3 }, [1, 2, 3, 4, 4]],
    ['linear', { decay: 'linear', peak: 4, steps: 5 }, [4, 3, 2, 1, 0]],
    ['linear with a floor', { decay: 'linear', peak: 4, steps: 5, floor: 0.5 }, [4, 3.5, 3, 2.5, 2]],
    ['linear after a warm-up', { decay: 'linear', peak: 4, steps: 5, warmup: 1 }, [2, 4, 8 / 3, 4 / 3, 0]],
    ['cosine', { decay: 'cosine', peak: 4, steps: 5 }, [4, 2 + Math.SQRT2, 2, 2 - Math.SQRT2, 0]],
    ['wsd', { decay: 'wsd', peak: 4, steps: 6, warmup: 1, cooldown: 3 }, [2, 4, 4, 4, 2, 0]],
    ['one step', { decay: 'cosine', peak: 4, steps: 1 }, [4]],
  ])('%s', (_, options, expected) => {
    rates(options).forEach((rate, i) => {
      expect(rate).toBeCloseTo(expected[i]!, 12);
    });
  });

  test('never leaves 0 to peak, grows while it warms up, and never grows afterwards', () => {
    const options = fc
      .record({
        decay: fc.constantFrom<Decay>('constant', 'linear', 'cosine', 'wsd'),
        peak: fc.double({ min: 0, max: 10, noNaN: true }),
        steps: fc.integer({ min: 1, max: 50 }),
        floor: fc.double({ min: 0, max: 1, noNaN: true }),
      })
      .chain((fixed) => fc.integer({ min: 0, max: fixed.steps }).map((warmup) => ({ ...fixed, warmup, cooldown: 0 })));
    fc.assert(
      fc.property(options, (chosen) => {
        const found = rates(chosen);
        found.forEach((rate, i) => {
          expect(rate).toBeGreaterThanOrEqual(0);
          expect(rate).toBeLessThanOrEqual(chosen.peak * (1 + 1e-12));
          if (i > 0 && i < chosen.warmup) expect(rate).toBeGreaterThanOrEqual(found[i - 1]!);
          if (i > chosen.warmup) expect(rate).toBeLessThanOrEqual(found[i - 1]! * (1 + 1e-12));
        });
      }),
    );
  });

  test.each<[string, Partial<ScheduleOptions>]>([
    ['decay is zigzag', { decay: 'zigzag' as never }],
    ['peak is -1', { peak: -1 }],
    ['steps is 0', { steps: 0 }],
    ['warmup is 11', { warmup: 11 }],
    ['floor is 2', { floor: 2 }],
    ['cooldown is 10', { decay: 'wsd', warmup: 3, cooldown: 10 }],
  ])('%s is refused', (message, options) => {
    const make = () => schedule({ decay: 'linear', peak: 1, steps: 10, ...options });
    expect(make).toThrow(
      expect.objectContaining({ code: 'schedule-option', message: expect.stringContaining(message) }),
    );
  });
});
