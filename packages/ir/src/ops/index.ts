import type { OpDefinition } from '../op.ts';
import { OpRegistry } from '../registry.ts';
import { adamwStep } from './adamw-step.ts';
import { amax } from './amax.ts';
import { attention } from './attention.ts';
import { attentionGrad } from './attention-grad.ts';
import { biasAdd } from './bias-add.ts';
import { broadcastInDim } from './broadcast-in-dim.ts';
import { compare } from './compare.ts';
import { computeScale } from './compute-scale.ts';
import { concatenate } from './concatenate.ts';
import { constant } from './constant.ts';
import { convert } from './convert.ts';
import { dequantize } from './dequantize.ts';
import { dotGeneral } from './dot-general.ts';
import { dynamicQuantize } from './dynamic-quantize.ts';
import { dynamicUpdateSlice } from './dynamic-update-slice.ts';
import { add, divide, maximum, minimum, multiply, subtract } from './elementwise-binary.ts';
import { abs, exp, log, negate, sqrt } from './elementwise-unary.ts';
import { gather } from './gather.ts';
import { iota } from './iota.ts';
import { logSoftmaxGather } from './log-softmax-gather.ts';
import { logSoftmaxGatherGrad } from './log-softmax-gather-grad.ts';
import { and, not, or } from './logical.ts';
import { pagedGather } from './paged-gather.ts';
import { pagedUpdate } from './paged-update.ts';
import { quantize } from './quantize.ts';
import { reduce } from './reduce.ts';
import { reshape } from './reshape.ts';
import { rmsNorm } from './rms-norm.ts';
import { rmsNormGrad } from './rms-norm-grad.ts';
import { rope } from './rope.ts';
import { scaledDot } from './scaled-dot.ts';
import { scatterAdd } from './scatter-add.ts';
import { select } from './select.ts';
import { silu } from './silu.ts';
import { slice } from './slice.ts';
import { logSoftmax, softmax } from './softmax.ts';
import { stochasticQuantize } from './stochastic-quantize.ts';
import { stopGradient } from './stop-gradient.ts';
import { swiglu } from './swiglu.ts';
import { swigluGrad } from './swiglu-grad.ts';
import { transpose } from './transpose.ts';

const primitives: readonly OpDefinition[] = [
  ...[constant, iota, convert],
  ...[negate, abs, exp, log, sqrt],
  ...[add, subtract, multiply, divide, maximum, minimum],
  ...[compare, and, or, not, select],
  ...[broadcastInDim, reshape, transpose, slice, concatenate],
  ...[reduce, dotGeneral, gather, scatterAdd, dynamicUpdateSlice],
  ...[pagedGather, pagedUpdate],
  ...[amax, computeScale, quantize, stochasticQuantize, dequantize, scaledDot],
];

const composites: readonly OpDefinition[] = [
  ...[softmax, logSoftmax, logSoftmaxGather],
  ...[silu, swiglu, rmsNorm, rope, biasAdd],
  ...[attention, dynamicQuantize],
  stopGradient,
  ...[attentionGrad, rmsNormGrad, swigluGrad, logSoftmaxGatherGrad],
  adamwStep,
];

/** Every op of the `core` domain. */
export const coreOps: OpRegistry = new OpRegistry([...primitives, ...composites]);
