import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { forEachBlockRun } from './evaluation/block-runs.ts';
import { allocateFloats, floatsOf } from './evaluation/floats.ts';
import { highPrecision } from './operand-specs.ts';
import { blockedShape } from './shape-rules.ts';

export const amax: OpDefinition = defineOp('amax', {
  version: 1,
  summary: 'Largest magnitude of every block, in f32; block size 0 is the whole axis. NaN if any element is NaN.',
  operands: { x: highPrecision },
  attributes: { block: attribute.ints() },
  results: ['amax'],
  infer: ({ x }, { block }) => [{ dtype: 'f32', shape: blockedShape('amax', 'block', x.shape, block) }],
  flops: ({ x }) => concreteElementCount(x),
  evaluate({ x }, { block }, [type]) {
    const values = floatsOf(x);
    const result = allocateFloats(concreteElementCount(type!), values);
    forEachBlockRun(x.type.shape, block, (start, length, index) => {
      let best = result[index]!;
      for (let i = start; i < start + length; i++) best = Math.max(best, Math.abs(values[i]!));
      result[index] = best;
    });
    return [{ type: type!, data: result }];
  },
});
