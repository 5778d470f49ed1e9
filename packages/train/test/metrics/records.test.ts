import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeRecord,
  quantizationRecordSchema,
  type StepRecord,
  stepRecordSchema,
} from '../../src/metrics/records.ts';

const number = fc.double({ noDefaultInfinity: false }).map((value) => (value === 0 ? 0 : value));

test('every record, infinities and NaN included, is one line of valid JSON and comes back', () => {
  const group = fc.dictionary(fc.stringMatching(/^[a-z][a-z_]{0,11}$/), number);
  const record = fc.record<StepRecord>(
    {
      step: fc.nat(),
      loss: number,
      val_loss: number,
      lr: number,
      grad_norm: number,
      tokens: fc.nat(),
      tokens_per_s: number,
      skipped: fc.constant(1),
      seconds: group,
      reward: number,
    },
    { requiredKeys: ['step', 'loss', 'lr', 'grad_norm', 'tokens', 'tokens_per_s', 'seconds'] },
  );
  fc.assert(
    fc.property(record, (record) => {
      const line = encodeRecord(record);
      expect(line).not.toContain('\n');
      expect(stepRecordSchema.parse(JSON.parse(line))).toEqual(record);
    }),
  );
});

test('what JSON has no number for is a string; a tensor may be called NaN', () => {
  expect(encodeRecord({ a: Number.NaN, b: -Infinity, c: { d: Infinity }, e: undefined, f: 0.1 })).toBe(
    '{"a":"NaN","b":"-Infinity","c":{"d":"Infinity"},"f":0.1}',
  );
  const record = { step: 1, tensor: 'NaN', saturated: 0, underflow: 1, amax: Number.NaN };
  expect(quantizationRecordSchema.parse(JSON.parse(encodeRecord(record)))).toEqual(record);
});
