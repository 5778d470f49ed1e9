import type { Module } from '@quaver/ir';
import { verifyModule } from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile } from '../src/index.ts';
import { randomInputs, randomModule, randomSteps } from './fixtures/random-graph.ts';
import { firstDifference, runModule } from './fixtures/run-module.ts';

const composites = new Set(['softmax', 'silu', 'swiglu', 'dynamic_quantize', 'log_softmax']);
/** A target without composites: legalize has to expand all of them. */
const target = {
  supports: (node: { op: string }) =>
    composites.has(node.op)
      ? ({ ok: false, code: 'composite', reason: 'none' } as const)
      : ({ ok: true, native: true } as const),
};

async function apply(module: Module, pass: string): Promise<Module> {
  const { module: after } = await compile(module, { recipe: 'f32', only: [pass], target });
  return after;
}

async function differences(before: Module, after: Module): Promise<string[]> {
  const [a, b] = [await runModule(before, 'main', randomInputs), await runModule(after, 'main', randomInputs)];
  expect(Object.keys(b.outputs)).toEqual(Object.keys(a.outputs));
  return Object.keys(a.outputs).flatMap((name) => {
    const difference = firstDifference(a.outputs[name]!, b.outputs[name]!);
    return difference === undefined ? [] : [`${name}: ${difference}`];
  });
}

describe('passes that may not change a bit', () => {
  for (const pass of [
    'canonicalize',
    'infer-shapes',
    'cse',
    'dce',
    'fold-constants',
    'fuse',
    'legalize',
    'plan-memory',
    'emit',
  ]) {
    it(`${pass}: interpretation of random graphs is the same before and after`, async () => {
      await fc.assert(
        fc.asyncProperty(randomSteps, async (steps) => {
          const before = randomModule(steps);
          verifyModule(before);
          expect(await differences(before, await apply(before, pass))).toEqual([]);
        }),
        { numRuns: 250 },
      );
    });
  }

  it('all of them together', async () => {
    await fc.assert(
      fc.asyncProperty(randomSteps, async (steps) => {
        const before = randomModule(steps);
        const disable = ['annotate-precision', 'fp8-lower', 'fp8-fuse-scaled-dot'];
        const { module } = await compile(before, { recipe: 'f32', disable, target });
        expect(await differences(before, module)).toEqual([]);
      }),
      { numRuns: 250 },
    );
  });
});

describe('a second run changes nothing', () => {
  for (const pass of [
    'canonicalize',
    'infer-shapes',
    'cse',
    'dce',
    'fold-constants',
    'fuse',
    'legalize',
    'plan-memory',
    'emit',
  ]) {
    it(pass, async () => {
      await fc.assert(
        fc.asyncProperty(randomSteps, async (steps) => {
          const once = await apply(randomModule(steps), pass);
          expect(await apply(once, pass)).toBe(once);
        }),
        { numRuns: 100 },
      );
    });
  }
});
