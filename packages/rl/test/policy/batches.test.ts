import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { perSequence, perToken, sequenceBatches } from '../../src/policy/batches.ts';

const token = fc.integer({ min: 0, max: 999 });
const sequence = fc.record({
  prompt: fc.array(token, { minLength: 1, maxLength: 40 }),
  tokens: fc.array(token, { minLength: 1, maxLength: 40 }),
});
const sequences = fc.array(sequence, { minLength: 1, maxLength: 20 });
const limit = fc.integer({ min: 1, max: 600 });

describe('micro-batches of sampled sequences', () => {
  test('every sampled token is the target of the token before it, once', () => {
    fc.assert(
      fc.property(sequences, limit, (all, tokens) => {
        const seen = new Map<number, number[]>();
        for (const batch of sequenceBatches(all, { tokens, context: 1024 })) {
          for (const [row, index] of batch.sequences.entries()) {
            const { prompt, tokens: sampled } = all[index]!;
            const whole = [...prompt, ...sampled];
            const base = row * batch.rowTokens;
            const counted = whole
              .slice(1)
              .flatMap((_, i) => (batch.mask[base + i] === 1 ? [batch.targets[base + i]!] : []));
            for (let i = 0; i + 1 < whole.length; i++) {
              expect([batch.tokens[base + i], batch.targets[base + i]]).toEqual([whole[i], whole[i + 1]]);
            }
            expect(batch.position.slice(base, base + batch.rowTokens)).toEqual(
              Int32Array.from({ length: batch.rowTokens }, (_, i) => i),
            );
            seen.set(index, counted);
          }
        }
        expect(all.map((_, i) => seen.get(i))).toEqual(all.map((item) => item.tokens));
      }),
    );
  });

  test('batches keep to their limit, unless one sequence alone is longer', () => {
    fc.assert(
      fc.property(sequences, limit, (all, tokens) => {
        for (const batch of sequenceBatches(all, { tokens, context: 1024 })) {
          expect(batch.rows === 1 || batch.rows * batch.rowTokens <= tokens).toBe(true);
          expect(batch.rowTokens % 16).toBe(0);
        }
      }),
    );
  });

  test('numbers of tokens go into rows and come back', () => {
    fc.assert(
      fc.property(sequences, limit, (all, tokens) => {
        const batches = sequenceBatches(all, { tokens, context: 1024 });
        const valuesOf = (i: number) => Float32Array.from(all[i]!.tokens, (_, t) => 1000 * i + t + 1);
        const rows = batches.map((batch) => perToken(batch, all, valuesOf));
        expect(perSequence(batches, all, rows)).toEqual(all.map((_, i) => valuesOf(i)));
        for (const [b, { mask }] of batches.entries()) {
          expect(rows[b]!.map((value) => (value === 0 ? 0 : 1))).toEqual(mask);
        }
      }),
    );
  });
});

test('no row is longer than the positions that the model has', () => {
  const sequence = (length: number) => ({ prompt: [1], tokens: Array.from({ length }, () => 2) });
  const rows = sequenceBatches([sequence(49), sequence(20)], { tokens: 512, context: 50 });
  expect(rows.map(({ rowTokens }) => rowTokens)).toEqual([50]);
  expect(sequenceBatches([sequence(20)], { tokens: 512, context: 50 })[0]!.rowTokens).toBe(32);
});
