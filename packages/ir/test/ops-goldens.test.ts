import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type Attributes, coreOps } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { bitsOf, loadFloat64, loadTensor, numbersOf, runOp, type StoredTensor } from './op-runner.ts';

interface GoldenCase {
  readonly op: string;
  readonly attributes: Attributes;
  readonly operands: readonly (StoredTensor | null)[];
  readonly results: readonly StoredTensor[];
  /** For each result, or one for all. */
  readonly tolerance?: StoredTensor | readonly StoredTensor[];
}

const cases: readonly GoldenCase[] = JSON.parse(
  gunzipSync(readFileSync(new URL('data/ops.json.gz', import.meta.url))).toString(),
);

describe('ops against numpy', () => {
  test.each(cases.map((golden, i) => [`${i} ${golden.op} ${JSON.stringify(golden.attributes)}`, golden] as const))(
    '%s',
    (_, golden) => {
      const operands = golden.operands.map((operand) => (operand === null ? undefined : loadTensor(operand)));
      const results = runOp(golden.op, operands, golden.attributes);
      expect(results.length).toBe(golden.results.length);
      results.forEach((result, r) => {
        const expected = golden.results[r]!;
        expect(result.type.shape).toEqual(expected.shape);
        const tolerance = Array.isArray(golden.tolerance) ? golden.tolerance[r]! : golden.tolerance;
        if (tolerance) expectClose(numbersOf(result), loadFloat64(expected), loadFloat64(tolerance));
        else {
          expect(result.type.dtype).toBe(expected.dtype);
          expect(bitsOf(result)).toBe(bitsOf(loadTensor(expected)));
        }
      });
    },
  );

  test('every op but exp and log, whose tables are those of numerics, has a case', () => {
    const covered = new Set([...cases.map((golden) => golden.op), 'exp', 'log']);
    expect(
      coreOps
        .list()
        .filter((op) => !covered.has(op.name))
        .map((op) => op.name),
    ).toEqual([]);
  });
});

function expectClose(found: readonly number[], expected: Float64Array, tolerance: Float64Array): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < found.length; i++) {
    const error = Math.abs(found[i]! - expected[i]!);
    if (!(error <= tolerance[i]!))
      expect.fail(`element ${i} is ${found[i]}, expected ${expected[i]} ± ${tolerance[i]}`);
  }
}
