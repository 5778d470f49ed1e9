import { packagedSkips, packagedVectors, runConformance } from '@quaver/conformance/node';
import { referencePlugin } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { coreOps } from '@quaver/ir';
import { expect, test } from 'vitest';

test.each([referencePlugin(), cpuPlugin])('the executor $id passes', async (plugin) => {
  const seen: number[] = [];
  const report = await runConformance(plugin, {
    vectors: packagedVectors,
    skipList: await packagedSkips(plugin.id),
    onProgress: ({ done, total }) => seen.push(done / total),
  });
  const problems = report.cases.filter(({ status }) => status === 'failed');
  expect(problems.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([]);
  expect(report).toMatchObject({ executor: plugin.id, failed: 0, skipped: 0, unsupported: 0 });
  expect(report.passed).toBe(report.cases.length);
  expect(new Set(report.cases.map(({ name }) => name)).size).toBe(report.cases.length);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toBe(1);
  const tested = new Set(report.cases.map(({ op }) => op));
  expect(coreOps.list().filter(({ name }) => !tested.has(name))).toEqual([]);
  const bodies = new Set(report.cases.filter(({ name }) => name.endsWith('(body)')).map(({ op }) => op));
  expect(coreOps.list().filter(({ name, isComposite }) => isComposite !== bodies.has(name))).toEqual([]);
});

test('every dtype that an operand takes has a case', async () => {
  const { cases } = await runConformance(referencePlugin(), { vectors: packagedVectors });
  for (const op of coreOps.list()) {
    const tested = new Set(cases.filter((item) => item.op === op.name).flatMap(({ dtypes }) => dtypes));
    const taken = Object.values(op.operands).flatMap(({ dtypes }) => dtypes);
    // u8 has no use in convert: nothing converts to or from it.
    const missing = taken.filter((dtype) => !tested.has(dtype) && !(op.name === 'convert' && dtype === 'u8'));
    expect([op.name, missing]).toEqual([op.name, []]);
  }
});
