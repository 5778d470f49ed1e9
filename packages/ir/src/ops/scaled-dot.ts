import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import { fp8DTypes } from '../dtype.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, stopped, typeError } from '../op.ts';
import { concreteElementCount, formatType, type TensorType } from '../type.ts';
import { dotGradients } from './dot-gradient.ts';
import { canonicalDot } from './evaluation/canonical-dot.ts';
import { allocateFloats } from './evaluation/floats.ts';
import { packRows } from './evaluation/pack-rows.ts';
import { segmentScales } from './evaluation/segment-scales.ts';
import { fp8OrBf16, scale } from './operand-specs.ts';
import { blockedShape, checkAxes, checkPromote, checkShape, freeAxes } from './shape-rules.ts';

/** Length of the partial sums: the smallest of promote and the scales' block sizes along k (0 is the whole axis). */
function segmentLength(promote: number, ...kBlocks: readonly (number | undefined)[]): number {
  return Math.min(promote, ...kBlocks.filter((size): size is number => size !== undefined && size > 0));
}

function checkScale(
  side: string,
  operand: TensorType,
  scaleType: TensorType | undefined,
  block: readonly number[],
): void {
  if (scaleType === undefined) {
    if (block.length === 0) return;
    throw typeError(
      'scaled_dot',
      `${side}_block is [${block.join(',')}] without a ${side}_scale`,
      'Leave the block empty.',
    );
  }
  const expected = blockedShape('scaled_dot', `${side}_block`, operand.shape, block);
  checkShape(
    'scaled_dot',
    `${side}_scale`,
    scaleType,
    expected,
    `one scale per block of ${side}, ${formatType(operand)}`,
  );
}

/** The f32 numbers that an operand stands for. */
function meaning(g: GraphBuilder, x: Value, xScale: Value | undefined, block: readonly number[]): Value {
  const isFp8 = fp8DTypes.includes(x.type.dtype);
  return xScale && isFp8 ? g.op('dequantize', [x, xScale], { to: 'f32', block }) : g.convert(x, 'f32');
}

export const scaledDot: OpDefinition = defineOp('scaled_dot', {
  version: 1,
  summary:
    'Dot products of quantized operands over one axis: every partial sum is multiplied by lhs scale * rhs scale of ' +
    'its blocks and added to the result, k ascending. A missing scale is 1. Result axes are free of lhs, free of rhs; f32.',
  operands: {
    lhs: fp8OrBf16,
    rhs: fp8OrBf16,
    lhs_scale: { ...scale, optional: true },
    rhs_scale: { ...scale, optional: true },
  },
  attributes: {
    lhs_block: attribute.ints([]),
    rhs_block: attribute.ints([]),
    lhs_contract: attribute.ints(),
    rhs_contract: attribute.ints(),
    promote: attribute.int(128),
  },
  results: ['y'],
  infer(types, attributes) {
    const { lhs, rhs } = types;
    const { lhs_contract: lc, rhs_contract: rc, lhs_block: leftBlock, rhs_block: rightBlock, promote } = attributes;
    if (lc.length !== 1 || rc.length !== 1) {
      throw typeError(
        'scaled_dot',
        'it contracts exactly one axis of each operand',
        'Batched products are dot_general.',
      );
    }
    checkAxes('scaled_dot', 'lhs_contract', lc, lhs.shape.length);
    checkAxes('scaled_dot', 'rhs_contract', rc, rhs.shape.length);
    const k = lhs.shape[lc[0]!]!;
    if (k !== rhs.shape[rc[0]!]) {
      throw typeError('scaled_dot', `contracted axes differ in size (lhs ${formatType(lhs)}, rhs ${formatType(rhs)})`);
    }
    checkPromote('scaled_dot', promote);
    checkScale('lhs', lhs, types.lhs_scale, leftBlock);
    checkScale('rhs', rhs, types.rhs_scale, rightBlock);
    const kBlocks = [leftBlock[lc[0]!], rightBlock[rc[0]!]];
    const segment = segmentLength(promote, ...kBlocks);
    for (const size of kBlocks) {
      const oneBlock = typeof k === 'number' && size !== undefined && size >= k;
      if (size === undefined || oneBlock || size % segment === 0) continue;
      throw typeError(
        'scaled_dot',
        `a block of ${size} along k is not a whole number of partial sums of ${segment}`,
        'Choose promote and block sizes that are multiples of the smallest of them.',
      );
    }
    const shape = [
      ...freeAxes(lhs.shape.length, lc).map((axis) => lhs.shape[axis]!),
      ...freeAxes(rhs.shape.length, rc).map((axis) => rhs.shape[axis]!),
    ];
    return [{ dtype: 'f32', shape }];
  },
  flops: ({ lhs }, { lhs_contract }, [y]) => 2 * concreteElementCount(y!) * lhs.shape[lhs_contract[0]!]!,
  gradient(g, { operands, attributes, cotangents: [dy] }) {
    const { lhs_contract, rhs_contract, lhs_block, rhs_block, promote } = attributes;
    const axes = { lhs_contract, rhs_contract, lhs_batch: [], rhs_batch: [] };
    const lhs = meaning(g, operands.lhs, operands.lhs_scale, lhs_block);
    const rhs = meaning(g, operands.rhs, operands.rhs_scale, rhs_block);
    return { ...dotGradients(g, lhs, rhs, dy!, axes, promote), lhs_scale: stopped, rhs_scale: stopped };
  },
  evaluate(operands, attributes, [type]) {
    const { lhs, rhs, lhs_scale: leftScale, rhs_scale: rightScale } = operands;
    const { lhs_contract: lc, rhs_contract: rc, lhs_block: leftBlock, rhs_block: rightBlock, promote } = attributes;
    const segment = segmentLength(promote, leftBlock[lc[0]!], rightBlock[rc[0]!]);
    const y = allocateFloats(concreteElementCount(type!), lhs, rhs);
    const scales = {
      left: leftScale && segmentScales(leftScale, leftBlock, lhs.type.shape, lc[0]!, segment),
      right: rightScale && segmentScales(rightScale, rightBlock, rhs.type.shape, rc[0]!, segment),
    };
    canonicalDot(packRows(lhs, [], lc[0]!), packRows(rhs, [], rc[0]!), 0, segment, scales, y);
    return [{ type: type!, data: y }];
  },
});
