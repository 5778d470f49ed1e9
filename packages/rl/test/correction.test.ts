import { describe, expect, test } from 'vitest';
import { corrections, correctSequences, parseCorrection } from '../src/index.ts';
import { golden } from './support/golden.ts';

const sequences = golden.training.map((train, i) => ({ train, generation: golden.generation[i]! }));

test.each(golden.corrections.map((item) => [JSON.stringify(item.config), item] as const))(
  '%s agrees with numpy',
  (_, item) => {
    const { weights } = correctSequences(parseCorrection(item.config).rule, sequences);
    for (const [i, expected] of item.weights.entries()) {
      for (const [t, value] of expected.entries()) expect(weights[i]![t]).toBeCloseTo(value, 6);
    }
  },
);

/** One sequence whose tokens have these ratios. */
const ofRatios = (...ratios: number[]) => [{ train: ratios.map(Math.log), generation: ratios.map(() => 0) }];

function weigh(config: object, ...ratios: number[]): number[] {
  const { weights } = correctSequences(parseCorrection(config).rule, ofRatios(...ratios));
  return [...weights[0]!].map((weight) => Number(weight.toFixed(6)));
}

describe('by hand', () => {
  test.each([
    ['tis cuts ratios at 2', { name: 'tis' }, [0.25, 1, 4], [0.25, 1, 2]],
    ['tis of a sequence cuts the product', { name: 'tis', level: 'sequence' }, [0.5, 3], [1.5, 1.5]],
    ['tis of a sequence at its limit', { name: 'tis', level: 'sequence' }, [3, 3], [2, 2]],
    ['icepop keeps ratios from 0.5 to 5', { name: 'icepop' }, [0.4, 0.6, 4.9, 5.1], [0, 0.6, 4.9, 0]],
    ['a mask by the geometric mean', { name: 'sequence-mask', low: 0.9, high: 1.1 }, [0.25, 4], [1, 1]],
    ['and outside of it', { name: 'sequence-mask', low: 0.9, high: 1.1 }, [0.5, 4], [0, 0]],
    ['a mask with the ratios', { name: 'sequence-mask', low: 0.9, high: 1.1, weight: 'ratio' }, [0.25, 4], [0.25, 4]],
    ['a mask by any token', { name: 'sequence-mask', level: 'any-token' }, [1, 0.4, 1], [0, 0, 0]],
    ['an error of 1.05 stays', { name: 'sequence-error', threshold: 1.5 }, [2, 1], [1, 1]],
    ['a larger one goes, whichever is likelier', { name: 'sequence-error' }, [0.9, 1], [0, 0]],
    ['none', { name: 'none' }, [0.1, 10], [1, 1]],
  ])('%s', (_, config, ratios, expected) => {
    expect(weigh(config, ...ratios)).toEqual(expected);
  });

  test('statistics count what was changed', () => {
    const batch = [...ofRatios(0.25, 1, 4), ...ofRatios(0.1, 10)];
    const icepop = correctSequences(parseCorrection({ name: 'icepop' }).rule, batch).statistics;
    expect(icepop).toEqual({ tokens: 5, weight: 1, truncated_tokens: 0, dropped_tokens: 3, dropped_sequences: 1 });
    const tis = correctSequences(parseCorrection({ name: 'tis' }).rule, batch).statistics;
    expect(tis).toMatchObject({ tokens: 5, truncated_tokens: 2, dropped_tokens: 0, dropped_sequences: 0 });
    expect(tis.weight).toBeCloseTo((0.25 + 1 + 2 + 0.1 + 2) / 5, 6);
    const whole = correctSequences(parseCorrection({ name: 'tis', level: 'sequence', limit: 0.9 }).rule, batch);
    expect(whole.statistics.truncated_tokens).toBe(5);
  });
});

test('no correction changes the weights of tokens with equal log-probabilities, not in a bit', () => {
  for (const { name } of corrections) {
    const { weights } = correctSequences(parseCorrection({ name }).rule, [
      { train: golden.generation[0]!, generation: golden.generation[0]! },
    ]);
    expect([...weights[0]!]).toEqual(golden.generation[0]!.map(() => 1));
  }
});

test('other tokens and log-probabilities that are not finite are refused', () => {
  const { rule } = parseCorrection({ name: 'tis' });
  const correct = (train: number[], generation: number[]) => () => correctSequences(rule, [{ train, generation }]);
  expect(correct([-1], [-1, -2])).toThrow(expect.objectContaining({ code: 'mismatch-length' }));
  for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
    const error = { code: 'rl-logprob-not-finite', where: { token: 1 } };
    expect(correct([-1, value], [-1, -1])).toThrow(expect.objectContaining(error));
    expect(correct([-1, -1], [-1, value])).toThrow(expect.objectContaining(error));
  }
});

test('an empty batch has statistics too', () => {
  const { statistics } = correctSequences(parseCorrection({ name: 'tis' }).rule, []);
  expect(statistics).toMatchObject({ tokens: 0, weight: 1 });
});
