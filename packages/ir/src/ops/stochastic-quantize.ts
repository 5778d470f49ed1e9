import { attribute } from '../attribute.ts';
import { fp8DTypes } from '../dtype.ts';
import { defineOp, type OpDefinition, stopped, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { scaledByBlock } from './evaluation/scaled-by-block.ts';
import { stochasticCast } from './evaluation/stochastic-cast.ts';
import { highPrecision, i32, scale } from './operand-specs.ts';
import { blockedShape, checkShape } from './shape-rules.ts';

export const stochasticQuantize: OpDefinition = defineOp('stochastic_quantize', {
  version: 1,
  summary:
    'quantize with stochastic rounding: x / scale of its block becomes one of its two neighbours in FP8, the farther one from ' +
    'zero with the probability (|x / scale| - near) / (far - near). Element i draws word i mod 4 of Philox4x32-10 with the ' +
    'counter (floor(i / 4), 0, stream, 0) and the key (seed, 0): the same seed and stream give the same codes.',
  operands: { x: highPrecision, scale, seed: { ...i32, rank: 1 } },
  attributes: {
    to: attribute.dtype(),
    block: attribute.ints(),
    saturate: attribute.bool(true),
    stream: attribute.int(0),
  },
  results: ['q'],
  traits: ['narrowing', 'fold-barrier'],
  infer({ x, scale, seed }, { to, block, stream }) {
    if (!fp8DTypes.includes(to)) {
      throw typeError('stochastic_quantize', `to is ${to}`, `It makes ${fp8DTypes.join(' or ')}.`);
    }
    const scales = blockedShape('stochastic_quantize', 'block', x.shape, block);
    checkShape('stochastic_quantize', 'scale', scale, scales, 'one scale per block of x');
    checkShape('stochastic_quantize', 'seed', seed, [1], 'one seed for all elements');
    if (stream < 0 || stream >= 2 ** 32) {
      throw typeError('stochastic_quantize', `stream is ${stream}`, 'It is a whole number from 0 to 4294967295.');
    }
    return [{ dtype: to, shape: x.shape }];
  },
  // As many as the rounds of the generator, for every element.
  flops: ({ x }) => 10 * concreteElementCount(x),
  gradient: (_, { cotangents: [dq] }) => ({ x: dq!, scale: stopped }),
  evaluate({ x, scale, seed }, { to, block, saturate, stream }, [type]) {
    const scaled = scaledByBlock(x, scale, block);
    if (scaled instanceof Float64Array) return [{ type: type!, data: scaled }];
    const place = { seed: seed.data[0]!, stream };
    return [{ type: type!, data: stochasticCast(to as 'f8e4m3fn' | 'f8e5m2', scaled, saturate, place) }];
  },
});
