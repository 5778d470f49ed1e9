import type { Attributes, HostTensor } from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsOf, floats, randomNumbers, rows, runOp, stored } from './op-runner.ts';

interface Batched {
  readonly op: string;
  readonly attributes: Attributes;
  /** Operands for a batch of `batch` rows; the first `rowWise` ones (undefined counts) are cut by axis 0. */
  readonly operands: (batch: number, seed: number) => (HostTensor | undefined)[];
  readonly shared: readonly number[];
}

const f32 = (shape: number[], seed: number) => floats('f32', shape, values(shape, seed));
const values = (shape: number[], seed: number) =>
  randomNumbers(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ).map((x) => x * 9);
const positions = (batch: number, seed: number) =>
  stored(
    'i32',
    [batch],
    randomNumbers(batch, seed).map((x) => Math.floor((x + 1) * 5)),
  );

const batchedOps: readonly Batched[] = [
  {
    op: 'dot_general',
    attributes: { lhs_contract: [1], rhs_contract: [1] },
    operands: (b, s) => [f32([b, 150], s), f32([7, 150], 1)],
    shared: [1],
  },
  {
    op: 'scaled_dot',
    attributes: { lhs_contract: [1], rhs_contract: [0], lhs_block: [1, 128], rhs_block: [128, 0] },
    operands: (b, s) => [
      floats('f8e4m3fn', [b, 200], values([b, 200], s)),
      floats('f8e4m3fn', [200, 6], values([200, 6], 2)),
      f32([b, 2], s + 1),
      f32([2, 1], 3),
    ],
    shared: [1, 3],
  },
  { op: 'softmax', attributes: { axis: 1 }, operands: (b, s) => [f32([b, 45], s)], shared: [] },
  { op: 'rms_norm', attributes: { eps: 1e-5 }, operands: (b, s) => [f32([b, 45], s), f32([45], 4)], shared: [1] },
  {
    op: 'dynamic_quantize',
    attributes: { to: 'f8e4m3fn', block: [1, 32], max: 448, rounding: 'pow2_up' },
    operands: (b, s) => [f32([b, 100], s)],
    shared: [],
  },
  {
    op: 'rope',
    attributes: {},
    operands: (b, s) => [f32([b, 3, 2, 8], s), f32([20, 4], 5), f32([20, 4], 6), positions(b, s)],
    shared: [1, 2],
  },
  {
    op: 'attention',
    attributes: { scale: 0.35, probs: 'bf16' },
    operands: (b, s) => [
      floats('bf16', [b, 2, 4, 8], values([b, 2, 4, 8], s)),
      floats('f8e4m3fn', [b, 14, 2, 8], values([b, 14, 2, 8], s + 1)),
      floats('f8e4m3fn', [b, 14, 2, 8], values([b, 14, 2, 8], s + 2)),
      positions(b, s),
    ],
    shared: [],
  },
  {
    op: 'log_softmax_gather',
    attributes: {},
    operands: (b, s) => [f32([b, 2, 30], s), stored('i32', [b, 2], positions(2 * b, s).data)],
    shared: [],
  },
  {
    op: 'dynamic_update_slice',
    attributes: { axis: 1 },
    operands: (b, s) => [f32([b, 6, 3], s), f32([b, 2, 3], s + 1), positions(b, s)],
    shared: [],
  },
  {
    op: 'attention',
    attributes: { scale: 0.35, probs: 'f32' },
    operands: (b, s) => [
      f32([b, 2, 4, 8], s),
      ...[1, 2].map((seed) => f32([9, 4, 2, 8], seed)),
      ...[positions(b, s), undefined, undefined, undefined],
      stored('i32', [b, 3], positions(3 * b, s + 1).data),
    ],
    shared: [1, 2],
  },
];

describe('a row has the same bits alone as in any batch', () => {
  test.each(batchedOps.map((batched) => [batched.op, batched] as const))('%s', (_, batched) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.integer(), (batch, seed) => {
        const operands = batched.operands(batch, seed);
        const together = runOp(batched.op, operands, batched.attributes);
        for (let row = 0; row < batch; row++) {
          const alone = operands.map((x, i) => (x && !batched.shared.includes(i) ? rows(x, row, row + 1) : x));
          runOp(batched.op, alone, batched.attributes).forEach((result, i) => {
            expect(bitsOf(result)).toBe(bitsOf(rows(together[i]!, row, row + 1)));
          });
        }
      }),
      { numRuns: 40 },
    );
  });
});
